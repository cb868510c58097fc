//! tract's errors and panics to errors that name file, node and operator.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use tract_onnx::prelude::TractResult;

use super::NAME;
use crate::engine::{EngineError, panic_text};

/// What tract said, with the node it said it of where there was one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Complaint {
    pub node: Option<Node>,
    pub reason: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Node {
    pub name: String,
    pub operator: String,
}

impl Complaint {
    /// The same of ONNX's operator: tract has names of its own, and makes several nodes of one,
    /// named after it.
    pub fn in_onnx_words(mut self, operators: &HashMap<String, String>) -> Complaint {
        if let Some(node) = &mut self.node {
            // `branch/NAME` is a node of a folded branch, `NAME.part` one that stands for a part.
            let name = node.name.as_str();
            let starts = name.match_indices('/').map(|(index, _)| index + 1);
            let known = [0].into_iter().chain(starts).find_map(|start| {
                let rest = &name[start..];
                let dots = rest.match_indices('.').map(|(index, _)| index);
                let mut ends: Vec<usize> = dots.chain([rest.len()]).collect();
                ends.reverse();
                ends.into_iter().find_map(|end| operators.get_key_value(&rest[..end]))
            });
            if let Some((name, operator)) = known {
                *node = Node { name: name.clone(), operator: operator.clone() };
            }
        }
        self
    }

    /// The refusal to open a model that this complaint is the reason of.
    pub fn refusal(self, path: &Path) -> EngineError {
        let path = path.to_owned();
        match self.node {
            Some(Node { name, operator }) => EngineError::OperatorUnsupported {
                path,
                engine: NAME,
                node: name,
                operator,
                reason: self.reason,
            },
            None => EngineError::ModelInvalid { path, reason: self.reason },
        }
    }

    /// The failure of a run; the reason names the node where tract did.
    pub fn run_failure(self) -> EngineError {
        let reason = match self.node {
            Some(Node { name, operator }) => {
                format!("node {name:?} ({operator}): {}", self.reason)
            }
            None => self.reason,
        };
        EngineError::RunFailed { reason }
    }
}

/// Runs tract's code; its errors and its panics become complaints.
pub(super) fn guarded<T>(work: impl FnOnce() -> TractResult<T>) -> Result<T, Complaint> {
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(Ok(result)) => Ok(result),
        Ok(Err(error)) => {
            let node = error.chain().find_map(|cause| node_of(&cause.to_string()));
            Err(Complaint { node, reason: short(&format!("{error:#}")) })
        }
        Err(panic) => {
            let reason = format!("tract panicked: {}", panic_text(panic.as_ref()));
            Err(Complaint { node: None, reason: short(&reason) })
        }
    }
}

/// tract prints whole shapes and tensors; the beginning says what went wrong.
fn short(reason: &str) -> String {
    const LONGEST: usize = 600;
    match reason.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{} …", &reason[..end]),
        None => reason.to_owned(),
    }
}

/// The node of one of tract's phrases: `Building node NAME (OPERATOR)` while it parses, later
/// `#3 "NAME" OPERATOR` within some sentence.
fn node_of(phrase: &str) -> Option<Node> {
    let node = |name: &str, operator: &str| {
        // An operator of tract's own that stands for one of ONNX that it does not have.
        let operator = operator.strip_prefix("Unimplemented(").unwrap_or(operator);
        let operator = operator.trim_end_matches([')', '.', ':', ',']);
        Some(Node { name: name.to_owned(), operator: operator.to_owned() })
    };
    if let Some(rest) = phrase.strip_prefix("Building node ") {
        let (name, operator) = rest.rsplit_once(" (")?;
        return node(name, operator);
    }
    let (_, rest) = phrase.split_once('#')?;
    let rest = rest.trim_start_matches(|digit: char| digit.is_ascii_digit());
    let (name, rest) = rest.strip_prefix(" \"")?.split_once("\" ")?;
    node(name, rest.split_whitespace().next()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_are_found_in_tracts_phrases() {
        let expected = Some(Node { name: "join".to_owned(), operator: "Concat".to_owned() });
        assert_eq!(node_of("Building node join (Concat)"), expected);
        assert_eq!(node_of("Translating node #7 \"join\" Concat ToTypedTranslator"), expected);
        assert_eq!(node_of("Failed analyse for node #7 \"join\" Concat"), expected);
        assert_eq!(node_of("Evaluating #7 \"join\" Concat"), expected);
        assert_eq!(node_of("Translating node #7 \"join\" Unimplemented(Concat) X"), expected);
        assert_eq!(node_of("Infering facts"), None);
    }

    #[test]
    fn tracts_nodes_are_traced_to_onnxs() {
        let operators = HashMap::from([("a/b.c".to_owned(), "Attention".to_owned())]);
        for name in ["a/b.c", "a/b.c.sdpa", "choose/a/b.c.scan.0"] {
            let node = Some(Node { name: name.to_owned(), operator: "SDPA".to_owned() });
            let complaint = Complaint { node, reason: String::new() }.in_onnx_words(&operators);
            let expected = Node { name: "a/b.c".to_owned(), operator: "Attention".to_owned() };
            assert_eq!(complaint.node, Some(expected), "{name}");
        }
    }

    #[test]
    fn a_panic_is_a_complaint_with_its_message() {
        let complaint = guarded::<()>(|| panic!("axis {} is odd", 3)).expect_err("it panics");
        assert_eq!(complaint.reason, "tract panicked: axis 3 is odd");
    }
}
