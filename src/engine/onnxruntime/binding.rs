//! Values that stay where they are from run to run: a device's memory, and what binds it to names.

use std::ffi::{CStr, CString, c_int};
use std::ptr::{self, NonNull};

use ort::AsPointer;
use ort::session::SharedSessionInner;
use ort::sys::{
    OrtAllocator, OrtAllocatorType, OrtApi, OrtIoBinding, OrtMemType, OrtMemoryInfo, OrtRunOptions,
};

use super::value::{Value, check};
use crate::tensor::{DataType, Tensor};

/// The run option that chooses a graph; -1 neither captures nor replays.
const GRAPH_ID: &CStr = c"gpu_graph_id";

/// The session's allocator of device memory.
pub(super) struct DeviceMemory {
    api: &'static OrtApi,
    allocator: NonNull<OrtAllocator>,
    info: NonNull<OrtMemoryInfo>,
}

impl DeviceMemory {
    pub fn new(
        api: &'static OrtApi,
        session: &SharedSessionInner,
        name: &CStr,
        index: u32,
    ) -> Result<DeviceMemory, ort::Error> {
        let mut info = ptr::null_mut();
        let mut allocator = ptr::null_mut();
        // SAFETY: the name is a C string and the out-pointer valid.
        check(unsafe {
            (api.CreateMemoryInfo)(
                name.as_ptr(),
                OrtAllocatorType::OrtDeviceAllocator,
                c_int::try_from(index).unwrap_or(c_int::MAX),
                OrtMemType::OrtMemTypeDefault,
                &mut info,
            )
        })?;
        let info = NonNull::new(info).expect("a success hands over a pointer");
        // SAFETY: session and info are alive.
        let made =
            check(unsafe { (api.CreateAllocator)(session.ptr(), info.as_ptr(), &mut allocator) });
        match (made, NonNull::new(allocator)) {
            (Ok(()), Some(allocator)) => Ok(DeviceMemory { api, allocator, info }),
            (made, _) => {
                // SAFETY: made above, and nothing refers to it.
                unsafe { (api.ReleaseMemoryInfo)(info.as_ptr()) };
                made?;
                Err(ort::Error::new("the session has no such memory"))
            }
        }
    }
}

impl DeviceMemory {
    /// A new tensor there, of a tensor's type and shape. It is dropped before this memory.
    ///
    /// # Errors
    /// There is not enough memory.
    pub fn value_like(&self, tensor: &Tensor) -> Result<Value, ort::Error> {
        self.value(tensor.data_type(), tensor.shape())
    }

    /// As [`DeviceMemory::value_like`].
    pub fn value(&self, data_type: DataType, shape: &[usize]) -> Result<Value, ort::Error> {
        // SAFETY: the allocator is alive, and who holds the values holds this for longer.
        unsafe { Value::new_in(self.api, self.allocator.as_ptr(), data_type, shape) }
    }
}

impl Drop for DeviceMemory {
    fn drop(&mut self) {
        // SAFETY: owned, released once, the allocator before what it was made from.
        unsafe {
            (self.api.ReleaseAllocator)(self.allocator.as_ptr());
            (self.api.ReleaseMemoryInfo)(self.info.as_ptr());
        }
    }
}

/// Names bound to values.
pub(super) struct Binding {
    api: &'static OrtApi,
    pointer: NonNull<OrtIoBinding>,
}

impl Binding {
    pub fn new(api: &'static OrtApi, session: &SharedSessionInner) -> Result<Binding, ort::Error> {
        let mut pointer = ptr::null_mut();
        // SAFETY: the session is alive and the out-pointer valid.
        check(unsafe { (api.CreateIoBinding)(session.ptr().cast_mut(), &mut pointer) })?;
        let pointer = NonNull::new(pointer).expect("a success hands over a pointer");
        Ok(Binding { api, pointer })
    }
}

impl Binding {
    /// # Errors
    /// The session has no such input, or it has another type.
    pub fn bind_input(&self, name: &CStr, value: &Value) -> Result<(), ort::Error> {
        // SAFETY: the binding keeps a reference of its own to the value.
        let bind = unsafe { (self.api.BindInput)(self.as_ptr(), name.as_ptr(), value.as_ptr()) };
        check(bind)
    }

    /// # Errors
    /// The session has no such output, or it has another type.
    pub fn bind_output(&self, name: &CStr, value: &Value) -> Result<(), ort::Error> {
        // SAFETY: the binding keeps a reference of its own to the value.
        let bind = unsafe { (self.api.BindOutput)(self.as_ptr(), name.as_ptr(), value.as_ptr()) };
        check(bind)
    }

    /// Runs the session; what is bound as an output is there when this returns.
    ///
    /// # Errors
    /// The session failed.
    pub fn run(
        &self,
        session: &SharedSessionInner,
        options: &RunOptions,
    ) -> Result<(), ort::Error> {
        let (options, binding) = (options.as_ptr(), self.as_ptr());
        // SAFETY: session, options and binding are alive, and whoever holds the binding lets
        // nobody else run the session.
        check(unsafe { (self.api.RunWithBinding)(session.ptr().cast_mut(), options, binding) })?;
        // SAFETY: as above.
        check(unsafe { (self.api.SynchronizeBoundOutputs)(binding) })
    }

    fn as_ptr(&self) -> *mut OrtIoBinding {
        self.pointer.as_ptr()
    }
}

impl Drop for Binding {
    fn drop(&mut self) {
        // SAFETY: owned, released once.
        unsafe { (self.api.ReleaseIoBinding)(self.pointer.as_ptr()) }
    }
}

/// What a run is told besides its values.
pub(super) struct RunOptions {
    api: &'static OrtApi,
    pointer: NonNull<OrtRunOptions>,
}

impl RunOptions {
    pub fn new(api: &'static OrtApi) -> Result<RunOptions, ort::Error> {
        let mut pointer = ptr::null_mut();
        // SAFETY: the out-pointer is valid.
        check(unsafe { (api.CreateRunOptions)(&mut pointer) })?;
        let pointer = NonNull::new(pointer).expect("a success hands over a pointer");
        Ok(RunOptions { api, pointer })
    }

    /// Captures the CUDA graph of that number, or replays it.
    pub fn with_graph(api: &'static OrtApi, number: &str) -> Result<RunOptions, ort::Error> {
        let options = RunOptions::new(api)?;
        let number = CString::new(number).expect("digits hold no zero byte");
        // SAFETY: key and value are C strings, which are copied.
        check(unsafe {
            (api.AddRunConfigEntry)(options.pointer.as_ptr(), GRAPH_ID.as_ptr(), number.as_ptr())
        })?;
        Ok(options)
    }
}

impl RunOptions {
    pub fn as_ptr(&self) -> *const OrtRunOptions {
        self.pointer.as_ptr()
    }
}

impl Drop for RunOptions {
    fn drop(&mut self) {
        // SAFETY: owned, released once.
        unsafe { (self.api.ReleaseRunOptions)(self.pointer.as_ptr()) }
    }
}
