//! Copies between this process's memory and a CUDA device's.

use std::ffi::{c_int, c_void};
use std::ptr;

use super::captured::GraphError;

/// `cudaMemcpy`. From the device it returns when the copy is done; to the device perhaps as soon as
/// the bytes are staged.
type CudaMemcpy = unsafe extern "C" fn(*mut c_void, *const c_void, usize, c_int) -> c_int;

/// `cudaStreamSynchronize`.
type CudaStreamSynchronize = unsafe extern "C" fn(*mut c_void) -> c_int;

/// How bytes get to the device and back.
pub(super) enum Copier {
    Cuda {
        memcpy: CudaMemcpy,
        synchronize: CudaStreamSynchronize,
    },
    /// The "device" is the host: everything but the copies is as on a GPU. A copy to the device
    /// is as late as it may be.
    #[cfg(test)]
    Host(std::cell::RefCell<Vec<(*mut u8, Vec<u8>)>>),
}

pub(super) const HOST_TO_DEVICE: c_int = 1;
pub(super) const DEVICE_TO_HOST: c_int = 2;

impl Copier {
    pub fn cuda() -> Result<Copier, GraphError> {
        let mut reason = String::new();
        for name in ["libcudart.so.13", "libcudart.so.12"] {
            // SAFETY: NVIDIA's library, which the provider has loaded already.
            let library = match unsafe { libloading::Library::new(name) } {
                Ok(library) => library,
                Err(error) => {
                    reason = error.to_string();
                    continue;
                }
            };
            // SAFETY: the symbols have had these signatures in every version.
            let found = unsafe {
                library.get(b"cudaMemcpy\0").and_then(|memcpy| {
                    let synchronize = library.get(b"cudaStreamSynchronize\0")?;
                    Ok(Copier::Cuda { memcpy: *memcpy, synchronize: *synchronize })
                })
            };
            // Never closed: the functions outlive every session.
            std::mem::forget(library);
            match found {
                Ok(copier) => return Ok(copier),
                Err(error) => reason = error.to_string(),
            }
        }
        Err(GraphError::CudaRuntime { reason })
    }

    /// To the device, the bytes are there after [`Copier::arrive`].
    ///
    /// # Safety
    /// `from` and `to` are valid for `length` bytes, one on the device, as `direction` says; what
    /// is on the device stays valid until the bytes are there.
    pub unsafe fn copy(
        &self,
        to: *mut c_void,
        from: *const c_void,
        length: usize,
        direction: c_int,
    ) -> Result<(), GraphError> {
        match self {
            Copier::Cuda { memcpy, .. } => {
                // SAFETY: the caller's promise.
                copied(unsafe { memcpy(to, from, length, direction) })
            }
            #[cfg(test)]
            Copier::Host(late) => {
                // SAFETY: the caller's promise; both are on the host here.
                let bytes = unsafe { std::slice::from_raw_parts(from.cast::<u8>(), length) };
                if direction == HOST_TO_DEVICE {
                    late.borrow_mut().push((to.cast(), bytes.to_vec()));
                    return Ok(());
                }
                // SAFETY: as above.
                unsafe { ptr::copy_nonoverlapping(bytes.as_ptr(), to.cast(), length) };
                Ok(())
            }
        }
    }

    /// Waits until everything that was copied to the device is there. The copies are of the
    /// default stream, and ONNX Runtime's own stream waits for no other.
    pub fn arrive(&self) -> Result<(), GraphError> {
        match self {
            // SAFETY: null is the default stream, which is always there.
            Copier::Cuda { synchronize, .. } => copied(unsafe { synchronize(ptr::null_mut()) }),
            #[cfg(test)]
            Copier::Host(late) => {
                for (to, bytes) in late.take() {
                    // SAFETY: whoever asked for the copy promised that the place stays valid.
                    unsafe { ptr::copy_nonoverlapping(bytes.as_ptr(), to, bytes.len()) };
                }
                Ok(())
            }
        }
    }
}

fn copied(code: c_int) -> Result<(), GraphError> {
    if code == 0 { Ok(()) } else { Err(GraphError::Copy { code }) }
}
