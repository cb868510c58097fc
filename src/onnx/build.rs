//! Models made in code: for tests, benchmarks, and whatever composes graphs. The builder names what
//! is not named and checks nothing; see `check`.

use bytes::Bytes;

use super::element::element_type_of;
use super::proto::{
    AttributeProto, AttributeType, DimensionProto, DimensionValue, FunctionProto, GraphProto,
    ModelProto, NodeProto, OperatorSetIdProto, TensorShapeProto, TensorTypeProto, TypeProto,
    TypeValue, ValueInfoProto,
};
use super::weights::tensor_proto;
use crate::tensor::{DataType, Dimension, Tensor};

/// IR version of built models: the oldest with functions, so that every engine reads them.
const IR_VERSION: i64 = 8;

/// Builds one graph, front to back.
///
/// ```
/// use onnxd::onnx::build::GraphBuilder;
/// use onnxd::tensor::DataType;
///
/// let mut graph = GraphBuilder::new("twice");
/// let x = graph.input("x", DataType::Float32, "batch, 4");
/// let sum = graph.call("Add", &[&x, &x]);
/// graph.output(&sum, DataType::Float32, "batch, 4");
/// let model = graph.into_model(17);
/// assert_eq!(model.graph.expect("just built").node.len(), 1);
/// ```
#[derive(Clone, Debug, Default)]
pub struct GraphBuilder {
    graph: GraphProto,
    opset_import: Vec<OperatorSetIdProto>,
    functions: Vec<FunctionProto>,
}

impl GraphBuilder {
    /// An empty graph.
    pub fn new(name: &str) -> GraphBuilder {
        let graph = GraphProto { name: Some(name.to_owned()), ..GraphProto::default() };
        GraphBuilder { graph, ..GraphBuilder::default() }
    }

    /// Declares an input and gives its name back. The shape is text as in messages, such as
    /// `batch, 3, 224, 224`: sizes, names of open axes, `?` for nameless ones, nothing for a
    /// scalar.
    pub fn input(&mut self, name: &str, data_type: DataType, shape: &str) -> String {
        self.graph.input.push(value_info(name, data_type, Some(&parse_shape(shape))));
        name.to_owned()
    }

    /// Declares that the value of this name is an output.
    pub fn output(&mut self, name: &str, data_type: DataType, shape: &str) {
        self.graph.output.push(value_info(name, data_type, Some(&parse_shape(shape))));
    }

    /// Adds a weight and gives its name back.
    pub fn initializer(&mut self, name: &str, tensor: &Tensor) -> String {
        self.graph.initializer.push(tensor_proto(name, tensor));
        name.to_owned()
    }

    /// Calls an operator without attributes; the answer is the name of its one output.
    pub fn call(&mut self, operator: &str, inputs: &[&str]) -> String {
        self.node(Node::new(operator, inputs))
    }

    /// Adds a node; the answer is the name of its first output.
    pub fn node(&mut self, node: Node) -> String {
        let mut node = node.proto;
        let fallback = format!("{}_{}", node.op_type(), self.graph.node.len());
        if node.name.is_none() {
            node.name = Some(fallback.clone());
        }
        if node.output.is_empty() {
            node.output.push(fallback);
        }
        let output = node.output[0].clone();
        self.graph.node.push(node);
        output
    }

    /// Imports the operators of another domain than ONNX's own.
    pub fn import(&mut self, domain: &str, version: i64) {
        self.opset_import.push(operator_set(domain, version));
    }

    /// Brings a function along; its domain is to be imported too.
    pub fn function(&mut self, function: FunctionProto) {
        self.functions.push(function);
    }

    /// The graph alone: for the attribute of a control-flow node.
    pub fn into_graph(self) -> GraphProto {
        self.graph
    }

    /// The model, in ONNX's operators of that version.
    pub fn into_model(mut self, opset: i64) -> ModelProto {
        self.opset_import.insert(0, operator_set("", opset));
        ModelProto {
            ir_version: Some(IR_VERSION),
            producer_name: Some("onnxd".to_owned()),
            producer_version: Some(env!("CARGO_PKG_VERSION").to_owned()),
            graph: Some(self.graph),
            opset_import: self.opset_import,
            functions: self.functions,
            ..ModelProto::default()
        }
    }
}

/// One call of an operator, as it is put together.
#[derive(Clone, Debug)]
pub struct Node {
    proto: NodeProto,
}

impl Node {
    /// A call with these values; an empty name leaves an optional input out.
    pub fn new(operator: &str, inputs: &[&str]) -> Node {
        let proto = NodeProto {
            op_type: Some(operator.to_owned()),
            input: inputs.iter().map(|&input| input.to_owned()).collect(),
            ..NodeProto::default()
        };
        Node { proto }
    }

    /// The operator's domain, where it is not ONNX's own.
    pub fn domain(mut self, domain: &str) -> Node {
        self.proto.domain = Some(domain.to_owned());
        self
    }

    /// The node's own name.
    pub fn name(mut self, name: &str) -> Node {
        self.proto.name = Some(name.to_owned());
        self
    }

    /// Names one more output.
    pub fn output(mut self, name: &str) -> Node {
        self.proto.output.push(name.to_owned());
        self
    }

    /// Sets an attribute.
    pub fn attribute(mut self, name: &str, value: impl Into<AttributeValue>) -> Node {
        self.proto.attribute.push(attribute(name, value.into()));
        self
    }

    /// The message, for bodies of functions.
    pub fn into_proto(self) -> NodeProto {
        self.proto
    }
}

/// The value of an attribute.
#[derive(Clone, Debug, PartialEq)]
pub enum AttributeValue {
    Float(f32),
    Int(i64),
    String(String),
    Tensor(Tensor),
    Graph(GraphProto),
    Floats(Vec<f32>),
    Ints(Vec<i64>),
    Strings(Vec<String>),
    /// In a function's body: whatever the call says for this attribute of the function.
    Reference(String, AttributeType),
}

macro_rules! attribute_value_from {
    ($($from:ty => $variant:ident),* $(,)?) => {
        $(impl From<$from> for AttributeValue {
            fn from(value: $from) -> AttributeValue {
                AttributeValue::$variant(value.into())
            }
        })*
    };
}

attribute_value_from! {
    f32 => Float,
    i64 => Int,
    &str => String,
    Tensor => Tensor,
    GraphProto => Graph,
    &[f32] => Floats,
    &[i64] => Ints,
    Vec<String> => Strings,
}

impl<const N: usize> From<[i64; N]> for AttributeValue {
    fn from(value: [i64; N]) -> AttributeValue {
        AttributeValue::Ints(value.to_vec())
    }
}

/// An attribute of that name and value.
pub fn attribute(name: &str, value: AttributeValue) -> AttributeProto {
    let mut proto = AttributeProto { name: Some(name.to_owned()), ..AttributeProto::default() };
    let kind = match value {
        AttributeValue::Float(value) => {
            proto.f = Some(value);
            AttributeType::Float
        }
        AttributeValue::Int(value) => {
            proto.i = Some(value);
            AttributeType::Int
        }
        AttributeValue::String(value) => {
            proto.s = Some(Bytes::from(value));
            AttributeType::String
        }
        AttributeValue::Tensor(value) => {
            proto.t = Some(Box::new(tensor_proto("", &value)));
            AttributeType::Tensor
        }
        AttributeValue::Graph(value) => {
            proto.g = Some(Box::new(value));
            AttributeType::Graph
        }
        AttributeValue::Floats(values) => {
            proto.floats = values;
            AttributeType::Floats
        }
        AttributeValue::Ints(values) => {
            proto.ints = values;
            AttributeType::Ints
        }
        AttributeValue::Strings(values) => {
            proto.strings = values.into_iter().map(Bytes::from).collect();
            AttributeType::Strings
        }
        AttributeValue::Reference(outer, kind) => {
            proto.ref_attr_name = Some(outer);
            kind
        }
    };
    proto.set_type(kind);
    proto
}

/// Name and type of a tensor value; without a shape its rank is open.
pub fn value_info(name: &str, data_type: DataType, shape: Option<&[Dimension]>) -> ValueInfoProto {
    let dimension = |dimension: &Dimension| DimensionProto {
        value: match dimension {
            Dimension::Fixed(size) => {
                Some(DimensionValue::Size(i64::try_from(*size).unwrap_or(i64::MAX)))
            }
            Dimension::Named(name) => Some(DimensionValue::Name(name.clone())),
            Dimension::Unknown => None,
        },
        denotation: None,
    };
    let shape = shape.map(|shape| TensorShapeProto { dim: shape.iter().map(dimension).collect() });
    let tensor = TensorTypeProto { elem_type: Some(element_type_of(data_type)), shape };
    ValueInfoProto {
        name: Some(name.to_owned()),
        r#type: Some(TypeProto { value: Some(TypeValue::Tensor(tensor)), denotation: None }),
        ..ValueInfoProto::default()
    }
}

/// An operator set of that domain and version.
pub fn operator_set(domain: &str, version: i64) -> OperatorSetIdProto {
    OperatorSetIdProto { domain: Some(domain.to_owned()), version: Some(version) }
}

fn parse_shape(text: &str) -> Vec<Dimension> {
    let axis = |axis: &str| match axis.parse::<usize>() {
        Ok(size) => Dimension::Fixed(size),
        Err(_) if axis == "?" => Dimension::Unknown,
        Err(_) => Dimension::Named(axis.to_owned()),
    };
    text.split(',').map(str::trim).filter(|text| !text.is_empty()).map(axis).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::onnx::facts::signature;
    use crate::tensor::Shape;

    #[test]
    fn shapes_are_read_as_they_are_printed() {
        let mut graph = GraphBuilder::new("g");
        for (index, shape) in ["batch, 3, ?", "", "0"].into_iter().enumerate() {
            graph.input(&index.to_string(), DataType::Float32, shape);
        }
        let signature = signature(&graph.into_model(17)).expect("all are tensors");
        let texts: Vec<String> = signature.inputs.iter().map(|spec| spec.shape_text()).collect();
        assert_eq!(texts, ["[batch, 3, ?]", "[]", "[0]"]);
    }

    #[test]
    fn every_kind_of_attribute_says_its_type() {
        let tensor = Tensor::zeros(DataType::Int8, Shape::new()).expect("one element");
        let node = Node::new("Op", &[])
            .attribute("f", 0.5f32)
            .attribute("i", 1i64)
            .attribute("s", "text")
            .attribute("t", tensor)
            .attribute("g", GraphProto::default())
            .attribute("floats", &[0.5f32][..])
            .attribute("ints", [1, 2])
            .attribute("strings", vec!["a".to_owned()])
            .attribute(
                "reference",
                AttributeValue::Reference("outer".to_owned(), AttributeType::Int),
            );
        let types: Vec<AttributeType> =
            node.into_proto().attribute.iter().map(AttributeProto::r#type).collect();
        use AttributeType as T;
        let expected = [
            T::Float,
            T::Int,
            T::String,
            T::Tensor,
            T::Graph,
            T::Floats,
            T::Ints,
            T::Strings,
            T::Int,
        ];
        assert_eq!(types, expected);
    }
}
