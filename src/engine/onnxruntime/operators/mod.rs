//! Native operators for ONNX Runtime: custom operators of the domain `onnxd`. Where one is
//! registered it wins over the body of the function of its name, silently, and there is no way back
//! to the body for a call that it does not fit.
//!
//! Reading order: here what ONNX Runtime asks before it runs a model, `call` (one run of one
//! operator), `memory` (its tensors as slices), `threads`.

mod call;
mod memory;
mod threads;

use ort::operator::{
    BoxedKernel, ComputeContext, KernelContext, Operator, OperatorDomain, OperatorInput,
    OperatorOutput, ShapeInferenceContext,
};
use ort::value::{Shape, SymbolicDimensions, TensorElementType, ValueType};

use crate::engine::operators::{
    ALL, AttributeSource, DOMAIN, Declaration, Dimension, Input, OperatorError, Outputs,
};

/// All operators, for sessions whose runs use so many threads.
pub(super) fn domain(threads: usize) -> Result<OperatorDomain, ort::Error> {
    let mut domain = OperatorDomain::new(DOMAIN)?;
    for declaration in ALL {
        domain = domain.add(Native { declaration, threads })?;
    }
    Ok(domain)
}

fn ort_error(error: &OperatorError) -> ort::Error {
    ort::Error::new(error.to_string())
}

struct Native {
    declaration: &'static Declaration,
    threads: usize,
}

impl Operator for Native {
    // No `INPLACES`: kernels read what they have not written yet, and ONNX Runtime's plan never
    // reuses the inputs of a graph, which is what an update replaces. Memory that the caller gives
    // as input and output is recognised when an operator runs.
    type Kernel<'attr> = BoxedKernel<'attr>;

    fn name(&self) -> &str {
        self.declaration.name
    }

    fn inputs(&self) -> impl IntoIterator<Item = OperatorInput> {
        self.declaration.inputs.iter().map(|input| match input {
            Input::Floats(_) => OperatorInput::required(TensorElementType::Float32),
            Input::OptionalFloats(_) => OperatorInput::optional(TensorElementType::Float32),
            // Of any type, which the call checks.
            Input::Integers(_) => OperatorInput::required(TensorElementType::Undefined),
            Input::Many(least) => OperatorInput::variadic(*least),
        })
    }

    fn outputs(&self) -> impl IntoIterator<Item = OperatorOutput> {
        match self.declaration.outputs {
            Outputs::Count(count) => (0..count)
                .map(|index| match index {
                    0 => OperatorOutput::required(TensorElementType::Float32),
                    _ => OperatorOutput::optional(TensorElementType::Float32),
                })
                .collect::<Vec<_>>(),
            Outputs::Many => {
                vec![OperatorOutput::variadic(1).homogenous(TensorElementType::Float32)]
            }
        }
    }

    fn create_kernel<'attr>(
        &self,
        context: &KernelContext<'attr>,
    ) -> ort::Result<Self::Kernel<'attr>> {
        let declaration = self.declaration;
        let operator = declaration.read(&OfKernel(context)).map_err(|error| ort_error(&error))?;
        let threads = self.threads;
        Ok(Box::new(move |context: &ComputeContext| {
            call::run(declaration.name, &*operator, context, threads)
        }))
    }

    fn infer_shape(&self, context: &mut ShapeInferenceContext) -> ort::Result<()> {
        let types = context.inputs();
        // What is wrong with the call is said where the kernel is made and where it runs: an error
        // here would be one without the node's name.
        let shapes = self
            .declaration
            .read(&OfInference(context))
            .and_then(|operator| operator.output_shapes(&ranks(&types)));
        for (index, shape) in shapes.into_iter().flatten().enumerate() {
            // A scalar looks like a tensor of unknown rank.
            let Some(inferred) = inferred(&shape, &types).filter(|_| !shape.is_empty()) else {
                continue;
            };
            // A node may leave its last outputs out, and does not say how many it has.
            if context.set_output(index, &inferred).is_err() {
                break;
            }
        }
        Ok(())
    }
}

/// The rank of every input, as far as known.
fn ranks(types: &[ValueType]) -> Vec<Option<usize>> {
    types.iter().map(|value| value.tensor_shape().map(|shape| shape.len())).collect()
}

/// An output's type: sizes that are not known yet are -1, and carry their names on. `None` where
/// one has no name either: ONNX Runtime would take -1 for its size.
fn inferred(shape: &[Dimension], types: &[ValueType]) -> Option<ValueType> {
    let known = |input: usize, axis: usize| {
        let size = *types.get(input)?.tensor_shape()?.get(axis)?;
        (size >= 0).then_some(size)
    };
    let size = |dimension: &Dimension| {
        dimension.size(known).and_then(|size| i64::try_from(size).ok()).unwrap_or(-1)
    };
    let symbol = |dimension: &Dimension| match *dimension {
        Dimension::Of { input, axis, .. } if *dimension == Dimension::same(input, axis) => {
            match types.get(input) {
                Some(ValueType::Tensor { dimension_symbols, .. }) => {
                    dimension_symbols.get(axis).cloned().unwrap_or_default()
                }
                _ => String::new(),
            }
        }
        _ => String::new(),
    };
    if shape.iter().any(|dimension| size(dimension) < 0 && symbol(dimension).is_empty()) {
        return None;
    }
    Some(ValueType::Tensor {
        ty: TensorElementType::Float32,
        shape: Shape::new(shape.iter().map(size)),
        dimension_symbols: SymbolicDimensions::new(shape.iter().map(symbol)),
    })
}

struct OfKernel<'a, 'attr>(&'a KernelContext<'attr>);

impl AttributeSource for OfKernel<'_, '_> {
    fn int(&self, name: &str) -> Option<i64> {
        self.0.get(name)
    }

    fn ints(&self, name: &str) -> Option<Vec<i64>> {
        self.0.get(name)
    }

    fn float(&self, name: &str) -> Option<f32> {
        self.0.get(name)
    }
}

struct OfInference<'a>(&'a ShapeInferenceContext);

impl AttributeSource for OfInference<'_> {
    fn int(&self, name: &str) -> Option<i64> {
        self.0.attr(name).ok()
    }

    fn ints(&self, name: &str) -> Option<Vec<i64>> {
        self.0.attr(name).ok()
    }

    fn float(&self, name: &str) -> Option<f32> {
        self.0.attr(name).ok()
    }
}
