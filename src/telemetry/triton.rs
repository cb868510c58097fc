//! Triton's metric names, rendered from the statistics, so that dashboards made for it carry over.
//! Only what the daemon really knows: no figure is made up for a name it cannot fill.

use std::fmt::{Display, Write as _};
use std::sync::Arc;

use super::export::VersionSeries;
use super::statistics::{StatisticsSnapshot, Sum};

/// Name, help, and the value: cumulative counters. As in Triton, the durations are those of
/// requests that succeeded or at least reached the stage, so that they divide by their counts.
type CounterLine = (&'static str, &'static str, fn(&StatisticsSnapshot) -> u64);

const COUNTERS: [CounterLine; 8] = [
    ("nv_inference_request_success", "Requests answered", |sums| sums.success.count),
    ("nv_inference_count", "Rows inferred", |sums| sums.inference_count),
    ("nv_inference_exec_count", "Batches run", |sums| sums.execution_count),
    ("nv_inference_request_duration_us", "Time of answered requests, end to end", |sums| {
        microseconds(sums.success)
    }),
    ("nv_inference_queue_duration_us", "Time of requests in the queue", |sums| {
        microseconds(sums.queue)
    }),
    ("nv_inference_compute_input_duration_us", "Time of requests in batch assembly", |sums| {
        microseconds(sums.compute_input)
    }),
    ("nv_inference_compute_infer_duration_us", "Time of requests in the engine", |sums| {
        microseconds(sums.compute_infer)
    }),
    ("nv_inference_compute_output_duration_us", "Time of requests in output splitting", |sums| {
        microseconds(sums.compute_output)
    }),
];

fn microseconds(sum: Sum) -> u64 {
    sum.ns / 1000
}

/// The text for these versions.
pub(super) fn render(versions: &[Arc<VersionSeries>]) -> String {
    let mut text = Text::default();
    let sums: Vec<(String, StatisticsSnapshot)> = versions
        .iter()
        .map(|series| (labels(series.model(), series.version()), series.statistics()))
        .collect();
    for (name, help, value) in COUNTERS {
        text.header(name, "counter", help);
        for (labels, snapshot) in &sums {
            text.sample(name, labels, &value(snapshot));
        }
    }

    let name = "nv_inference_request_failure";
    text.header(name, "counter", "Requests that failed, by reason");
    for (labels, StatisticsSnapshot { failures, .. }) in &sums {
        for (reason, count) in [
            ("REJECTED", failures.rejected),
            ("CANCELED", failures.cancelled),
            ("BACKEND", failures.backend),
            ("OTHER", failures.other),
        ] {
            text.sample(name, &format!("{labels},reason=\"{reason}\""), &count);
        }
    }

    let name = "nv_inference_pending_request_count";
    text.header(name, "gauge", "Requests that wait now");
    for (labels, snapshot) in &sums {
        text.sample(name, labels, &snapshot.pending);
    }

    let name = "nv_model_load_duration_secs";
    text.header(name, "gauge", "Time that the version's load took");
    for ((labels, _), series) in sums.iter().zip(versions) {
        text.sample(name, labels, &series.load_seconds());
    }
    text.0
}

#[derive(Default)]
struct Text(String);

impl Text {
    fn header(&mut self, name: &str, kind: &str, help: &str) {
        writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}").expect(INFALLIBLE);
    }

    fn sample(&mut self, name: &str, labels: &str, value: &dyn Display) {
        writeln!(self.0, "{name}{{{labels}}} {value}").expect(INFALLIBLE);
    }
}

const INFALLIBLE: &str = "a string takes every write";

fn labels(model: &str, version: u64) -> String {
    let model = model.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
    format!("model=\"{model}\",version=\"{version}\"")
}
