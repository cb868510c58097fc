//! What tract runs: a model made ready for some shapes, some inputs and some outputs.

use std::cell::Cell;
use tract_onnx::dim_expr::parse_onnx_dim;

use tract_onnx::prelude::{
    Arc, DatumType, InferenceFact, InferenceModel, InferenceModelExt, IntoRunnable, SpecialOps,
    TDim, TValue, TVec, TractResult, TypedFact, TypedModel, TypedRunnableModel, TypedSimpleState,
};
use tract_onnx::tract_core::ops::cast::cast;
use tract_onnx::tract_core::plan::eval;
use tract_onnx::tract_hir::ops::konst::Const;

use super::branches;
use super::errors::{Complaint, Node, guarded};
use super::model::Model;
use super::value::datum_type_of;
use crate::tensor::{Dimension, Shape, TensorSpec};

/// What a plan is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Key {
    /// Shapes of the inputs that are given, in order; `None` for one that is left to its default.
    /// Without shapes the plan is symbolic: it runs all shapes.
    pub inputs: Vec<Option<Wanted>>,
    /// Indices into the signature's outputs.
    pub outputs: Vec<usize>,
}

/// The shape that an input will have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    Shape(Shape),
    /// As declared, open axes staying symbols.
    Symbolic,
}

/// A plan, ready to run.
pub(super) struct Plan {
    plan: Arc<TypedRunnableModel>,
    /// Kept between runs where no operator keeps anything in it itself.
    state: Option<TypedSimpleState>,
}

impl Plan {
    /// Makes the model ready.
    ///
    /// # Errors
    /// tract cannot run it so.
    pub fn build(model: &Model, key: &Key) -> Result<Plan, Complaint> {
        let plan = guarded(|| {
            let typed = settle_shapes(build(model, key)?.into_typed()?)?;
            typed.into_optimized()?.into_runnable()
        })
        .map_err(|complaint| complaint.in_onnx_words(&model.operators))?;
        Ok(Plan { plan, state: None })
    }

    /// Runs the plan; its inputs are those that its key has shapes for.
    ///
    /// # Errors
    /// tract failed.
    pub fn run(&mut self, model: &Model, inputs: TVec<TValue>) -> Result<TVec<TValue>, Complaint> {
        // What a failure leaves in a state is nobody's to use.
        let state = self.state.take();
        // A panic carries no node; this cell remembers which one was at work.
        let at_work = Cell::new(None);
        let outcome = guarded(|| {
            let mut state = match state {
                Some(state) => state,
                None => self.plan.spawn()?,
            };
            let results = state.run_plan_with_eval(inputs, |context, state, node, inputs| {
                at_work.set(Some(node.id));
                eval(context, state, node, inputs)
            })?;
            Ok((results, state))
        });
        let (results, state) = outcome.map_err(|mut complaint| {
            if let (None, Some(id)) = (&complaint.node, at_work.get()) {
                let node = self.plan.model().node(id);
                let operator = node.op.name().into_owned();
                complaint.node = Some(Node { name: node.name.clone(), operator });
            }
            complaint.in_onnx_words(&model.operators)
        })?;
        if state.op_states.iter().all(Option::is_none) {
            self.state = Some(state);
        }
        Ok(results)
    }
}

fn build(model: &Model, key: &Key) -> TractResult<InferenceModel> {
    let mut graph = model.graph.clone();
    let first_default = model.signature.inputs.len() - model.defaults.len();
    let mut kept = Vec::new();
    for (index, wanted) in key.inputs.iter().enumerate() {
        let outlet = graph.inputs[index];
        let Some(wanted) = wanted else {
            let default = &model.defaults[index - first_default];
            let fact = InferenceFact::from(TypedFact::try_from(Arc::clone(default))?);
            graph.node_mut(outlet.node).op = Box::new(Const::new(Arc::clone(default))?);
            graph.set_outlet_fact(outlet, fact)?;
            continue;
        };
        let spec = &model.signature.inputs[index];
        let datum_type = datum_type_of(spec.data_type).expect("types were checked when opened");
        let fact = match wanted {
            Wanted::Shape(shape) => InferenceFact::dt_shape(datum_type, &shape[..]),
            Wanted::Symbolic => {
                let dimensions = symbolic_shape(&graph, index, spec);
                InferenceFact::dt_shape(datum_type, dimensions)
            }
        };
        graph.set_outlet_fact(outlet, fact)?;
        kept.push(outlet);
    }
    graph.inputs = kept;
    let outputs: Vec<_> = key.outputs.iter().map(|&index| graph.outputs[index]).collect();
    graph.select_output_outlets(&outputs)?;
    branches::fold(graph)
}

/// Shapes that leave the graph as values may hold symbols, which only the plan can resolve.
fn settle_shapes(mut graph: TypedModel) -> TractResult<TypedModel> {
    for slot in 0..graph.outputs.len() {
        let outlet = graph.outputs[slot];
        if graph.outlet_fact(outlet)?.datum_type == DatumType::TDim {
            let name = format!("settle_output_{slot}");
            graph.outputs[slot] = graph.wire_node(name, cast(DatumType::I64), &[outlet])?[0];
        }
    }
    Ok(graph)
}

/// The declared shape of an input, with a symbol of its own for every nameless open axis.
fn symbolic_shape(graph: &InferenceModel, index: usize, spec: &TensorSpec) -> TVec<TDim> {
    let own = |axis: usize| graph.sym(&format!("open_{index}_{axis}")).into();
    let dimension = |(axis, dimension): (usize, &Dimension)| match dimension {
        Dimension::Fixed(size) => (*size).into(),
        // A name may be an expression of other names, as tract reads it elsewhere too.
        Dimension::Named(name) => {
            parse_onnx_dim(&graph.symbols, name).unwrap_or_else(|_| own(axis))
        }
        Dimension::Unknown => own(axis),
    };
    spec.shape.iter().flatten().enumerate().map(dimension).collect()
}
