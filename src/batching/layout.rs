//! How a version is laid out on the machine, decided by what its runs take.
//!
//! A run shorter than the hand-over to a thread happens where requests arrive. A longer one gets
//! instance threads; on the CPU a short measurement decides how many, of how many threads each,
//! and how many rows a batch has (`curve` says by which rule). What configuration says is not
//! measured.

use std::time::{Duration, Instant};

use super::curve::{Curve, Division, choose, median};
use super::layout_cache::{self, Circumstances};
use super::measure::{Load, Throughput, run_time, throughput};
use super::plan::Plan;
use super::report;
use super::sample::Sample;
use super::settings::DEFAULT_MAX_BATCH_SIZE;
use super::slot::Slot;
use super::{BatchingSettings, Layout, LayoutChoice, SessionOpener};
use crate::engine::{Device, EngineError, Placement};
use crate::telemetry::ModelEvents;

/// A batch that takes no longer runs inline: handing over to a thread costs 100 to 200 µs with
/// few connections, up to 400 with many.
const INLINE_BOUND: Duration = Duration::from_micros(200);
/// Rows of the batch that is held against the bound.
const INLINE_ROWS: usize = 8;
/// An inline batch is never larger unless configured.
const LARGEST_INLINE_BATCH: usize = 256;
/// Each instance holds the weights once more: beyond this many, they are given more threads.
const MAX_INSTANCES: usize = 8;
/// A larger batch that does not gain this is not tried larger still.
const WORTHWHILE: f64 = 1.02;
/// Time for the whole measurement; the last run may overdraw it.
const BUDGET: Duration = Duration::from_millis(3000);
/// Time for one point of it, each time it is looked at.
const WINDOW: Duration = Duration::from_millis(40);
/// How often each point is looked at, as far as there is time.
const PASSES: usize = 3;

/// What the decision is about.
pub(super) struct Site<'a> {
    pub opener: &'a SessionOpener,
    pub placement: &'a Placement,
    /// `None` where requests are not batched.
    pub plan: Option<&'a Plan>,
    /// `None` where no input is known that the model takes: then nothing can be measured.
    pub sample: Option<&'a Sample>,
    pub settings: &'a BatchingSettings,
    pub events: &'a ModelEvents,
    pub cores: usize,
}

/// A layout, and its sessions.
pub(super) struct Decided {
    pub layout: Layout,
    pub slots: Vec<Slot>,
}

/// Decides where `first`, the session opened so far, and others like it run.
///
/// # Errors
/// The engine could not open another session.
pub(super) fn decide(site: &Site<'_>, mut first: Slot) -> Result<Decided, EngineError> {
    let time = match site.settings.layout {
        LayoutChoice::Threads => None,
        LayoutChoice::Inline | LayoutChoice::Auto => site.time_of_a_run(&mut first),
    };
    let inline = match site.settings.layout {
        LayoutChoice::Inline => true,
        LayoutChoice::Threads => false,
        LayoutChoice::Auto => time.is_some_and(|time| time <= INLINE_BOUND),
    };
    let mut decided = if inline { site.inline(first, time) } else { site.threaded(first) }?;
    site.warm_up(&mut decided.slots);
    Ok(decided)
}

impl Site<'_> {
    fn inline(&self, first: Slot, time: Option<Duration>) -> Result<Decided, EngineError> {
        let settings = self.settings;
        let layout = Layout {
            inline: true,
            instances: settings.instances.unwrap_or(settings.inline_sessions).max(1),
            threads: first.threads(),
            max_batch_size: self.largest_inline_batch(time),
            origin: match settings.layout {
                LayoutChoice::Inline => "configured",
                LayoutChoice::Auto | LayoutChoice::Threads => "measured",
            },
        };
        self.open_all(layout, vec![first])
    }

    fn threaded(&self, first: Slot) -> Result<Decided, EngineError> {
        if let Some(layout) = self.configured() {
            return self.open_all(layout, vec![first]);
        }
        let circumstances = self.circumstances();
        if let Some(layout) = self.cached(&circumstances) {
            return self.open_all(layout, vec![first]);
        }
        let Some(decided) = self.measure(first)? else {
            return self.open_all(self.fallback(), Vec::new());
        };
        self.keep(&circumstances, &decided.layout);
        Ok(decided)
    }

    /// Runs every session once that has not run yet. A made-up input that is refused is no reason
    /// not to serve.
    fn warm_up(&self, slots: &mut [Slot]) {
        let load = self.sample.and_then(|sample| Load::new(sample, self.plan, 1));
        let Some(load) = load else { return };
        for slot in slots.iter_mut().filter(|slot| !slot.warm()) {
            load.run(slot);
        }
    }

    /// What a batch of [`INLINE_ROWS`] takes, where it can be measured.
    fn time_of_a_run(&self, slot: &mut Slot) -> Option<Duration> {
        let rows = self.largest_batch().min(INLINE_ROWS);
        let load = Load::new(self.sample?, self.plan, rows)?;
        run_time(slot, &load)
    }

    /// Rows of an inline batch. All requests of one round over the connections should fit into
    /// one, as far as the bound allows.
    fn largest_inline_batch(&self, time: Option<Duration>) -> usize {
        let largest = self.largest_batch();
        match (self.plan, self.settings.max_batch_size, time) {
            (Some(_), None, Some(time)) => {
                largest.max(rows_within_bound(time, largest.min(INLINE_ROWS)))
            }
            _ => largest,
        }
    }

    /// Rows that a batch may have, as far as configuration or a default says.
    fn largest_batch(&self) -> usize {
        match self.plan {
            None => 1,
            Some(_) => self.settings.max_batch_size.unwrap_or(DEFAULT_MAX_BATCH_SIZE),
        }
    }

    /// The layout, where nothing is left to measure.
    fn configured(&self) -> Option<Layout> {
        let settings = self.settings;
        let on_cpu = self.on_cpu();
        // An accelerator runs one batch at a time, and is best used by a full one.
        let default = if on_cpu { None } else { Some(1) };
        let batch_is_known = !on_cpu || self.plan.is_none() || settings.max_batch_size.is_some();
        Some(Layout {
            inline: false,
            instances: settings.instances.or(default)?.max(1),
            threads: settings.threads.or(default)?.max(1),
            max_batch_size: batch_is_known.then(|| self.largest_batch())?,
            origin: "configured",
        })
    }

    /// The layout where nothing can be measured: on the CPU an instance per core, as far as
    /// memory should be spent on it.
    pub fn fallback(&self) -> Layout {
        self.layout_of(self.divisions()[0], self.largest_batch(), "configured")
    }

    /// Ways to divide the device. An accelerator runs one batch at a time: more sessions would
    /// only take its memory, and the cores do not do its work.
    fn divisions(&self) -> Vec<Division> {
        let cores = if self.on_cpu() { self.cores } else { 1 };
        divisions(cores, self.settings.instances, self.settings.threads)
    }

    fn on_cpu(&self) -> bool {
        self.placement.device == Device::Cpu
    }

    fn circumstances(&self) -> Circumstances {
        Circumstances {
            model: self.settings.layout_key.clone(),
            engine: self.placement.engine.to_owned(),
            engine_version: self.placement.engine_version.clone(),
            device: self.placement.device.to_string(),
            cores: self.cores,
            wanted_instances: self.settings.instances.unwrap_or(0),
            wanted_threads: self.settings.threads.unwrap_or(0),
            wanted_max_batch_size: self.settings.max_batch_size.unwrap_or(0),
            batched: self.plan.is_some(),
        }
    }

    fn cached(&self, circumstances: &Circumstances) -> Option<Layout> {
        let path = self.settings.layout_cache.as_ref()?;
        if circumstances.model.is_empty() {
            return None;
        }
        let cached = layout_cache::read(path, circumstances);
        cached.inspect_err(|why| report::cache_unusable(self.events, path, why)).ok().flatten()
    }

    fn keep(&self, circumstances: &Circumstances, layout: &Layout) {
        let Some(path) = &self.settings.layout_cache else { return };
        if circumstances.model.is_empty() {
            return;
        }
        if let Err(error) = layout_cache::write(path, circumstances, layout) {
            report::cache_unusable(self.events, path, &format!("cannot be written: {error}"));
        }
    }

    /// Opens what the layout needs beyond the sessions that are there.
    fn open_all(&self, layout: Layout, mut slots: Vec<Slot>) -> Result<Decided, EngineError> {
        // First, so that what does not fit is not in memory beside what does.
        slots.retain(|slot| slot.threads() == layout.threads);
        slots.truncate(layout.instances);
        while slots.len() < layout.instances {
            slots.push(Slot::open(self.opener, layout.threads)?);
        }
        Ok(Decided { layout, slots })
    }

    /// Measures; `None` where no run succeeded.
    fn measure(&self, first: Slot) -> Result<Option<Decided>, EngineError> {
        let Some(sample) = self.sample else { return Ok(None) };
        let until = Instant::now() + BUDGET;
        let divisions = self.divisions();
        let share = BUDGET / u32::try_from(divisions.len()).unwrap_or(u32::MAX);
        let mut slots = vec![first];
        let mut curves: Vec<Curve> = Vec::new();
        let mut refusal: Option<EngineError> = None;
        for division in divisions {
            if !curves.is_empty() && Instant::now() >= until {
                break;
            }
            let layout = self.layout_of(division, self.largest_batch(), "measured");
            // Memory may not suffice for so many sessions; for fewer it may.
            match self.open_all(layout, std::mem::take(&mut slots)) {
                Ok(decided) => slots = decided.slots,
                Err(error) => {
                    refusal = Some(error);
                    continue;
                }
            }
            let points = self.measure_batches(sample, &mut slots, Instant::now() + share);
            curves.push(Curve { division, points });
        }
        let Some((division, rows)) = choose(&curves) else { return refusal.map_or(Ok(None), Err) };
        let configured = self.plan.and(self.settings.max_batch_size);
        let layout = self.layout_of(division, configured.unwrap_or(rows), "measured");
        self.open_all(layout, slots).map(Some)
    }

    fn layout_of(&self, division: Division, max_batch_size: usize, origin: &'static str) -> Layout {
        let Division { instances, threads } = division;
        Layout { inline: false, instances, threads, max_batch_size, origin }
    }

    /// Measures growing batches until they gain nothing or the time is used up; then the same
    /// again: what disturbs one window of time does not disturb them all.
    fn measure_batches(
        &self,
        sample: &Sample,
        slots: &mut [Slot],
        until: Instant,
    ) -> Vec<(usize, Throughput)> {
        let mut looked_at: Vec<(Load, Vec<Throughput>)> = Vec::new();
        let mut best = 0.0f64;
        let mut without_gain = 0;
        for rows in self.batch_sizes() {
            // A run that warms up and one that counts, if they take as long by row as the last.
            let expected = looked_at.last().map_or(Duration::ZERO, |(load, measured)| {
                measured[0].run.mul_f64(2.0 * rows as f64 / load.rows as f64)
            });
            if !looked_at.is_empty() && Instant::now() + expected > until {
                break;
            }
            let Some(load) = Load::new(sample, self.plan, rows) else { break };
            let warm = throughput(slots, &load, Duration::ZERO);
            let Some(first) = warm.and_then(|_| throughput(slots, &load, WINDOW)) else { break };
            looked_at.push((load, vec![first]));
            let gain = first.rows_per_second > best * WORTHWHILE;
            without_gain = if gain { 0 } else { without_gain + 1 };
            best = best.max(first.rows_per_second);
            if without_gain == 2 {
                break;
            }
        }
        for _ in 1..PASSES {
            for (load, measured) in &mut looked_at {
                if Instant::now() + measured[0].run <= until {
                    measured.extend(throughput(slots, load, WINDOW));
                }
            }
        }
        let medians = looked_at
            .into_iter()
            .filter_map(|(load, measured)| Some((load.rows, median(measured)?)));
        medians.collect()
    }

    fn batch_sizes(&self) -> Vec<usize> {
        match (self.plan, self.settings.max_batch_size) {
            (None, _) => vec![1],
            // The size is given; how the machine is divided is measured at it.
            (Some(_), Some(size)) => vec![size.min(DEFAULT_MAX_BATCH_SIZE)],
            (Some(_), None) => vec![1, 2, 4, 8, 16, DEFAULT_MAX_BATCH_SIZE],
        }
    }
}

/// Rows of a batch that keeps to [`INLINE_BOUND`] if each takes what it took in a batch of so many
/// `rows`; a power of two.
fn rows_within_bound(time: Duration, rows: usize) -> usize {
    let fitting = INLINE_BOUND.as_secs_f64() / time.as_secs_f64() * rows as f64;
    1 << (fitting.clamp(1.0, LARGEST_INLINE_BATCH as f64) as usize).ilog2()
}

/// Ways to divide the cores, most instances first: the session opened at load has one thread and
/// is of use there.
fn divisions(cores: usize, instances: Option<usize>, threads: Option<usize>) -> Vec<Division> {
    let cores = cores.max(1);
    match (instances, threads) {
        (Some(instances), Some(threads)) => {
            vec![Division { instances: instances.max(1), threads: threads.max(1) }]
        }
        (Some(instances), None) => {
            let instances = instances.max(1);
            vec![Division { instances, threads: (cores / instances).max(1) }]
        }
        (None, Some(threads)) => {
            let threads = threads.max(1);
            let most = (cores / threads).clamp(1, MAX_INSTANCES);
            halved(most).map(|instances| Division { instances, threads }).collect()
        }
        (None, None) => halved(cores.min(MAX_INSTANCES))
            .map(|instances| Division { instances, threads: cores / instances })
            .collect(),
    }
}

/// `most`, halves of it, and one.
fn halved(most: usize) -> impl Iterator<Item = usize> {
    std::iter::successors(Some(most), |&instances| (instances > 1).then_some(instances / 2))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_inline_batch_has_as_many_rows_as_the_bound_allows() {
        let check = |micros, expected| {
            assert_eq!(rows_within_bound(Duration::from_micros(micros), 8), expected);
        };
        check(0, 256);
        check(1, 256);
        check(10, 128);
        check(12, 128);
        check(13, 64);
        check(200, 8);
        check(5_000, 1);
    }

    #[test]
    fn cores_are_divided_in_halves_and_configuration_wins() {
        let check = |cores, instances, threads, expected: &[(usize, usize)]| {
            let found: Vec<(usize, usize)> = divisions(cores, instances, threads)
                .into_iter()
                .map(|division| (division.instances, division.threads))
                .collect();
            assert_eq!(found, expected);
        };
        check(1, None, None, &[(1, 1)]);
        check(2, None, None, &[(2, 1), (1, 2)]);
        check(8, None, None, &[(8, 1), (4, 2), (2, 4), (1, 8)]);
        check(64, None, None, &[(8, 8), (4, 16), (2, 32), (1, 64)]);
        check(4, Some(3), Some(2), &[(3, 2)]);
        check(4, Some(2), None, &[(2, 2)]);
        check(4, None, Some(2), &[(2, 2), (1, 2)]);
        check(2, Some(4), None, &[(4, 1)]);
    }
}
