//! A run, drawn: one HTML page that needs nothing else.
//!
//! Reading order: [`Report`] (what is told), `page` (the page around it), `chart` (curves and
//! points), `confusion` (classes against answers), `text` (numbers and names in HTML).

mod chart;
mod confusion;
mod page;
mod text;

use serde::Serialize;

use super::Metrics;

/// All that is told of a run.
#[derive(Clone, Debug, Default)]
pub struct Report {
    pub title: String,
    /// Settings and facts, in the order shown.
    pub facts: Vec<(String, String)>,
    /// Step and loss of the batch.
    pub losses: Vec<(f64, f64)>,
    /// Step and learning rate.
    pub rates: Vec<(f64, f64)>,
    pub epochs: Vec<EpochPoint>,
    /// Parts of the data by name, and how good the best weights are on them.
    pub results: Vec<(String, Metrics)>,
    /// Names of the classes; empty for regression.
    pub classes: Vec<String>,
    pub columns: Vec<Column>,
}

/// An epoch on the curves.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct EpochPoint {
    pub step: f64,
    pub loss: f64,
    /// Accuracy, or R² for regression.
    pub score: Option<f64>,
}

/// A column of the data.
#[derive(Clone, Debug, PartialEq)]
pub struct Column {
    pub name: String,
    pub kind: String,
    pub minimum: f64,
    pub maximum: f64,
    pub mean: f64,
    pub standard_deviation: f64,
}

impl Report {
    /// The page.
    pub fn html(&self) -> String {
        page::page(self)
    }
}

#[cfg(test)]
mod tests;
