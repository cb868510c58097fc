//! Where the nodes of a gradient go. The same call on the same values is made once: rules write
//! down their formulas without regard to what another one has computed already.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::rc::Rc;

use super::expr::Expr;
use crate::onnx::build::{AttributeValue, Node, attribute};
use crate::onnx::proto::{AttributeProto, FunctionProto, NodeProto, TensorProto};
use crate::onnx::weights::tensor_proto;
use crate::tensor::{AlignedBuffer, DataType, Shape, Tensor};

/// The domain of our functions.
pub const DOMAIN: &str = "onnxd";

/// What the backward pass has written so far.
#[derive(Debug)]
pub struct Emitter {
    opset: i64,
    /// What names begin with.
    prefix: &'static str,
    state: RefCell<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Every value that rules have seen, by [`Expr`]'s index.
    values: Vec<(Rc<str>, DataType)>,
    indices: HashMap<Rc<str>, usize>,
    names: HashSet<String>,
    nodes: Vec<NodeProto>,
    initializers: Vec<TensorProto>,
    functions: BTreeMap<String, FunctionProto>,
    /// Calls and constants by what they are.
    made: HashMap<String, Vec<usize>>,
    counts: HashMap<String, usize>,
}

/// All that was written.
#[derive(Clone, Debug, Default)]
pub struct Written {
    pub nodes: Vec<NodeProto>,
    pub initializers: Vec<TensorProto>,
    pub functions: Vec<FunctionProto>,
}

impl Emitter {
    /// Writes in ONNX's operators of that version, under names that begin so and are none of
    /// these.
    pub fn new(prefix: &'static str, opset: i64, names: HashSet<String>) -> Emitter {
        Emitter { opset, prefix, state: RefCell::new(State { names, ..State::default() }) }
    }

    /// The version of ONNX's own operators.
    pub fn opset(&self) -> i64 {
        self.opset
    }

    /// A value of the forward graph.
    pub fn value(&self, name: &str, data_type: DataType) -> Expr<'_> {
        let index = self.state.borrow_mut().index_of(name, data_type);
        Expr::new(self, index)
    }

    pub(super) fn name_of(&self, index: usize) -> Rc<str> {
        self.state.borrow().values[index].0.clone()
    }

    pub(super) fn data_type_of(&self, index: usize) -> DataType {
        self.state.borrow().values[index].1
    }

    /// Calls an operator of ONNX's own; one value per type.
    pub fn call<'g>(
        &'g self,
        operator: &str,
        inputs: &[Option<Expr<'g>>],
        attributes: Vec<(&str, AttributeValue)>,
        types: &[DataType],
    ) -> Vec<Expr<'g>> {
        self.call_in("", operator, inputs, attributes, types)
    }

    /// Calls a function of our domain and brings it along.
    pub fn call_function<'g>(
        &'g self,
        function: FunctionProto,
        inputs: &[Option<Expr<'g>>],
        attributes: Vec<(&str, AttributeValue)>,
        types: &[DataType],
    ) -> Vec<Expr<'g>> {
        let name = function.name().to_owned();
        self.bring(function);
        self.call_in(DOMAIN, &name, inputs, attributes, types)
    }

    /// Brings a function along that another one calls.
    pub fn bring(&self, function: FunctionProto) {
        let name = function.name().to_owned();
        self.state.borrow_mut().functions.entry(name).or_insert(function);
    }

    fn call_in<'g>(
        &'g self,
        domain: &str,
        operator: &str,
        inputs: &[Option<Expr<'g>>],
        attributes: Vec<(&str, AttributeValue)>,
        types: &[DataType],
    ) -> Vec<Expr<'g>> {
        let names: Vec<Rc<str>> =
            inputs.iter().map(|input| input.map_or_else(|| Rc::from(""), Expr::name)).collect();
        let attributes: Vec<AttributeProto> =
            attributes.into_iter().map(|(name, value)| attribute(name, value)).collect();
        let key = format!("{domain}.{operator} {names:?} {} {attributes:?}", types.len());
        let mut state = self.state.borrow_mut();
        if let Some(indices) = state.made.get(&key) {
            return indices.iter().map(|&index| Expr::new(self, index)).collect();
        }
        let inputs: Vec<&str> = names.iter().map(|name| &**name).collect();
        let mut node = Node::new(operator, &inputs);
        if !domain.is_empty() {
            node = node.domain(domain);
        }
        let base = state.fresh(self.prefix, operator);
        node = node.name(&base);
        let mut indices = Vec::with_capacity(types.len());
        for (position, &data_type) in types.iter().enumerate() {
            let output = if position == 0 { base.clone() } else { format!("{base}.{position}") };
            node = node.output(&output);
            indices.push(state.index_of(&output, data_type));
        }
        let mut node = node.into_proto();
        node.attribute = attributes;
        state.nodes.push(node);
        state.made.insert(key, indices.clone());
        indices.into_iter().map(|index| Expr::new(self, index)).collect()
    }

    /// A constant.
    pub fn constant(&self, tensor: &Tensor) -> Expr<'_> {
        let key = format!("{} {:?} {:?}", tensor.data_type(), tensor.shape(), tensor.bytes());
        let mut state = self.state.borrow_mut();
        if let Some(indices) = state.made.get(&key) {
            return Expr::new(self, indices[0]);
        }
        let name = state.fresh(self.prefix, "Constant");
        let index = state.index_of(&name, tensor.data_type());
        state.initializers.push(tensor_proto(&name, tensor));
        state.made.insert(key, vec![index]);
        Expr::new(self, index)
    }

    /// A vector of 64-bit integers: axes, shapes, repeats.
    pub fn ints(&self, values: &[i64]) -> Expr<'_> {
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.constant(&numbers(DataType::Int64, &[values.len()], &bytes))
    }

    /// One number without a shape.
    pub fn scalar(&self, data_type: DataType, value: f64) -> Expr<'_> {
        self.constant(&numbers(data_type, &[], &number_bytes(data_type, value)))
    }

    /// A constant of floats.
    pub fn floats(&self, data_type: DataType, shape: &[usize], values: &[f64]) -> Expr<'_> {
        let bytes: Vec<u8> =
            values.iter().flat_map(|&value| number_bytes(data_type, value)).collect();
        self.constant(&numbers(data_type, shape, &bytes))
    }

    pub fn into_written(self) -> Written {
        let State { nodes, initializers, functions, .. } = self.state.into_inner();
        Written { nodes, initializers, functions: functions.into_values().collect() }
    }
}

impl State {
    fn index_of(&mut self, name: &str, data_type: DataType) -> usize {
        if let Some(&index) = self.indices.get(name) {
            return index;
        }
        let name: Rc<str> = Rc::from(name);
        let index = self.values.len();
        self.values.push((name.clone(), data_type));
        self.indices.insert(name, index);
        index
    }

    /// A name that no value has.
    fn fresh(&mut self, prefix: &str, operator: &str) -> String {
        let count = self.counts.entry(operator.to_owned()).or_default();
        loop {
            *count += 1;
            let name = format!("{prefix}{operator}.{count}");
            if self.names.insert(name.clone()) {
                return name;
            }
        }
    }
}

fn numbers(data_type: DataType, shape: &[usize], bytes: &[u8]) -> Tensor {
    let mut buffer = AlignedBuffer::zeroed(bytes.len());
    buffer.as_mut_slice().copy_from_slice(bytes);
    Tensor::numbers(data_type, Shape::from_slice(shape), buffer.into_bytes())
        .expect("the bytes were made for this type and shape")
}

/// The value in that type, rounded where the type is coarser.
fn number_bytes(data_type: DataType, value: f64) -> Vec<u8> {
    match data_type {
        DataType::Float64 => value.to_le_bytes().to_vec(),
        DataType::Float16 => half::f16::from_f64(value).to_le_bytes().to_vec(),
        DataType::BFloat16 => half::bf16::from_f64(value).to_le_bytes().to_vec(),
        DataType::Int64 => (value as i64).to_le_bytes().to_vec(),
        DataType::Int32 => (value as i32).to_le_bytes().to_vec(),
        DataType::Bool => vec![u8::from(value != 0.0)],
        _ => {
            debug_assert_eq!(data_type, DataType::Float32, "no rule makes such constants");
            (value as f32).to_le_bytes().to_vec()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_call_is_made_once() {
        let emitter = Emitter::new("gradient/", 17, HashSet::from(["gradient/Mul.1".to_owned()]));
        let x = emitter.value("x", DataType::Float32);
        let y = emitter.value("y", DataType::Float32);
        let first = x * y + x * y + 1.0;
        let second = x * y + x * y + 1.0;
        assert_eq!(first.name(), second.name());
        let written = emitter.into_written();
        let names: Vec<&str> = written.nodes.iter().map(NodeProto::name).collect();
        assert_eq!(names, ["gradient/Mul.2", "gradient/Add.1", "gradient/Add.2"]);
        assert_eq!(written.initializers.len(), 1);
    }

    #[test]
    fn numbers_take_the_type_of_what_they_meet() {
        let emitter = Emitter::new("gradient/", 17, HashSet::new());
        let x = emitter.value("x", DataType::Float64);
        assert_eq!((2.0 * x).data_type(), DataType::Float64);
        let written = emitter.into_written();
        assert_eq!(written.initializers[0].raw_data.as_deref(), Some(&2f64.to_le_bytes()[..]));
    }
}
