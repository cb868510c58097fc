//! ONNX Runtime through a library that is loaded at run time.
