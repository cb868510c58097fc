//! What every request can rely on, looked at when all is over.

use std::collections::{HashMap, HashSet};

use onnxd::batching::{Reply, RequestError};
use onnxd::engine::EngineError;

use super::stage::{Fate, NO_MEMORY, Ran};

/// When a request's client no longer wants the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Patience {
    Endless,
    /// Longer than the simulation.
    Long,
    /// It may pass at any moment.
    Short,
    /// It has passed when the request is queued.
    None,
}

/// How a request ended.
#[derive(Debug)]
pub enum Ending {
    Waits,
    GoneAway,
    Answered(Result<Reply, RequestError>),
}

/// A request that reached a version.
#[derive(Debug)]
pub struct Asked {
    pub number: u32,
    pub rows: usize,
    pub width: usize,
    /// With the default in place of none.
    pub level: u32,
    pub fate: Fate,
    pub patience: Patience,
    /// Its version's place among all that requests met.
    pub version: usize,
    /// What the version's answers bear, where the simulation knows it.
    pub stamp: Option<u32>,
    pub ending: Ending,
}

/// How the runs were that a request was in.
#[derive(Default)]
struct Runs {
    /// The place of the first among all.
    first: usize,
    answered: usize,
    panicked: usize,
}

/// What befell the models.
pub struct Faults {
    pub memory_was_short: bool,
    /// Stamps of the files that are not where they were.
    pub replaced: HashSet<u32>,
}

impl Faults {
    /// Whether a session of the version that was asked may have found no file of its own.
    fn may_miss_file(&self, asked: &Asked) -> bool {
        asked.stamp.is_none_or(|stamp| self.replaced.contains(&stamp))
    }
}

/// The answer that each request got is the one that it must get.
pub fn check_answers(asked: &[Asked], log: &[Ran], queue_limit: usize, faults: &Faults) {
    let runs = runs_by_request(log);
    for asked in asked {
        let runs = runs.get(&asked.number);
        let answered = runs.map_or(0, |runs| runs.answered);
        assert!(answered <= 1, "run and answered twice: {asked:?}");
        assert!(asked.patience != Patience::None || runs.is_none(), "run too late: {asked:?}");
        match &asked.ending {
            Ending::Waits => panic!("never answered: {asked:?}"),
            Ending::GoneAway => {}
            Ending::Answered(Ok(reply)) => {
                assert_eq!((answered, asked.fate), (1, Fate::Answer), "{asked:?}");
                check_reply(asked, reply);
            }
            Ending::Answered(Err(error)) => match error {
                RequestError::QueueFull { limit } => assert_eq!(*limit, queue_limit),
                RequestError::Expired => {
                    assert!(
                        matches!(asked.patience, Patience::Short | Patience::None),
                        "{asked:?}"
                    );
                }
                RequestError::InstanceFailed => {
                    assert!(runs.is_some_and(|runs| runs.panicked == 1), "{asked:?}");
                }
                RequestError::Engine(EngineError::InputsRefused { .. }) => {
                    assert_eq!(asked.fate, Fate::Refuse, "{asked:?}");
                }
                RequestError::Engine(EngineError::RunFailed { reason })
                    if reason.ends_with(NO_MEMORY) =>
                {
                    assert!(faults.memory_was_short, "{asked:?}");
                }
                RequestError::Engine(EngineError::ModelUnreadable { .. }) => {
                    assert!(faults.may_miss_file(asked), "{asked:?}");
                }
                RequestError::Engine(EngineError::RunFailed { .. }) => {
                    assert_eq!(asked.fate, Fate::Fail, "{asked:?}");
                }
                // A version that a request could reach takes it: also while it is replaced.
                other => panic!("{other}: {asked:?}"),
            },
        }
    }
}

fn check_reply(asked: &Asked, reply: &Reply) {
    let output = &reply.outputs[0];
    assert_eq!(*output.shape(), [asked.rows, asked.width], "{asked:?}");
    let values = output.to_f32().expect("the output is of 32-bit floats");
    for row in values.chunks(asked.width) {
        assert_eq!(row[0], asked.number as f32, "another's answer: {asked:?}");
        assert!(asked.stamp.is_none_or(|stamp| row[1] == stamp as f32), "{row:?}: {asked:?}");
    }
}

/// Equals ran in the order in which they came, where one instance runs them.
pub fn check_order(asked: &[Asked], log: &[Ran]) {
    let runs = runs_by_request(log);
    let mut last: HashMap<(usize, u32, usize), usize> = HashMap::new();
    for asked in asked {
        let Some(Runs { first, .. }) = runs.get(&asked.number) else { continue };
        let before = last.insert((asked.version, asked.level, asked.width), *first);
        assert!(before.is_none_or(|before| before <= *first), "overtaken: {asked:?}");
    }
}

fn runs_by_request(log: &[Ran]) -> HashMap<u32, Runs> {
    let mut runs: HashMap<u32, Runs> = HashMap::new();
    for (place, ran) in log.iter().enumerate() {
        for number in &ran.requests {
            let runs = runs.entry(*number).or_insert(Runs { first: place, ..Runs::default() });
            match ran.fate {
                Fate::Answer => runs.answered += 1,
                Fate::Panic => runs.panicked += 1,
                Fate::Refuse | Fate::Fail => {}
            }
        }
    }
    runs
}
