//! Native operators for tract: calls of functions of the domain `onnxd` that stay calls.
//!
//! tract looks operators up by name alone, so that these have names that no standard has: the
//! domain's, a dot, the function's.

use tract_onnx::Onnx;
use tract_onnx::model::ParsingContext;
use tract_onnx::pb::attribute_proto::AttributeType;
use tract_onnx::pb::{AttributeProto, GraphProto, NodeProto};
use tract_onnx::tract_core::ops::TypedOp;
use tract_onnx::tract_hir::internal::*;

use crate::engine::operators::{
    ALL, AttributeSource, DOMAIN, Declaration, Dimension, NativeOperator, Operand, Operands,
    Values, output_sizes,
};
use crate::kernels::{Parallel, ScopedThreads, Sequential};

/// An attribute of ours: how many threads a run may use.
const THREADS: &str = "onnxd.threads";

/// Tells tract of all operators.
pub(super) fn register(framework: &mut Onnx) {
    for declaration in ALL {
        framework.op_register.0.insert(private_name(declaration.name), parse);
    }
}

/// Whether calls of a function have a native operator in its place.
pub(super) fn is_native(domain: &str, name: &str) -> bool {
    domain == DOMAIN && Declaration::of(name).is_some()
}

/// Makes calls of functions, in subgraphs too, calls of the operators in their place. A run of one
/// may use so many threads.
pub(super) fn make_native(graph: &mut GraphProto, threads: usize) {
    for node in &mut graph.node {
        for attribute in &mut node.attribute {
            let graphs = attribute.g.iter_mut().chain(&mut attribute.graphs);
            graphs.for_each(|graph| make_native(graph, threads));
        }
        if is_native(&node.domain, &node.op_type) {
            node.op_type = private_name(&node.op_type);
            node.attribute.push(AttributeProto {
                name: THREADS.to_owned(),
                i: i64::try_from(threads).unwrap_or(i64::MAX),
                r#type: AttributeType::Int.into(),
                ..AttributeProto::default()
            });
        }
    }
}

/// The name of the function that an operator stands for.
pub(super) fn public_name(name: &str) -> &str {
    name.strip_prefix(DOMAIN).and_then(|name| name.strip_prefix('.')).unwrap_or(name)
}

fn private_name(name: &str) -> String {
    format!("{DOMAIN}.{name}")
}

fn parse(
    _context: &ParsingContext<'_>,
    node: &NodeProto,
) -> TractResult<(Box<dyn InferenceOp>, Vec<String>)> {
    let name = public_name(&node.op_type);
    let declaration = Declaration::of(name).ok_or_else(|| format_err!("no operator {name:?}"))?;
    let source = OfNode(node);
    let given = |name: &String| !name.is_empty();
    let operator = Native {
        name: declaration.name,
        operator: Arc::from(declaration.read(&source)?),
        inputs: node.input.iter().map(given).collect(),
        outputs: node.output.iter().map(given).collect(),
        threads: source.int(THREADS).and_then(|threads| threads.try_into().ok()).unwrap_or(1),
    };
    Ok((expand(operator), Vec::new()))
}

struct OfNode<'a>(&'a NodeProto);

impl OfNode<'_> {
    fn attribute(&self, name: &str, kind: AttributeType) -> Option<&AttributeProto> {
        let of_name = self.0.attribute.iter().find(|attribute| attribute.name == name)?;
        (of_name.r#type == i32::from(kind)).then_some(of_name)
    }
}

impl AttributeSource for OfNode<'_> {
    fn int(&self, name: &str) -> Option<i64> {
        self.attribute(name, AttributeType::Int).map(|attribute| attribute.i)
    }

    fn ints(&self, name: &str) -> Option<Vec<i64>> {
        self.attribute(name, AttributeType::Ints).map(|attribute| attribute.ints.clone())
    }

    fn float(&self, name: &str) -> Option<f32> {
        self.attribute(name, AttributeType::Float).map(|attribute| attribute.f)
    }
}

/// A call, before and after types are known.
#[derive(Clone, Debug)]
struct Native {
    name: &'static str,
    operator: Arc<dyn NativeOperator>,
    /// Which inputs are given, and which outputs are wanted: tract has no others.
    inputs: Vec<bool>,
    outputs: Vec<bool>,
    threads: usize,
}

impl PartialEq for Native {
    /// Calls are not compared by what they compute: each is its own.
    fn eq(&self, other: &Native) -> bool {
        Arc::ptr_eq(&self.operator, &other.operator) && self.outputs == other.outputs
    }
}

impl Eq for Native {}

impl Native {
    /// The function's inputs, of those that tract has.
    fn spread<T>(&self, given: impl IntoIterator<Item = T>) -> Vec<Option<T>> {
        let mut given = given.into_iter();
        self.inputs.iter().map(|is_given| is_given.then(|| given.next()).flatten()).collect()
    }

    /// What tract has of the function's outputs.
    fn wanted<T>(&self, all: Vec<T>) -> TVec<T> {
        let wanted = self.outputs.iter().copied().chain(std::iter::repeat(false));
        all.into_iter().zip(wanted).filter_map(|(value, wanted)| wanted.then_some(value)).collect()
    }

    /// The shapes of the outputs that are wanted.
    fn shapes(&self, inputs: &[&[TDim]]) -> TractResult<TVec<TVec<TDim>>> {
        let inputs = self.spread(inputs.iter().copied());
        let ranks: Vec<Option<usize>> =
            inputs.iter().map(|input| input.map(<[TDim]>::len)).collect();
        let shapes = self.operator.output_shapes(&ranks)?;
        let shapes = shapes.iter().map(|shape| {
            shape.iter().map(|dimension| symbolic(dimension, &inputs)).collect::<TractResult<_>>()
        });
        Ok(self.wanted(shapes.collect::<TractResult<Vec<_>>>()?))
    }

    fn run(&self, given: TVec<TValue>, parallel: &dyn Parallel) -> TractResult<TVec<TValue>> {
        let in_place = self.operator.in_place();
        let mut given = self.spread(given);
        let shapes = self.output_sizes(&given)?;
        let mut made: Vec<Tensor> = Vec::with_capacity(shapes.len());
        let mut replaced = vec![None; given.len()];
        for (index, shape) in shapes.iter().enumerate() {
            let input = in_place.iter().find(|(_, output)| *output == index);
            let old = input.and_then(|(input, _)| Some((*input, given[*input].take()?)));
            made.push(match old {
                // Taken over where nobody else has it, else copied.
                Some((input, old)) => {
                    replaced[input] = Some(shape.clone());
                    old.into_tensor()
                }
                None => Tensor::zero::<f32>(shape)?,
            });
        }
        let mut operands = Vec::with_capacity(given.len());
        for (value, replaced) in given.iter().zip(&replaced) {
            operands.push(match (value, replaced) {
                (Some(value), _) => Some(operand(value)?),
                (None, Some(shape)) => Some(Operand { shape, values: Values::InPlace }),
                (None, None) => None,
            });
        }
        let mut views = Vec::with_capacity(made.len());
        for tensor in &mut made {
            views.push(tensor.try_as_plain_ram_mut()?);
        }
        let mut outputs = Vec::with_capacity(views.len());
        for view in &mut views {
            outputs.push(view.as_slice_mut::<f32>()?);
        }
        self.operator.compute(&Operands::new(self.name, &operands), &mut outputs, parallel)?;
        Ok(self.wanted(made.into_iter().map(TValue::from).collect()))
    }

    fn output_sizes(&self, given: &[Option<TValue>]) -> TractResult<Vec<Vec<usize>>> {
        let ranks: Vec<Option<usize>> =
            given.iter().map(|value| Some(value.as_ref()?.rank())).collect();
        let shapes = self.operator.output_shapes(&ranks)?;
        let operands: Vec<Option<Operand<'_>>> = given
            .iter()
            // Shapes alone: no value is looked at.
            .map(|value| Some(Operand { shape: value.as_ref()?.shape(), values: Values::InPlace }))
            .collect();
        Ok(output_sizes(self.name, &shapes, &Operands::new(self.name, &operands))?)
    }
}

fn operand(tensor: &Tensor) -> TractResult<Operand<'_>> {
    let view = tensor.try_as_plain_ram()?;
    let values = match tensor.datum_type() {
        DatumType::F32 => Values::Floats(view.as_slice()?),
        DatumType::I32 => Values::Int32s(view.as_slice()?),
        DatumType::I64 => Values::Int64s(view.as_slice()?),
        other => bail!("no kernel reads {other:?}"),
    };
    Ok(Operand { shape: tensor.shape(), values })
}

/// A dimension in tract's symbols.
fn symbolic(dimension: &Dimension, inputs: &[Option<&[TDim]>]) -> TractResult<TDim> {
    match *dimension {
        Dimension::Fixed(size) => Ok(size.to_dim()),
        Dimension::Of { input, axis, times, plus, over, after } => {
            let size = inputs.get(input).copied().flatten().and_then(|shape| shape.get(axis));
            let size = size.ok_or_else(|| format_err!("input {input} has no axis {axis}"))?;
            let wide = size.clone() * times + plus;
            Ok(if over == 1 { wide } else { wide / over } + after)
        }
    }
}

impl Expansion for Native {
    fn name(&self) -> StaticName {
        self.name.into()
    }

    fn nboutputs(&self) -> TractResult<usize> {
        Ok(self.outputs.iter().filter(|&&wanted| wanted).count())
    }

    fn rules<'r, 'p: 'r, 's: 'r>(
        &'s self,
        solver: &mut Solver<'r>,
        inputs: &'p [TensorProxy],
        outputs: &'p [TensorProxy],
    ) -> InferenceResult {
        for output in outputs {
            solver.equals(&output.datum_type, DatumType::F32)?;
        }
        solver.given_all(inputs.iter().map(|input| &input.shape), move |solver, shapes| {
            let shapes: Vec<&[TDim]> = shapes.iter().map(|shape| &shape[..]).collect();
            for (output, shape) in outputs.iter().zip(self.shapes(&shapes)?) {
                solver.equals(&output.shape, shape)?;
            }
            Ok(())
        })
    }

    fn wire(
        &self,
        prefix: &str,
        model: &mut TypedModel,
        inputs: &[OutletId],
    ) -> TractResult<TVec<OutletId>> {
        let mut wired = TVec::new();
        for (index, &input) in inputs.iter().enumerate() {
            // Integers that were computed from shapes have a symbolic type of tract's own.
            wired.push(match model.outlet_fact(input)?.datum_type {
                DatumType::TDim => {
                    let cast = tract_onnx::tract_core::ops::cast::cast(DatumType::I64);
                    model.wire_node(format!("{prefix}.input{index}"), cast, &[input])?[0]
                }
                _ => input,
            });
        }
        model.wire_node(prefix, self.clone(), &wired)
    }
}

impl Op for Native {
    fn name(&self) -> StaticName {
        self.name.into()
    }

    op_as_typed_op!();
}

impl EvalOp for Native {
    op_out_of_plan!();

    fn eval(&self, _context: &EvalContext, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        match self.threads {
            0 | 1 => self.run(inputs, &Sequential),
            count => self.run(inputs, &ScopedThreads { count }),
        }
    }
}

impl TypedOp for Native {
    as_op!();

    fn output_facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        let shapes: Vec<&[TDim]> = inputs.iter().map(|fact| fact.shape.dims()).collect();
        let shapes = self.shapes(&shapes)?;
        Ok(shapes.into_iter().map(|shape| DatumType::F32.fact(shape)).collect())
    }
}
