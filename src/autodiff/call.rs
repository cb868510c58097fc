//! A node as the rule of its operator sees it.

use super::emitter::Emitter;
use super::expr::Expr;
use super::facts::{Fact, Facts, sizes};
use super::size::Size;
use crate::onnx::graph;
use crate::onnx::proto::{AttributeProto, NodeProto, TensorProto};
use crate::onnx::weights::tensor;
use crate::tensor::{DataType, Dimension, Tensor};

/// One node of the forward graph, with the gradients that have arrived at its outputs.
///
/// Inputs and outputs are counted as the operator's definition does. What a rule asks for must be
/// there by that definition: the driver has looked the node over before.
pub struct Call<'g, 'n> {
    pub(super) emitter: &'g Emitter,
    pub(super) node: &'n NodeProto,
    pub(super) facts: &'n Facts,
    pub(super) constants: &'n Constants<'n>,
    /// Per output; `None` where the loss does not depend on it.
    pub(super) gradients: Vec<Option<Expr<'g>>>,
    /// Per input: whether a gradient for it is of use.
    pub(super) wanted: Vec<bool>,
}

/// Initializers that are not trained, by name.
pub(super) type Constants<'n> = std::collections::HashMap<&'n str, &'n TensorProto>;

impl<'g, 'n> Call<'g, 'n> {
    pub fn emitter(&self) -> &'g Emitter {
        self.emitter
    }

    /// The version of ONNX's own operators.
    pub fn opset(&self) -> i64 {
        self.emitter.opset()
    }

    pub fn node(&self) -> &'n NodeProto {
        self.node
    }

    /// The gradient at the first output.
    pub fn gradient(&self) -> Expr<'g> {
        self.gradients[0].expect("the driver gives a lone output's gradient")
    }

    /// The gradient at an output, or `None` where the loss does not depend on it.
    pub fn gradient_of(&self, output: usize) -> Option<Expr<'g>> {
        self.gradients.get(output).copied().flatten()
    }

    /// As [`gradient_of`](Self::gradient_of), with zeros for none.
    pub fn gradient_or_zeros(&self, output: usize) -> Expr<'g> {
        self.gradient_of(output).unwrap_or_else(|| self.zeros_like_output(output))
    }

    fn zeros_like_output(&self, output: usize) -> Expr<'g> {
        let value = self.output(output);
        value.number(0.0).expand(self.shape_of(&self.node.output[output]))
    }

    /// How many inputs are given, those left out in between included.
    pub fn input_count(&self) -> usize {
        self.node.input.len()
    }

    pub fn input(&self, index: usize) -> Expr<'g> {
        self.optional_input(index).expect("the operator's definition requires this input")
    }

    /// `None` for an input that the node leaves out.
    pub fn optional_input(&self, index: usize) -> Option<Expr<'g>> {
        let name = self.node.input.get(index).filter(|name| !name.is_empty())?;
        Some(self.emitter.value(name, self.fact(name).data_type))
    }

    /// An output that the node has. One that it leaves out has no name to be called by: see
    /// [`has_output`](Self::has_output).
    pub fn output(&self, index: usize) -> Expr<'g> {
        let name = &self.node.output[index];
        self.emitter.value(name, self.fact(name).data_type)
    }

    pub fn has_output(&self, index: usize) -> bool {
        self.node.output.get(index).is_some_and(|name| !name.is_empty())
    }

    /// Whether a gradient for this input is of use.
    pub fn wants(&self, input: usize) -> bool {
        self.wanted.get(input).copied().unwrap_or(false)
    }

    fn fact(&self, name: &str) -> &'n Fact {
        self.facts.get(name).expect("the driver has facts of all values of this node")
    }

    pub fn input_dimensions(&self, index: usize) -> &'n [Dimension] {
        &self.fact(&self.node.input[index]).shape
    }

    pub fn output_dimensions(&self, index: usize) -> &'n [Dimension] {
        &self.fact(&self.node.output[index]).shape
    }

    pub fn input_rank(&self, index: usize) -> usize {
        self.input_dimensions(index).len()
    }

    pub fn output_rank(&self, index: usize) -> usize {
        self.output_dimensions(index).len()
    }

    /// An input's sizes, where none is open.
    pub fn input_sizes(&self, index: usize) -> Option<Vec<i64>> {
        sizes(self.input_dimensions(index))
    }

    /// An input's shape as a vector of 64-bit integers: a constant where it is known.
    pub fn input_shape(&self, index: usize) -> Expr<'g> {
        self.shape_of(&self.node.input[index])
    }

    pub fn output_shape(&self, index: usize) -> Expr<'g> {
        self.shape_of(&self.node.output[index])
    }

    fn shape_of(&self, name: &str) -> Expr<'g> {
        let fact = self.fact(name);
        match sizes(&fact.shape) {
            Some(sizes) => self.emitter.ints(&sizes),
            None => self.emitter.value(name, fact.data_type).shape(),
        }
    }

    pub fn input_size(&self, index: usize, axis: i64) -> Size<'g> {
        self.size_of(&self.node.input[index], axis)
    }

    pub fn output_size(&self, index: usize, axis: i64) -> Size<'g> {
        self.size_of(&self.node.output[index], axis)
    }

    fn size_of(&self, name: &str, axis: i64) -> Size<'g> {
        match self.fact(name).shape[axis as usize] {
            Dimension::Fixed(size) => Size::Known(size as i64),
            _ => Size::Computed(self.shape_of(name).slice_axis(0, axis, axis + 1)),
        }
    }

    /// Zeros of an input's shape and type.
    pub fn zeros_like_input(&self, index: usize) -> Expr<'g> {
        self.input(index).number(0.0).expand(self.input_shape(index))
    }

    /// A value in an input's shape, which has as many elements.
    pub fn in_input_shape(&self, value: Expr<'g>, index: usize) -> Expr<'g> {
        match self.input_sizes_but_one(index) {
            Some(sizes) => value.reshape_to(&sizes),
            None => value.reshape_exactly(self.input_shape(index)),
        }
    }

    /// An input's sizes as `Reshape` takes them: one may be open, as -1, where none is 0.
    pub fn input_sizes_but_one(&self, index: usize) -> Option<Vec<i64>> {
        let size = |dimension: &Dimension| match dimension {
            Dimension::Fixed(size) => *size as i64,
            _ => -1,
        };
        let sizes: Vec<i64> = self.input_dimensions(index).iter().map(size).collect();
        match sizes.iter().filter(|&&size| size == -1).count() {
            0 => Some(sizes),
            1 if !sizes.contains(&0) => Some(sizes),
            _ => None,
        }
    }

    /// The product of an input's sizes over some axes, as a number of that input's type.
    pub fn input_size_over(&self, index: usize, axes: &[i64]) -> Expr<'g> {
        let data_type = self.input(index).data_type();
        let dimensions = self.input_dimensions(index);
        let known = |&axis: &i64| match &dimensions[axis as usize] {
            Dimension::Fixed(size) => Some(*size as f64),
            _ => None,
        };
        if let Some(sizes) = axes.iter().map(known).collect::<Option<Vec<f64>>>() {
            return self.emitter.scalar(data_type, sizes.iter().product());
        }
        let picked = self.input_shape(index).call_with(
            "Gather",
            &[self.emitter.ints(axes)],
            vec![("axis", 0.into())],
        );
        // Without axes it is over all of them, in every operator set.
        let product = picked.call_with("ReduceProd", &[], vec![("keepdims", 0.into())]);
        product.cast(data_type)
    }

    /// An axis counted from the front.
    pub fn axis(&self, axis: i64, rank: usize) -> i64 {
        if axis < 0 { axis + rank as i64 } else { axis }
    }

    fn attribute(&self, name: &str) -> Option<&'n AttributeProto> {
        graph::attribute(self.node, name)
    }

    pub fn has_attribute(&self, name: &str) -> bool {
        self.attribute(name).is_some()
    }

    pub fn int(&self, name: &str, default: i64) -> i64 {
        self.attribute(name).and_then(|attribute| attribute.i).unwrap_or(default)
    }

    pub fn float(&self, name: &str, default: f64) -> f64 {
        self.attribute(name).and_then(|attribute| attribute.f).map_or(default, f64::from)
    }

    pub fn text(&self, name: &str, default: &str) -> String {
        let bytes = self.attribute(name).and_then(|attribute| attribute.s.as_ref());
        bytes.map_or_else(|| default.to_owned(), |text| String::from_utf8_lossy(text).into_owned())
    }

    pub fn floats(&self, name: &str) -> Option<Vec<f32>> {
        self.attribute(name).map(|attribute| attribute.floats.clone())
    }

    pub fn texts(&self, name: &str) -> Option<Vec<String>> {
        let text = |bytes: &bytes::Bytes| String::from_utf8_lossy(bytes).into_owned();
        self.attribute(name).map(|attribute| attribute.strings.iter().map(text).collect())
    }

    pub fn ints(&self, name: &str) -> Option<Vec<i64>> {
        self.attribute(name).map(|attribute| attribute.ints.clone())
    }

    /// An input that is a constant, or `None` where it is left out or computed.
    pub fn constant(&self, index: usize) -> Option<Tensor> {
        let name = self.node.input.get(index)?;
        tensor(self.constants.get(name.as_str())?).ok()
    }

    /// A constant input of integers, of 32 or 64 bits.
    pub fn constant_ints(&self, index: usize) -> Option<Vec<i64>> {
        let tensor = self.constant(index)?;
        let bytes = tensor.bytes()?;
        match tensor.data_type() {
            DataType::Int64 => Some(
                bytes
                    .chunks_exact(8)
                    .map(|chunk| i64::from_le_bytes(chunk.try_into().expect("eight bytes")))
                    .collect(),
            ),
            DataType::Int32 => Some(
                bytes
                    .chunks_exact(4)
                    .map(|chunk| i32::from_le_bytes(chunk.try_into().expect("four bytes")).into())
                    .collect(),
            ),
            _ => None,
        }
    }

    /// The axes a `Reduce` operator works on, from its input or its attribute, counted from the
    /// front and in order; `None` where they are computed. None given means all, or none at all
    /// where the node says so.
    pub fn reduced_axes(&self) -> Option<Vec<i64>> {
        let rank = self.input_rank(0);
        let given = match self.optional_input(1) {
            Some(_) => self.constant_ints(1)?,
            None => self.ints("axes").unwrap_or_default(),
        };
        if given.is_empty() {
            let none = self.int("noop_with_empty_axes", 0) == 1;
            return Some(if none { Vec::new() } else { (0..rank as i64).collect() });
        }
        let mut axes: Vec<i64> = given.iter().map(|&axis| self.axis(axis, rank)).collect();
        axes.sort_unstable();
        Some(axes)
    }
}
