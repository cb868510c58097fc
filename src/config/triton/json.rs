//! A ModelConfig in JSON to the same tree: what `GET …/config` answers and a load request may
//! bring along.

use serde_json::{Map, Value as Json};

use super::tree::{Field, MAX_DEPTH, Message, SyntaxError, Value};

/// Fields that are maps: an object in JSON, repeated entries of `key` and `value` in the text
/// format.
const MAPS: [&str; 6] =
    ["parameters", "inputs", "cc_model_filenames", "metric_tags", "input_map", "output_map"];

/// The message that a JSON text holds.
///
/// # Errors
/// The text is not a JSON object, or it is nested too deeply.
pub(super) fn parse(text: &str) -> Result<Message, SyntaxError> {
    let json: Json = serde_json::from_str(text)
        .map_err(|error| SyntaxError { line: Some(error.line()), reason: error.to_string() })?;
    match json {
        Json::Object(object) => message(object, 0),
        other => Err(fault(format!("expected an object, got {other}"))),
    }
}

fn message(object: Map<String, Json>, depth: usize) -> Result<Message, SyntaxError> {
    if depth > MAX_DEPTH {
        return Err(fault(format!("nested deeper than {MAX_DEPTH} messages")));
    }
    let mut message = Message::default();
    for (key, json) in object {
        let name = snake_case(&key);
        match json {
            Json::Object(entries) if MAPS.contains(&name.as_str()) => {
                for (key, json) in entries {
                    let entry = Map::from_iter([
                        ("key".to_owned(), Json::String(key)),
                        ("value".to_owned(), json),
                    ]);
                    add(&mut message, &name, Json::Object(entry), depth)?;
                }
            }
            Json::Array(entries) => {
                for entry in entries {
                    add(&mut message, &name, entry, depth)?;
                }
            }
            other => add(&mut message, &name, other, depth)?,
        }
    }
    Ok(message)
}

/// Adds one entry; `null` is an absent field.
fn add(message: &mut Message, name: &str, json: Json, depth: usize) -> Result<(), SyntaxError> {
    let value = match json {
        Json::Null => return Ok(()),
        Json::Bool(truth) => Value::Word(truth.to_string()),
        Json::String(text) => Value::Text(text),
        Json::Object(object) => Value::Message(self::message(object, depth + 1)?),
        Json::Array(_) => return Err(fault(format!("{name}: a list in a list"))),
        Json::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(number), _) => Value::Integer(number.into()),
            (_, Some(number)) => Value::Integer(number.into()),
            _ => Value::Float(number.as_f64().unwrap_or(f64::NAN)),
        },
    };
    message.fields.push(Field { name: name.to_owned(), line: None, value });
    Ok(())
}

/// Protobuf's JSON writes `maxBatchSize` as well as `max_batch_size`.
fn snake_case(key: &str) -> String {
    let mut name = String::with_capacity(key.len());
    for c in key.chars() {
        if c.is_ascii_uppercase() {
            name.push('_');
        }
        name.push(c.to_ascii_lowercase());
    }
    name
}

fn fault(reason: String) -> SyntaxError {
    SyntaxError { line: None, reason }
}

#[cfg(test)]
mod tests {
    use super::super::parser;
    use super::*;

    /// A tree without its lines and in alphabetical order, which is how JSON objects come.
    fn sorted(mut message: Message) -> Message {
        for field in &mut message.fields {
            field.line = None;
            if let Value::Message(inner) = &mut field.value {
                *inner = sorted(std::mem::take(inner));
            }
        }
        message.fields.sort_by(|a, b| a.name.cmp(&b.name));
        message
    }

    #[test]
    fn json_and_text_give_the_same_tree() {
        let json = r#"{
            "name": "m", "maxBatchSize": 8, "backend": null,
            "dynamic_batching": {"preferred_batch_size": [4, 8]},
            "parameters": {"a": {"string_value": "1"}, "bC": {"string_value": "2"}},
            "input": [{"name": "x", "optional": true, "dims": [-1]}]
        }"#;
        let text = "name: 'm' max_batch_size: 8 dynamic_batching { preferred_batch_size: [4, 8] }
            parameters { key: 'a' value { string_value: '1' } }
            parameters { key: 'bC' value { string_value: '2' } }
            input { name: 'x' optional: true dims: -1 }";
        let (json, text) = (parse(json).expect("JSON"), parser::parse(text).expect("text"));
        assert_eq!(sorted(json), sorted(text));
    }

    #[test]
    fn what_is_no_configuration_is_refused() {
        let table = [
            ("[]", "expected an object, got []"),
            ("{\"input\": [[1]]}", "input: a list in a list"),
            ("{\"a\":", "EOF while parsing a value at line 1 column 5"),
        ];
        for (text, reason) in table {
            assert_eq!(parse(text).expect_err(text).reason, reason);
        }
        let deep = format!("{}{}", "{\"a\":".repeat(60), "1".to_owned() + &"}".repeat(60));
        assert_eq!(parse(&deep).expect_err("too deep").reason, "nested deeper than 32 messages");
        let bomb = "[".repeat(1_000_000);
        assert!(parse(&bomb).is_err());
    }
}
