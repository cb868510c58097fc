//! The inspection as people read it.

use std::fmt::Write;

use super::facts::{Facts, Tensor};
use super::{EngineAnswer, Inspection, KeptLayout, MeasuredFor};

/// Width of the column of headings.
const HEADING: usize = 12;

pub(super) fn text(inspection: &Inspection) -> String {
    let mut text = format!("{}\n", inspection.path.display());
    let facts = &inspection.facts;
    let mut line = |heading: &str, content: &str| {
        let _ = writeln!(text, "{heading:HEADING$}{content}");
    };
    line("format", &format(facts));
    let sets = facts.operator_sets.iter().map(|set| format!("{} {}", set.domain, set.version));
    line("opsets", &sets.collect::<Vec<_>>().join(", "));
    tensors("inputs", &facts.inputs, &mut line);
    tensors("outputs", &facts.outputs, &mut line);
    let size = human_size(facts.parameter_bytes);
    line("parameters", &format!("{} ({size})", grouped(facts.parameters)));
    let nodes: usize = facts.operators.iter().map(|operator| operator.count).sum();
    line("operators", &format!("{nodes} nodes"));
    for operator in &facts.operators {
        let name = match operator.domain.as_str() {
            "ai.onnx" => operator.operator.clone(),
            domain => format!("{domain}:{}", operator.operator),
        };
        line("", &format!("{:>6} {name}", operator.count));
    }
    for fault in &facts.faults {
        line("fault", fault);
    }
    for answer in &inspection.engines {
        engine(answer, &mut line);
    }
    if let Some(layout) = &inspection.layout {
        let KeptLayout { instances, threads, max_batch_size, measured_for } = layout;
        let shape = format!("instances {instances}, threads of each {threads}");
        line("measured", &format!("{shape}, rows of a batch {max_batch_size}"));
        let MeasuredFor { engine, engine_version, device, cores } = measured_for;
        line("", &format!("for {engine} {engine_version} on {device}, cores {cores}"));
    }
    text
}

fn format(facts: &Facts) -> String {
    let by = if facts.producer.is_empty() { "" } else { ", written by " };
    format!("ONNX, IR version {}{by}{}", facts.ir_version, facts.producer)
}

fn tensors(heading: &str, tensors: &[Tensor], line: &mut impl FnMut(&str, &str)) {
    let width = tensors.iter().map(|tensor| tensor.name.chars().count()).max().unwrap_or(0);
    if tensors.is_empty() {
        line(heading, "none");
    }
    for (index, tensor) in tensors.iter().enumerate() {
        let heading = if index == 0 { heading } else { "" };
        let optional = if tensor.optional { ", optional" } else { "" };
        let (name, shape) = (&tensor.name, &tensor.shape_text);
        line(heading, &format!("{name:width$}  {:6} {shape}{optional}", tensor.datatype));
    }
}

fn engine(answer: &EngineAnswer, line: &mut impl FnMut(&str, &str)) {
    let version = answer.version.as_deref().map(|version| format!(" {version}"));
    let name = format!("{}{}", answer.engine, version.unwrap_or_default());
    if !answer.runs {
        line("engine", &format!("{name} does not run it"));
    } else {
        let device = answer.device.as_deref().unwrap_or_default();
        let nodes = answer.nodes.iter().map(|by| format!("{} nodes on {}", by.nodes, by.provider));
        let nodes = nodes.collect::<Vec<_>>().join(", ");
        let colon = if nodes.is_empty() { "" } else { ": " };
        line("engine", &format!("{name} runs it on {device}{colon}{nodes}"));
    }
    if let Some(reason) = &answer.reason {
        line("", reason);
    }
}

/// A size for people: three digits and a unit.
fn human_size(bytes: u64) -> String {
    let units = ["KiB", "MiB", "GiB", "TiB"];
    let mut size = bytes as f64;
    let mut unit = "B";
    for larger in units {
        if size < 1024.0 {
            break;
        }
        size /= 1024.0;
        unit = larger;
    }
    let decimals = usize::from(unit != "B" && size < 100.0);
    format!("{size:.decimals$} {unit}")
}

/// A number with its thousands apart.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::{EngineAnswer, ProviderNodes, facts::gather};
    use super::*;
    use crate::onnx::samples;

    #[test]
    fn a_model_is_shown_on_one_page() {
        let answer = |engine, runs: bool, reason: Option<&str>| EngineAnswer {
            engine,
            version: runs.then(|| "1.32.0".to_owned()),
            runs,
            device: runs.then(|| "cpu".to_owned()),
            nodes: runs
                .then(|| ProviderNodes { provider: "CPUExecutionProvider".to_owned(), nodes: 4 })
                .into_iter()
                .collect(),
            reason: reason.map(str::to_owned),
        };
        let model = samples::mlp(64, &[128], 10);
        let measured_for = MeasuredFor {
            engine: "tract".to_owned(),
            engine_version: "0.23.9".to_owned(),
            device: "cpu".to_owned(),
            cores: 2,
        };
        let layout = KeptLayout { instances: 2, threads: 1, max_batch_size: 8, measured_for };
        let inspection = Inspection {
            layout: Some(layout),
            path: "m/1/model.onnx".into(),
            facts: gather(&model),
            engines: vec![answer("onnxruntime", true, None), answer("tract", false, Some("no"))],
        };
        let text = text(&inspection);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "m/1/model.onnx");
        assert!(lines[1].starts_with("format      ONNX, IR version "), "{text}");
        assert!(lines[2].starts_with("opsets      ai.onnx "), "{text}");
        assert!(lines[3].starts_with("inputs      ") && lines[3].contains("FP32"), "{text}");
        assert!(text.contains("parameters  9,610 (37.5 KiB)\n"), "{text}");
        let end = "engine      onnxruntime 1.32.0 runs it on cpu: 4 nodes on CPUExecutionProvider\n\
                   engine      tract does not run it\n            no\n\
                   measured    instances 2, threads of each 1, rows of a batch 8\n            \
                   for tract 0.23.9 on cpu, cores 2\n";
        assert!(text.ends_with(end), "{text}");
    }

    #[test]
    fn sizes_are_short() {
        let table = [
            (0, "0 B"),
            (1023, "1023 B"),
            (1536, "1.5 KiB"),
            (150 * 1024, "150 KiB"),
            (64 << 20, "64.0 MiB"),
            (u64::MAX, "16777216 TiB"),
        ];
        for (bytes, expected) in table {
            assert_eq!(human_size(bytes), expected);
        }
    }

    #[test]
    fn thousands_stand_apart() {
        for (number, expected) in [(0, "0"), (999, "999"), (1000, "1,000"), (1234567, "1,234,567")]
        {
            assert_eq!(grouped(number), expected);
        }
    }
}
