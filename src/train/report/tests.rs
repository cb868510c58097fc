//! Promises about the page.

use super::*;

fn report() -> Report {
    let metrics = Metrics {
        samples: 4,
        loss: 0.25,
        accuracy: Some(0.75),
        confusion: vec![vec![2, 0], vec![1, 1]],
        ..Metrics::default()
    };
    Report {
        title: "digits <1>".to_owned(),
        facts: vec![("seed".to_owned(), "7".to_owned())],
        losses: (0..5000).map(|step| (f64::from(step), 1.0 / f64::from(step + 1))).collect(),
        rates: vec![(1.0, 0.1), (2.0, f64::NAN)],
        epochs: vec![EpochPoint { step: 10.0, loss: 0.5, score: Some(0.7) }],
        results: vec![("test".to_owned(), metrics)],
        classes: vec!["cat".to_owned(), "d&g".to_owned()],
        columns: Vec::new(),
    }
}

#[test]
fn the_page_needs_nothing_else_and_means_what_it_says() {
    let html = report().html();
    for outside in ["http://", "https://", "src=", "@import", "<script"] {
        assert!(!html.contains(outside), "{outside}");
    }
    for told in ["digits &lt;1&gt;", "75.0%", "d&amp;g", "Confusion matrix", "<polyline"] {
        assert!(html.contains(told), "{told}");
    }
    assert!(!html.contains("NaN"), "what is no number is not drawn");
}

#[test]
fn a_long_run_is_drawn_by_fewer_points() {
    let html = report().html();
    assert!(html.len() < 60_000, "{}", html.len());
}

#[test]
fn regressions_show_answers_against_targets() {
    let metrics = Metrics { points: vec![(1.0, 1.5), (2.0, 1.0)], ..Metrics::default() };
    let report = Report { results: vec![("test".to_owned(), metrics)], ..Report::default() };
    let html = report.html();
    assert_eq!(html.matches("<circle").count(), 4);
    assert!(html.contains("Answer against target"));
}

#[test]
fn an_empty_run_is_a_page_too() {
    assert!(Report::default().html().ends_with("</html>\n"));
}
