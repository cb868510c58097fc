//! ONNX Runtime's messages to errors that name file, node and operator.

use std::path::Path;

use ort::ErrorCode;

use super::NAME;
use crate::engine::EngineError;
use crate::engine::tract::find_node;

/// What failed while a model was opened.
pub(super) fn open_error<R>(path: &Path, error: &ort::Error<R>) -> EngineError {
    open_error_of(path, error.code(), error.message())
}

fn open_error_of(path: &Path, code: ErrorCode, message: &str) -> EngineError {
    let path = path.to_owned();
    let reason = tidy(message);
    if let Some((mut node, operator)) = unknown_operator(message) {
        if node.is_empty() {
            node = find_node(&path, &operator).unwrap_or_default();
        }
        return EngineError::OperatorUnsupported { path, engine: NAME, node, operator, reason };
    }
    match code {
        ErrorCode::NoSuchFile => EngineError::ModelUnreadable { path, reason },
        _ => EngineError::ModelInvalid { path, reason },
    }
}

/// What failed while a model ran.
pub(super) fn run_error(error: &ort::Error) -> EngineError {
    run_error_of(error.code(), error.message())
}

fn run_error_of(code: ErrorCode, message: &str) -> EngineError {
    let reason = match failed_node(message) {
        Some((operator, node, detail)) => format!("node {node:?} ({operator}): {}", tidy(detail)),
        None => tidy(message),
    };
    match code {
        ErrorCode::InvalidArgument => EngineError::InputsRefused { reason },
        _ => EngineError::RunFailed { reason },
    }
}

/// Operator, node and detail of "Non-zero status code returned while running Gather node.
/// Name:'lookup' Status Message: …".
fn failed_node(message: &str) -> Option<(&str, &str, &str)> {
    let (_, rest) = message.split_once("while running ")?;
    let (operator, rest) = rest.split_once(" node. Name:'")?;
    let (node, rest) = rest.split_once("' ")?;
    let detail = rest.split_once("Status Message: ").map_or(rest, |(_, detail)| detail);
    Some((operator, node, detail))
}

/// Node and operator, where the message says that an operator is not known or not implemented.
fn unknown_operator(message: &str) -> Option<(String, String)> {
    // In Node, ("name", Operator, "domain", -1) : … , Error No Op registered for Operator with …
    if let Some((before, rest)) = message.split_once("No Op registered for ") {
        let operator = rest.split_whitespace().next()?;
        let (_, rest) = before.split_once("In Node, (\"")?;
        let (node, rest) = rest.split_once("\", ")?;
        let (outer, rest) = rest.split_once(", \"")?;
        let (domain, _) = rest.split_once('"')?;
        if outer == operator {
            return Some((node.to_owned(), with_domain(domain, operator)));
        }
        // The node named is the one around it, and so is the domain.
        return Some((String::new(), operator.to_owned()));
    }
    // Fatal error: com.example:Operator(-1) is not a registered function/op
    if let Some((before, _)) = message.split_once(" is not a registered function/op") {
        let (_, operator) = before.rsplit_once(' ').unwrap_or(("", before));
        let (operator, _) = operator.split_once('(').unwrap_or((operator, ""));
        return Some((String::new(), operator.to_owned()));
    }
    // Could not find an implementation for Operator(1) node with name 'name'
    if let Some((_, rest)) = message.split_once("Could not find an implementation for ") {
        let (operator, rest) = rest.split_once('(')?;
        let (_, rest) = rest.split_once("with name '")?;
        let (node, _) = rest.split_once('\'')?;
        return Some((node.to_owned(), operator.to_owned()));
    }
    None
}

fn with_domain(domain: &str, operator: &str) -> String {
    if domain.is_empty() { operator.to_owned() } else { format!("{domain}:{operator}") }
}

/// Without source locations, C++ signatures and line breaks, which say nothing to an operator.
fn tidy(message: &str) -> String {
    // "file.cc:7 Status F(const X*) CONDITION was false. What is wrong": the end is for people.
    let message = match message.split_once(" was false. ") {
        Some((_, sentence)) if !sentence.trim().is_empty() => sentence,
        _ => message,
    };
    let words: Vec<&str> = message
        .split_whitespace()
        .filter(|word| !(word.starts_with("/onnxruntime_src/") || word.starts_with("onnxruntime/")))
        .collect();
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_operator_is_named_with_its_node() {
        let message = "Load model from /m/model.onnx failed:This is an invalid model. In Node, \
            (\"twist\", Twist, \"\", -1) : (\"x\": tensor(float),) -> (\"y\": tensor(float),) , \
            Error No Op registered for Twist with domain_version of 17";
        let error = open_error_of(Path::new("/m/model.onnx"), ErrorCode::GenericFailure, message);
        let EngineError::OperatorUnsupported { node, operator, .. } = error else {
            panic!("{error}");
        };
        assert_eq!((node.as_str(), operator.as_str()), ("twist", "Twist"));
    }

    #[test]
    fn an_unimplemented_operator_is_named_with_its_node() {
        let message = "Could not find an implementation for BitShift(11) node with name 'shift'";
        let error = open_error_of(Path::new("m.onnx"), ErrorCode::NotImplemented, message);
        let EngineError::OperatorUnsupported { node, operator, .. } = error else {
            panic!("{error}");
        };
        assert_eq!((node.as_str(), operator.as_str()), ("shift", "BitShift"));
    }

    #[test]
    fn a_failing_node_is_named_in_one_line() {
        let message = "Non-zero status code returned while running Gather node. Name:'lookup' \
            Status Message: /onnxruntime_src/core/gather.cc:10 indices element out of data bounds";
        let error = run_error_of(ErrorCode::InvalidArgument, message);
        let reason = "node \"lookup\" (Gather): indices element out of data bounds".to_owned();
        assert_eq!(error, EngineError::InputsRefused { reason });
    }
}
