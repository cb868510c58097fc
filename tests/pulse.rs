//! Whether the threads of the server live, as a watchdog sees it.

use std::time::{Duration, Instant};

use onnxd::batching::LayoutChoice;
use onnxd::server::{BEAT_PERIOD, Pulse};

use crate::support::client::PATIENCE;
use crate::support::models::{Behaviour, Model, request};
use crate::support::server::TestServer;

/// A beat that is late by half its period is missing.
const LIMIT: Duration = BEAT_PERIOD.saturating_add(Duration::from_millis(500));

fn pulse(server: &TestServer) -> Pulse {
    server.handle.as_ref().expect("the server runs").pulse()
}

fn eventually(what: &str, happened: impl Fn() -> bool) {
    let begin = Instant::now();
    while !happened() {
        assert!(begin.elapsed() < PATIENCE, "{what} did not happen");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_network_thread_that_hangs_is_noticed_and_named_until_it_moves_again() {
    let mut model = Model::new("double", Behaviour::Double);
    model.layout = LayoutChoice::Inline;
    let gate = model.gate.clone();
    let mut server = TestServer::start(vec![model], |_| {});
    let pulse = pulse(&server);
    assert!(pulse.beats_within(LIMIT));
    gate.close();
    let mut client = server.client();
    client.send_request("POST", "/v2/models/double/infer", &[], request(&[1.0, 2.0]).as_bytes());
    gate.wait_for_run();
    eventually("silence", || pulse.silent(LIMIT).is_some_and(|it| it.thread == "network-0"));
    // Its own thread answers whoever asks whether the daemon lives.
    assert_eq!(server.get("/v2/health/live").status, 200);
    gate.open();
    assert_eq!(client.receive().status, 200);
    eventually("a beat", || pulse.beats_within(LIMIT));
    drop(client);
    assert!(server.finish(PATIENCE));
    std::thread::sleep(Duration::from_millis(1));
    assert!(pulse.beats_within(Duration::ZERO), "threads that have ended owe nothing");
}
