//! The Prometheus configuration, the alert rules and the Grafana dashboard: valid, and about
//! metrics that exist.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use onnxd::telemetry::names::{self, Kind};
use serde_json::Value;

use crate::support::debian::{run, unpacked_program};

fn config(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("config").join(path)
}

fn promtool(arguments: &[&str], file: &Path) {
    let program = unpacked_program("prometheus", "promtool");
    let folder = file.parent().expect("a file is in a folder");
    let mut command = Command::new(program);
    command.args(arguments).arg(file).current_dir(folder);
    if let Err(error) = run(&mut command) {
        panic!("{error}");
    }
}

/// Every name of a series in the catalogue: a histogram has three.
fn series() -> BTreeSet<String> {
    let mut all = BTreeSet::new();
    for metric in names::all() {
        match metric.kind {
            Kind::Counter | Kind::Gauge => {
                all.insert(metric.name.to_owned());
            }
            Kind::Seconds | Kind::Rows => {
                let suffixed = ["bucket", "sum", "count"];
                all.extend(suffixed.map(|suffix| format!("{}_{suffix}", metric.name)));
            }
        }
    }
    all
}

/// The words of an expression that name metrics of ours.
fn metric_names(expression: &str) -> Vec<&str> {
    let words = expression.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == ':'));
    words
        .filter(|word| !word.contains(':'))
        .filter(|word| word.starts_with("onnxd_") || word.starts_with("process_"))
        .collect()
}

fn assert_known(place: &str, expression: &str) {
    let known = series();
    for name in metric_names(expression) {
        assert!(known.contains(name), "{place}: {name} is not in the catalogue: {expression}");
    }
}

/// Every text under `key`, wherever in the document.
fn texts<'a>(value: &'a Value, key: &str, found: &mut Vec<&'a str>) {
    match value {
        Value::Object(fields) => {
            found.extend(fields.get(key).and_then(Value::as_str));
            fields.values().for_each(|field| texts(field, key, found));
        }
        Value::Array(items) => items.iter().for_each(|item| texts(item, key, found)),
        _ => {}
    }
}

fn dashboard() -> Value {
    let text = std::fs::read_to_string(config("grafana/onnxd.json")).expect("the file ships");
    serde_json::from_str(&text).expect("the dashboard is JSON")
}

#[test]
fn prometheus_takes_the_configuration() {
    promtool(&["check", "config"], &config("prometheus/prometheus.yml"));
}

#[test]
fn every_alert_fires_for_a_sick_daemon_and_none_for_a_healthy_one() {
    promtool(&["check", "rules"], &config("prometheus/onnxd.rules.yml"));
    promtool(&["test", "rules"], &config("prometheus/onnxd.rules.test.yml"));
    let rules =
        std::fs::read_to_string(config("prometheus/onnxd.rules.yml")).expect("the file ships");
    let tests =
        std::fs::read_to_string(config("prometheus/onnxd.rules.test.yml")).expect("the file ships");
    for alert in rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")) {
        let named = tests.matches(&format!("alertname: {alert}")).count();
        assert!(named >= 1, "no test of {alert}");
        let fires = tests.contains(&format!("alertname: {alert}\n        exp_alerts"));
        assert!(fires, "no test in which {alert} fires");
    }
}

#[test]
fn rules_are_about_metrics_that_exist() {
    let rules =
        std::fs::read_to_string(config("prometheus/onnxd.rules.yml")).expect("the file ships");
    for line in rules.lines().filter(|line| !line.trim_start().starts_with('#')) {
        assert_known(line, line);
    }
    assert!(metric_names(&rules).len() > 10, "the rules name metrics");
}

#[test]
fn the_dashboard_is_about_metrics_that_exist() {
    let dashboard = dashboard();
    let mut expressions = Vec::new();
    for key in ["expr", "query", "definition"] {
        texts(&dashboard, key, &mut expressions);
    }
    for expression in &expressions {
        assert_known("config/grafana/onnxd.json", expression);
    }
    let shown: BTreeSet<&str> = expressions.iter().flat_map(|text| metric_names(text)).collect();
    for metric in names::all() {
        let seen = shown.iter().any(|name| name.starts_with(metric.name));
        assert!(seen, "{} is on no panel", metric.name);
    }
}

#[test]
fn prometheus_understands_every_panel() {
    let dashboard = dashboard();
    let mut expressions = Vec::new();
    texts(&dashboard, "expr", &mut expressions);
    let mut rules = "groups:\n  - name: dashboard\n    rules:\n".to_owned();
    for (index, expression) in expressions.iter().enumerate() {
        // What Grafana fills in before it asks.
        let expression = expression.replace("$__rate_interval", "1m").replace('$', "");
        let quoted = serde_json::to_string(&expression).expect("text is JSON");
        rules.push_str(&format!("      - record: panel_{index}\n        expr: {quoted}\n"));
    }
    let folder = tempfile::tempdir().expect("a folder of the test's own");
    let file = folder.path().join("dashboard.yml");
    std::fs::write(&file, rules).expect("the folder is writable");
    promtool(&["check", "rules"], &file);
}

#[test]
fn panels_have_titles_descriptions_and_places_of_their_own() {
    let dashboard = dashboard();
    let panels = dashboard["panels"].as_array().expect("panels");
    let mut ids = BTreeSet::new();
    let mut cells = BTreeSet::new();
    for panel in panels {
        let title = panel["title"].as_str().expect("a title");
        assert!(ids.insert(panel["id"].as_u64()), "{title}: its id is another's");
        let described = panel["type"] == "row" || panel["description"].is_string();
        assert!(described, "{title} has no description");
        let at = |key: &str| panel["gridPos"][key].as_u64().expect("a place");
        for x in at("x")..at("x") + at("w") {
            for y in at("y")..at("y") + at("h") {
                assert!(x < 24 && cells.insert((x, y)), "{title} lies over another panel");
            }
        }
    }
    let rows = panels.iter().filter(|panel| panel["type"] == "row").count();
    assert_eq!(rows, 6, "traffic, latency, batching, queue, engines, process");
}
