//! What requests see of loads, unloads and the stop.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::support::{Fixture, Running, block_on, echo, row};
use crate::batching::LayoutChoice;
use crate::lifecycle::{LoadOverrides, ManageError};

fn load(running: &Running, model: &str) -> Result<(), ManageError> {
    block_on(running.handle.load(model, LoadOverrides::default()))
}

/// Raises the flag however the test ends, so that a failure does not leave its threads running.
struct RaiseOnDrop<'a>(&'a AtomicBool);

impl Drop for RaiseOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn no_request_fails_while_versions_come_and_go() {
    const CLIENTS: usize = 4;
    let fixture = Fixture::new(&[("m/1/model.onnx", "ok")]);
    let (running, _) = fixture.run();
    let ends = AtomicBool::new(false);
    let answers = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        let client = || {
            block_on(async {
                while !ends.load(Ordering::Relaxed) {
                    let version = running.active.get("m", None).unwrap();
                    echo(&version).await.unwrap();
                    answers.fetch_add(1, Ordering::Relaxed);
                }
            });
        };
        let clients: Vec<_> = (0..CLIENTS).map(|_| scope.spawn(client)).collect();
        let _raised_at_the_end = RaiseOnDrop(&ends);
        for number in 2..20 {
            // Every other load fails, and every third brings the same number again.
            let text = if number % 2 == 0 { "ok" } else { "rubbish" };
            let before = answers.load(Ordering::Relaxed);
            fixture.write(&format!("m/{}/model.onnx", number / 3 + 1), text);
            assert_eq!(load(&running, "m").is_ok(), text == "ok");
            while answers.load(Ordering::Relaxed) < before + CLIENTS {
                assert!(!clients.iter().any(|client| client.is_finished()), "a request failed");
                std::thread::yield_now();
            }
        }
    });
    assert!(running.stop().drained);
    assert_eq!(fixture.stage.echo.live(), 0);
}

#[test]
fn a_replaced_version_answers_who_holds_it_and_is_freed_on_no_requests_thread() {
    let fixture = Fixture::new(&[("m/1/model.onnx", "ok")]);
    let (running, _) = fixture.run();
    let requests_thread = std::thread::current().id();
    let held = running.active.get("m", None).unwrap();
    let sessions = fixture.stage.echo.live();
    fixture.write("m/2/model.onnx", "ok");
    assert_eq!(load(&running, "m"), Ok(()));
    assert_eq!(running.index(), ["m/1 Unloading", "m/2 Ready"]);
    block_on(echo(&held)).unwrap();
    assert!(fixture.stage.echo.live() > sessions);
    // The last handle ends here, on what stands for a request's thread.
    drop(held);
    assert!(running.stop().drained);
    assert_eq!(fixture.stage.echo.live(), 0);
    assert!(!fixture.stage.echo.drop_threads().contains(&requests_thread));
}

#[test]
fn a_run_that_does_not_end_holds_up_the_freeing_of_no_other_version() {
    let fixture = Fixture::new(&[("m/1/model.onnx", "ok"), ("n/1/model.onnx", "ok")]);
    let mut served = fixture.served();
    let read = served.settings.clone();
    served.settings = Arc::new(move |folder, config| {
        let mut settings = read(folder, config)?;
        settings.batching.layout = LayoutChoice::Threads;
        Ok(settings)
    });
    let running = fixture.start(served);
    running.handle.wait_initial_loads();
    let gate = fixture.stage.echo.gate();
    gate.close();
    // The client goes away, its run goes on.
    let version = running.active.get("m", None).unwrap();
    let queued = version.batcher.queue(row()).unwrap();
    gate.wait_for(1);
    drop(queued);
    drop(version);
    assert_eq!(block_on(running.handle.unload("m")), Ok(()));
    assert_eq!(block_on(running.handle.unload("n")), Ok(()));
    let began = Instant::now();
    while running.index() != ["m/1 Unloading", "n/1 Unavailable unloaded"] {
        if began.elapsed() > Duration::from_secs(60) {
            gate.open();
            panic!("{:?}", running.index());
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    gate.open();
    assert!(running.stop().drained);
    assert_eq!(fixture.stage.echo.live(), 0);
}

#[test]
fn the_stop_answers_what_waits_and_then_frees_everything() {
    let fixture = Fixture::new(&[("m/1/model.onnx", "ok"), ("n/1/model.onnx", "ok")]);
    let (running, _) = fixture.run();
    let gate = fixture.stage.echo.gate();
    gate.close();
    let version = running.active.get("m", None).unwrap();
    let requests: Vec<_> = (0..3)
        .map(|_| {
            let version = Arc::clone(&version);
            std::thread::spawn(move || block_on(echo(&version)))
        })
        .collect();
    drop(version);
    gate.wait_for(1);
    std::thread::scope(|scope| {
        let stop = scope.spawn(|| running.stop());
        // The table says that nothing serves before the last request is answered.
        while running.current("n").is_ok() {
            std::thread::yield_now();
        }
        assert!(running.current("m").unwrap_err().ends_with("the daemon is stopping"));
        gate.open();
        assert!(stop.join().unwrap().drained);
    });
    // The one that ran was answered; those that came too late for it were told so.
    let results: Vec<_> = requests.into_iter().map(|it| it.join().unwrap()).collect();
    assert!(results.iter().any(Result::is_ok), "{results:?}");
    assert_eq!(fixture.stage.echo.live(), 0);
}

#[test]
fn the_stop_waits_for_handles_no_longer_than_its_deadline() {
    let fixture = Fixture::new(&[("m/1/model.onnx", "ok")]);
    let (running, _) = fixture.run();
    let held = running.active.get("m", None).unwrap();
    let report = block_on(running.handle.stop(Instant::now() + Duration::from_millis(20)));
    assert!(!report.drained);
    assert_eq!(report.unfinished, [("m".to_owned(), 1)]);
    drop(held);
    assert_eq!(load(&running, "m"), Err(ManageError::Stopping));
    assert!(running.current("m").unwrap_err().ends_with("the daemon is stopping"));
}

#[test]
fn a_load_that_arrives_during_the_stop_never_serves() {
    let fixture = Fixture::new(&[("m/1/model.onnx", "wait"), ("n/1/model.onnx", "ok")]);
    let running = fixture.start(fixture.served());
    fixture.stage.until_waiting(1);
    assert!(running.stop().drained);
    fixture.stage.release();
    assert!(running.current("m").is_err());
}
