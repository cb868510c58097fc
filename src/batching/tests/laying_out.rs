//! Where runs happen, and how that was decided.

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::*;
use crate::batching::settings::DEFAULT_MAX_BATCH_SIZE;
use crate::engine::Device;

/// A model whose run takes this long.
fn slow(run: Duration) -> Model {
    Model::unary("batch,2", "batch,2", move |shape, values| {
        std::thread::sleep(run);
        (shape.to_vec(), values.to_vec())
    })
}

#[test]
fn a_short_run_stays_inline_on_the_one_session_that_load_opened() {
    let model = Model::affine();
    let batcher = start(&model, &BatchingSettings::standard());
    let layout = batcher.layout();
    assert!(layout.inline);
    assert_eq!((layout.instances, layout.origin), (1, "measured"));
    assert!(layout.max_batch_size >= 32, "{layout:?}");
    assert_eq!(model.opened.load(Ordering::SeqCst), 1);
}

#[test]
fn a_long_run_gets_instances_and_what_is_configured_is_not_measured() {
    let model = slow(Duration::from_millis(1));
    let configured = BatchingSettings {
        max_batch_size: Some(4),
        instances: Some(3),
        threads: Some(2),
        ..BatchingSettings::standard()
    };
    let batcher = start(&model, &configured);
    let expected =
        Layout { inline: false, instances: 3, threads: 2, max_batch_size: 4, origin: "configured" };
    assert_eq!(batcher.layout(), &expected);
    assert_eq!(model.opened.load(Ordering::SeqCst), 3);
    batcher.join();
}

#[test]
fn a_measured_layout_is_taken_from_the_cache_the_next_time() {
    let folder = tempfile::tempdir().expect("a folder");
    let settings = BatchingSettings {
        layout: LayoutChoice::Threads,
        max_batch_size: Some(4),
        layout_cache: Some(folder.path().join("layout.toml")),
        layout_key: "digest".to_owned(),
        ..BatchingSettings::standard()
    };
    let model = slow(Duration::from_micros(50));
    let measured = start(&model, &settings).layout().clone();
    assert_eq!((measured.origin, measured.max_batch_size), ("measured", 4));
    let runs = model.runs.load(Ordering::SeqCst);
    let again = start(&model, &settings).layout().clone();
    assert_eq!(again, Layout { origin: "cached", ..measured });
    assert!(model.runs.load(Ordering::SeqCst) - runs < 40, "nothing was measured again");
    let other = BatchingSettings { layout_key: "another".to_owned(), ..settings };
    assert_eq!(start(&model, &other).layout().origin, "measured");
}

#[test]
fn a_cache_that_says_less_or_cannot_be_read_is_measured_anew() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("layout.toml");
    let settings = BatchingSettings {
        layout: LayoutChoice::Threads,
        max_batch_size: Some(4),
        layout_cache: Some(path.clone()),
        layout_key: "digest".to_owned(),
        ..BatchingSettings::standard()
    };
    let model = slow(Duration::from_micros(50));
    assert_eq!(start(&model, &settings).layout().origin, "measured");
    let kept = std::fs::read_to_string(&path).expect("it is kept");
    let before_devices = kept.replace("device = \"cpu\"\n", "");
    assert_ne!(before_devices, kept);
    std::fs::write(&path, before_devices).expect("the folder is writable");
    assert_eq!(start(&model, &settings).layout().origin, "measured");
    assert_eq!(start(&model, &settings).layout().origin, "cached");
}

#[test]
fn an_accelerator_has_one_instance_whatever_the_cpu_was_measured_at() {
    let folder = tempfile::tempdir().expect("a folder");
    let settings = BatchingSettings {
        layout: LayoutChoice::Threads,
        layout_cache: Some(folder.path().join("layout.toml")),
        layout_key: "digest".to_owned(),
        ..BatchingSettings::standard()
    };
    assert_eq!(start(&slow(Duration::ZERO), &settings).layout().origin, "measured");
    let model = slow(Duration::ZERO).on(Device::Cuda(0));
    let expected = Layout {
        inline: false,
        instances: 1,
        threads: 1,
        max_batch_size: DEFAULT_MAX_BATCH_SIZE,
        origin: "configured",
    };
    assert_eq!(start(&model, &settings).layout(), &expected);
    assert_eq!(model.opened.load(Ordering::SeqCst), 1, "the cores divide no accelerator");
    let two = BatchingSettings { instances: Some(2), ..settings };
    assert_eq!(start(&model, &two).layout().instances, 2, "unless it is asked for");
}

#[test]
fn runs_that_become_long_on_an_accelerator_move_to_one_instance() {
    let model = deceiving().on(Device::Cuda(0));
    let batcher = start(&model, &BatchingSettings::standard());
    assert!(batcher.layout().inline);
    for _ in 0..200 {
        let requests = (0..8u8).map(|i| row(f32::from(i) + 100.0)).collect();
        infer_all(&batcher, requests).into_iter().for_each(|reply| drop(values(reply)));
        if !batcher.layout().inline {
            break;
        }
    }
    let layout = batcher.layout();
    assert_eq!((layout.inline, layout.instances, layout.threads), (false, 1, 1));
    batcher.join();
}

/// Short while it is proven, long for values from 100.
fn deceiving() -> Model {
    Model::unary("batch,2", "batch,2", |shape, values| {
        if values.iter().any(|value| *value >= 100.0) {
            std::thread::sleep(Duration::from_millis(4));
        }
        (shape.to_vec(), values.to_vec())
    })
}

#[test]
fn runs_that_are_configured_inline_stay_there_however_long() {
    let batcher = start(&deceiving(), &settings(LayoutChoice::Inline));
    for _ in 0..30 {
        infer(&batcher, row(100.0)).expect("answered");
    }
    batcher.join();
    assert!(batcher.layout().inline);
}

#[test]
fn runs_that_become_long_move_to_instances_and_nobody_is_dropped() {
    let settings = BatchingSettings { instances: Some(2), ..settings(LayoutChoice::Auto) };
    let batcher = start(&deceiving(), &settings);
    assert!(batcher.layout().inline);
    let mut moved = false;
    for _ in 0..200 {
        let requests = (0..8u8).map(|i| row(f32::from(i) + 100.0)).collect();
        for (i, reply) in (0u8..).zip(infer_all(&batcher, requests)) {
            assert_eq!(values(reply), [f32::from(i) + 100.0, 0.5]);
        }
        moved = !batcher.layout().inline;
        if moved {
            break;
        }
    }
    assert!(moved, "runs of 4 ms belong on threads");
    assert_eq!(batcher.layout().instances, 2);
    assert_eq!(values(infer(&batcher, row(1.0))), [1.0, 0.5]);
    batcher.join();
}

#[test]
fn no_request_meets_a_session_that_has_not_run() {
    let model = Model::affine();
    let three = BatchingSettings { instances: Some(3), ..settings(LayoutChoice::Threads) };
    start(&model, &three).join();
    let with_three = model.runs.load(Ordering::SeqCst);
    start(&model, &settings(LayoutChoice::Threads)).join();
    let with_one = model.runs.load(Ordering::SeqCst) - with_three;
    assert_eq!(with_three - with_one, 2, "the proof has warmed the first");
}
