//! The learning rate as a function of the step. Pure.

use std::f64::consts::PI;
use std::fmt;
use std::str::FromStr;

/// How the rate changes over a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Schedule {
    Constant,
    /// From the rate to nothing, in a straight line.
    Linear,
    /// From the rate to nothing, along half a cosine (Loshchilov and Hutter, 2017).
    Cosine,
    /// Up from a 25th of the rate over the first 30% of the run and down to nearly nothing, both
    /// along half a cosine (Smith and Topin, 2018).
    OneCycle,
}

impl Schedule {
    pub const ALL: [Schedule; 4] =
        [Schedule::Constant, Schedule::Linear, Schedule::Cosine, Schedule::OneCycle];

    pub fn name(self) -> &'static str {
        match self {
            Schedule::Constant => "constant",
            Schedule::Linear => "linear",
            Schedule::Cosine => "cosine",
            Schedule::OneCycle => "one-cycle",
        }
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

impl FromStr for Schedule {
    type Err = String;

    fn from_str(text: &str) -> Result<Schedule, String> {
        Schedule::ALL.into_iter().find(|schedule| schedule.name() == text).ok_or_else(|| {
            let names = Schedule::ALL.map(Schedule::name).join(", ");
            format!("unknown schedule {text:?}: expected one of {names}")
        })
    }
}

/// Share of a one-cycle run in which the rate rises.
const RISE: f64 = 0.3;
/// What a one-cycle run begins at is this part of its highest rate.
const FIRST_PART: f64 = 1.0 / 25.0;
/// What it ends at is this part of what it began at.
const LAST_PART: f64 = 1e-4;

/// The rate over one run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LearningRate {
    pub schedule: Schedule,
    /// The highest.
    pub rate: f64,
    /// Steps in which the rate rises from nothing, in a straight line, before the schedule begins.
    pub warmup: u64,
    /// Of the whole run.
    pub steps: u64,
}

impl LearningRate {
    /// The rate of a step; steps count from 1.
    pub fn at(&self, step: u64) -> f64 {
        if step <= self.warmup {
            return self.rate * step as f64 / self.warmup as f64;
        }
        let remaining = self.steps.saturating_sub(self.warmup).max(1) as f64;
        // 0 at the first step of the schedule, close to 1 at the last.
        let done = ((step - self.warmup - 1) as f64 / remaining).min(1.0);
        let factor = match self.schedule {
            Schedule::Constant => 1.0,
            Schedule::Linear => 1.0 - done,
            Schedule::Cosine => along_cosine(1.0, 0.0, done),
            Schedule::OneCycle if done < RISE => along_cosine(FIRST_PART, 1.0, done / RISE),
            Schedule::OneCycle => {
                along_cosine(1.0, FIRST_PART * LAST_PART, (done - RISE) / (1.0 - RISE))
            }
        };
        self.rate * factor
    }
}

fn along_cosine(from: f64, to: f64, done: f64) -> f64 {
    to + (from - to) * 0.5 * (1.0 + (PI * done).cos())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(schedule: Schedule, warmup: u64, expected: &[(u64, f64)]) {
        let rate = LearningRate { schedule, rate: 2.0, warmup, steps: 100 + warmup };
        for &(step, expected) in expected {
            let actual = rate.at(step);
            assert!((actual - expected).abs() < 1e-12, "{schedule} at {step}: {actual}");
        }
    }

    #[test]
    fn rates_follow_their_schedule_and_stay_in_its_bounds() {
        check(Schedule::Constant, 0, &[(1, 2.0), (100, 2.0), (1000, 2.0)]);
        check(Schedule::Linear, 0, &[(1, 2.0), (51, 1.0), (101, 0.0), (1000, 0.0)]);
        check(Schedule::Cosine, 0, &[(1, 2.0), (51, 1.0), (101, 0.0)]);
        check(Schedule::OneCycle, 0, &[(1, 0.08), (31, 2.0), (101, 8e-6)]);
    }

    #[test]
    fn warm_up_rises_in_a_line_and_then_the_schedule_begins() {
        check(Schedule::Linear, 10, &[(1, 0.2), (10, 2.0), (11, 2.0), (61, 1.0)]);
    }

    #[test]
    fn names_are_read_as_they_are_written() {
        for schedule in Schedule::ALL {
            assert_eq!(schedule.to_string().parse(), Ok(schedule));
        }
        let error = "cosin".parse::<Schedule>().expect_err("no such schedule");
        assert_eq!(
            error,
            "unknown schedule \"cosin\": expected one of constant, linear, cosine, one-cycle"
        );
    }
}
