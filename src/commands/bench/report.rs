//! The figures as JSON and as a table.

use std::fmt::Write;
use std::path::PathBuf;

use serde::Serialize;

use super::engine_loop::{Looped, Way};
use super::load::Measured;

/// Everything that is shown.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    pub model: String,
    pub version: u64,
    pub path: PathBuf,
    pub engine: &'static str,
    pub engine_version: String,
    pub device: String,
    pub cores: usize,
    /// Why requests share batches, or do not.
    pub batching: String,
    pub batched: bool,
    pub layout: Layout,
    /// Bytes of one request.
    pub request_bytes: usize,
    pub seconds: f64,
    pub engine_loops: Vec<LoopRow>,
    pub served: Vec<ServedRow>,
}

/// What the daemon chose.
#[derive(Debug, Serialize)]
pub(super) struct Layout {
    pub inline: bool,
    pub instances: usize,
    pub threads: usize,
    pub max_batch_size: usize,
    pub origin: &'static str,
}

#[derive(Debug, Serialize)]
pub(super) struct LoopRow {
    pub sessions: usize,
    pub threads: usize,
    pub batch_size: usize,
    #[serde(flatten)]
    pub figures: Figures,
    /// Measured for the whole time, because it was the best of the shorter search.
    pub best: bool,
}

#[derive(Debug, Serialize)]
pub(super) struct ServedRow {
    pub connections: u32,
    #[serde(flatten)]
    pub figures: Figures,
    /// Answers that were 429 or 503.
    pub refused: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refusal: Option<String>,
}

/// Latencies are of a run of the engine, or of a request.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Figures {
    pub rows_per_second: f64,
    /// `None` where nothing was answered.
    pub median_us: Option<f64>,
    pub p99_us: Option<f64>,
    /// Rows a second as a share of the engine's best.
    pub ratio: f64,
}

impl Figures {
    pub fn of_loop(looped: &Looped, best: f64) -> Figures {
        let spread = looped.latency;
        Figures::new(looped.rows_per_second, (spread.median_us, spread.p99_us), best)
    }

    /// Of requests of one row each.
    pub fn of_load(measured: &Measured, best: f64) -> Figures {
        let spread = measured.latency;
        Figures::new(measured.rate(), (spread.median_us, spread.p99_us), best)
    }

    fn new(rows_per_second: f64, (median_us, p99_us): (f64, f64), best: f64) -> Figures {
        let number = |value: f64| value.is_finite().then_some(value);
        Figures {
            rows_per_second,
            median_us: number(median_us),
            p99_us: number(p99_us),
            ratio: rows_per_second / best,
        }
    }
}

impl Report {
    /// As a person reads it.
    pub fn text(&self) -> String {
        let mut text = String::new();
        let mut line = |label: &str, value: &str| {
            let _ = writeln!(text, "{label:<9}{value}");
        };
        let path = self.path.display();
        line("model", &format!("{} version {} ({path})", self.model, self.version));
        let Report { engine, engine_version, device, cores, .. } = self;
        line(
            "engine",
            &format!("{engine} {engine_version} on {device}; {}", count(*cores, "core")),
        );
        line("layout", &self.layout.text());
        let word = if self.batched { "on" } else { "off" };
        line("batching", &format!("{word}: {}", self.batching));
        text.push('\n');
        text.push_str(&table(&self.rows()));
        for row in self.served.iter().filter(|row| row.refused > 0) {
            let refusal = row.refusal.as_deref().unwrap_or_default();
            let _ = writeln!(
                text,
                "\n{} were refused at {}, the first with {refusal}",
                count(row.refused, "request"),
                count(row.connections as usize, "connection"),
            );
        }
        text
    }

    fn rows(&self) -> Vec<[String; 5]> {
        let head = ["", "rows/s", "median", "99th", "of the engine's best"];
        let mut rows = vec![head.map(str::to_owned)];
        for row in &self.engine_loops {
            let way = Way { sessions: row.sessions, threads: row.threads, batch: row.batch_size };
            let mark = if row.best { ", the best" } else { "" };
            rows.push(figures(format!("engine, {}{mark}", way_text(way)), &row.figures));
        }
        for row in &self.served {
            let connections = count(row.connections as usize, "connection");
            rows.push(figures(format!("served, {connections}"), &row.figures));
        }
        rows
    }
}

impl Layout {
    fn text(&self) -> String {
        let Layout { instances, threads, max_batch_size, origin, .. } = self;
        let place = if self.inline { "on network threads" } else { "on instance threads" };
        let sizes = match max_batch_size {
            0 | 1 => String::new(),
            rows => format!(", up to {rows} rows a batch"),
        };
        let (instances, threads) = (count(*instances, "instance"), count(*threads, "thread"));
        format!("{place}, {instances} × {threads}{sizes} ({origin})")
    }
}

/// A way as a person reads it.
pub(super) fn way_text(way: Way) -> String {
    let (sessions, threads) = (count(way.sessions, "session"), count(way.threads, "thread"));
    format!("{sessions} × {threads}, {} a run", count(way.batch, "row"))
}

/// `1 thread`, `2 threads`.
pub(super) fn count(number: usize, noun: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {noun}{plural}")
}

fn figures(what: String, figures: &Figures) -> [String; 5] {
    let rate = match figures.rows_per_second {
        rate if rate < 100.0 => format!("{rate:.1}"),
        rate => grouped(rate),
    };
    let time = |time: Option<f64>| time.map_or_else(|| "–".to_owned(), duration);
    let ratio = format!("{:.2}", figures.ratio);
    [what, rate, time(figures.median_us), time(figures.p99_us), ratio]
}

/// A whole number with its thousands apart.
fn grouped(number: f64) -> String {
    let digits = format!("{number:.0}");
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn duration(microseconds: f64) -> String {
    match microseconds {
        us if us < 1e3 => format!("{us:.1} µs"),
        us if us < 1e6 => format!("{:.2} ms", us / 1e3),
        us => format!("{:.2} s", us / 1e6),
    }
}

/// Columns as wide as their widest cell: names to the left, numbers to the right.
fn table(rows: &[[String; 5]]) -> String {
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max();
    let widths: [usize; 5] = std::array::from_fn(|column| width(column).unwrap_or(0));
    let mut text = String::new();
    for row in rows {
        let _ = write!(text, "{:<1$}", row[0], widths[0]);
        for (cell, width) in row.iter().zip(widths).skip(1) {
            let _ = write!(text, "  {cell:>width$}");
        }
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Report {
        let figures = |rows_per_second, ratio| Figures {
            rows_per_second,
            median_us: Some(1234.5),
            p99_us: None,
            ratio,
        };
        Report {
            model: "digits".to_owned(),
            version: 1,
            path: "models/digits".into(),
            engine: "tract",
            engine_version: "0.23".to_owned(),
            device: "cpu".to_owned(),
            cores: 2,
            batching: "rows give the same answers together and alone".to_owned(),
            batched: true,
            layout: Layout {
                inline: true,
                instances: 1,
                threads: 1,
                max_batch_size: 64,
                origin: "measured",
            },
            request_bytes: 400,
            seconds: 1.0,
            engine_loops: vec![LoopRow {
                sessions: 1,
                threads: 2,
                batch_size: 8,
                figures: figures(1_234_567.0, 1.0),
                best: true,
            }],
            served: vec![ServedRow {
                connections: 1,
                figures: figures(99.96, 0.5),
                refused: 2,
                refusal: Some("full".to_owned()),
            }],
        }
    }

    #[test]
    fn the_table_is_aligned() {
        let expected = "\
model    digits version 1 (models/digits)
engine   tract 0.23 on cpu; 2 cores
layout   on network threads, 1 instance × 1 thread, up to 64 rows a batch (measured)
batching on: rows give the same answers together and alone

                                                          rows/s   median  99th  of the engine's best
engine, 1 session × 2 threads, 8 rows a run, the best  1,234,567  1.23 ms     –                  1.00
served, 1 connection                                       100.0  1.23 ms     –                  0.50

2 requests were refused at 1 connection, the first with full
";
        assert_eq!(report().text(), expected);
    }

    #[test]
    fn figures_stand_beside_what_they_are_of() {
        let json = serde_json::to_value(report()).expect("JSON");
        assert_eq!(json["engine_loops"][0]["rows_per_second"], 1_234_567.0);
        assert_eq!(json["served"][0]["median_us"], 1234.5);
        assert_eq!(json["served"][0]["p99_us"], serde_json::Value::Null);
    }
}
