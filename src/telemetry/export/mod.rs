//! The Prometheus text.
//!
//! Each loaded version's series live in a recorder of their own and leave the export with it: a
//! daemon that takes up a new version every hour must not carry last month's. So the text of
//! several recorders is merged by metric name, as the format wants each name in one block.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Weak};

use metrics::{Counter, Gauge, Histogram, Key, Label, Level, Metadata, Recorder};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusRecorder};
use parking_lot::Mutex;

use super::events::daemon;
use super::names::{self, Kind, Metric, ROWS_BUCKETS, SECONDS_BUCKETS};
use super::statistics::{Statistics, StatisticsSnapshot};
use super::triton;

/// What a scraper is told the text is.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

static METADATA: Metadata<'static> = Metadata::new("onnxd", Level::INFO, None);

/// A recorder that knows the catalogue.
pub(super) struct Meter {
    recorder: PrometheusRecorder,
    /// Labels that every series has.
    common: Vec<Label>,
}

impl Meter {
    pub(super) fn new(catalogue: &[Metric]) -> Meter {
        Meter::with_labels(catalogue, Vec::new())
    }

    fn with_labels(catalogue: &[Metric], common: Vec<Label>) -> Meter {
        let mut builder = PrometheusBuilder::new();
        for metric in catalogue {
            let buckets: &[f64] = match metric.kind {
                Kind::Counter | Kind::Gauge => continue,
                Kind::Seconds => &SECONDS_BUCKETS,
                Kind::Rows => &ROWS_BUCKETS,
            };
            builder = builder
                .set_buckets_for_metric(Matcher::Full(metric.name.to_owned()), buckets)
                .expect("the bucket lists are not empty");
        }
        let recorder = builder.build_recorder();
        for metric in catalogue {
            let (name, help) = (metric.name.into(), metric.help.into());
            match metric.kind {
                Kind::Counter => recorder.describe_counter(name, None, help),
                Kind::Gauge => recorder.describe_gauge(name, None, help),
                Kind::Seconds | Kind::Rows => recorder.describe_histogram(name, None, help),
            }
        }
        Meter { recorder, common }
    }

    /// The series of `metric` whose labels beyond the common ones have these values, in the
    /// catalogue's order.
    fn key(&self, metric: &Metric, values: &[&str]) -> Key {
        let own = &metric.labels[self.common.len()..];
        assert_eq!(own.len(), values.len(), "labels of {}", metric.name);
        let mut labels = self.common.clone();
        labels.extend(own.iter().zip(values).map(|(name, value)| label(name, value)));
        Key::from_parts(metric.name, labels)
    }

    pub(super) fn counter(&self, metric: &Metric, values: &[&str]) -> Counter {
        assert_eq!(metric.kind, Kind::Counter, "{}", metric.name);
        self.recorder.register_counter(&self.key(metric, values), &METADATA)
    }

    pub(super) fn gauge(&self, metric: &Metric, values: &[&str]) -> Gauge {
        assert_eq!(metric.kind, Kind::Gauge, "{}", metric.name);
        self.recorder.register_gauge(&self.key(metric, values), &METADATA)
    }

    pub(super) fn histogram(&self, metric: &Metric, values: &[&str]) -> Histogram {
        assert!(matches!(metric.kind, Kind::Seconds | Kind::Rows), "{}", metric.name);
        self.recorder.register_histogram(&self.key(metric, values), &METADATA)
    }

    fn render(&self) -> String {
        self.recorder.handle().render()
    }
}

/// A label whose value survives the exporter's escaping, which takes a backslash before another
/// as already escaped.
fn label(name: &'static str, value: &str) -> Label {
    Label::new(name, value.replace('\\', "\\\\"))
}

/// Everything exported of one model version, however often it is loaded.
pub(super) struct VersionSeries {
    model: String,
    version: u64,
    meter: Meter,
    /// Loads of the version that take requests now: while a reload swaps, two.
    ready: AtomicUsize,
    /// Bits of the seconds that the last load took.
    load_seconds: AtomicU64,
    statistics: Mutex<LoadStatistics>,
    /// The gauge of the engine, and that of the layout, that is 1 now.
    engine: Mutex<Option<Gauge>>,
    layout: Mutex<Option<Gauge>>,
    /// Of each provider that has nodes now.
    nodes: Mutex<Vec<Gauge>>,
}

#[derive(Default)]
struct LoadStatistics {
    live: Vec<Weak<Statistics>>,
    /// Sums of loads that are gone.
    retired: StatisticsSnapshot,
}

impl VersionSeries {
    fn new(model: &str, version: u64) -> VersionSeries {
        let common = vec![label("model", model), Label::new("version", version.to_string())];
        let meter = Meter::with_labels(names::OF_VERSIONS, common);
        // What only rare events move must be there before they happen: a rate over a counter
        // that appears with its first event misses that event.
        for metric in [&names::INSTANCES, &names::MODEL_READY, &names::BATCHING_REFUSED] {
            meter.gauge(metric, &[]).set(0.0);
        }
        for metric in [&names::INSTANCE_RESTARTS, &names::DEVICE_FALLBACKS] {
            meter.counter(metric, &[]).increment(0);
        }
        VersionSeries {
            model: model.to_owned(),
            version,
            meter,
            ready: AtomicUsize::new(0),
            load_seconds: AtomicU64::new(0),
            statistics: Mutex::default(),
            engine: Mutex::default(),
            layout: Mutex::default(),
            nodes: Mutex::default(),
        }
    }

    pub(super) fn model(&self) -> &str {
        &self.model
    }

    pub(super) fn version(&self) -> u64 {
        self.version
    }

    pub(super) fn counter(&self, metric: &Metric, values: &[&str]) -> Counter {
        self.meter.counter(metric, values)
    }

    pub(super) fn gauge(&self, metric: &Metric, values: &[&str]) -> Gauge {
        self.meter.gauge(metric, values)
    }

    pub(super) fn histogram(&self, metric: &Metric) -> Histogram {
        self.meter.histogram(metric, &[])
    }

    pub(super) fn add_ready(&self) {
        self.ready.fetch_add(1, Ordering::AcqRel);
        self.gauge(&names::MODEL_READY, &[]).set(1.0);
    }

    pub(super) fn remove_ready(&self) {
        if self.ready.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.gauge(&names::MODEL_READY, &[]).set(0.0);
        }
    }

    pub(super) fn set_load_seconds(&self, seconds: f64) {
        self.load_seconds.store(seconds.to_bits(), Ordering::Relaxed);
    }

    pub(super) fn load_seconds(&self) -> f64 {
        f64::from_bits(self.load_seconds.load(Ordering::Relaxed))
    }

    pub(super) fn set_engine(&self, engine: &str, device: &str) {
        let gauge = self.gauge(&names::ENGINE_INFO, &[engine, device]);
        move_info(&mut self.engine.lock(), gauge);
    }

    /// Providers that had nodes in an earlier load, and have none in this one, have 0.
    pub(super) fn set_nodes(&self, nodes: &[(&str, usize)]) {
        let mut current = self.nodes.lock();
        current.drain(..).for_each(|gauge| gauge.set(0.0));
        current.extend(nodes.iter().map(|&(provider, nodes)| {
            let gauge = self.gauge(&names::ENGINE_NODES, &[provider]);
            gauge.set(nodes as f64);
            gauge
        }));
    }

    pub(super) fn set_layout(&self, values: [&str; 5]) {
        let gauge = self.gauge(&names::LAYOUT_INFO, &values);
        move_info(&mut self.layout.lock(), gauge);
    }

    pub(super) fn add_statistics(&self, statistics: &Arc<Statistics>) {
        self.statistics.lock().live.push(Arc::downgrade(statistics));
    }

    pub(super) fn retire_statistics(&self, statistics: &Arc<Statistics>) {
        let mut all = self.statistics.lock();
        all.live.retain(|weak| !std::ptr::eq(weak.as_ptr(), Arc::as_ptr(statistics)));
        let last = StatisticsSnapshot { pending: 0, ..statistics.snapshot() };
        all.retired.merge(&last);
    }

    /// Sums over all loads of the version.
    pub(super) fn statistics(&self) -> StatisticsSnapshot {
        let all = self.statistics.lock();
        let mut sum = all.retired.clone();
        for statistics in all.live.iter().filter_map(Weak::upgrade) {
            sum.merge(&statistics.snapshot());
        }
        sum
    }
}

/// An info series says what is now: the one that said so before becomes 0.
fn move_info(current: &mut Option<Gauge>, next: Gauge) {
    if let Some(previous) = current.take() {
        previous.set(0.0);
    }
    next.set(1.0);
    *current = Some(next);
}

type Versions = BTreeMap<(String, u64), Weak<VersionSeries>>;

static VERSIONS: LazyLock<Mutex<Versions>> = LazyLock::new(Mutex::default);

/// The series of that version, made now if nobody holds them.
pub(super) fn version_series(model: &str, version: u64) -> Arc<VersionSeries> {
    let mut versions = VERSIONS.lock();
    let place = versions.entry((model.to_owned(), version)).or_default();
    if let Some(series) = place.upgrade() {
        return series;
    }
    let series = Arc::new(VersionSeries::new(model, version));
    *place = Arc::downgrade(&series);
    series
}

fn live_versions() -> Vec<Arc<VersionSeries>> {
    let mut versions = VERSIONS.lock();
    versions.retain(|_, series| series.strong_count() > 0);
    versions.values().filter_map(Weak::upgrade).collect()
}

/// All metrics as Prometheus text; with Triton's names beside ours where `triton_names` is set.
pub fn render(triton_names: bool) -> String {
    let versions = live_versions();
    let mut texts = vec![process_figures(), daemon().meter.render()];
    texts.extend(versions.iter().map(|series| series.meter.render()));
    if triton_names {
        texts.push(triton::render(&versions));
    }
    merge(&texts)
}

/// Moves what histograms have collected into their buckets. To be called every second or so:
/// until then each recorded value takes memory.
pub fn run_upkeep() {
    daemon().meter.recorder.handle().run_upkeep();
    for series in live_versions() {
        series.meter.recorder.handle().run_upkeep();
    }
}

/// One block per metric name, sorted, whichever text its lines came from.
fn merge(texts: &[String]) -> String {
    let mut families: BTreeMap<&str, (Vec<&str>, Vec<&str>)> = BTreeMap::new();
    for text in texts {
        let mut family = "";
        for line in text.lines().filter(|line| !line.is_empty()) {
            let comment = line.strip_prefix("# HELP ").or_else(|| line.strip_prefix("# TYPE "));
            if let Some(rest) = comment {
                family = rest.split(' ').next().unwrap_or_default();
                let (header, _) = families.entry(family).or_default();
                if !header.contains(&line) {
                    header.push(line);
                }
            } else {
                families.entry(family).or_default().1.push(line);
            }
        }
    }
    let mut merged = String::with_capacity(texts.iter().map(String::len).sum());
    for (header, samples) in families.values() {
        for line in header.iter().chain(samples) {
            merged.push_str(line);
            merged.push('\n');
        }
    }
    merged
}

/// The process's own figures, written here because the facade's counters are whole numbers and
/// CPU time is not.
fn process_figures() -> String {
    let figures = metrics_process::collector::collect();
    let whole = |value: Option<u64>| value.map(|value| value as f64);
    let mut text = String::new();
    for (metric, value) in [
        (&names::CPU_SECONDS, figures.cpu_seconds_total),
        (&names::OPEN_FDS, whole(figures.open_fds)),
        (&names::MAX_FDS, whole(figures.max_fds)),
        (&names::VIRTUAL_MEMORY, whole(figures.virtual_memory_bytes)),
        (&names::RESIDENT_MEMORY, whole(figures.resident_memory_bytes)),
        (&names::START_TIME, whole(figures.start_time_seconds)),
        (&names::THREADS, whole(figures.threads)),
    ] {
        let Some(value) = value else { continue };
        let kind = if metric.kind == Kind::Counter { "counter" } else { "gauge" };
        let Metric { name, help, .. } = metric;
        let written = write!(text, "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}\n");
        written.expect("a string takes every write");
    }
    text
}

#[cfg(test)]
mod tests;
