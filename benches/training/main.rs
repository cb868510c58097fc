//! `cargo bench --bench training`: what a training step takes, beside PyTorch's in the same run.
//!
//! Arguments: `--only NAME` (repeatable: mlp, cnn, resnet, encoder), `--seconds N` for each measured
//! span, `--rounds N`, `--threads N`, `--engine NAME`, `--no-kernels`. `ONNXD_PEER_PYTHON` names a
//! Python that has PyTorch; without it there are no ratios. Needs a quiet machine.

mod cases;
mod peer;

use std::time::{Duration, Instant};

use onnxd::engine::{Engine, EngineChoice, EngineSettings, SessionSettings};
use onnxd::train::{
    Algorithm, Clipping, LossSettings, OptimizerSettings, StepPlan, Stepper, Trainable, parameters,
    prepare, step_graph,
};

use cases::Case;

struct Options {
    only: Vec<String>,
    seconds: f64,
    rounds: usize,
    threads: usize,
    engine: EngineChoice,
    kernels: bool,
}

fn main() {
    // SAFETY: the first thing in `main`; no other thread runs.
    unsafe { onnxd::engine::onnxruntime::library::disable_telemetry() };
    let options = parse();
    let settings = EngineSettings { engine: options.engine, onnxruntime_library: None };
    let engine = onnxd::engine::choose(&settings).expect("the engine is there");
    println!(
        "engine: {} {}, threads: {}, kernels: {}\n",
        engine.name(),
        engine.version(),
        options.threads,
        options.kernels
    );
    println!("| step | onnxd | PyTorch, eager | ratio | bar | PyTorch at its best | ratio | bar |");
    println!("|---|---|---|---|---|---|---|---|");
    for case in cases::all() {
        if options.only.is_empty() || options.only.iter().any(|only| only == case.name) {
            measure(&*engine, &options, &case);
        }
    }
}

fn measure(engine: &dyn Engine, options: &Options, case: &Case) {
    let mut run = Run::new(engine, options, case);
    let (mut ours, mut eager, mut best) = (Vec::new(), Vec::new(), Vec::new());
    let mut form = String::new();
    // In turns, so that what disturbs the machine disturbs both.
    for _ in 0..options.rounds {
        ours.push(run.milliseconds(Duration::from_secs_f64(options.seconds)));
        let peer = |form: &str| peer::step(case, options.threads, options.seconds, form);
        eager.extend(peer("eager").map(|(time, _)| time));
        if let Some((time, fastest)) = peer("best") {
            best.push(time);
            form = fastest;
        }
    }
    let ours = median(&mut ours);
    let beside = |times: &mut Vec<f64>, bar: f64, form: &str| match times.is_empty() {
        true => "– | – | –".to_owned(),
        false => {
            let theirs = median(times);
            format!("{theirs:.2} ms{form} | {:.2} | ≥ {bar}", theirs / ours)
        }
    };
    let form = if form.is_empty() { form } else { format!(" ({form})") };
    println!(
        "| {}, batch {} | {ours:.2} ms | {} | {} |",
        case.name,
        case.batch,
        beside(&mut eager, case.eager_bar, ""),
        beside(&mut best, case.best_bar, &form)
    );
}

struct Run<'a> {
    case: &'a Case,
    stepper: Stepper,
    step: u64,
}

impl<'a> Run<'a> {
    fn new(engine: &dyn Engine, options: &Options, case: &'a Case) -> Run<'a> {
        let mut model = case.model.clone();
        onnxd::onnx::normalize(&mut model).expect("a sound model");
        let trained = parameters(&model, &Trainable::default()).expect("there are some");
        let loss = LossSettings::plain(case.loss);
        let optimizer = OptimizerSettings::of(Algorithm::AdamW);
        let plan = StepPlan {
            model: &model,
            parameters: &trained,
            output: case.output,
            loss: &loss,
            optimizer: &optimizer,
            clipping: Clipping::default(),
            parts: 1,
            seed: 0,
        };
        let mut sample = case.inputs.clone();
        sample.push(case.target.clone());
        let prepared = prepare(engine, &plan, sample).expect("it runs");
        let graph = step_graph(&plan, &prepared).expect("every node has a derivative");
        let session = SessionSettings {
            threads: options.threads,
            kernels: options.kernels,
            ..SessionSettings::cpu()
        };
        let inputs: Vec<String> = case.input_names.iter().map(|&name| name.to_owned()).collect();
        let stepper = Stepper::new(engine, &session, &graph, &inputs).expect("it opens");
        let mut run = Run { case, stepper, step: 0 };
        for _ in 0..5 {
            run.step();
        }
        run
    }

    fn step(&mut self) {
        self.step += 1;
        let case = self.case;
        let report = self.stepper.step(&case.inputs, &case.target, 1e-3, self.step);
        assert!(report.expect("a step").loss.is_finite(), "{}", case.name);
    }

    /// The median step.
    fn milliseconds(&mut self, span: Duration) -> f64 {
        let (begun, mut times) = (Instant::now(), Vec::new());
        while begun.elapsed() < span || times.len() < 5 {
            let begun = Instant::now();
            self.step();
            times.push(begun.elapsed().as_secs_f64() * 1e3);
        }
        median(&mut times)
    }
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

fn parse() -> Options {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let mut options = Options {
        only: Vec::new(),
        seconds: 3.0,
        rounds: 3,
        threads: cores.min(2),
        engine: EngineChoice::Auto,
        kernels: true,
    };
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().unwrap_or_else(|| panic!("{argument} takes a value"));
        match argument.as_str() {
            "--only" => options.only.push(value()),
            "--seconds" => options.seconds = value().parse().expect("a number"),
            "--rounds" => options.rounds = value().parse().expect("a number"),
            "--threads" => options.threads = value().parse().expect("a number"),
            "--engine" => options.engine = value().parse().expect("an engine"),
            "--no-kernels" => options.kernels = false,
            // cargo's own.
            "--bench" => {}
            other => panic!("unknown argument {other}"),
        }
    }
    options
}
