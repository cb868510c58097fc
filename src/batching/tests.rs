//! Promises of the whole: requests in, replies out, on both drivers.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use super::testing::Model;
use super::*;
use crate::telemetry::ModelEvents;
use crate::tensor::Tensor;

fn request(shape: &[usize], values: &[f32]) -> Request {
    Request {
        inputs: vec![Some(Tensor::from_f32(shape, values).expect("shape and values agree"))],
        outputs: smallvec::smallvec![0],
        priority: 0,
        deadline: None,
        arrived: Instant::now(),
    }
}

fn settings(layout: LayoutChoice) -> BatchingSettings {
    BatchingSettings { layout, ..BatchingSettings::standard() }
}

fn start(model: &Model, settings: &BatchingSettings) -> Batcher {
    let events = Arc::new(ModelEvents::new("model", 1));
    Batcher::start(model.opener(), settings, events).expect("the scripted model opens")
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

#[test]
fn sixty_four_waiting_requests_share_few_inline_runs() {
    let model = Model::affine();
    let batcher = Arc::new(start(&model, &settings(LayoutChoice::Inline)));
    let before = model.runs.load(Ordering::SeqCst);
    let requests = (0..64u8).map(|i| request(&[1, 2], &[f32::from(i), 0.5])).collect();
    let replies = infer_all(&batcher, requests);
    for (i, reply) in (0u8..).zip(replies) {
        let reply = reply.expect("answered");
        assert_eq!(reply.outputs[0].to_f32(), Some(vec![2.0 * f32::from(i) + 1.0, 2.0]));
    }
    assert_eq!(model.runs.load(Ordering::SeqCst) - before, 2);
}

#[test]
fn instances_answer_what_waits() {
    let model = Model::affine();
    let batcher = Arc::new(start(&model, &settings(LayoutChoice::Threads)));
    let requests = (0..64u8).map(|i| request(&[1, 2], &[f32::from(i), 0.5])).collect();
    for (i, reply) in (0u8..).zip(infer_all(&batcher, requests)) {
        let reply = reply.expect("answered");
        assert_eq!(reply.outputs[0].to_f32(), Some(vec![2.0 * f32::from(i) + 1.0, 2.0]));
    }
    batcher.close();
    let refused = infer_all(&batcher, vec![request(&[1, 2], &[0.0, 0.0])]).remove(0);
    assert_eq!(refused.expect_err("closed"), RequestError::Closed);
    batcher.join();
}
