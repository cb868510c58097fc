//! What a text of metrics says, whether a daemon answered it or it was rendered in this process.

use std::time::{Duration, Instant};

use onnxd::telemetry::export;

use super::client::PATIENCE;

/// The sum of all series of that name that have these labels; 0 where there are none.
pub fn sum(text: &str, name: &str, labels: &[(&str, &str)]) -> f64 {
    let labels: Vec<String> =
        labels.iter().map(|(label, value)| format!("{label}=\"{value}\"")).collect();
    let value = |line: &str| -> Option<f64> {
        let rest = line.strip_prefix(name).filter(|rest| rest.starts_with(['{', ' ']))?;
        let (own, value) = rest.rsplit_once(' ')?;
        labels.iter().all(|label| own.contains(label.as_str())).then(|| value.parse().ok())?
    };
    text.lines().filter_map(value).sum()
}

/// The same in this process. Its metrics are those of all tests: a model that is asked for has a
/// name that no other test uses.
pub fn of_this_process(name: &str, labels: &[(&str, &str)]) -> f64 {
    sum(&export::render(false), name, labels)
}

/// Waits until a metric of this process has this value.
pub fn await_in_this_process(name: &str, labels: &[(&str, &str)], expected: f64) {
    let begin = Instant::now();
    loop {
        let actual = of_this_process(name, labels);
        if actual == expected {
            return;
        }
        assert!(begin.elapsed() < PATIENCE, "{name} {labels:?} stays at {actual}");
        std::thread::sleep(Duration::from_millis(2));
    }
}
