//! What a fault costs: the request at fault, and nobody else.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::driving::{Gate, gated, wait_queued};
use super::*;
use crate::engine::EngineError;

/// The identity; refuses negative values and panics at 13.
fn touchy() -> Model {
    Model::new(
        &[crate::batching::testing::spec("x", "batch,2")],
        &[crate::batching::testing::spec("y", "batch,2")],
        |inputs| {
            let x = inputs[0].clone().expect("given");
            let values = x.to_f32().expect("floats");
            assert!(!values.contains(&13.0), "thirteen");
            if values.iter().any(|value| *value < -1.0) {
                return Err(EngineError::InputsRefused { reason: "negative".to_owned() });
            }
            Ok(vec![x])
        },
    )
}

#[test]
fn a_bad_request_fails_alone() {
    for driver in [LayoutChoice::Inline, LayoutChoice::Threads] {
        let batcher = start(&touchy(), &settings(driver));
        assert!(batcher.max_batch_size() > 0, "{:?}", batcher.proof());
        let requests = vec![row(1.0), row(-5.0), row(2.0), row(-6.0), row(3.0)];
        let mut replies = infer_all(&batcher, requests);
        for bad in [3, 1] {
            let error = replies.remove(bad).expect_err("negative");
            let refused = EngineError::InputsRefused { reason: "negative".to_owned() };
            assert_eq!(error, RequestError::Engine(refused));
        }
        let answers: Vec<f32> = replies.into_iter().map(|reply| values(reply)[0]).collect();
        assert_eq!(answers, [1.0, 2.0, 3.0]);
    }
}

#[test]
fn a_panic_fails_its_batch_and_the_session_is_opened_again() {
    for driver in [LayoutChoice::Inline, LayoutChoice::Threads] {
        let model = touchy();
        let batcher = start(&model, &settings(driver));
        let opened = model.opened.load(Ordering::SeqCst);
        let error = infer(&batcher, row(13.0)).expect_err("a panic");
        assert_eq!(error, RequestError::InstanceFailed);
        assert_eq!(values(infer(&batcher, row(1.0))), [1.0, 0.5]);
        assert_eq!(model.opened.load(Ordering::SeqCst), opened + 1);
        batcher.join();
    }
}

#[test]
fn a_session_that_cannot_be_opened_again_is_tried_with_the_next_batch() {
    let model = touchy();
    let broken = Arc::new(AtomicBool::new(false));
    let (inner, fails) = (model.opener(), broken.clone());
    let opener: SessionOpener = Arc::new(move |threads| {
        if fails.load(Ordering::SeqCst) {
            return Err(EngineError::RunFailed { reason: "out of memory".to_owned() });
        }
        inner(threads)
    });
    let events = Arc::new(ModelEvents::new("model", 1));
    let batcher = Batcher::start(opener, &settings(LayoutChoice::Inline), events);
    let batcher = Arc::new(batcher.expect("opens"));
    broken.store(true, Ordering::SeqCst);
    infer(&batcher, row(13.0)).expect_err("a panic");
    let error = infer(&batcher, row(1.0)).expect_err("no session").to_string();
    assert_eq!(error, "the model failed while it ran: out of memory");
    broken.store(false, Ordering::SeqCst);
    assert_eq!(values(infer(&batcher, row(1.0))), [1.0, 0.5]);
}

#[test]
fn a_panic_while_a_session_is_opened_again_costs_that_batch_and_no_instance() {
    for driver in [LayoutChoice::Inline, LayoutChoice::Threads] {
        let model = touchy();
        let broken = Arc::new(AtomicBool::new(false));
        let (inner, panics) = (model.opener(), broken.clone());
        let opener: SessionOpener = Arc::new(move |threads| {
            assert!(!panics.load(Ordering::SeqCst), "out of memory");
            inner(threads)
        });
        let events = Arc::new(ModelEvents::new("model", 1));
        let batcher = Batcher::start(opener, &settings(driver), events);
        let batcher = Arc::new(batcher.expect("opens"));
        broken.store(true, Ordering::SeqCst);
        infer(&batcher, row(13.0)).expect_err("a panic");
        let error = infer(&batcher, row(1.0)).expect_err("no session").to_string();
        let expected = "the model failed while it ran: opening it again panicked: out of memory";
        assert_eq!(error, expected);
        broken.store(false, Ordering::SeqCst);
        assert_eq!(values(infer(&batcher, row(1.0))), [1.0, 0.5]);
        batcher.join();
    }
}

#[test]
fn outputs_of_the_wrong_size_end_batching_and_still_answer_everybody() {
    // Rows beyond the third vanish: more than the proof looks at.
    let model = Model::unary("batch,2", "batch,2", |shape, values| {
        let rows = shape[0].min(3);
        (vec![rows, 2], values[..2 * rows].to_vec())
    });
    let batcher = start(&model, &settings(LayoutChoice::Inline));
    assert_eq!(batcher.max_batch_size(), 32);
    let replies = infer_all(&batcher, (0..8u8).map(|i| row(f32::from(i))).collect());
    for (i, reply) in (0u8..).zip(replies) {
        assert_eq!(values(reply), [f32::from(i), 0.5]);
    }
    assert_eq!(batcher.max_batch_size(), 0);
    let before = model.runs.load(Ordering::SeqCst);
    infer_all(&batcher, (0..8u8).map(|i| row(f32::from(i))).collect());
    assert_eq!(model.runs.load(Ordering::SeqCst) - before, 8, "from then on one by one");
}

#[test]
fn a_full_queue_is_refused_with_its_limit() {
    let gate = Gate::default();
    let (model, _) = gated(&gate);
    let small = BatchingSettings { max_queue_size: 2, ..settings(LayoutChoice::Threads) };
    let batcher = start(&model, &small);
    gate.shut();
    std::thread::scope(|scope| {
        scope.spawn(|| infer(&batcher, row(0.0)).expect("answered"));
        gate.wait_held();
        let waiting = scope.spawn(|| infer_all(&batcher, vec![row(1.0), row(2.0)]));
        wait_queued(&batcher, 2);
        let error = infer(&batcher, row(3.0)).expect_err("full");
        assert_eq!(error, RequestError::QueueFull { limit: 2 });
        gate.open();
        for reply in waiting.join().expect("no panic") {
            reply.expect("answered");
        }
    });
}

#[test]
fn a_client_that_goes_away_leaves_its_place() {
    let gate = Gate::default();
    let (model, runs) = gated(&gate);
    let batcher = start(&model, &settings(LayoutChoice::Threads));
    gate.shut();
    runs.lock().clear();
    std::thread::scope(|scope| {
        scope.spawn(|| infer(&batcher, row(0.0)).expect("answered"));
        gate.wait_held();
        runtime().block_on(async {
            let mut gone = Box::pin(batcher.infer(row(1.0)));
            let mut stays = Box::pin(batcher.infer(row(2.0)));
            tokio::select! {
                biased;
                _ = &mut gone => panic!("the gate is shut"),
                _ = &mut stays => panic!("the gate is shut"),
                () = std::future::ready(()) => {}
            }
            assert_eq!(batcher.queue_depth(), 2);
            drop(gone);
            assert_eq!(batcher.queue_depth(), 1);
            gate.open();
            stays.await.expect("answered");
        });
    });
    assert_eq!(*runs.lock(), [[0.0], [2.0]]);
}

#[test]
fn who_drives_inline_may_go_away_without_stranding_the_others() {
    let (model, runs) = gated(&Gate::default());
    let batcher = start(&model, &settings(LayoutChoice::Inline));
    runs.lock().clear();
    runtime().block_on(async {
        let mut first = Box::pin(batcher.infer(row(1.0)));
        let second = Box::pin(batcher.infer(row(2.0)));
        tokio::select! {
            biased;
            _ = &mut first => panic!("it has yielded"),
            () = std::future::ready(()) => {}
        }
        drop(first);
        second.await.expect("answered");
    });
    assert_eq!(*runs.lock(), [[2.0]]);
}

#[test]
fn deadlines_hold_in_the_queue_and_while_the_model_runs() {
    let gate = Gate::default();
    let (model, runs) = gated(&gate);
    let default = Some(Duration::from_millis(10));
    let timed = BatchingSettings { default_timeout: default, ..settings(LayoutChoice::Threads) };
    let batcher = start(&model, &timed);
    gate.shut();
    runs.lock().clear();
    // The first runs, the second waits; both are answered although the gate stays shut.
    let replies = infer_all(&batcher, vec![row(0.0), row(1.0)]);
    for reply in replies {
        assert_eq!(reply.expect_err("late"), RequestError::Expired);
    }
    assert_eq!(batcher.queue_depth(), 0);
    // A request may ask for more than the default, where that is allowed.
    std::thread::scope(|scope| {
        let patient =
            Request { deadline: Some(Instant::now() + Duration::from_secs(60)), ..row(2.0) };
        let waiting = scope.spawn(|| infer(&batcher, patient));
        wait_queued(&batcher, 1);
        gate.open();
        assert_eq!(values(waiting.join().expect("no panic")), [2.0, 0.5]);
    });
    gate.shut();
    let strict = BatchingSettings { allow_timeout_override: false, ..timed };
    gate.open();
    let strict = start(&model, &strict);
    gate.shut();
    let patient = Request { deadline: Some(Instant::now() + Duration::from_secs(60)), ..row(3.0) };
    assert_eq!(infer(&strict, patient).expect_err("late"), RequestError::Expired);
    gate.open();
}

#[test]
fn a_request_that_expired_before_its_turn_is_never_run() {
    for driver in [LayoutChoice::Inline, LayoutChoice::Threads] {
        let (model, runs) = gated(&Gate::default());
        let batcher = start(&model, &settings(driver));
        runs.lock().clear();
        let late = Request { deadline: Some(Instant::now()), ..row(1.0) };
        assert_eq!(infer(&batcher, late).expect_err("late"), RequestError::Expired);
        assert_eq!(runs.lock().len(), 0);
    }
}

#[test]
fn closing_refuses_the_new_and_answers_the_waiting() {
    let gate = Gate::default();
    let (model, _) = gated(&gate);
    let batcher = start(&model, &settings(LayoutChoice::Threads));
    gate.shut();
    std::thread::scope(|scope| {
        let running = scope.spawn(|| infer(&batcher, row(0.0)));
        gate.wait_held();
        let waiting = scope.spawn(|| infer_all(&batcher, vec![row(1.0), row(2.0)]));
        wait_queued(&batcher, 2);
        batcher.close();
        assert_eq!(infer(&batcher, row(3.0)).expect_err("closed"), RequestError::Closed);
        gate.open();
        batcher.join();
        assert_eq!(values(running.join().expect("no panic")), [0.0, 0.5]);
        for reply in waiting.join().expect("no panic") {
            reply.expect("answered");
        }
    });
}

#[test]
fn closing_ends_the_wait_for_company() {
    for driver in [LayoutChoice::Inline, LayoutChoice::Threads] {
        let patient =
            BatchingSettings { max_queue_delay: Duration::from_secs(3600), ..settings(driver) };
        let batcher = start(&Model::affine(), &patient);
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| infer(&batcher, row(1.0)));
            wait_queued(&batcher, 1);
            batcher.join();
            waiting.join().expect("no panic").expect("answered");
        });
    }
}

#[test]
fn joining_frees_the_sessions_on_the_calling_thread() {
    for driver in [LayoutChoice::Inline, LayoutChoice::Threads] {
        let model = Model::affine();
        let batcher = start(&model, &settings(driver));
        infer(&batcher, row(1.0)).expect("answered");
        model.freed.lock().clear();
        batcher.join();
        assert_eq!(*model.freed.lock(), [std::thread::current().id()]);
    }
}
