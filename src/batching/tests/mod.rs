//! Promises of the whole part.
//!
//! `proving`: which models are batched, and on which axes. `padding`: which requests of unlike
//! lengths may share a run. `joining`: many requests to one run and back. `driving`: what waiting
//! requests, instances and clients that go away can rely on. `random`: the same, for sequences
//! that nobody thought of.

mod driving;
mod faults;
mod joining;
mod laying_out;
mod padding;
mod proving;
mod random;

use std::sync::Arc;
use std::time::Instant;

use super::testing::Model;
use super::*;
use crate::telemetry::ModelEvents;
use crate::tensor::Tensor;

fn floats(shape: &[usize], values: &[f32]) -> Tensor {
    Tensor::from_f32(shape, values).expect("shape and values agree")
}

fn request_of(inputs: Vec<Option<Tensor>>) -> Request {
    Request {
        inputs,
        outputs: smallvec::smallvec![0],
        priority: 0,
        deadline: None,
        arrived: Instant::now(),
    }
}

fn request(shape: &[usize], values: &[f32]) -> Request {
    request_of(vec![Some(floats(shape, values))])
}

/// One row for [`Model::affine`].
fn row(value: f32) -> Request {
    request(&[1, 2], &[value, 0.5])
}

/// What [`Model::affine`] makes of it.
fn affine_answer(value: f32) -> Vec<f32> {
    vec![2.0 * value + 1.0, 2.0]
}

/// Settings that leave nothing to measure.
fn settings(layout: LayoutChoice) -> BatchingSettings {
    BatchingSettings {
        layout,
        max_batch_size: Some(32),
        instances: Some(1),
        threads: Some(1),
        ..BatchingSettings::standard()
    }
}

fn start(model: &Model, settings: &BatchingSettings) -> Arc<Batcher> {
    let events = Arc::new(ModelEvents::new("model", 1));
    Arc::new(Batcher::start(model.opener(), settings, events).expect("the scripted model opens"))
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime")
}

/// Runs all requests at once on one thread; replies in the requests' order.
fn infer_all(batcher: &Arc<Batcher>, requests: Vec<Request>) -> Vec<Result<Reply, RequestError>> {
    runtime().block_on(async {
        let tasks: Vec<_> = requests
            .into_iter()
            .map(|request| {
                let batcher = batcher.clone();
                tokio::spawn(async move { batcher.infer(request).await })
            })
            .collect();
        let mut replies = Vec::new();
        for task in tasks {
            replies.push(task.await.expect("no task panics"));
        }
        replies
    })
}

fn infer(batcher: &Arc<Batcher>, request: Request) -> Result<Reply, RequestError> {
    runtime().block_on(batcher.infer(request))
}

/// The first output's values.
fn values(reply: Result<Reply, RequestError>) -> Vec<f32> {
    reply.expect("an answer").outputs[0].to_f32().expect("floats")
}
