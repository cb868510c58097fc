//! The stop, step by step: readiness turns false, balancers get a while to notice, listeners
//! close, what is in flight finishes. One deadline over all of it, and a second signal ends it at
//! once. Whoever asks for the stop is told which of these happened.

use std::future::Future;
use std::pin::pin;
use std::time::{Duration, Instant};

use tokio::time::{sleep, timeout};

use super::{Phase, Phases, Readiness, StopSignal};

/// Settings of the stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StopSettings {
    /// Between readiness turning false and the listeners closing: a load balancer must have asked
    /// once and been told no.
    pub grace: Duration,
    /// From the request to stop, the grace included, to the end of what is in flight.
    pub deadline: Duration,
}

/// What has just happened, for the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopStep {
    /// Readiness is false; listeners still take connections for the grace.
    Draining,
    /// No new connection is taken.
    ListenersClosed,
}

/// How the stop ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopOutcome {
    /// Everything in flight was finished, after this long.
    Finished(Duration),
    /// The deadline passed first; the rest was cut off.
    DeadlinePassed(Duration),
    /// A second signal cut the rest off, after this long.
    Interrupted(StopSignal, Duration),
}

impl StopOutcome {
    /// Whether everything in flight was finished.
    pub fn finished(self) -> bool {
        matches!(self, StopOutcome::Finished(_))
    }

    /// From the request to stop to its end.
    pub fn took(self) -> Duration {
        match self {
            StopOutcome::Finished(took)
            | StopOutcome::DeadlinePassed(took)
            | StopOutcome::Interrupted(_, took) => took,
        }
    }
}

/// What the stop acts on.
pub struct Stop<'a> {
    pub settings: StopSettings,
    pub readiness: &'a Readiness,
    pub phases: &'a Phases,
}

impl Stop<'_> {
    /// Carries the stop out. `close` closes the listeners and tells connections to end after
    /// their current request, and is told the deadline; the future it returns completes when none
    /// is left, with true, or with false where it cut some off itself. `again` completes with a
    /// second request to stop. `observe` is told of each step.
    pub async fn run<F: Future<Output = bool>>(
        self,
        close: impl FnOnce(Instant) -> F,
        again: impl Future<Output = StopSignal>,
        mut observe: impl FnMut(StopStep),
    ) -> StopOutcome {
        let Stop { settings, readiness, phases } = self;
        let began = Instant::now();
        readiness.drain();
        phases.enter(Phase::Draining);
        observe(StopStep::Draining);
        let orderly = async {
            sleep(settings.grace).await;
            let in_flight = close(began + settings.deadline);
            observe(StopStep::ListenersClosed);
            in_flight.await
        };
        let mut again = pin!(again);
        let outcome = tokio::select! {
            biased;
            result = timeout(settings.deadline, orderly) => match result {
                Ok(true) => StopOutcome::Finished(began.elapsed()),
                Ok(false) | Err(_) => StopOutcome::DeadlinePassed(began.elapsed()),
            },
            signal = &mut again => StopOutcome::Interrupted(signal, began.elapsed()),
        };
        phases.enter(Phase::Stopped);
        outcome
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::future::{pending, ready};

    use super::*;

    const NEVER: Duration = Duration::from_secs(3600);
    const AT_ONCE: Duration = Duration::ZERO;

    struct Run {
        outcome: StopOutcome,
        /// What happened, in order.
        steps: Vec<&'static str>,
        phase: Phase,
        ready: bool,
    }

    async fn stop(
        settings: StopSettings,
        in_flight: impl Future<Output = bool>,
        again: impl Future<Output = StopSignal>,
    ) -> Run {
        let (readiness, latch) = Readiness::new();
        latch.release();
        let phases = Phases::default();
        let steps = RefCell::new(Vec::new());
        let close = |_deadline| {
            assert!(!readiness.is_ready(), "readiness turns false before listeners close");
            steps.borrow_mut().push("close");
            in_flight
        };
        let observe = |step| {
            steps.borrow_mut().push(match step {
                StopStep::Draining => "draining",
                StopStep::ListenersClosed => "closed",
            });
        };
        let outcome = Stop { settings, readiness: &readiness, phases: &phases }
            .run(close, again, observe)
            .await;
        let (phase, ready) = (phases.current(), readiness.is_ready());
        Run { outcome, steps: steps.into_inner(), phase, ready }
    }

    #[tokio::test]
    async fn an_orderly_stop_drains_then_closes_then_finishes() {
        let settings = StopSettings { grace: Duration::from_millis(5), deadline: NEVER };
        let run = stop(settings, ready(true), pending()).await;
        assert!(run.outcome.finished() && run.outcome.took() >= settings.grace);
        assert_eq!(run.steps, ["draining", "close", "closed"]);
        assert_eq!((run.phase, run.ready), (Phase::Stopped, false));
    }

    #[tokio::test]
    async fn the_deadline_cuts_off_what_does_not_finish() {
        let settings = StopSettings { grace: AT_ONCE, deadline: Duration::from_millis(5) };
        let run = stop(settings, pending(), pending()).await;
        assert!(matches!(run.outcome, StopOutcome::DeadlinePassed(_)), "{:?}", run.outcome);
        assert_eq!(run.phase, Phase::Stopped);
        let settings = StopSettings { grace: AT_ONCE, deadline: NEVER };
        let run = stop(settings, ready(false), pending()).await;
        assert!(matches!(run.outcome, StopOutcome::DeadlinePassed(_)), "{:?}", run.outcome);
    }

    #[tokio::test]
    async fn the_deadline_covers_the_grace() {
        let settings = StopSettings { grace: NEVER, deadline: Duration::from_millis(5) };
        let run = stop(settings, ready(true), pending()).await;
        assert!(matches!(run.outcome, StopOutcome::DeadlinePassed(_)), "{:?}", run.outcome);
        assert_eq!(run.steps, ["draining"]);
    }

    #[tokio::test]
    async fn a_second_signal_ends_grace_and_drain_at_once() {
        for grace in [NEVER, AT_ONCE] {
            let settings = StopSettings { grace, deadline: NEVER };
            let run = stop(settings, pending(), ready(StopSignal::Interrupt)).await;
            let interrupted = StopOutcome::Interrupted(StopSignal::Interrupt, run.outcome.took());
            assert_eq!(run.outcome, interrupted);
            assert_eq!(run.phase, Phase::Stopped);
        }
    }
}
