//! What is told of a column.

use serde::Serialize;

/// Figures of one column or array.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ColumnSummary {
    pub name: String,
    /// `number`, or `class` for labels.
    pub kind: &'static str,
    pub count: u64,
    /// Of numbers.
    pub minimum: f64,
    pub maximum: f64,
    pub mean: f64,
    pub standard_deviation: f64,
}

/// A summary in the making (Welford, 1962).
#[derive(Clone, Debug)]
pub(super) struct Figures {
    count: u64,
    minimum: f64,
    maximum: f64,
    mean: f64,
    squares: f64,
}

impl Figures {
    pub fn new() -> Figures {
        Figures {
            count: 0,
            minimum: f64::INFINITY,
            maximum: f64::NEG_INFINITY,
            mean: 0.0,
            squares: 0.0,
        }
    }

    pub fn add(&mut self, value: f64) {
        self.count += 1;
        self.minimum = self.minimum.min(value);
        self.maximum = self.maximum.max(value);
        let difference = value - self.mean;
        self.mean += difference / self.count as f64;
        self.squares += difference * (value - self.mean);
    }

    /// Adds many at once (Chan, Golub and LeVeque, 1979), where one division each takes long.
    pub fn add_all(&mut self, values: &[f64]) {
        if values.is_empty() {
            return;
        }
        let (before, added) = (self.count as f64, values.len() as f64);
        let mean = values.iter().sum::<f64>() / added;
        let squares: f64 = values.iter().map(|value| (value - mean) * (value - mean)).sum();
        let difference = mean - self.mean;
        self.count += values.len() as u64;
        let count = self.count as f64;
        self.mean += difference * added / count;
        self.squares += squares + difference * difference * before * added / count;
        self.minimum = values.iter().copied().fold(self.minimum, f64::min);
        self.maximum = values.iter().copied().fold(self.maximum, f64::max);
    }

    pub fn summary(&self, name: &str, kind: &'static str) -> ColumnSummary {
        let variance = self.squares / (self.count.max(1) as f64);
        ColumnSummary {
            name: name.to_owned(),
            kind,
            count: self.count,
            minimum: self.minimum,
            maximum: self.maximum,
            mean: self.mean,
            standard_deviation: variance.sqrt(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_those_of_the_values() {
        let mut figures = Figures::new();
        [2.0, 4.0, 4.0, 4.0, 5.0, 5.0, 7.0, 9.0].into_iter().for_each(|value| figures.add(value));
        let summary = figures.summary("x", "number");
        assert_eq!((summary.minimum, summary.maximum), (2.0, 9.0));
        assert_eq!((summary.mean, summary.standard_deviation), (5.0, 2.0));
        let mut at_once = Figures::new();
        at_once.add_all(&[2.0, 4.0, 4.0]);
        at_once.add_all(&[]);
        at_once.add_all(&[4.0, 5.0, 5.0, 7.0, 9.0]);
        assert_eq!(at_once.summary("x", "number").mean, 5.0);
        assert!((at_once.summary("x", "number").standard_deviation - 2.0).abs() < 1e-12);
    }
}
