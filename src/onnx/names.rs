//! Names for what is put into a graph: like those of the file, and never one of them.

use std::collections::{HashMap, HashSet};

use super::graph::value_names;
use super::proto::GraphProto;

/// The names of a graph and its subgraphs, and new ones beside them.
#[derive(Clone, Debug, Default)]
pub(super) struct Names {
    taken: HashSet<String>,
    /// How far each wanted name has been counted: the next one need not begin anew.
    counts: HashMap<String, usize>,
}

impl Names {
    pub fn of(graph: &GraphProto) -> Names {
        Names { taken: value_names(graph), counts: HashMap::new() }
    }

    /// The wanted name where it is free, else that name with a number behind it.
    pub fn fresh(&mut self, wanted: &str) -> String {
        if !wanted.is_empty() && self.taken.insert(wanted.to_owned()) {
            return wanted.to_owned();
        }
        let count = self.counts.entry(wanted.to_owned()).or_default();
        loop {
            *count += 1;
            let name = format!("{wanted}.{count}");
            if self.taken.insert(name.clone()) {
                return name;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::onnx::build::GraphBuilder;

    #[test]
    fn no_name_is_given_twice() {
        let mut graph = GraphBuilder::new("g");
        let relu = graph.call("Relu", &["a.2"]);
        graph.initializer("a.1", &crate::tensor::Tensor::from_f32(&[0], &[]).expect("empty"));
        let mut names = Names::of(&graph.into_graph());
        let given = ["a", "a", "a", &relu, ""].map(|wanted| names.fresh(wanted));
        assert_eq!(given, ["a", "a.2", "a.3", "Relu_0.1", ".1"]);
    }
}
