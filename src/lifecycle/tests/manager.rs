//! The manager with its real threads.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use parking_lot::Mutex;

use super::support::{Fixture, block_on};
use crate::engine::EngineError;
use crate::lifecycle::{
    IndexEntry, LoadError, LoadOutcome, LoadOverrides, ManageError, ReconfigureError,
};

fn load(running: &super::support::Running, model: &str) -> Result<(), ManageError> {
    block_on(running.handle.load(model, LoadOverrides::default()))
}

#[test]
fn what_is_listed_serves_and_what_cannot_is_told() {
    let fixture = Fixture::new(&[
        ("good/1/model.onnx", "ok"),
        ("good/2/model.onnx", "ok"),
        ("truncated/1/model.onnx", "tru"),
        ("unknown/1/model.onnx", "unsupported"),
        ("broken/1/model.onnx", "panic"),
        ("empty/model.toml", "1"),
    ]);
    let (running, outcomes) = fixture.run();
    let failure = |model: &str| {
        let outcome = outcomes.iter().find(|outcome| outcome.model == model).unwrap();
        outcome.failures.first().map(|(_, error)| error.clone())
    };
    assert_eq!(failure("good"), None);
    let error = failure("truncated").unwrap();
    assert!(matches!(error, LoadError::Engine(EngineError::ModelInvalid { .. })), "{error}");
    let error = failure("unknown").unwrap().to_string();
    assert!(error.contains("unknown/1/model.onnx: node \"node 7\" has operator Frobnicate"));
    let error = failure("broken").unwrap().to_string();
    assert_eq!(error, "loading panicked: the engine broke");
    assert!(matches!(failure("empty"), Some(LoadError::Repository(_))));

    assert_eq!(running.current("good"), Ok(2));
    let error = running.current("broken").unwrap_err();
    assert_eq!(
        error,
        "model \"broken\" is not ready: version 1 could not be loaded: loading panicked: the \
         engine broke"
    );
    assert!(running.current("empty").unwrap_err().contains("not ready"));
    assert!(running.current("other").unwrap_err().contains("unknown model"));
    let index = running.index();
    assert!(index.contains(&"good/1 Unavailable not loaded".to_owned()), "{index:?}");
    assert!(index.contains(&"good/2 Ready".to_owned()), "{index:?}");
    assert!(index.contains(&"broken/1 Unavailable loading panicked: the engine broke".to_owned()));
    assert!(index.iter().any(|line| line.starts_with("empty/- Unavailable")), "{index:?}");
}

#[test]
fn models_that_wait_to_be_asked_for_are_listed_with_what_is_wrong_with_them() {
    let fixture = Fixture::new(&[
        ("renamed/3/net.onnx", "ok"),
        ("renamed/model.toml", "net.onnx"),
        ("wrong/1/model.onnx", "ok"),
        ("wrong/model.toml", "many"),
    ]);
    let mut served = fixture.served();
    served.load_repositories = false;
    let running = fixture.start(served);
    assert_eq!(running.handle.wait_initial_loads(), []);
    let index = running.index();
    assert_eq!(index[0], "renamed/3 Unavailable not loaded");
    assert!(index[1].ends_with("versions: expected a count, got \"many\""), "{index:?}");
    assert_eq!(index.len(), 2);
    assert_eq!(load(&running, "renamed"), Ok(()));
    assert_eq!(running.index()[0], "renamed/3 Ready");
    let error = running.current("wrong").unwrap_err();
    assert_eq!(error, "model \"wrong\" is not ready: not loaded");
}

#[test]
fn a_new_version_takes_over_and_a_failing_one_does_not() {
    let fixture = Fixture::new(&[("m/1/model.onnx", "ok")]);
    let (running, _) = fixture.run();
    fixture.write("m/2/model.onnx", "ok");
    assert_eq!(load(&running, "m"), Ok(()));
    assert_eq!(running.current("m"), Ok(2));
    fixture.write("m/3/model.onnx", "rubbish");
    let error = load(&running, "m").unwrap_err();
    assert!(matches!(error, ManageError::LoadFailed { .. }), "{error}");
    assert!(error.to_string().ends_with("what serves now: versions [2]"), "{error}");
    assert_eq!(running.current("m"), Ok(2));
    let named = running.active.get("m", Some("3")).err().unwrap().to_string();
    assert!(named.contains("version 3 could not be loaded"), "{named}");
    let gone = running.active.get("m", Some("1")).err().unwrap().to_string();
    assert_eq!(gone, "model \"m\" has no version \"1\"");
    // The same number again, broken: the one that serves stays.
    fixture.write("m/2/model.onnx", "rubbish");
    std::fs::remove_dir_all(fixture.path("m/3")).unwrap();
    assert!(load(&running, "m").is_err());
    assert_eq!(running.current("m"), Ok(2));
    let index = running.index();
    assert!(index.iter().any(|line| line.starts_with("m/2 Ready an earlier load")), "{index:?}");
    // Mended.
    fixture.write("m/2/model.onnx", "ok");
    assert_eq!(load(&running, "m"), Ok(()));
    assert!(running.index().contains(&"m/2 Ready".to_owned()));
}

#[test]
fn a_version_that_answers_its_golden_sample_wrong_is_not_taken_up() {
    let manifest = "[[golden]]\ninputs = \"in\"\noutputs = \"out\"\n\
                    absolute_tolerance = 0.1\nrelative_tolerance = 0\n";
    let fixture = Fixture::new(&[
        ("m/1/model.onnx", "ok"),
        ("m/1/manifest.toml", manifest),
        ("m/1/in", "1 2"),
        ("m/1/out", "1.05 2"),
    ]);
    let (running, _) = fixture.run();
    assert_eq!(running.current("m"), Ok(1));
    // What serves echoes: within the tolerance, that is.
    fixture.write("m/2/model.onnx", "ok");
    fixture.write("m/2/manifest.toml", manifest);
    fixture.write("m/2/in", "1 2");
    for (answer, expected) in [
        (
            "1 2.5",
            "output \"y\" at [0, 1]: expected 2.5, got 2; 1 of 2 elements differ by more \
                   than 0.1 + 0 × |expected|",
        ),
        ("1 2 3", "output \"y\": expected FP32 [1, 3], got FP32 [1, 2]"),
        ("one two", "expected numbers"),
    ] {
        fixture.write("m/2/out", answer);
        let error = load(&running, "m").unwrap_err().to_string();
        let sample = fixture.path("m/2/in");
        let expected = format!("golden sample {}: {expected}", sample.display());
        assert!(error.contains(&expected), "{error}");
        assert_eq!(running.current("m"), Ok(1));
    }
    std::fs::remove_file(fixture.path("m/2/out")).unwrap();
    let error = load(&running, "m").unwrap_err().to_string();
    assert!(error.contains("m/2/out: no such file or folder"), "{error}");
    fixture.write("m/2/out", "1 2");
    assert_eq!(load(&running, "m"), Ok(()));
    assert_eq!(running.current("m"), Ok(2));
}

/// What came of many who asked for the index while the manager looked at the disk.
struct Crowd {
    answers: Vec<Result<Vec<IndexEntry>, ManageError>>,
    /// Of a reload that came after them.
    reloaded: Result<Vec<LoadOutcome>, ReconfigureError>,
    /// How often the manager looked; not for the reload, whose settings are its own.
    looks: usize,
}

fn ask_for_index(count: usize) -> Crowd {
    let fixture = Fixture::new(&[("m/1/model.onnx", "ok")]);
    let (looks, door) = (Arc::new(AtomicUsize::new(0)), Arc::new(Mutex::new(())));
    let mut served = fixture.served();
    let read = served.settings.clone();
    served.settings = {
        let (looks, door) = (looks.clone(), door.clone());
        Arc::new(move |folder, config| {
            looks.fetch_add(1, Ordering::Relaxed);
            drop(door.lock());
            read(folder, config)
        })
    };
    let running = fixture.start(served);
    running.handle.wait_initial_loads();
    let before = looks.load(Ordering::Relaxed);
    let closed = door.lock();
    block_on(async {
        let asked = Arc::new(AtomicUsize::new(0));
        let ask = |_| {
            let (handle, asked) = (running.handle.clone(), asked.clone());
            tokio::spawn(async move {
                asked.fetch_add(1, Ordering::Relaxed);
                handle.index().await
            })
        };
        let asking: Vec<_> = (0..count).map(ask).collect();
        while asked.load(Ordering::Relaxed) < count {
            tokio::task::yield_now().await;
        }
        let reload = running.handle.reconfigure(fixture.named(&["m"]));
        let (reloaded, ()) = tokio::join!(reload, async { drop(closed) });
        let mut answers = Vec::new();
        for answer in asking {
            answers.push(answer.await.unwrap());
        }
        Crowd { answers, reloaded, looks: looks.load(Ordering::Relaxed) - before }
    })
}

#[test]
fn who_asks_for_the_index_is_told_it_however_many_ask_and_leaves_room_for_a_reload() {
    let crowd = ask_for_index(600);
    assert!(crowd.reloaded.is_ok(), "{:?}", crowd.reloaded);
    for answer in crowd.answers {
        assert_eq!(answer.unwrap().len(), 1);
    }
}

#[test]
fn one_look_at_the_disk_answers_all_who_wait_for_the_index() {
    let crowd = ask_for_index(40);
    assert!(crowd.answers.iter().all(Result::is_ok), "{:?}", crowd.answers);
    // One that the first have begun, and one for who came meanwhile.
    assert!(crowd.looks <= 2, "{} looks", crowd.looks);
}

#[test]
fn settings_that_are_wrong_leave_what_serves() {
    let fixture = Fixture::new(&[("m/1/model.onnx", "ok")]);
    let (running, _) = fixture.run();
    fixture.write("m/model.toml", "many");
    let error = load(&running, "m").unwrap_err().to_string();
    assert!(error.contains("versions: expected a count, got \"many\""), "{error}");
    assert_eq!(running.current("m"), Ok(1));
}

#[test]
fn unloading_takes_out_of_service_and_is_no_error_twice() {
    let fixture = Fixture::new(&[("m/1/model.onnx", "ok")]);
    let (running, _) = fixture.run();
    for _ in 0..2 {
        assert_eq!(block_on(running.handle.unload("m")), Ok(()));
        assert_eq!(running.current("m"), Err("model \"m\" is not ready: unloaded".to_owned()));
    }
    let unknown = block_on(running.handle.unload("other"));
    assert_eq!(unknown, Err(ManageError::UnknownModel { model: "other".to_owned() }));
    assert_eq!(load(&running, "m"), Ok(()));
    assert_eq!(running.current("m"), Ok(1));
}

#[test]
fn no_name_leads_out_of_the_repository() {
    let fixture = Fixture::new(&[("repository/m/1/model.onnx", "ok"), ("n/1/model.onnx", "ok")]);
    let mut served = fixture.served();
    served.repositories = vec![fixture.path("repository")];
    let running = fixture.start(served);
    for name in ["../n", "..", ".", "", "m/1", "/etc"] {
        let error = load(&running, name).unwrap_err();
        assert_eq!(error, ManageError::UnknownModel { model: name.to_owned() });
    }
}

#[test]
fn loads_of_one_model_wait_for_one_another_and_unload_ends_them() {
    let fixture = Fixture::new(&[("m/1/model.onnx", "wait")]);
    let running = fixture.start(fixture.served());
    fixture.stage.until_waiting(1);
    assert_eq!(
        running.current("m"),
        Err("model \"m\" is not ready: version 1 is being loaded".to_owned())
    );
    assert_eq!(running.index(), ["m/1 Loading"]);
    let results = block_on(async {
        let load = || running.handle.load("m", LoadOverrides::default());
        let unload = async {
            tokio::task::yield_now().await;
            running.handle.unload("m").await
        };
        tokio::join!(load(), load(), unload)
    });
    assert!(matches!(results.0, Err(ManageError::Refused { .. })), "{results:?}");
    assert!(matches!(results.1, Err(ManageError::Refused { .. })), "{results:?}");
    assert_eq!(results.2, Ok(()));
    fixture.stage.release();
    // It arrives, nobody wants it, it goes; the next load brings another.
    assert_eq!(load(&running, "m"), Ok(()));
    assert_eq!(running.current("m"), Ok(1));
}

#[test]
fn no_more_load_at_once_than_there_are_threads() {
    let names: Vec<String> = (0..5).map(|number| format!("m{number}/1/model.onnx")).collect();
    let files: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "wait")).collect();
    let fixture = Fixture::new(&files);
    let running = fixture.start(fixture.served());
    fixture.stage.until_waiting(fixture.load_threads);
    fixture.stage.release();
    assert_eq!(running.handle.wait_initial_loads().len(), 5);
    assert!(running.index().iter().all(|line| line.ends_with("Ready")));
}

#[test]
fn a_load_request_may_bring_files_and_settings_for_as_long_as_they_serve() {
    let fixture = Fixture::new(&[("m/1/model.onnx", "ok")]);
    let (running, _) = fixture.run();
    let files = |files: &[(&str, &'static str)]| {
        let file = |&(name, text): &(&str, &'static str)| {
            (name.to_owned(), Bytes::from_static(text.as_bytes()))
        };
        LoadOverrides { config: Some("all".to_owned()), files: files.iter().map(file).collect() }
    };
    let overrides = files(&[("7/model.onnx", "ok"), ("8/model.onnx", "ok")]);
    assert_eq!(block_on(running.handle.load("m", overrides.clone())), Ok(()));
    let serving: Vec<u64> = running.active.snapshot()["m"].versions.keys().copied().collect();
    assert_eq!(serving, [7, 8]);
    // A model that the disk does not know.
    assert_eq!(block_on(running.handle.load("fresh", overrides)), Ok(()));
    assert_eq!(running.current("fresh"), Ok(8));
    // Files need a configuration; wrong ones change nothing.
    let alone = LoadOverrides { config: None, ..files(&[("9/model.onnx", "ok")]) };
    let error = block_on(running.handle.load("m", alone)).unwrap_err();
    assert!(matches!(error, ManageError::Refused { .. }), "{error}");
    let outside = files(&[("../9/model.onnx", "ok")]);
    assert!(block_on(running.handle.load("m", outside)).is_err());
    assert_eq!(running.current("m"), Ok(8));
    // Without overrides the disk speaks again.
    assert_eq!(load(&running, "m"), Ok(()));
    assert_eq!(running.current("m"), Ok(1));
}

#[test]
fn a_configuration_is_taken_up_whole_or_not_at_all() {
    let fixture = Fixture::new(&[
        ("a/1/model.onnx", "ok"),
        ("b/1/model.onnx", "ok"),
        ("c/1/model.onnx", "ok"),
    ]);
    let running = fixture.start(fixture.named(&["a", "b"]));
    running.handle.wait_initial_loads();
    let before = running.active.get("b", None).unwrap();

    let error = block_on(running.handle.reconfigure(fixture.named(&["c", "missing"])));
    let Err(ReconfigureError::Invalid { problems }) = error else { panic!("{error:?}") };
    assert_eq!(problems.len(), 1);
    assert_eq!((running.current("a"), running.current("b")), (Ok(1), Ok(1)));
    assert!(running.current("c").unwrap_err().contains("unknown model"));

    let outcomes = block_on(running.handle.reconfigure(fixture.named(&["b", "c"]))).unwrap();
    assert!(outcomes.iter().all(|outcome| outcome.failures.is_empty()), "{outcomes:?}");
    assert!(running.current("a").is_err());
    assert_eq!(running.current("c"), Ok(1));
    // What did not change was not touched.
    let after = running.active.get("b", None).unwrap();
    assert!(std::sync::Arc::ptr_eq(&before, &after));
    drop((before, after));

    // Other settings are a change.
    fixture.write("b/2/model.onnx", "ok");
    fixture.write("b/model.toml", "all");
    let outcomes = block_on(running.handle.reconfigure(fixture.named(&["b", "c"]))).unwrap();
    let ready = outcomes.iter().find(|outcome| outcome.model == "b").unwrap().ready.clone();
    assert_eq!(ready, [1, 2]);
}

#[test]
fn two_models_of_one_name_are_a_problem() {
    let fixture = Fixture::new(&[("x/m/1/model.onnx", "ok"), ("y/m/1/model.onnx", "ok")]);
    let running = fixture.start(fixture.named(&["x/m", "y/m"]));
    let outcomes = running.handle.wait_initial_loads();
    let duplicate = outcomes.iter().flat_map(|outcome| &outcome.failures).next().unwrap();
    assert!(matches!(duplicate.1, LoadError::Duplicate { .. }), "{}", duplicate.1);
    assert_eq!(running.current("m"), Ok(1));
}

#[test]
fn a_failed_load_is_tried_again_as_often_as_asked() {
    let mut fixture = Fixture::new(&[("m/1/model.onnx", "not yet")]);
    fixture.retry.retries = 1000;
    let running = fixture.start(fixture.served());
    fixture.write("m/1/model.onnx", "ok");
    let outcomes = running.handle.wait_initial_loads();
    assert_eq!(outcomes[0].ready, [1]);
}
