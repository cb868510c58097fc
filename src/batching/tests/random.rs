//! Sequences that nobody thought of: every request is answered once and rightly, in order.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use proptest::prelude::*;

use super::*;
use crate::batching::plan::Plan;
use crate::batching::shared::{Queued, Shared, Start, Work};
use crate::batching::slot::Slot;

const MAX_ROWS: usize = 4;

#[derive(Clone, Debug)]
enum Step {
    Submit {
        rows: usize,
        width: usize,
        priority: u32,
        /// Whether its deadline has passed when it is queued.
        late: bool,
        /// Whether the model refuses it.
        bad: bool,
    },
    /// The client of the n-th request goes away.
    Cancel(usize),
    Run,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let submit =
        (0..6usize, 1..3usize, 0..4u32, prop::bool::weighted(0.1), prop::bool::weighted(0.1))
            .prop_map(|(rows, width, priority, late, bad)| Step::Submit {
                rows,
                width,
                priority,
                late,
                bad: bad && rows > 0,
            });
    let step =
        prop_oneof![6 => submit, 1 => any::<usize>().prop_map(Step::Cancel), 1 => Just(Step::Run)];
    prop::collection::vec(step, 1..60)
}

/// A request that was let in.
struct Asked<'a> {
    /// Every row's values, in order: unlike those of all other requests.
    values: Vec<f32>,
    level: u32,
    width: usize,
    late: bool,
    bad: bool,
    submitted: Queued<'a>,
}

/// The width and all values of each run.
type Runs = Arc<Mutex<Vec<(usize, Vec<f32>)>>>;

/// Refuses a batch with a negative value; notes the runs it accepts.
fn recording() -> (Model, Runs) {
    let runs = Runs::default();
    let noted = runs.clone();
    let model = Model::unary_or("batch,width", "batch,width", move |shape, values| {
        if values.iter().any(|value| *value < 0.0) {
            return None;
        }
        noted.lock().push((shape[1], values.to_vec()));
        Some((shape.to_vec(), values.iter().map(|value| value * 2.0).collect()))
    });
    (model, runs)
}

fn shared(model: &Model, settings: &BatchingSettings) -> Shared {
    let axes = Axes { inputs: vec![Some(0)], outputs: vec![Some(0)] };
    let start = Start {
        signature: model.signature.clone(),
        plan: Some(Plan::new(&model.signature, &axes, settings)),
        opener: model.opener(),
        events: Arc::new(ModelEvents::new("model", 1)),
        max_rows: MAX_ROWS,
        inline: false,
    };
    Shared::new(start, settings)
}

fn play(steps: Vec<Step>) {
    let settings = BatchingSettings {
        priority_levels: 3,
        default_priority: 2,
        max_queue_size: 20,
        ..BatchingSettings::standard()
    };
    let (model, runs) = recording();
    let shared = shared(&model, &settings);
    let mut slot = Slot::open(&model.opener(), 1).expect("the scripted model opens");
    let mut asked: Vec<Option<Asked<'_>>> = Vec::new();
    // Also of those that are cancelled after they ran.
    let mut large: Vec<Vec<f32>> = Vec::new();
    let mut next_value = 1.0;
    for step in steps {
        match step {
            Step::Submit { rows, width, priority, late, bad } => {
                let mut values = Vec::new();
                for _ in 0..rows * width {
                    values.push(if bad { -next_value } else { next_value });
                    next_value += 1.0;
                }
                if rows > MAX_ROWS {
                    large.push(values.clone());
                }
                let deadline = late.then(Instant::now);
                let asks = Request { priority, deadline, ..request(&[rows, width], &values) };
                match shared.submit(asks) {
                    Ok(submitted) => {
                        let level = if priority == 0 { 2 } else { priority };
                        asked.push(Some(Asked { values, level, width, late, bad, submitted }));
                    }
                    Err(error) => {
                        assert_eq!(error, RequestError::QueueFull { limit: 20 });
                        assert_eq!(shared.queue_depth(), 20);
                    }
                }
            }
            Step::Cancel(which) if !asked.is_empty() => {
                let which = which % asked.len();
                drop(asked[which].take());
            }
            Step::Cancel(_) => {}
            Step::Run => {
                if let Work::Batch(batch) = shared.next() {
                    shared.execute(&mut slot, batch);
                }
            }
        }
    }
    shared.close();
    while let Some(batch) = shared.wait_next() {
        shared.execute(&mut slot, batch);
    }
    shared.wait_drained();
    for asked in asked.iter_mut().flatten() {
        check_answer(asked);
    }
    for (width, values) in &*runs.lock() {
        let rows = values.len() / width;
        assert!(rows <= MAX_ROWS || large.contains(values), "{values:?}");
    }
    check_order(&runs.lock(), &asked);
}

/// Exactly one answer, and the right one.
fn check_answer(asked: &mut Asked<'_>) {
    let answer = asked.submitted.receiver.try_recv().expect("an answer has come");
    match answer {
        Ok(reply) => {
            assert!(!asked.bad && !asked.late);
            let doubled: Vec<f32> = asked.values.iter().map(|value| value * 2.0).collect();
            assert_eq!(reply.outputs[0].to_f32(), Some(doubled));
        }
        Err(RequestError::Expired) => assert!(asked.late),
        Err(RequestError::Engine(_)) => assert!(asked.bad),
        Err(other) => panic!("{other}"),
    }
}

/// Equals kept their order over all runs.
fn check_order(runs: &[(usize, Vec<f32>)], asked: &[Option<Asked<'_>>]) {
    let order: Vec<f32> = runs.iter().flat_map(|(_, values)| values).copied().collect();
    for level in 1..=3 {
        for width in 1..3 {
            let equals = asked.iter().flatten().filter(|asked| {
                asked.level == level && asked.width == width && !asked.bad && !asked.late
            });
            let first_values = equals.filter_map(|asked| asked.values.first());
            let places: Vec<usize> = first_values
                .map(|value| order.iter().position(|ran| ran == value).expect("it has run"))
                .collect();
            assert!(places.is_sorted(), "{places:?}");
        }
    }
}

proptest! {
    #[test]
    fn every_request_is_answered_once_rightly_and_in_order(steps in steps()) {
        play(steps);
    }
}

#[test]
fn clients_that_come_and_go_on_both_drivers_are_answered_rightly() {
    for driver in [LayoutChoice::Inline, LayoutChoice::Threads] {
        let two = BatchingSettings {
            instances: Some(2),
            max_batch_size: Some(MAX_ROWS),
            ..settings(driver)
        };
        let batcher = start(&Model::affine(), &two);
        std::thread::scope(|scope| {
            for thread in 0..3u16 {
                let batcher = &batcher;
                scope.spawn(move || runtime().block_on(come_and_go(batcher, thread)));
            }
        });
        assert_eq!(batcher.queue_depth(), 0);
        batcher.join();
    }
}

/// Asks 200 times; every third client is gone after one turn of the runtime, or after a moment.
async fn come_and_go(batcher: &Arc<Batcher>, thread: u16) {
    let tasks: Vec<_> = (0..200u16)
        .map(|ask| {
            let (batcher, value) = (batcher.clone(), f32::from(thread * 1000 + ask));
            tokio::spawn(async move {
                let answer = batcher.infer(row(value));
                match ask % 6 {
                    0 => {
                        tokio::select! {
                            biased;
                            _ = answer => {}
                            () = tokio::task::yield_now() => {}
                        }
                    }
                    3 => {
                        let moment = Duration::from_micros(u64::from(ask));
                        let _ = tokio::time::timeout(moment, answer).await;
                    }
                    _ => assert_eq!(values(answer.await), affine_answer(value)),
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.expect("no client panics");
    }
}

#[test]
fn no_depth_is_told_after_that_of_an_emptied_queue() {
    const ROUNDS: usize = 10_000;
    let shared = &shared(&Model::affine(), &BatchingSettings::standard());
    let taken = &AtomicUsize::new(0);
    let wrong = std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while taken.load(Ordering::SeqCst) < ROUNDS {
                    if let Work::Batch(batch) = shared.next() {
                        drop(batch);
                        shared.finished();
                        taken.fetch_add(1, Ordering::SeqCst);
                    }
                }
            });
        }
        let told_wrongly = |round: &usize| {
            let _queued = shared.submit(row(1.0));
            while taken.load(Ordering::SeqCst) < *round {
                std::thread::yield_now();
            }
            shared.events.statistics().pending != 0
        };
        (1..=ROUNDS).filter(told_wrongly).count()
    });
    assert_eq!(wrong, 0);
}
