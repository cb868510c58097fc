//! What waiting requests and the instances that serve them can rely on.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use super::*;
use crate::batching::testing::{spec, typed_spec};
use crate::tensor::DataType;

const DRIVERS: [LayoutChoice; 2] = [LayoutChoice::Inline, LayoutChoice::Threads];

/// Holds runs back while it is shut, so that tests decide what waits meanwhile.
#[derive(Clone, Default)]
pub(super) struct Gate {
    shared: Arc<(Mutex<GateState>, Condvar)>,
}

#[derive(Default)]
struct GateState {
    shut: bool,
    held: usize,
}

impl Gate {
    pub fn shut(&self) {
        self.shared.0.lock().shut = true;
    }

    pub fn open(&self) {
        self.shared.0.lock().shut = false;
        self.shared.1.notify_all();
    }

    fn pass(&self) {
        let mut state = self.shared.0.lock();
        state.held += 1;
        self.shared.1.notify_all();
        while state.shut {
            self.shared.1.wait(&mut state);
        }
        state.held -= 1;
    }

    /// Waits until a run is held.
    pub fn wait_held(&self) {
        let mut state = self.shared.0.lock();
        while state.held == 0 {
            self.shared.1.wait(&mut state);
        }
    }
}

/// The identity, behind a gate; notes the first value of each row of every run.
pub(super) fn gated(gate: &Gate) -> (Model, Arc<Mutex<Vec<Vec<f32>>>>) {
    let runs: Arc<Mutex<Vec<Vec<f32>>>> = Arc::default();
    let (noted, gate) = (runs.clone(), gate.clone());
    let model = Model::unary("batch,2", "batch,2", move |shape, values| {
        gate.pass();
        noted.lock().push(values.iter().step_by(2).copied().collect());
        (shape.to_vec(), values.to_vec())
    });
    (model, runs)
}

/// Waits until so many requests wait: what is queued by another thread is there soon.
pub(super) fn wait_queued(batcher: &Batcher, count: usize) {
    while batcher.queue_depth() != count {
        std::thread::yield_now();
    }
}

#[test]
fn sixty_four_waiting_requests_share_two_inline_runs() {
    let model = Model::affine();
    let batcher = start(&model, &settings(LayoutChoice::Inline));
    let before = model.runs.load(Ordering::SeqCst);
    let replies = infer_all(&batcher, (0..64u8).map(|i| row(f32::from(i))).collect());
    for (i, reply) in (0u8..).zip(replies) {
        assert_eq!(reply.as_ref().expect("answered").timing.batch_size, 32);
        assert_eq!(values(reply), affine_answer(f32::from(i)));
    }
    assert_eq!(model.runs.load(Ordering::SeqCst) - before, 2);
}

#[test]
fn connections_that_ask_again_and_again_are_batched() {
    let model = Model::affine();
    let batcher = start(&model, &settings(LayoutChoice::Inline));
    let before = model.runs.load(Ordering::SeqCst);
    runtime().block_on(async {
        let connections: Vec<_> = (0..64u8)
            .map(|connection| {
                let batcher = batcher.clone();
                tokio::spawn(async move {
                    for ask in 0..20u8 {
                        let value = f32::from(connection) + f32::from(ask) * 100.0;
                        assert_eq!(values(batcher.infer(row(value)).await), affine_answer(value));
                    }
                })
            })
            .collect();
        for connection in connections {
            connection.await.expect("no connection panics");
        }
    });
    let runs = model.runs.load(Ordering::SeqCst) - before;
    assert!(64 * 20 / runs > 8, "{runs} runs for 1280 requests");
}

#[test]
fn several_network_threads_share_one_session() {
    let model = Model::affine();
    for sessions in [1, 2] {
        let inline = BatchingSettings {
            inline_sessions: sessions,
            instances: None,
            ..settings(LayoutChoice::Inline)
        };
        let batcher = start(&model, &inline);
        std::thread::scope(|scope| {
            for thread in 0..4u16 {
                let batcher = &batcher;
                scope.spawn(move || {
                    for round in 0..20u16 {
                        let value = |i: u16| f32::from(thread * 1000 + round * 10 + i);
                        let replies = infer_all(batcher, (0..8).map(|i| row(value(i))).collect());
                        for (i, reply) in (0..).zip(replies) {
                            assert_eq!(values(reply), affine_answer(value(i)));
                        }
                    }
                });
            }
        });
        batcher.join();
    }
}

#[test]
fn instances_answer_what_waits() {
    let model = Model::affine();
    let two = BatchingSettings { instances: Some(2), ..settings(LayoutChoice::Threads) };
    let batcher = start(&model, &two);
    let replies = infer_all(&batcher, (0..200u8).map(|i| row(f32::from(i))).collect());
    for (i, reply) in (0u8..).zip(replies) {
        assert_eq!(values(reply), affine_answer(f32::from(i)));
    }
    batcher.join();
}

#[test]
fn a_request_of_many_rows_runs_whole_and_one_without_rows_is_answered() {
    for driver in DRIVERS {
        let batcher = start(&Model::affine(), &settings(driver));
        let many = vec![1.0; 2 * 100];
        let requests = vec![request(&[100, 2], &many), request(&[0, 2], &[]), row(1.0)];
        let replies = infer_all(&batcher, requests);
        let shapes: Vec<Vec<usize>> = replies
            .into_iter()
            .map(|reply| reply.expect("answered").outputs[0].shape().to_vec())
            .collect();
        assert_eq!(shapes, [[100, 2], [0, 2], [1, 2]]);
    }
}

#[test]
fn each_request_gets_the_outputs_it_named_in_its_order() {
    let model = Model::new(
        &[spec("x", "batch,1")],
        &[spec("y", "batch,1"), spec("z", "batch,1")],
        |inputs| {
            let x = inputs[0].as_ref().expect("given");
            let doubled: Vec<f32> =
                x.to_f32().expect("floats").iter().map(|value| value * 2.0).collect();
            Ok(vec![x.clone(), floats(x.shape(), &doubled)])
        },
    );
    for driver in DRIVERS {
        let batcher = start(&model, &settings(driver));
        let ask =
            |outputs: &[usize]| Request { outputs: outputs.into(), ..request(&[1, 1], &[3.0]) };
        let replies = infer_all(&batcher, vec![ask(&[1]), ask(&[1, 0]), ask(&[0]), ask(&[1, 1])]);
        let firsts: Vec<Vec<f32>> = replies
            .into_iter()
            .map(|reply| {
                let outputs = reply.expect("answered").outputs;
                outputs.iter().map(|output| output.to_f32().expect("floats")[0]).collect()
            })
            .collect();
        assert_eq!(firsts, [vec![6.0], vec![6.0, 3.0], vec![3.0], vec![6.0, 6.0]]);
    }
}

#[test]
fn urgent_requests_go_first_and_equals_keep_their_order() {
    let gate = Gate::default();
    let (model, runs) = gated(&gate);
    let leveled = BatchingSettings {
        priority_levels: 3,
        default_priority: 2,
        max_batch_size: Some(2),
        ..settings(LayoutChoice::Threads)
    };
    let batcher = start(&model, &leveled);
    gate.shut();
    runs.lock().clear();
    std::thread::scope(|scope| {
        scope.spawn(|| infer(&batcher, row(0.0)));
        gate.wait_held();
        scope.spawn(|| {
            let asks = [(3, 1.0), (0, 2.0), (1, 3.0), (2, 4.0), (9, 5.0), (1, 6.0)];
            let requests = asks.map(|(priority, value)| Request { priority, ..row(value) });
            infer_all(&batcher, requests.into())
        });
        wait_queued(&batcher, 6);
        gate.open();
    });
    assert_eq!(*runs.lock(), [vec![0.0], vec![3.0, 6.0], vec![2.0, 4.0], vec![1.0, 5.0]]);
}

#[test]
fn requests_that_differ_in_a_shared_input_run_apart() {
    let model = Model::new(
        &[spec("x", "?,1"), typed_spec("scale", DataType::Float32, "")],
        &[spec("y", "?,1")],
        |inputs| {
            let scale = inputs[1].as_ref().expect("given").to_f32().expect("floats")[0];
            let x = inputs[0].as_ref().expect("given");
            let scaled: Vec<f32> =
                x.to_f32().expect("floats").iter().map(|value| value * scale).collect();
            Ok(vec![floats(x.shape(), &scaled)])
        },
    );
    let batcher = start(&model, &settings(LayoutChoice::Inline));
    assert_eq!(batcher.proof().axes.inputs, [Some(0), None]);
    let ask =
        |scale: f32| request_of(vec![Some(floats(&[1, 1], &[1.0])), Some(floats(&[], &[scale]))]);
    let before = model.runs.load(Ordering::SeqCst);
    let replies = infer_all(&batcher, vec![ask(2.0), ask(3.0), ask(2.0)]);
    let answers: Vec<f32> = replies.into_iter().map(|reply| values(reply)[0]).collect();
    assert_eq!(answers, [2.0, 3.0, 2.0]);
    assert_eq!(model.runs.load(Ordering::SeqCst) - before, 2);
}

#[test]
fn padded_lengths_share_a_run() {
    let model = Model::unary("batch,length", "batch,length", |shape, values| {
        (shape.to_vec(), values.iter().map(|value| value + 1.0).collect())
    });
    let padding = vec![PaddedAxis { input: "x".to_owned(), axis: 1, value: 0.0 }];
    let batcher = start(&model, &BatchingSettings { padding, ..settings(LayoutChoice::Inline) });
    let before = model.runs.load(Ordering::SeqCst);
    let requests = (1..=8usize).map(|length| request(&[1, length], &vec![1.0; length])).collect();
    for (length, reply) in (1..).zip(infer_all(&batcher, requests)) {
        assert_eq!(values(reply), vec![2.0; length]);
    }
    assert_eq!(model.runs.load(Ordering::SeqCst) - before, 1);
}

#[test]
fn an_unbatched_version_answers_one_at_a_time() {
    let largest = Arc::new(AtomicUsize::new(0));
    let seen = largest.clone();
    let model = Model::unary("batch,2", "batch,2", move |shape, values| {
        seen.fetch_max(shape[0], Ordering::SeqCst);
        (shape.to_vec(), values.to_vec())
    });
    for driver in DRIVERS {
        let off = BatchingSettings { mode: BatchingMode::Off, ..settings(driver) };
        let batcher = start(&model, &off);
        let replies = infer_all(&batcher, (0..20u8).map(|i| row(f32::from(i))).collect());
        for (i, reply) in (0u8..).zip(replies) {
            assert_eq!(values(reply), [f32::from(i), 0.5]);
        }
        assert_eq!(batcher.max_batch_size(), 0);
    }
    assert_eq!(largest.load(Ordering::SeqCst), 1);
}

#[test]
fn a_configured_delay_waits_for_company_but_not_for_ever() {
    for driver in DRIVERS {
        let (model, runs) = gated(&Gate::default());
        let patient = BatchingSettings {
            max_queue_delay: Duration::from_secs(3600),
            max_batch_size: Some(4),
            ..settings(driver)
        };
        let batcher = start(&model, &patient);
        runs.lock().clear();
        infer_all(&batcher, (0..4u8).map(|i| row(f32::from(i))).collect());
        assert_eq!(*runs.lock(), [[0.0, 1.0, 2.0, 3.0]], "full, it ran at once");
        let short = BatchingSettings { max_queue_delay: Duration::from_millis(100), ..patient };
        let batcher = start(&model, &short);
        runs.lock().clear();
        infer_all(&batcher, vec![row(7.0), row(8.0)]);
        assert_eq!(*runs.lock(), [[7.0, 8.0]], "not full, it ran in the end");
    }
}
