//! The page around curves and tables.

use std::fmt::Write;

use super::Report;
use super::chart::{Axes, Kind, Series, chart};
use super::confusion::confusion;
use super::text::{escaped, number, percent};
use crate::train::Metrics;

const STYLE: &str = include_str!("style.css");

pub fn page(report: &Report) -> String {
    let title = escaped(&report.title);
    let mut html = format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width\"><title>{title}</title>\
         <style>{STYLE}</style></head><body><h1>{title}</h1>"
    );
    results(&mut html, report);
    curves(&mut html, report);
    answers(&mut html, report);
    facts(&mut html, report);
    columns(&mut html, report);
    html.push_str("</body></html>\n");
    html
}

fn results(html: &mut String, report: &Report) {
    for (part, metrics) in &report.results {
        let _ = write!(html, "<h2>{}</h2><div class=\"figures\">", escaped(part));
        let mut figure = |name: &str, value: String| {
            let _ = write!(html, "<div class=\"figure\"><b>{value}</b><span>{name}</span></div>");
        };
        if let Some(accuracy) = metrics.accuracy {
            figure("accuracy", percent(accuracy));
        }
        figure("loss", number(metrics.loss));
        let figures = [
            ("R²", metrics.r_squared),
            ("mean absolute error", metrics.mean_absolute_error),
            ("root mean squared error", metrics.root_mean_squared_error),
        ];
        for (name, value) in figures {
            if let Some(value) = value {
                figure(name, number(value));
            }
        }
        figure("samples", metrics.samples.to_string());
        html.push_str("</div>");
    }
}

fn curves(html: &mut String, report: &Report) {
    let line = |name, class, points| Series { name, class, points, kind: Kind::Line };
    let validation = report.epochs.iter().map(|epoch| (epoch.step, epoch.loss)).collect();
    let scores: Vec<(f64, f64)> =
        report.epochs.iter().filter_map(|epoch| Some((epoch.step, epoch.score?))).collect();
    let score = if report.classes.is_empty() { "R² on validation data" } else { "Accuracy" };
    let axes = |title| Axes { title, x: "step", square: false };
    html.push_str("<h2>Training</h2><div class=\"charts\">");
    html.push_str(&chart(
        axes("Loss"),
        &[line("batch", "blue", report.losses.clone()), line("validation", "orange", validation)],
    ));
    html.push_str(&chart(axes(score), &[line("validation", "green", scores)]));
    html.push_str(&chart(axes("Learning rate"), &[line("", "blue", report.rates.clone())]));
    html.push_str("</div>");
}

/// What the best weights answer on the last part of the data: confusions, or residuals.
fn answers(html: &mut String, report: &Report) {
    let Some((part, metrics)) = report.results.last() else { return };
    let Metrics { confusion: counts, points, .. } = metrics;
    if counts.is_empty() && points.is_empty() {
        return;
    }
    let _ = write!(html, "<h2>Answers on {} data</h2>", escaped(part));
    if !counts.is_empty() {
        let _ = write!(html, "<div class=\"wide\">{}</div>", confusion(counts, &report.classes));
    }
    if !points.is_empty() {
        let dots = |class, points| [Series { name: "", class, points, kind: Kind::Dots }];
        let residuals = points.iter().map(|&(target, answer)| (answer, target - answer)).collect();
        let axes = |title, x, square| Axes { title, x, square };
        html.push_str("<div class=\"charts\">");
        let against = axes("Answer against target", "target", true);
        html.push_str(&chart(against, &dots("blue", points.clone())));
        let left = axes("Target minus answer", "answer", false);
        html.push_str(&chart(left, &dots("orange", residuals)));
        html.push_str("</div>");
    }
}

fn facts(html: &mut String, report: &Report) {
    html.push_str("<h2>Settings</h2><table>");
    for (name, value) in &report.facts {
        let _ = write!(html, "<tr><th>{}</th><td>{}</td></tr>", escaped(name), escaped(value));
    }
    html.push_str("</table>");
}

/// Columns beyond this many are left to the file itself.
const MOST_COLUMNS: usize = 200;

fn columns(html: &mut String, report: &Report) {
    html.push_str(
        "<h2>Data</h2><div class=\"wide\"><table><tr><th>column</th><th>kind</th><th>minimum</th>\
         <th>mean</th><th>maximum</th><th>standard deviation</th></tr>",
    );
    for column in report.columns.iter().take(MOST_COLUMNS) {
        let _ = write!(
            html,
            "<tr><th>{}</th><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td></tr>",
            escaped(&column.name),
            escaped(&column.kind),
            number(column.minimum),
            number(column.mean),
            number(column.maximum),
            number(column.standard_deviation)
        );
    }
    html.push_str("</table></div>");
    if report.columns.len() > MOST_COLUMNS {
        let _ = write!(html, "<p>and {} more</p>", report.columns.len() - MOST_COLUMNS);
    }
}
