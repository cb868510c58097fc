//! The model repository extension: its index, and what load and unload requests ask for.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::Serialize;
use serde_json::{Map, Value};

use super::super::ProtocolError;
use super::super::json::excerpt;

/// One entry of the index.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct IndexEntry {
    pub name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    pub state: ModelState,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub reason: String,
}

/// State of a version in the index.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum ModelState {
    Unknown,
    Ready,
    Unavailable,
    Loading,
    Unloading,
}

/// Body of `POST /v2/repository/index`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct IndexRequest {
    /// Only what is ready.
    pub ready: bool,
}

/// Body of `POST /v2/repository/models/{model}/load`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LoadRequest {
    /// A ModelConfig as JSON text, instead of the model's own.
    pub config: Option<String>,
    /// Path below the model's folder and content, instead of what lies on disk.
    pub files: Vec<(String, Bytes)>,
}

/// Decodes the body of an index request; it may be empty.
///
/// # Errors
/// As [`ProtocolError`] says.
pub fn decode_index(body: &[u8]) -> Result<IndexRequest, ProtocolError> {
    match members(body)?.remove("ready") {
        None | Some(Value::Null) => Ok(IndexRequest { ready: false }),
        Some(Value::Bool(ready)) => Ok(IndexRequest { ready }),
        Some(other) => Err(ProtocolError::field("ready", "true or false", found(&other))),
    }
}

/// Decodes the body of a load request; it may be empty.
///
/// # Errors
/// A parameter is unknown or has another type, a file is no base64, or files come without the
/// configuration that must describe them.
pub fn decode_load(body: &[u8]) -> Result<LoadRequest, ProtocolError> {
    let mut request = LoadRequest::default();
    for (key, value) in parameters(body)? {
        let field = || format!("parameters.{:?}", excerpt(&key));
        let Value::String(text) = value else {
            return Err(ProtocolError::field(field(), "a string", found(&value)));
        };
        if key == "config" {
            request.config = Some(text);
        } else if let Some(path) = key.strip_prefix("file:") {
            let content = STANDARD.decode(&text).map_err(|error| {
                ProtocolError::field(field(), "the file's content in base64", error.to_string())
            })?;
            request.files.push((path.to_owned(), content.into()));
        } else {
            let reason = "unknown; a load takes config and file:<version>/<file>";
            return Err(ProtocolError::unsupported(field(), reason));
        }
    }
    if request.config.is_none() && !request.files.is_empty() {
        let expected = "a ModelConfig that describes the files given";
        return Err(ProtocolError::field("parameters.\"config\"", expected, "nothing"));
    }
    Ok(request)
}

/// Checks the body of an unload request; it may be empty. `unload_dependents` may be there and
/// changes nothing: no model depends on another.
///
/// # Errors
/// As [`ProtocolError`] says.
pub fn decode_unload(body: &[u8]) -> Result<(), ProtocolError> {
    for (key, value) in parameters(body)? {
        let field = || format!("parameters.{:?}", excerpt(&key));
        if key != "unload_dependents" {
            let reason = "unknown; an unload takes unload_dependents";
            return Err(ProtocolError::unsupported(field(), reason));
        }
        if !value.is_boolean() {
            return Err(ProtocolError::field(field(), "true or false", found(&value)));
        }
    }
    Ok(())
}

/// The members of a body that may be empty.
fn members(body: &[u8]) -> Result<Map<String, Value>, ProtocolError> {
    if body.trim_ascii().is_empty() {
        return Ok(Map::new());
    }
    let value = serde_json::from_slice(body);
    object("the body", value.map_err(|error| ProtocolError::Json { reason: error.to_string() })?)
}

fn parameters(body: &[u8]) -> Result<Map<String, Value>, ProtocolError> {
    match members(body)?.remove("parameters") {
        None | Some(Value::Null) => Ok(Map::new()),
        Some(value) => object("parameters", value),
    }
}

fn object(field: &str, value: Value) -> Result<Map<String, Value>, ProtocolError> {
    match value {
        Value::Object(members) => Ok(members),
        other => Err(ProtocolError::field(field, "an object", found(&other))),
    }
}

/// What came, for an error message.
fn found(value: &Value) -> String {
    match value {
        Value::Array(_) => "an array".to_owned(),
        Value::Object(_) => "an object".to_owned(),
        other => excerpt(&other.to_string()).into_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_index_leaves_out_what_there_is_not() {
        let entry = |version: Option<&str>, reason: &str| IndexEntry {
            name: "m".to_owned(),
            version: version.map(str::to_owned),
            state: ModelState::Unavailable,
            reason: reason.to_owned(),
        };
        let json = serde_json::to_string(&[entry(Some("1"), "unloaded"), entry(None, "")]);
        assert_eq!(
            json.unwrap(),
            "[{\"name\":\"m\",\"version\":\"1\",\"state\":\"UNAVAILABLE\",\"reason\":\"unloaded\"},\
             {\"name\":\"m\",\"state\":\"UNAVAILABLE\"}]"
        );
    }

    #[test]
    fn bodies_may_be_empty() {
        assert_eq!(decode_index(b" "), Ok(IndexRequest { ready: false }));
        assert_eq!(decode_index(b"{\"ready\":true}"), Ok(IndexRequest { ready: true }));
        assert_eq!(decode_load(b""), Ok(LoadRequest::default()));
        assert_eq!(decode_load(b"{\"parameters\":null}"), Ok(LoadRequest::default()));
        assert_eq!(decode_unload(b"{\"parameters\":{\"unload_dependents\":true}}"), Ok(()));
    }

    #[test]
    fn a_load_may_bring_configuration_and_files() {
        let body = b"{\"parameters\":{\"config\":\"{}\",\"file:1/model.onnx\":\"AQI=\"}}";
        let request = decode_load(body).unwrap();
        assert_eq!(request.config.as_deref(), Some("{}"));
        assert_eq!(request.files, [("1/model.onnx".to_owned(), Bytes::from_static(&[1, 2]))]);
    }

    #[test]
    fn what_a_load_cannot_take_is_named() {
        let table = [
            (
                "{\"parameters\":{\"file:1/m\":\"AQI=\"}}",
                "parameters.\"config\": expected a ModelConfig that describes the files given, got nothing",
            ),
            (
                "{\"parameters\":{\"config\":{}}}",
                "parameters.\"config\": expected a string, got an object",
            ),
            (
                "{\"parameters\":{\"x\":\"\"}}",
                "parameters.\"x\": unknown; a load takes config and file:<version>/<file>",
            ),
        ];
        for (body, expected) in table {
            assert_eq!(decode_load(body.as_bytes()).unwrap_err().to_string(), expected);
        }
        assert!(decode_load(b"{\"parameters\":{\"config\":\"{}\",\"file:1/m\":\"*\"}}").is_err());
        assert!(decode_unload(b"{\"parameters\":{\"x\":1}}").is_err());
        assert!(decode_index(b"[").is_err());
        let wrong = |body: &[u8]| decode_index(body).unwrap_err().to_string();
        assert_eq!(wrong(b"[]"), "the body: expected an object, got an array");
        assert_eq!(wrong(b"{\"ready\":\"x\"}"), "ready: expected true or false, got \"x\"");
        let wrong = decode_unload(b"{\"parameters\":1}").unwrap_err().to_string();
        assert_eq!(wrong, "parameters: expected an object, got 1");
    }
}
