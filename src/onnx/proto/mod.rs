//! The messages of an ONNX file, field by field: the whole of IR version 13 and of what came
//! before it. A field that is not declared here is lost when a model is saved, so the list is
//! complete, also where nothing else reads a field. No behaviour lives here.
//!
//! Every singular field is an `Option`, as the format's own schema (proto2) has it: a value that
//! was written stays written, even where it is the default, and saving a model that only was read
//! gives the same bytes. The derive adds a getter per field that answers with the default.
//!
//! Reading order: `model` (the outermost message and what only it holds), `graph` (graphs, nodes,
//! attributes), `tensor` (weights), `types` (types and shapes of values), `device` (how nodes are
//! spread over devices).

mod device;
mod graph;
mod model;
mod tensor;
mod types;

pub use device::{
    DeviceConfigurationProto, IntIntListEntryProto, NodeDeviceConfigurationProto, ShardedDimProto,
    ShardingSpecProto, SimpleShardedDim, SimpleShardedDimProto,
};
pub use graph::{
    AttributeProto, AttributeType, GraphProto, NodeProto, TensorAnnotation, ValueInfoProto,
};
pub use model::{
    FunctionProto, ModelProto, OperatorSetIdProto, StringStringEntryProto, TrainingInfoProto,
};
pub use tensor::{DataLocation, ElementType, SparseTensorProto, TensorProto, TensorSegment};
pub use types::{
    DimensionProto, DimensionValue, MapTypeProto, OpaqueTypeProto, OptionalTypeProto,
    SequenceTypeProto, SparseTensorTypeProto, TensorShapeProto, TensorTypeProto, TypeProto,
    TypeValue,
};
