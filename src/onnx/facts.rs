//! What a model says of itself without being run: inputs and outputs, operators, parameters.

use std::collections::{BTreeMap, HashSet};

use super::OnnxError;
use super::element::element_type_name;
use super::graph::{canonical_domain, nodes};
use super::proto::{
    DimensionProto, DimensionValue, ElementType, GraphProto, ModelProto, TensorProto, TypeProto,
    TypeValue, ValueInfoProto,
};
use super::weights::{elements, stored_bytes};
use crate::tensor::{Dimension, TensorSpec};

/// The first IR version in which an initializer need not be listed among the inputs, so that one
/// that is listed is a default which a caller may override.
const IR_VERSION_WITH_OPTIONAL_INPUTS: i64 = 4;

/// Inputs and outputs, in the file's order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ModelSignature {
    pub inputs: Vec<TensorSpec>,
    pub outputs: Vec<TensorSpec>,
}

/// How often an operator is called in the graph, subgraphs and functions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OperatorCount {
    /// Empty for ONNX's own operators.
    pub domain: String,
    pub operator: String,
    pub count: usize,
}

/// An operator set that the model is written in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OperatorSet {
    /// Empty for ONNX's own operators.
    pub domain: String,
    pub version: i64,
}

/// The size of all constant tensors: initializers and attributes, subgraphs and functions included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ParameterSize {
    pub elements: u64,
    pub bytes: u64,
}

/// The model's inputs and outputs. An input with an initializer is optional; before IR version 4
/// every initializer had to be listed as an input, so there it is no input at all.
///
/// # Errors
/// An input or output is no tensor, or of a type that tensors cannot have.
pub fn signature(model: &ModelProto) -> Result<ModelSignature, OnnxError> {
    let Some(graph) = &model.graph else { return Ok(ModelSignature::default()) };
    let defaults = initializer_names(graph);
    let may_override = model.ir_version() >= IR_VERSION_WITH_OPTIONAL_INPUTS;
    let inputs = graph
        .input
        .iter()
        .filter(|input| may_override || !defaults.contains(input.name()))
        .map(|input| spec(input, defaults.contains(input.name())))
        .collect::<Result<_, _>>()?;
    let outputs =
        graph.output.iter().map(|output| spec(output, false)).collect::<Result<_, _>>()?;
    Ok(ModelSignature { inputs, outputs })
}

/// The operator sets, in the file's order.
pub fn operator_sets(model: &ModelProto) -> Vec<OperatorSet> {
    let set = |set: &super::proto::OperatorSetIdProto| OperatorSet {
        domain: canonical_domain(set.domain()).to_owned(),
        version: set.version(),
    };
    model.opset_import.iter().map(set).collect()
}

/// The operators the model calls, by domain and name.
pub fn operators(model: &ModelProto) -> Vec<OperatorCount> {
    let mut counts: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    for node in nodes(model) {
        *counts.entry((canonical_domain(node.domain()), node.op_type())).or_default() += 1;
    }
    let count = |((domain, operator), count): ((&str, &str), usize)| OperatorCount {
        domain: domain.to_owned(),
        operator: operator.to_owned(),
        count,
    };
    counts.into_iter().map(count).collect()
}

/// How large the model's weights are, from their declared shapes: external ones are not read.
///
/// # Errors
/// A weight's shape or type is impossible.
pub fn parameters(model: &ModelProto) -> Result<ParameterSize, OnnxError> {
    let attributes = || nodes(model).flat_map(|node| &node.attribute);
    let subgraphs = attributes()
        .flat_map(|attribute| attribute.g.as_deref().into_iter().chain(&attribute.graphs));
    let initializers = model.graph.iter().chain(subgraphs).flat_map(|graph| {
        let sparse = graph.sparse_initializer.iter().filter_map(|sparse| sparse.values.as_ref());
        graph.initializer.iter().chain(sparse)
    });
    // Some exporters keep all weights in `Constant` nodes, the only ones with a tensor as a rule.
    let constants = attributes().filter_map(|attribute| attribute.t.as_deref());
    let mut size = ParameterSize::default();
    for tensor in initializers.chain(constants) {
        // Two tensors of 2^63 elements take no space in a file: sums saturate.
        size.elements = size.elements.saturating_add(elements(tensor)?);
        size.bytes = size.bytes.saturating_add(stored_bytes(tensor)?);
    }
    Ok(size)
}

fn initializer_names(graph: &GraphProto) -> HashSet<&str> {
    let sparse = graph.sparse_initializer.iter().filter_map(|sparse| sparse.values.as_ref());
    graph.initializer.iter().chain(sparse).map(TensorProto::name).collect()
}

fn spec(value: &ValueInfoProto, optional: bool) -> Result<TensorSpec, OnnxError> {
    let unsupported =
        |kind: String| OnnxError::TypeUnsupported { name: value.name().to_owned(), kind };
    let kind = value.r#type.as_ref().and_then(|of| of.value.as_ref());
    let Some(TypeValue::Tensor(tensor)) = kind else {
        return Err(unsupported(type_text(value.r#type.as_ref())));
    };
    let data_type = ElementType::try_from(tensor.elem_type()).ok().and_then(ElementType::data_type);
    let data_type = data_type.ok_or_else(|| unsupported(type_text(value.r#type.as_ref())))?;
    let shape = tensor.shape.as_ref().map(|shape| shape.dim.iter().map(dimension).collect());
    Ok(TensorSpec { name: value.name().to_owned(), data_type, shape, optional })
}

/// Some writers put -1 where they mean an open axis.
fn dimension(proto: &DimensionProto) -> Dimension {
    match &proto.value {
        Some(DimensionValue::Size(size)) => {
            usize::try_from(*size).map_or(Dimension::Unknown, Dimension::Fixed)
        }
        Some(DimensionValue::Name(name)) if !name.is_empty() => Dimension::Named(name.clone()),
        Some(DimensionValue::Name(_)) | None => Dimension::Unknown,
    }
}

/// A type as a person reads it, such as `a sequence of a tensor of FLOAT`.
pub fn type_text(proto: Option<&TypeProto>) -> String {
    let nested = |inner: &Option<Box<TypeProto>>| type_text(inner.as_deref());
    match proto.and_then(|of| of.value.as_ref()) {
        None => "of no declared type".to_owned(),
        Some(TypeValue::Tensor(tensor)) => {
            format!("a tensor of {}", element_type_name(tensor.elem_type()))
        }
        Some(TypeValue::SparseTensor(tensor)) => {
            format!("a sparse tensor of {}", element_type_name(tensor.elem_type()))
        }
        Some(TypeValue::Sequence(sequence)) => {
            format!("a sequence of {}", nested(&sequence.elem_type))
        }
        Some(TypeValue::Optional(optional)) => {
            format!("an optional of {}", nested(&optional.elem_type))
        }
        Some(TypeValue::Map(map)) => {
            let key = element_type_name(map.key_type());
            format!("a map from {key} to {}", nested(&map.value_type))
        }
        Some(TypeValue::Opaque(opaque)) => {
            format!("an opaque {}.{}", opaque.domain(), opaque.name())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::onnx::build::{GraphBuilder, Node, value_info};
    use crate::onnx::samples::{EncoderSize, encoder, mlp, resnet18};
    use crate::tensor::{DataType, Tensor};

    #[test]
    fn samples_have_the_signature_they_promise() {
        let texts = |specs: &[TensorSpec]| -> Vec<String> {
            let text = |spec: &TensorSpec| {
                format!("{} {} {}", spec.name, spec.data_type, spec.shape_text())
            };
            specs.iter().map(text).collect()
        };
        let perceptron = signature(&mlp(64, &[128, 128], 10)).expect("all are tensors");
        assert_eq!(texts(&perceptron.inputs), ["input FP32 [batch, 64]"]);
        assert_eq!(texts(&perceptron.outputs), ["output FP32 [batch, 10]"]);
        let size = EncoderSize { layers: 1, width: 8, heads: 2, feed_forward: 16, vocabulary: 9 };
        let encoder = signature(&encoder(size)).expect("all are tensors");
        assert_eq!(
            texts(&encoder.inputs),
            ["input_ids INT64 [batch, sequence]", "attention_mask INT64 [batch, sequence]"]
        );
        assert_eq!(texts(&encoder.outputs), ["last_hidden_state FP32 [batch, sequence, 8]"]);
    }

    #[test]
    fn parameters_are_counted_from_shapes() {
        let expected = 64 * 128 + 128 + 128 * 128 + 128 + 128 * 10 + 10;
        let size = parameters(&mlp(64, &[128, 128], 10)).expect("sound weights");
        assert_eq!(size, ParameterSize { elements: expected, bytes: expected * 4 });
        // ResNet-18 with its normalisations folded: 11,684,712 weights and biases.
        assert_eq!(parameters(&resnet18(224)).expect("sound weights").elements, 11_684_712);
    }

    #[test]
    fn weights_in_constant_nodes_are_counted() {
        let mut graph = GraphBuilder::new("g");
        let weight = Tensor::from_f32(&[2], &[0.5, 1.0]).expect("two values");
        graph.node(Node::new("Constant", &[]).attribute("value", weight));
        let size = parameters(&graph.into_model(17)).expect("sound weights");
        assert_eq!(size, ParameterSize { elements: 2, bytes: 8 });
    }

    #[test]
    fn operators_of_subgraphs_are_counted() {
        let mut branch = GraphBuilder::new("branch");
        branch.call("Relu", &["x"]);
        branch.node(Node::new("Gelu", &["x"]).domain("com.microsoft"));
        let mut graph = GraphBuilder::new("g");
        graph.node(Node::new("If", &["c"]).attribute("then_branch", branch.into_graph()));
        graph.node(Node::new("Relu", &["x"]).domain("ai.onnx"));
        let counts: Vec<(String, String, usize)> = operators(&graph.into_model(17))
            .into_iter()
            .map(|count| (count.domain, count.operator, count.count))
            .collect();
        let expected = [("", "If", 1), ("", "Relu", 2), ("com.microsoft", "Gelu", 1)];
        let owned = expected.map(|(domain, name, count)| (domain.into(), name.into(), count));
        assert_eq!(counts, owned);
    }

    fn check_defaulted(ir_version: i64, expected: &[(&str, bool)]) {
        let mut graph = GraphBuilder::new("g");
        graph.input("x", DataType::Float32, "1");
        graph.input("w", DataType::Float32, "1");
        graph.initializer("w", &Tensor::from_f32(&[1], &[0.5]).expect("one value"));
        let mut model = graph.into_model(17);
        model.ir_version = Some(ir_version);
        let inputs = signature(&model).expect("all are tensors").inputs;
        let inputs: Vec<(&str, bool)> =
            inputs.iter().map(|spec| (spec.name.as_str(), spec.optional)).collect();
        assert_eq!(inputs, expected);
    }

    #[test]
    fn an_input_with_an_initializer_is_optional_and_was_none_in_old_models() {
        check_defaulted(8, &[("x", false), ("w", true)]);
        check_defaulted(3, &[("x", false)]);
    }

    #[test]
    fn other_types_than_tensors_are_refused_by_name() {
        let mut model = GraphBuilder::new("g").into_model(17);
        let element = value_info("", DataType::Float32, None).r#type.map(Box::new);
        let sequence = crate::onnx::proto::SequenceTypeProto { elem_type: element };
        let kind = TypeProto { value: Some(TypeValue::Sequence(sequence)), ..TypeProto::default() };
        let mut output = value_info("boxes", DataType::Float32, None);
        output.r#type = Some(kind);
        model.graph.as_mut().expect("has one").output.push(output);
        let error = signature(&model).expect_err("a sequence").to_string();
        assert_eq!(
            error,
            "\"boxes\" is a sequence of a tensor of FLOAT; only tensors of the protocol's types \
             can be served"
        );
    }
}
