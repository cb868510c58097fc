//! The engines, each made when a model first asks for it: a daemon whose models all run on one
//! engine never loads the other.

use std::sync::Arc;

use parking_lot::Mutex;

use crate::engine::{self, Engine, EngineChoice, EngineError, EngineSettings};
use crate::lifecycle::EngineProvider;

type Made = Vec<(EngineChoice, Arc<dyn Engine>)>;

/// Makes engines, and keeps them. Cheap to clone; all clones share what was made.
#[derive(Clone)]
pub(in crate::commands) struct Engines {
    settings: EngineSettings,
    made: Arc<Mutex<Made>>,
}

impl Engines {
    pub fn new(settings: &EngineSettings) -> Engines {
        Engines { settings: settings.clone(), made: Arc::default() }
    }

    /// The engine of that choice. The lock is held while one is made: loading a library twice at
    /// the same time helps nobody.
    pub fn get(&self, choice: EngineChoice) -> Result<Arc<dyn Engine>, EngineError> {
        let mut made = self.made.lock();
        if let Some((_, engine)) = made.iter().find(|(known, _)| *known == choice) {
            return Ok(engine.clone());
        }
        let settings = EngineSettings { engine: choice, ..self.settings.clone() };
        let engine = engine::choose(&settings)?;
        made.push((choice, engine.clone()));
        Ok(engine)
    }

    pub fn provider(&self) -> EngineProvider {
        let engines = self.clone();
        Arc::new(move |choice| engines.get(choice))
    }
}
