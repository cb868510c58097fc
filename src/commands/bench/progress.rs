//! What is being measured now: a bar on a terminal, a line each elsewhere; to stderr.

use std::io::{self, IsTerminal};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use super::super::output::say;

pub(super) struct Progress {
    /// `None` where stderr is no terminal.
    bar: Option<ProgressBar>,
    /// `None` until it is known.
    steps: Option<usize>,
    step: usize,
}

impl Progress {
    pub fn new() -> Progress {
        let bar = io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::new(0);
            // Without the template it is a bar all the same.
            if let Ok(style) = ProgressStyle::with_template("{spinner} {pos}/{len} {wide_msg}") {
                bar.set_style(style);
            }
            bar.enable_steady_tick(Duration::from_millis(100));
            bar
        });
        Progress { bar, steps: None, step: 0 }
    }

    /// How many steps there are, once that is known.
    pub fn expect(&mut self, steps: usize) {
        self.steps = Some(steps);
        if let Some(bar) = &self.bar {
            bar.set_length(steps as u64);
        }
    }

    /// The next step begins.
    pub fn begin(&mut self, what: &str) {
        self.step += 1;
        match &self.bar {
            Some(bar) => {
                bar.set_position(self.step as u64);
                bar.set_message(what.to_owned());
            }
            None => match self.steps {
                Some(steps) => say(format_args!("{}/{steps} {what}", self.step)),
                None => say(format_args!("{what}")),
            },
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
