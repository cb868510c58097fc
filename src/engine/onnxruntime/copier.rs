//! Copies between this process's memory and a device's.

use std::ffi::{c_int, c_void};
use std::ptr;

use super::value::{Value, usable_bytes};
use crate::tensor::{AlignedBuffer, DataType, Shape, Tensor, TensorError, element_count};

/// Why bytes cannot be brought to the device or back.
#[derive(Debug, thiserror::Error)]
pub(super) enum CopyError {
    #[error(transparent)]
    Runtime(#[from] ort::Error),
    #[error(transparent)]
    Tensor(#[from] TensorError),
    #[error("the CUDA runtime library cannot be loaded: {reason}")]
    CudaRuntime { reason: String },
    #[error("copying to or from the device failed with CUDA error {code}")]
    Copy { code: c_int },
}

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
    /// The "device" is the host.
    Host,
    /// So it is here, but a copy to the device is as late as it may be.
    #[cfg(test)]
    Late(std::cell::RefCell<Vec<(*mut u8, Vec<u8>)>>),
}

const HOST_TO_DEVICE: c_int = 1;
const DEVICE_TO_HOST: c_int = 2;

impl Copier {
    pub fn cuda() -> Result<Copier, CopyError> {
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
        Err(CopyError::CudaRuntime { reason })
    }

    /// Copies a tensor of numbers into a value of its type and shape, where it is after
    /// [`Copier::arrive`].
    ///
    /// # Errors
    /// The device refuses.
    pub fn write(&self, to: &Value, tensor: &Tensor) -> Result<(), CopyError> {
        let bytes = tensor.bytes().expect("strings are never bound");
        let bytes = usable_bytes(tensor.data_type(), bytes);
        let to = to.data()?;
        // SAFETY: the value was made for a tensor of this type and shape.
        unsafe { self.copy(to, bytes.as_ptr().cast(), bytes.len(), HOST_TO_DEVICE) }
    }

    /// Copies what a value holds, which was made of this type and shape.
    ///
    /// # Errors
    /// The device refuses.
    pub fn read(
        &self,
        value: &Value,
        data_type: DataType,
        shape: &[usize],
    ) -> Result<Tensor, CopyError> {
        let length =
            element_count(shape).zip(data_type.size()).map_or(0, |(count, size)| count * size);
        let mut buffer = AlignedBuffer::zeroed(length);
        let to = buffer.as_mut_slice().as_mut_ptr();
        let from = value.data()?;
        // SAFETY: the buffer is as long as the value.
        unsafe { self.copy(to.cast(), from, length, DEVICE_TO_HOST)? };
        Ok(Tensor::numbers(data_type, Shape::from_slice(shape), buffer.into_bytes())?)
    }

    /// To the device, the bytes are there after [`Copier::arrive`].
    ///
    /// # Safety
    /// `from` and `to` are valid for `length` bytes, one on the device, as `direction` says; what
    /// is on the device stays valid until the bytes are there.
    unsafe fn copy(
        &self,
        to: *mut c_void,
        from: *const c_void,
        length: usize,
        direction: c_int,
    ) -> Result<(), CopyError> {
        match self {
            Copier::Cuda { memcpy, .. } => {
                // SAFETY: the caller's promise.
                copied(unsafe { memcpy(to, from, length, direction) })
            }
            Copier::Host => {
                // SAFETY: the caller's promise; both are on the host, and apart.
                unsafe { ptr::copy_nonoverlapping(from.cast::<u8>(), to.cast(), length) };
                Ok(())
            }
            #[cfg(test)]
            Copier::Late(late) => {
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
    pub fn arrive(&self) -> Result<(), CopyError> {
        match self {
            // SAFETY: null is the default stream, which is always there.
            Copier::Cuda { synchronize, .. } => copied(unsafe { synchronize(ptr::null_mut()) }),
            Copier::Host => Ok(()),
            #[cfg(test)]
            Copier::Late(late) => {
                for (to, bytes) in late.take() {
                    // SAFETY: whoever asked for the copy promised that the place stays valid.
                    unsafe { ptr::copy_nonoverlapping(bytes.as_ptr(), to, bytes.len()) };
                }
                Ok(())
            }
        }
    }
}

fn copied(code: c_int) -> Result<(), CopyError> {
    if code == 0 { Ok(()) } else { Err(CopyError::Copy { code }) }
}
