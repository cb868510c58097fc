//! Catalogue and policy without threads, files or clocks: random events, a loader that fails when
//! told to, and time that passes only when the test says so.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use proptest::prelude::*;

use crate::lifecycle::catalog::{Catalog, Desire, VersionKey};
use crate::lifecycle::policy::{Action, RetryPolicy};
use crate::lifecycle::state::{Event, State};
use crate::lifecycle::{LoadError, VersionState};
use crate::repository::RepositoryError;

const RETRY: RetryPolicy =
    RetryPolicy { retries: 2, delay: Duration::from_secs(1), delay_max: Duration::from_secs(60) };
const MODELS: [&str; 2] = ["a", "b"];
const LOAD_THREADS: usize = 2;

/// Something that happens.
#[derive(Clone, Debug)]
enum Step {
    /// Somebody asks for these versions, of which some may be kept if they are there.
    Desire {
        model: usize,
        numbers: BTreeSet<u64>,
        keep: bool,
    },
    Withdraw {
        model: usize,
    },
    /// A loader thread finishes what it began first.
    FinishLoad {
        succeeds: bool,
    },
    /// The retirement thread frees what it was given first.
    Free,
    /// Time passes.
    Pass {
        seconds: u64,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let numbers = prop::collection::btree_set(1..5u64, 1..4);
    prop_oneof![
        3 => (0..MODELS.len(), numbers, any::<bool>())
            .prop_map(|(model, numbers, keep)| Step::Desire { model, numbers, keep }),
        1 => (0..MODELS.len()).prop_map(|model| Step::Withdraw { model }),
        6 => any::<bool>().prop_map(|succeeds| Step::FinishLoad { succeeds }),
        3 => Just(Step::Free),
        2 => (0..3u64).prop_map(|seconds| Step::Pass { seconds }),
    ]
}

/// The world around the catalogue.
struct World {
    catalog: Catalog,
    now: Instant,
    loading: Vec<VersionKey>,
    retiring: Vec<VersionKey>,
    /// Models that have served and that nobody has withdrawn since.
    must_serve: BTreeSet<&'static str>,
}

impl World {
    fn new() -> World {
        World {
            catalog: Catalog::default(),
            now: Instant::now(),
            loading: Vec::new(),
            retiring: Vec::new(),
            must_serve: BTreeSet::new(),
        }
    }

    fn happen(&mut self, step: &Step) {
        match step {
            Step::Desire { model, numbers, keep } => self.desire(MODELS[*model], numbers, *keep),
            Step::Withdraw { model } => {
                self.catalog.withdraw(MODELS[*model], "unloaded");
                self.must_serve.remove(MODELS[*model]);
            }
            Step::FinishLoad { .. } if self.loading.is_empty() => {}
            Step::FinishLoad { succeeds: true } => {
                self.catalog.record(&self.loading.remove(0), Event::Loaded);
            }
            Step::FinishLoad { succeeds: false } => {
                let missing = RepositoryError::Missing { path: "model.onnx".into() };
                let error = LoadError::from(missing);
                let key = self.loading.remove(0);
                let _ = self.catalog.record_failure(&key, error, &RETRY, self.now);
            }
            Step::Free if self.retiring.is_empty() => {}
            Step::Free => self.catalog.record(&self.retiring.remove(0), Event::Freed),
            Step::Pass { seconds } => self.now += Duration::from_secs(*seconds),
        }
    }

    fn desire(&mut self, model: &str, numbers: &BTreeSet<u64>, keep: bool) {
        let is_live = |number: &u64| {
            self.catalog.get(model).is_some_and(|entry| {
                entry.versions.iter().any(|((other, _), version)| {
                    let live = version.state == State::Ready || version.state.is_pending();
                    other == number && version.desired && live
                })
            })
        };
        let kept: BTreeSet<u64> =
            numbers.iter().copied().filter(|it| keep && is_live(it)).collect();
        let desire = Desire { load: numbers - &kept, keep: kept, on_disk: numbers.clone() };
        self.catalog.desire(model, &desire);
    }

    /// Does what the policy says until it says nothing more, checking after every action.
    fn turn(&mut self) {
        // Every version is loaded and unloaded at most once per turn.
        for _ in 0..1000 {
            let may_load = self.loading.len() < LOAD_THREADS;
            let Some((model, action)) = self.catalog.next_action(self.now, may_load) else {
                return;
            };
            match action {
                Action::Load(number, generation) => {
                    let key = VersionKey { model, number, generation };
                    self.catalog.record(&key, Event::LoadStarted);
                    self.loading.push(key);
                }
                Action::Unload(number, generation) => {
                    let key = VersionKey { model, number, generation };
                    let state = self.state(&key);
                    self.catalog.record(&key, Event::UnloadStarted);
                    if state == State::Ready {
                        self.retiring.push(key);
                    }
                }
            }
            self.check();
        }
        panic!("the policy never comes to rest");
    }

    fn state(&self, key: &VersionKey) -> State {
        self.catalog.models()[&key.model].versions[&(key.number, key.generation)].state
    }

    /// What must hold at every moment.
    fn check(&mut self) {
        for name in MODELS {
            let Some(model) = self.catalog.get(name) else { continue };
            let serves = model.current().is_some();
            assert_eq!(serves, !model.ready().is_empty());
            assert!(serves || !self.must_serve.contains(name), "{name} lost its last version");
            let is_desired = model.versions.values().any(|version| version.desired);
            if serves && is_desired {
                self.must_serve.insert(name);
            }
        }
        assert!(self.loading.len() <= LOAD_THREADS);
    }

    /// Lets everything under way end well.
    fn settle(&mut self) {
        for _ in 0..1000 {
            self.turn();
            if let Some(time) = self.catalog.next_due(self.now) {
                self.now = time;
            } else if self.loading.is_empty() && self.retiring.is_empty() {
                return;
            }
            self.happen(&Step::FinishLoad { succeeds: true });
            self.happen(&Step::Free);
            self.check();
        }
        panic!("loads and unloads never come to rest");
    }
}

proptest! {
    #[test]
    fn what_served_serves_on_and_what_is_desired_comes(
        steps in prop::collection::vec(step(), 1..60),
        last in prop::collection::btree_set(1..5u64, 1..4),
    ) {
        let mut world = World::new();
        for step in &steps {
            world.happen(step);
            world.check();
            world.turn();
        }
        // Nothing fails any more, and somebody asks once more: exactly that is there at the end.
        for model in MODELS {
            world.desire(model, &last, true);
        }
        world.settle();
        for model in MODELS {
            let entry = world.catalog.get(model).expect("it was desired");
            prop_assert!(entry.is_settled());
            prop_assert_eq!(entry.desired_ready(), last.iter().copied().collect::<Vec<_>>());
            let ready: BTreeSet<u64> = entry.ready().into_keys().collect();
            prop_assert_eq!(&ready, &last);
            prop_assert_eq!(entry.current(), last.last().copied());
        }
        prop_assert_eq!(world.catalog.unfreed().count(), MODELS.len() * last.len());
    }

    #[test]
    fn a_model_that_is_removed_is_forgotten(steps in prop::collection::vec(step(), 1..40)) {
        let mut world = World::new();
        for step in &steps {
            world.happen(step);
            world.turn();
        }
        for model in MODELS {
            world.catalog.remove(model, "no longer listed");
            world.must_serve.remove(model);
        }
        world.settle();
        world.catalog.sweep();
        prop_assert!(world.catalog.models().is_empty());
    }
}

#[test]
fn a_load_that_keeps_failing_is_tried_so_often_and_no_more() {
    let mut world = World::new();
    world.desire("a", &BTreeSet::from([1]), false);
    let mut attempts = 0;
    loop {
        world.turn();
        if world.loading.is_empty() {
            match world.catalog.next_due(world.now) {
                Some(time) => world.now = time,
                None => break,
            }
        } else {
            attempts += 1;
            world.happen(&Step::FinishLoad { succeeds: false });
        }
    }
    assert_eq!(attempts, 1 + RETRY.retries);
    let index = crate::lifecycle::index::index(&world.catalog, &[], &super::support::reader());
    assert_eq!(index.len(), 1);
    assert_eq!(index[0].state, VersionState::Unavailable);
    assert_eq!(index[0].reason, "model.onnx: no such file or folder");
}

#[test]
fn reloading_all_versions_lets_no_lower_one_answer_meanwhile() {
    let mut world = World::new();
    let both = BTreeSet::from([1, 2]);
    world.desire("a", &both, false);
    world.settle();
    world.desire("a", &both, false);
    world.turn();
    let lower = world.loading.iter().position(|key| key.number == 1).expect("both are loaded");
    world.catalog.record(&world.loading.swap_remove(lower), Event::Loaded);
    world.turn();
    assert_eq!(world.catalog.get("a").and_then(|model| model.current()), Some(2));
}
