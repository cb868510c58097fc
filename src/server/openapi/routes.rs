//! The routes that do not depend on what is loaded, as a table.

use serde_json::{Map, Value, json};

use super::components::{OF_INFERENCE, answers};

/// A route whose path and answers do not depend on what is loaded.
struct FixedRoute {
    path: &'static str,
    method: &'static str,
    summary: &'static str,
    /// Type of the answer; `None` where it has no body.
    content: Option<&'static str>,
    failures: &'static [&'static str],
}

const JSON: Option<&str> = Some("application/json");
const TEXT: Option<&str> = Some("text/plain");

const fn get(
    path: &'static str,
    summary: &'static str,
    content: Option<&'static str>,
    failures: &'static [&'static str],
) -> FixedRoute {
    FixedRoute { path, method: "get", summary, content, failures }
}

const fn post(
    path: &'static str,
    summary: &'static str,
    content: Option<&'static str>,
    failures: &'static [&'static str],
) -> FixedRoute {
    FixedRoute { path, method: "post", summary, content, failures }
}

const OF_MODEL: &[&str] = &["404", "503"];

const FIXED_ROUTES: &[FixedRoute] = &[
    get("/", "The routes, for people", TEXT, &[]),
    get("/metrics", "Prometheus metrics", TEXT, &[]),
    get("/openapi.json", "This document", JSON, &[]),
    get("/v2", "The server", JSON, &[]),
    get("/v2/health/live", "Is the server alive", None, &[]),
    get(
        "/v2/health/ready",
        "Does every model serve, and does the server want requests",
        None,
        &["503"],
    ),
    get("/v2/models/stats", "Statistics of all models", JSON, &[]),
    get("/v2/models/{model}", "A model", JSON, OF_MODEL),
    get("/v2/models/{model}/ready", "Is a model ready", None, OF_MODEL),
    get("/v2/models/{model}/config", "A model's configuration", JSON, OF_MODEL),
    get("/v2/models/{model}/stats", "A model's statistics", JSON, OF_MODEL),
    get("/v2/models/{model}/versions/{version}", "A version", JSON, OF_MODEL),
    get("/v2/models/{model}/versions/{version}/ready", "Is a version ready", None, OF_MODEL),
    get("/v2/models/{model}/versions/{version}/config", "Its configuration", JSON, OF_MODEL),
    get("/v2/models/{model}/versions/{version}/stats", "Its statistics", JSON, OF_MODEL),
    post("/v2/models/{model}/versions/{version}/infer", "Run a version", JSON, OF_INFERENCE),
    post("/v2/repository/index", "Every model, version and state", JSON, &["400"]),
    post("/v2/repository/models/{model}/load", "Load or reload", None, &["400", "403", "404"]),
    post("/v2/repository/models/{model}/unload", "Unload", None, &["400", "403", "404"]),
    get("/v1/models/{model}", "State of a model's versions", JSON, &["404"]),
    get("/v1/models/{model}/metadata", "A model's signature", JSON, OF_MODEL),
    post("/v1/models/{model}:predict", "Run a model, rows or columns", JSON, OF_INFERENCE),
    get("/v1/models/{model}/versions/{version}", "State of a version", JSON, &["404"]),
    get("/v1/models/{model}/versions/{version}/metadata", "Its signature", JSON, OF_MODEL),
    post("/v1/models/{model}/versions/{version}:predict", "Run a version", JSON, OF_INFERENCE),
];

pub(super) fn fixed_paths() -> Map<String, Value> {
    FIXED_ROUTES.iter().map(|route| (route.path.to_owned(), fixed_path(route))).collect()
}

fn fixed_path(route: &FixedRoute) -> Value {
    let mut success = json!({ "description": "Success" });
    if let Some(content) = route.content {
        let schema =
            if content == "application/json" { json!({}) } else { json!({ "type": "string" }) };
        success["content"] = json!({ content: { "schema": schema } });
    }
    let mut operation = json!({
        "summary": route.summary,
        "responses": answers(route.failures, success),
    });
    let parameters: Vec<Value> = ["model", "version"]
        .into_iter()
        .filter(|name| route.path.contains(&format!("{{{name}}}")))
        .map(|name| {
            let schema = json!({ "type": "string" });
            json!({ "name": name, "in": "path", "required": true, "schema": schema })
        })
        .collect();
    if !parameters.is_empty() {
        operation["parameters"] = Value::Array(parameters);
    }
    if route.method == "post" {
        let schema = json!({ "type": "object" });
        operation["requestBody"] =
            json!({ "content": { "application/json": { "schema": schema } } });
    }
    json!({ route.method: operation })
}
