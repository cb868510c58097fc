//! A session with the means to open it again: a panic inside a run costs that run, not the
//! instance.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::SessionOpener;
use crate::engine::{EngineError, Session, panic_text};
use crate::tensor::Tensor;

/// Why a run gave nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum RunError {
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The session was given up; the next run opens another.
    #[error("the engine panicked: {0}")]
    Panicked(String),
}

/// A session's place.
pub(super) struct Slot {
    opener: SessionOpener,
    /// CPU threads of the session.
    threads: usize,
    /// `None` after a panic, until it is opened again.
    session: Option<Box<dyn Session>>,
    warm: bool,
}

impl Slot {
    /// Opens a session of `threads` CPU threads.
    ///
    /// # Errors
    /// The engine's own.
    pub fn open(opener: &SessionOpener, threads: usize) -> Result<Slot, EngineError> {
        let session = Some(opener(threads)?);
        Ok(Slot { opener: opener.clone(), threads, session, warm: false })
    }

    pub fn threads(&self) -> usize {
        self.threads
    }

    /// Whether the session has run: the first run takes longer than all others.
    pub fn warm(&self) -> bool {
        self.warm
    }

    /// The session; opened again where a panic took it.
    ///
    /// # Errors
    /// It could not be opened again, or opening it panicked; the next call tries once more.
    pub fn session(&mut self) -> Result<&mut Box<dyn Session>, EngineError> {
        match &mut self.session {
            Some(session) => Ok(session),
            empty => Ok(empty.insert(open_again(&self.opener, self.threads)?)),
        }
    }

    /// Runs the model; a panic is caught and the session given up.
    ///
    /// # Errors
    /// As [`RunError`] says.
    pub fn run(
        &mut self,
        inputs: &[Option<Tensor>],
        outputs: &[usize],
    ) -> Result<Vec<Tensor>, RunError> {
        let session = self.session()?;
        match catch_unwind(AssertUnwindSafe(|| session.run(inputs, outputs))) {
            Ok(result) => {
                let outputs = result?;
                self.warm = true;
                Ok(outputs)
            }
            Err(panic) => {
                self.discard();
                Err(RunError::Panicked(panic_text(&*panic).to_owned()))
            }
        }
    }

    /// Gives the session up: it may be broken.
    pub fn discard(&mut self) {
        let session = self.session.take();
        self.warm = false;
        // Freeing what is broken may panic again; there is nothing left to do about it then.
        let _ = catch_unwind(AssertUnwindSafe(|| drop(session)));
    }
}

/// A panic here would take the instance with it, and all that waits for it.
fn open_again(opener: &SessionOpener, threads: usize) -> Result<Box<dyn Session>, EngineError> {
    catch_unwind(AssertUnwindSafe(|| opener(threads))).unwrap_or_else(|panic| {
        let reason = format!("opening it again panicked: {}", panic_text(&*panic));
        Err(EngineError::RunFailed { reason })
    })
}
