//! What a scrape shows.

use std::collections::BTreeSet;
use std::time::Duration;

use super::*;
use crate::telemetry::events::{self, BatchRan, LayoutChosen, LoadedVersion, ModelEvents, Outcome};
use crate::telemetry::events::{RequestRefused, Swap, SwapPhases};

const MS: Duration = Duration::from_millis(1);

const BATCH: BatchRan =
    BatchRan { requests: 2, rows: 3, assembly: MS, inference: MS, split: MS, failed: false };

const LOADED: LoadedVersion<'static> = LoadedVersion {
    load: MS,
    engine: "tract",
    engine_version: "0.23",
    device: "cpu",
    fallback_reason: Some("no driver"),
    nodes: &[("tract", 7)],
    memory_bytes: Some(4096),
};

/// The lines of the export that are about `model`.
fn lines(triton_names: bool, model: &str) -> Vec<String> {
    let label = format!("model=\"{model}\"");
    render(triton_names).lines().filter(|line| line.contains(&label)).map(str::to_owned).collect()
}

fn has(lines: &[String], expected: &str) {
    assert!(lines.iter().any(|line| line == expected), "{expected} is not in {lines:#?}");
}

/// Every event there is, once.
fn every_event(model: &ModelEvents) {
    model.loading(&"path");
    model.layout_chosen(&LayoutChosen {
        inline: true,
        instances: 1,
        threads: 1,
        max_batch_size: 32,
        origin: "measured",
    });
    model.batching_refused("logits", 0.5);
    model.ready(&LOADED);
    model.warning(&"a key is ignored");
    model.queue_depth(1);
    model.request_dequeued(MS);
    model.batch_ran(&BATCH);
    model.batch_ran(&BatchRan { failed: true, ..BATCH });
    model.response_written(MS);
    model.request_finished(Outcome::Ok, MS);
    for outcome in [Outcome::Invalid, Outcome::Failed, Outcome::Failed] {
        model.request_refused(&RequestRefused {
            request_id: "1",
            status: 400,
            outcome,
            total: MS,
            error: &"why",
        });
    }
    model.instance_rebuilt("index out of bounds");
    model.load_failed(&"not a model");
    events::started();
    events::listening(&"127.0.0.1:8000", "bound");
    events::ready_changed(true);
    events::connection_opened();
    events::connection_closed();
    events::connection_refused("limit", &"4096 are open");
    events::http_refused("2", 404, &"unknown model");
    events::reloading();
    events::reloaded(&"log.level");
    events::reload_refused(&"unknown key");
    events::swapped(&Swap { model: "m", from: Some(1), to: 2, phases: SwapPhases::default() });
    events::warning(&"a key is ignored");
    events::draining(&"SIGTERM", MS);
    events::listening_stopped();
    events::stopped(MS, Some(&"2 connections"));
    events::stopped(MS, None);
    events::spans_exported(1);
    events::spans_lost("dropped", 1, &"the queue is full");
    model.unloading();
    model.unloaded(MS);
}

#[test]
fn the_export_is_exactly_the_catalogue() {
    let model = ModelEvents::new("catalogue", 1);
    every_event(&model);
    run_upkeep();
    let text = render(false);
    let mut exported = BTreeSet::new();
    for line in text.lines().filter_map(|line| line.strip_prefix("# TYPE ")) {
        assert!(exported.insert(line.to_owned()), "{line} appears twice");
    }
    let listed = names::all().map(|metric| {
        let kind = match metric.kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Seconds | Kind::Rows => "histogram",
        };
        format!("{} {kind}", metric.name)
    });
    assert_eq!(exported, listed.collect());
    for metric in names::all() {
        assert!(text.contains(&format!("# HELP {} {}\n", metric.name, metric.help)), "{metric:?}");
        let sample = text.lines().find(|line| {
            let rest = line.strip_prefix(metric.name);
            rest.is_some_and(|rest| rest.starts_with(['{', ' ', '_']) && !rest.starts_with("_m"))
        });
        let sample = sample.unwrap_or_else(|| panic!("{} has no sample", metric.name));
        for label in metric.labels {
            assert!(sample.contains(&format!("{label}=\"")), "{sample} lacks {label}");
        }
    }
}

#[test]
fn one_event_moves_its_series() {
    let model = ModelEvents::new("moves", 3);
    model.request_finished(Outcome::Ok, Duration::from_micros(300));
    model.batch_ran(&BATCH);
    model.queue_depth(5);
    let text = lines(false, "moves");
    has(&text, "onnxd_requests_total{model=\"moves\",version=\"3\",outcome=\"ok\"} 1");
    has(&text, "onnxd_requests_total{model=\"moves\",version=\"3\",outcome=\"expired\"} 0");
    has(&text, "onnxd_queue_depth{model=\"moves\",version=\"3\"} 5");
    has(&text, "onnxd_request_seconds_bucket{model=\"moves\",version=\"3\",le=\"0.00025\"} 0");
    has(&text, "onnxd_request_seconds_bucket{model=\"moves\",version=\"3\",le=\"0.0005\"} 1");
    has(&text, "onnxd_batch_seconds_sum{model=\"moves\",version=\"3\"} 0.002");
    has(&text, "onnxd_batch_size_bucket{model=\"moves\",version=\"3\",le=\"2\"} 0");
    has(&text, "onnxd_batch_size_bucket{model=\"moves\",version=\"3\",le=\"4\"} 1");
}

#[test]
fn a_version_that_is_gone_leaves_the_export() {
    let model = ModelEvents::new("gone", 1);
    assert!(!lines(true, "gone").is_empty());
    drop(model);
    // Another test that renders at this moment holds every series until it is done.
    let begin = std::time::Instant::now();
    while !lines(true, "gone").is_empty() {
        assert!(begin.elapsed().as_secs() < 60, "it stays: {:?}", lines(true, "gone"));
        std::thread::yield_now();
    }
}

#[test]
fn a_reload_of_the_same_version_goes_on_counting_and_stays_ready() {
    let old = ModelEvents::new("again", 1);
    old.ready(&LOADED);
    old.request_finished(Outcome::Ok, MS);
    let new = ModelEvents::new("again", 1);
    let nodes = [("cuda", 5), ("cpu", 1)];
    new.ready(&LoadedVersion { device: "cuda:0", nodes: &nodes, ..LOADED });
    old.unloading();
    old.unloaded(MS);
    drop(old);
    new.request_finished(Outcome::Ok, MS);
    let text = lines(true, "again");
    has(&text, "onnxd_requests_total{model=\"again\",version=\"1\",outcome=\"ok\"} 2");
    has(&text, "onnxd_model_ready{model=\"again\",version=\"1\"} 1");
    let info = "onnxd_engine_info{model=\"again\",version=\"1\",engine=\"tract\"";
    has(&text, &format!("{info},device=\"cpu\"}} 0"));
    has(&text, &format!("{info},device=\"cuda:0\"}} 1"));
    for (provider, nodes) in [("tract", 0), ("cuda", 5), ("cpu", 1)] {
        let labels = format!("model=\"again\",version=\"1\",provider=\"{provider}\"");
        has(&text, &format!("onnxd_engine_nodes{{{labels}}} {nodes}"));
    }
    has(&text, "nv_inference_request_success{model=\"again\",version=\"1\"} 2");
    assert_eq!(new.statistics().success.count, 1, "the protocol's statistics begin with the load");
    new.unloading();
    has(&lines(false, "again"), "onnxd_model_ready{model=\"again\",version=\"1\"} 0");
}

#[test]
fn triton_names_appear_only_when_asked_for_and_hold_what_is_known() {
    let model = ModelEvents::new("alias", 1);
    model.batch_ran(&BATCH);
    model.request_finished(Outcome::Expired, MS);
    model.ready(&LOADED);
    assert!(!render(false).contains("nv_"));
    let text = lines(true, "alias");
    has(&text, "nv_inference_count{model=\"alias\",version=\"1\"} 3");
    has(&text, "nv_inference_compute_infer_duration_us{model=\"alias\",version=\"1\"} 2000");
    let failure = "nv_inference_request_failure{model=\"alias\",version=\"1\",reason";
    has(&text, &format!("{failure}=\"REJECTED\"}} 1"));
    has(&text, &format!("{failure}=\"BACKEND\"}} 0"));
    has(&text, "nv_model_load_duration_secs{model=\"alias\",version=\"1\"} 0.001");
    assert!(!render(true).contains("nv_gpu"), "no figure of a GPU is made up");
}

#[test]
fn every_name_is_one_block_whichever_recorder_it_comes_from() {
    let models = [ModelEvents::new("block", 1), ModelEvents::new("block", 2)];
    let text = render(true);
    let mut seen = BTreeSet::new();
    let mut family = String::new();
    for line in text.lines().filter(|line| line.starts_with("# TYPE ") || !line.starts_with('#')) {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            family = rest.split(' ').next().unwrap().to_owned();
            assert!(seen.insert(family.clone()), "{family} is in two blocks");
        } else {
            assert!(line.starts_with(&family), "{line} is not of {family}");
        }
    }
    drop(models);
}

#[test]
fn hostile_model_names_stay_inside_their_label() {
    let name = "a\"b\\c\nd";
    let model = ModelEvents::new(name, 1);
    let text = render(true);
    let expected = "model=\"a\\\"b\\\\c\\nd\",version=\"1\"";
    for metric in ["onnxd_queue_depth", "nv_inference_count"] {
        assert!(text.contains(&format!("{metric}{{{expected}}} 0")), "{metric}: {text}");
    }
    drop(model);
}
