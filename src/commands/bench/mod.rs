//! `onnxd bench`: what a model does on its engine alone, and what is left of that when it is
//! served. Both are measured in the same run, on the same machine, with the same made-up inputs.
//!
//! Reading order: this file (the course of a run), `daemon` (in this process), `engine_loop` (the
//! engine's limit), `load` (the client), `request` (what it sends), `figures`, `report`,
//! `progress`. The benchmark of the repository, `benches/serving`, measures with the same loop,
//! client and requests.

mod daemon;
pub mod engine_loop;
pub mod figures;
pub mod load;
mod progress;
mod report;
pub mod request;

use std::rc::Rc;
use std::thread::available_parallelism;
use std::time::Duration;

use anyhow::{Context, Result};

use self::daemon::Daemon;
use self::engine_loop::{Looped, Subject, Way, ways};
use self::load::Load;
use self::progress::Progress;
use self::report::{Figures, Layout, LoopRow, Report, ServedRow, count, way_text};
use super::output::{print, print_json};
use super::serve::models;
use crate::cli::BenchArguments;
use crate::config::{self, Overrides, Settings};
use crate::engine::{Device, ModelSource};
use crate::lifecycle::{ActiveVersion, NamedModel};
use crate::process::raise_open_files;
use crate::repository::{MODEL_FILE, check_name, place_model, read_model};
use crate::telemetry::logging;
use crate::tensor::Tensor;

/// Rows a run, as far as the model's configuration allows them.
const BATCH_SIZES: [usize; 7] = [1, 2, 4, 8, 16, 32, 64];
/// Of a model that does not say how many rows it takes: more rarely help a processor, and take
/// long.
const USUAL_BATCH_SIZE: usize = 32;
/// Sessions tried on a device, which overlap copies and runs.
const DEVICE_SESSIONS: usize = 2;
/// The search for the engine's best has this share of the time for each way.
const SEARCH_SHARE: u32 = 4;
/// Different requests, sent in turn, and different batches, run in turn.
const VARIETY: u64 = 4;
/// The load before the clock runs: connections are made, and the daemon's caches filled.
const LONGEST_WARM_UP: Duration = Duration::from_millis(500);
/// What of the log is shown: a model that is served unbatched, a device that is not there.
const LOG_LEVEL: &str = "warn";

/// Measures the model, and prints what came out.
///
/// # Errors
/// The model cannot be served as the arguments say, or stdout cannot be written.
pub(super) fn bench(arguments: &BenchArguments) -> Result<()> {
    let settings = config::load(&overrides(arguments))?;
    models::require_places(&settings)?;
    logging::install(settings.logging.format, LOG_LEVEL)?;
    // Each connection has two ends here. Where the limit stays, connecting says so.
    let _ = raise_open_files();
    let report = measure(arguments, &settings)?;
    if arguments.json { print_json(&report) } else { print(report.text().as_bytes()) }
}

/// As `serve` would be asked, on a free port.
fn overrides(arguments: &BenchArguments) -> Overrides {
    // The name is only seen in the report: what cannot be one need not be refused.
    let own = place_model(None, &arguments.model).ok().map(|place| place.name);
    let name = own.filter(|name| check_name(name).is_ok()).unwrap_or_else(|| "model".to_owned());
    Overrides {
        models: vec![NamedModel { name: Some(name), path: arguments.model.clone() }],
        listen: vec!["127.0.0.1:0".parse().expect("an address")],
        engine: arguments.engine,
        device: arguments.device,
        onnxruntime: arguments.onnxruntime.clone(),
        ..Overrides::default()
    }
}

fn measure(arguments: &BenchArguments, settings: &Settings) -> Result<Report> {
    let mut progress = Progress::new();
    progress.begin("loading the model");
    let daemon = Daemon::start(settings)?;
    let version = daemon.version()?;
    let subject = subject(&daemon, &version, arguments)?;
    let cores = available_parallelism().map_or(1, usize::from);
    let ways = ways_of(&version, cores);
    progress.expect(1 + ways.len() + 1 + arguments.connections.len());

    let mut loops = search(&subject, &version, &ways, &mut progress, arguments.seconds)?;
    let best = again(&subject, &version, &mut loops, &mut progress, arguments.seconds)?;
    let rate = loops[best].1.rows_per_second;
    let requests = Rc::new(requests(&version)?);
    let request_bytes = requests[0].len();
    let mut served = Vec::new();
    for &connections in &arguments.connections {
        progress.begin(&format!("served, {}", count(connections as usize, "connection")));
        let measured = load::run(
            &Load {
                address: daemon.address,
                requests: requests.clone(),
                connections: connections as usize,
                warm_up: arguments.seconds.min(LONGEST_WARM_UP),
                duration: arguments.seconds,
            },
            || {},
            || {},
        )?;
        served.push(ServedRow {
            connections,
            figures: Figures::of_load(&measured, rate),
            refused: measured.refused,
            refusal: measured.refusal,
        });
    }
    let placement = version.batcher.placement();
    let proof = version.batcher.proof();
    Ok(Report {
        model: version.model.clone(),
        version: version.number,
        path: subject.source.path,
        engine: placement.engine,
        engine_version: placement.engine_version.clone(),
        device: placement.device.to_string(),
        cores,
        batching: proof.verdict.to_string(),
        batched: proof.batched(),
        layout: layout(&version),
        request_bytes,
        seconds: arguments.seconds.as_secs_f64(),
        engine_loops: loops
            .iter()
            .enumerate()
            .map(|(index, (way, looped))| LoopRow {
                sessions: way.sessions,
                threads: way.threads,
                batch_size: way.batch,
                figures: Figures::of_loop(looped, rate),
                best: index == best,
            })
            .collect(),
        served,
    })
}

/// What the daemon has open, for sessions of one's own.
fn subject(
    daemon: &Daemon,
    version: &ActiveVersion,
    arguments: &BenchArguments,
) -> Result<Subject> {
    let settings = &version.settings;
    let place = place_model(Some(&version.model), &arguments.model)?;
    let files = read_model(&place, settings.model_file.as_deref().unwrap_or(MODEL_FILE))?;
    let file = files.versions.into_iter().find(|files| files.number == version.number);
    let file = file.context("the version that serves is no longer there")?.file;
    Ok(Subject {
        engine: daemon.engine(settings.engine)?,
        source: ModelSource { path: file },
        session: settings.session.clone(),
    })
}

fn ways_of(version: &ActiveVersion, cores: usize) -> Vec<Way> {
    let most = match version.batcher.proof().batched() {
        true => version.settings.batching.max_batch_size.unwrap_or(USUAL_BATCH_SIZE),
        false => 1,
    };
    let sizes: Vec<usize> = BATCH_SIZES.into_iter().filter(|&size| size <= most).collect();
    if version.batcher.placement().device == Device::Cpu {
        return ways(cores, &sizes);
    }
    let on_device = |&batch: &usize| {
        (1..=DEVICE_SESSIONS).map(move |sessions| Way { sessions, threads: 1, batch })
    };
    sizes.iter().flat_map(on_device).collect()
}

/// Runs every way for a part of the time.
fn search(
    subject: &Subject,
    version: &ActiveVersion,
    ways: &[Way],
    progress: &mut Progress,
    time: Duration,
) -> Result<Vec<(Way, Looped)>> {
    let mut loops = Vec::with_capacity(ways.len());
    for &way in ways {
        progress.begin(&format!("engine, {}", way_text(way)));
        let batches = batches(version, way.batch)?;
        loops.push((way, engine_loop::run(subject, way, &batches, time / SEARCH_SHARE)?));
    }
    Ok(loops)
}

/// Runs the best way again, for the whole time, and says which it is: the best of several short
/// measurements is also the luckiest.
fn again(
    subject: &Subject,
    version: &ActiveVersion,
    loops: &mut [(Way, Looped)],
    progress: &mut Progress,
    time: Duration,
) -> Result<usize> {
    let rate = |entry: &(usize, &(Way, Looped))| entry.1.1.rows_per_second;
    let best = loops.iter().enumerate().max_by(|one, other| rate(one).total_cmp(&rate(other)));
    let (index, &(way, _)) = best.context("there is no way to run the model")?;
    progress.begin(&format!("engine, {}, again", way_text(way)));
    loops[index].1 = engine_loop::run(subject, way, &batches(version, way.batch)?, time)?;
    Ok(index)
}

/// Inputs of so many rows, each time of other values.
fn batches(version: &ActiveVersion, rows: usize) -> Result<Vec<Vec<Option<Tensor>>>> {
    let made = |turn: u64| version.batcher.made_up(rows, 1 + turn * rows as u64);
    let batches: Option<Vec<_>> = (0..VARIETY).map(made).collect();
    batches.with_context(|| {
        "no inputs could be made up that the model takes: say in model.toml, under \
         [sample_shapes], which sizes its inputs usually have"
    })
}

/// Requests of one row each, for all outputs.
fn requests(version: &ActiveVersion) -> Result<Vec<Vec<u8>>> {
    let signature = version.batcher.signature();
    let request = |inputs: Vec<Option<Tensor>>| {
        let given = signature.inputs.iter().zip(&inputs);
        let given: Vec<(&str, &Tensor)> = given
            .filter_map(|(spec, tensor)| Some((spec.name.as_str(), tensor.as_ref()?)))
            .collect();
        request::binary(&version.model, &given, &[])
    };
    Ok(batches(version, 1)?.into_iter().map(request).collect())
}

fn layout(version: &ActiveVersion) -> Layout {
    let layout = version.batcher.layout();
    Layout {
        inline: layout.inline,
        instances: layout.instances,
        threads: layout.threads,
        max_batch_size: version.batcher.max_batch_size(),
        origin: layout.origin,
    }
}
