//! What the server says of itself and its models, in both protocols.

use serde_json::{Value, json};

use crate::support::client::Response;
use crate::support::models::{Behaviour, Model};
use crate::support::server::TestServer;

const BODY: &str = r#"{"inputs":[{"name":"x","datatype":"FP32","shape":[1,2],"data":[1,2]}]}"#;

fn double() -> TestServer {
    let mut first = Model::new("double", Behaviour::Double);
    first.labels = vec!["cat".to_owned(), "dog".to_owned()];
    let mut second = Model::new("double", Behaviour::Double);
    second.version = 2;
    TestServer::start(vec![first, second, Model::new("other", Behaviour::Double)], |_| {})
}

fn json_of(response: &Response) -> Value {
    assert_eq!(response.status, 200, "{}", String::from_utf8_lossy(&response.body));
    assert_eq!(response.header("content-type"), Some("application/json"));
    response.json()
}

#[test]
fn the_server_advertises_what_works() {
    let server = double();
    let metadata = json_of(&server.get("/v2"));
    assert_eq!(metadata["name"], "onnxd");
    assert_eq!(metadata["version"], env!("CARGO_PKG_VERSION"));
    let extensions = metadata["extensions"].as_array().expect("a list");
    assert!(extensions.contains(&json!("binary_tensor_data")));
    // Its load and unload are refused here.
    assert!(!extensions.contains(&json!("model_repository")));
}

#[test]
fn a_model_tells_its_signature_and_what_really_runs() {
    let server = double();
    let metadata = json_of(&server.get("/v2/models/double"));
    assert_eq!(metadata["name"], "double");
    assert_eq!(metadata["versions"], json!(["1", "2"]));
    let x = json!({ "name": "x", "datatype": "FP32", "shape": [-1, 2] });
    assert_eq!(metadata["inputs"], json!([x]));
    assert_eq!(metadata["outputs"][0]["name"], "y");
    assert_eq!(metadata["parameters"]["engine"], "scripted");
    assert_eq!(metadata["parameters"]["device"], "cpu");
    assert_eq!(metadata["parameters"]["layout"]["instances"], 1);
    let batching = &metadata["parameters"]["batching"];
    assert_eq!(batching["batched"], false);
    assert_eq!(batching["reason"], "switched off by configuration");
    let versioned = json_of(&server.get("/v2/models/double/versions/1"));
    assert_eq!(versioned["versions"], json!(["1"]));
    assert_eq!(json_of(&server.get("/v2/models/double/ready"))["ready"], true);
    for path in ["/v2/models/none", "/v2/models/double/versions/7", "/v2/models/none/config"] {
        assert_eq!(server.get(path).status, 404, "{path}");
    }
}

#[test]
fn the_configuration_has_what_load_generators_read() {
    let server = double();
    let config = json_of(&server.get("/v2/models/double/config"));
    assert_eq!(config["name"], "double");
    assert_eq!(config["max_batch_size"], 0);
    assert_eq!(config["input"][0]["name"], "x");
    assert_eq!(config["input"][0]["dims"], json!([-1, 2]));
    assert_eq!(config["output"][0]["data_type"], "TYPE_FP32");
    assert_eq!(config["model_transaction_policy"]["decoupled"], false);
    assert_eq!(config["response_cache"]["enable"], false);
}

#[test]
fn statistics_count_what_was_asked() {
    let server = double();
    let mut client = server.client();
    for _ in 0..3 {
        assert_eq!(
            client.post("/v2/models/double/versions/1/infer", &[], BODY.as_bytes()).status,
            200
        );
    }
    assert_eq!(client.post("/v2/models/double/versions/1/infer", &[], b"{").status, 400);
    let statistics = json_of(&client.get("/v2/models/double/versions/1/stats"));
    let version = &statistics["model_stats"][0];
    assert_eq!((&version["name"], &version["version"]), (&json!("double"), &json!("1")));
    assert_eq!(version["inference_count"], 3);
    assert_eq!(version["inference_stats"]["success"]["count"], 3);
    assert_eq!(version["inference_stats"]["fail"]["count"], 1);
    assert!(version["last_inference"].as_u64().expect("a time") > 1_700_000_000_000);
    let all = json_of(&client.get("/v2/models/stats"));
    let listed: Vec<(&Value, &Value)> = all["model_stats"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|version| (&version["name"], &version["version"]))
        .collect();
    let (double, other) = (json!("double"), json!("other"));
    let (one, two) = (json!("1"), json!("2"));
    assert_eq!(listed, [(&double, &one), (&double, &two), (&other, &one)]);
    assert_eq!(json_of(&client.get("/v2/models/double/stats"))["model_stats"][1]["version"], "2");
}

#[test]
fn predictions_come_in_rows_or_columns() {
    let server = double();
    let rows = server.post("/v1/models/double:predict", r#"{"instances":[[1,2],[3,4]]}"#);
    assert_eq!(json_of(&rows), json!({ "predictions": [[2.0, 4.0], [6.0, 8.0]] }));
    let body = r#"{"signature_name":"serving_default","inputs":{"x":[[1,2]]}}"#;
    let columns = server.post("/v1/models/double/versions/1:predict", body);
    assert_eq!(json_of(&columns), json!({ "outputs": [[2.0, 4.0]] }));
}

#[test]
fn bad_predictions_are_told_the_field_and_the_instance_at_fault() {
    let server = double();
    const ROWS: &[(&str, &str)] = &[
        ("{}", "the body: expected either instances or inputs, got neither"),
        (r#"{"instances":[[1,2]],"inputs":[[1,2]]}"#, "instances or inputs, got both"),
        (r#"{"instances":7}"#, "instances: expected an array, got 7"),
        (r#"{"instances":[]}"#, "instances: expected at least one instance"),
        (r#"{"instances":[[1,2],[3,4],[5]]}"#, "instances[2]: expected an array of 2 elements"),
        (r#"{"instances":[[1,2],[3,"four"]]}"#, "instances[1][1]: expected a number"),
        (r#"{"instances":[{"x":[1,2]},{"x":[3]}]}"#, "instances[1] \"x\": expected an array of 2"),
        (r#"{"instances":[{"x":[1,2]},{}]}"#, "instances[1]: expected an object with \"x\""),
        (r#"{"instances":[{"x":[1,2]},7]}"#, "instances[1]: expected an object, as before"),
        (
            r#"{"instances":[{"z":[1,2]}]}"#,
            "instances[0] \"z\": expected one of the model's inputs",
        ),
        (r#"{"inputs":{"z":[[1,2]]}}"#, "inputs \"z\": expected one of the model's inputs: \"x\""),
        (r#"{"inputs":[[1,2],[3]]}"#, "inputs[1]: expected an array of 2 elements"),
        (r#"{"instances":[[1,2,3]]}"#, "\"x\" shape: expected [batch, 2], got [1, 3]"),
        (r#"{"signature_name":"z","instances":[[1,2]]}"#, "signature_name: expected"),
        (r#"{"signature_name":1,"instances":[[1,2]]}"#, "signature_name: expected a string, got 1"),
        (r#"{"instances":[[1,2]"#, "not valid JSON"),
    ];
    for (body, words) in ROWS {
        let response = server.post("/v1/models/double:predict", body);
        assert_eq!(response.status, 400, "{body}");
        let error = response.error();
        assert!(error.contains(words), "{body}: {words:?} is not in {error:?}");
    }
}

#[test]
fn predictions_of_what_is_not_there_are_told_its_name() {
    let server = double();
    for (path, words) in [
        ("/v1/models/none:predict", "unknown model \"none\""),
        ("/v1/models/double/versions/9:predict", "model \"double\" has no version \"9\""),
        ("/v1/models/double/labels/stable:predict", "\"stable\""),
    ] {
        let response = server.post(path, r#"{"instances":[[1,2]]}"#);
        assert_eq!(response.status, 404, "{path}");
        let error = response.error();
        assert!(error.contains(words), "{path}: {words:?} is not in {error:?}");
    }
}

#[test]
fn the_older_protocol_knows_states_and_signatures() {
    let server = double();
    let status = json_of(&server.get("/v1/models/double"));
    let versions = status["model_version_status"].as_array().expect("a list");
    assert_eq!(versions.len(), 2);
    assert_eq!(versions[0]["state"], "AVAILABLE");
    assert_eq!(versions[0]["status"]["error_code"], "OK");
    let one = json_of(&server.get("/v1/models/double/versions/2"));
    assert_eq!(one["model_version_status"][0]["version"], "2");
    assert_eq!(server.get("/v1/models/double/versions/5").status, 404);
    assert_eq!(server.get("/v1/models/none").status, 404);
    let metadata = json_of(&server.get("/v1/models/double/metadata"));
    assert_eq!(metadata["model_spec"]["name"], "double");
}

#[test]
fn the_document_describes_the_loaded_models() {
    let server = double();
    let document = json_of(&server.get("/openapi.json"));
    assert_eq!(document["openapi"], "3.1.0");
    let infer = &document["paths"]["/v2/models/double/infer"]["post"];
    let request = &infer["requestBody"]["content"]["application/json"]["schema"];
    let input = &request["properties"]["inputs"]["items"]["oneOf"][0]["properties"];
    assert_eq!(input["name"]["const"], "x");
    assert_eq!(input["datatype"]["const"], "FP32");
    assert_eq!(input["shape"]["prefixItems"][1]["const"], 2);
    assert!(document["paths"]["/v2/models/other/infer"].is_object());
    assert!(document["paths"]["/v2/health/ready"]["get"].is_object());
    // Every reference leads somewhere.
    let text = document.to_string();
    for reference in text.split("\"$ref\":\"#").skip(1) {
        let pointer = reference.split('"').next().expect("a reference ends");
        assert!(document.pointer(pointer).is_some(), "{pointer}");
    }
}
