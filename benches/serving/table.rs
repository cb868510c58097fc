//! Medians of paired rounds, and the table they are printed in.

/// The middle of the values; the mean of the two in the middle where their number is even.
pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    match sorted.len() {
        0 => f64::NAN,
        count if count % 2 == 1 => sorted[count / 2],
        count => (sorted[count / 2 - 1] + sorted[count / 2]) / 2.0,
    }
}

/// A row: what was measured, what came out, its limit in the same run, and the bar.
pub fn row(what: &str, measured: &str, limit: &str, ratio: &str, bar: &str) {
    println!("| {what} | {measured} | {limit} | {ratio} | {bar} |");
}

pub fn head() {
    row("what", "onnxd", "limit in the same run", "ratio", "bar");
    row("---", "---", "---", "---", "---");
}

/// Median of the ratios with their range: `0.81 (0.78–0.84)`.
pub fn spread(values: &[f64]) -> String {
    let low = values.iter().copied().fold(f64::INFINITY, f64::min);
    let high = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    format!("{:.2} ({low:.2}–{high:.2})", median(values))
}
