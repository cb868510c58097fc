//! ONNX Runtime for tests.
