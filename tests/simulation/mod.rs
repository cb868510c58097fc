//! Queue, policy, drivers and lifecycle together, under steps that nobody thought of: requests
//! come, go away and expire, models fail and panic, are loaded, broken and unloaded. A seed decides
//! all of it. A failure says which, and that seed alone is run again with
//! `ONNXD_SIMULATION_SEEDS=17 cargo test simulation`; `40-4000` runs many more.
//!
//! Reading order: `world` (what happens, and what must hold at every moment), `loads` (what happens
//! to the models), `promises` (what must hold of each answer), `stage` (how the models run).

mod loads;
mod promises;
mod stage;
mod world;

use onnxd::onnx::samples::Random;

use world::World;

/// Seeds that are run where none is named.
const SEEDS: std::ops::RangeInclusive<u64> = 0..=39;
const STEPS: usize = 250;
/// One number, or the first and the last with a dash between.
const SEEDS_VARIABLE: &str = "ONNXD_SIMULATION_SEEDS";

/// Says which seed it was, if the test fails.
struct Seed(u64);

impl Drop for Seed {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("seed {0}: run it again with {SEEDS_VARIABLE}={0}", self.0);
        }
    }
}

fn seeds() -> std::ops::RangeInclusive<u64> {
    let Ok(text) = std::env::var(SEEDS_VARIABLE) else { return SEEDS };
    let number = |text: &str| text.parse().expect("a seed is a number");
    let (first, last) = text.split_once('-').unwrap_or((&text, &text));
    number(first)..=number(last)
}

#[test]
fn every_request_is_answered_once_whatever_happens_to_its_model() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    for seed in seeds() {
        let _named = Seed(seed);
        runtime.block_on(async {
            let mut world = World::new(Random::new(seed)).await;
            for _ in 0..STEPS {
                world.step().await;
            }
            world.end().await;
        });
    }
}
