//! `cargo bench --bench serving`: the serving figures of the README, each beside its limit,
//! measured in the same run: a bare hyper server that reads the same body and answers the same
//! bytes, and the same model in a bare loop on the same engine.
//!
//! Arguments: `--only NAME` (repeatable: mlp, memory, encoder, mixed, resnet), `--seconds N` for
//! each measured span, `--rounds N`, `--engine NAME`, `--device NAME`. `ONNXD_BINARY` names another
//! build of the daemon than cargo's. Needs a quiet machine.

mod bare;
mod cases;
mod child;
mod request;
mod table;

use std::path::Path;
use std::time::Duration;

use onnxd::engine::{DeviceChoice, EngineChoice, EngineSettings};

/// What was asked for on the command line.
pub struct Options {
    pub only: Vec<String>,
    pub span: Duration,
    pub rounds: usize,
    pub engine: EngineChoice,
    pub device: DeviceChoice,
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [flag, answer, header_length] = arguments.as_slice()
        && flag == "--bare-server"
    {
        bare::serve(Path::new(answer), header_length.parse().expect("a number of bytes"));
        return;
    }
    // SAFETY: the first thing in `main`; no other thread runs.
    unsafe { onnxd::engine::onnxruntime::library::disable_telemetry() };
    let options = parse(&arguments);
    let settings = EngineSettings { engine: options.engine, onnxruntime_library: None };
    let engine = onnxd::engine::choose(&settings).expect("the engine is there");
    println!("engine: {} {}, cores: {}", engine.name(), engine.version(), cores());
    println!("daemon: {}\n", child::binary().display());
    cases::run(&engine, &options);
}

/// Cores this process may run on.
pub fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

fn parse(arguments: &[String]) -> Options {
    let mut options = Options {
        only: Vec::new(),
        span: Duration::from_secs(3),
        rounds: 5,
        engine: EngineChoice::Auto,
        device: "cpu".parse().expect("a device"),
    };
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().unwrap_or_else(|| panic!("{argument} takes a value"));
        match argument.as_str() {
            "--only" => options.only.push(value().clone()),
            "--seconds" => {
                options.span = Duration::from_secs_f64(value().parse().expect("seconds"));
            }
            "--rounds" => options.rounds = value().parse().expect("a number of rounds"),
            "--engine" => options.engine = value().parse().expect("an engine"),
            "--device" => options.device = value().parse().expect("a device"),
            // cargo passes it to every benchmark.
            "--bench" => {}
            other => panic!("unknown argument {other}"),
        }
    }
    options
}
