//! From a path to a route: a match on path segments.
//!
//! What is not here: methods are checked by [`Route::allows`], after the path is known, so that
//! a wrong method is told apart from an unknown path.

use std::borrow::Cow;

use hyper::Method;

/// A model, and the version where the path names one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target<'a> {
    pub model: Cow<'a, str>,
    pub version: Option<Cow<'a, str>>,
}

/// How a v1 path names a version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum V1Version<'a> {
    Current,
    Number(Cow<'a, str>),
    Label(Cow<'a, str>),
}

/// A model in a v1 path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct V1Target<'a> {
    pub model: Cow<'a, str>,
    pub version: V1Version<'a>,
}

/// Everything that can be asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Route<'a> {
    Root,
    Live,
    Ready,
    Metrics,
    OpenApi,
    ServerMetadata,
    AllStatistics,
    ModelMetadata(Target<'a>),
    ModelReady(Target<'a>),
    ModelConfig(Target<'a>),
    ModelStatistics(Target<'a>),
    Infer(Target<'a>),
    RepositoryIndex,
    RepositoryLoad(Cow<'a, str>),
    RepositoryUnload(Cow<'a, str>),
    V1Status(V1Target<'a>),
    V1Metadata(V1Target<'a>),
    V1Predict(V1Target<'a>),
}

/// The methods of a route, as the `Allow` header names them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Allowed {
    Read,
    Post,
}

impl Allowed {
    pub fn header(self) -> &'static str {
        match self {
            Allowed::Read => "GET, HEAD",
            Allowed::Post => "POST",
        }
    }

    pub fn admits(self, method: &Method) -> bool {
        match self {
            Allowed::Read => *method == Method::GET || *method == Method::HEAD,
            Allowed::Post => *method == Method::POST,
        }
    }
}

impl<'a> Route<'a> {
    /// The route of a path, or `None` where there is none.
    pub fn of_path(path: &'a str) -> Option<Route<'a>> {
        let rest = path.strip_prefix('/')?;
        if let Some(rest) = rest.strip_prefix("v2/models/") {
            return model_route(rest);
        }
        if let Some(rest) = rest.strip_prefix("v1/models/") {
            return v1_route(rest);
        }
        if let Some(rest) = rest.strip_prefix("v2/repository/") {
            return repository_route(rest);
        }
        match rest {
            "" => Some(Route::Root),
            "v2" | "v2/" => Some(Route::ServerMetadata),
            "v2/health/live" => Some(Route::Live),
            "v2/health/ready" => Some(Route::Ready),
            "metrics" => Some(Route::Metrics),
            "openapi.json" => Some(Route::OpenApi),
            _ => None,
        }
    }

    /// The methods that the route answers.
    pub fn allowed(&self) -> Allowed {
        match self {
            Route::Infer(_)
            | Route::RepositoryIndex
            | Route::RepositoryLoad(_)
            | Route::RepositoryUnload(_)
            | Route::V1Predict(_) => Allowed::Post,
            _ => Allowed::Read,
        }
    }
}

/// `{m}`, `{m}/versions/{v}` and what may follow either, after `/v2/models/`.
fn model_route(rest: &str) -> Option<Route<'_>> {
    if rest == "stats" {
        return Some(Route::AllStatistics);
    }
    let (model, mut action) = split(rest);
    let model = name(model)?;
    let mut version = None;
    if let Some(after) = action.strip_prefix("versions/") {
        let (number, after) = split(after);
        version = Some(name(number)?);
        action = after;
    }
    let target = Target { model, version };
    match action {
        "infer" => Some(Route::Infer(target)),
        "" => Some(Route::ModelMetadata(target)),
        "ready" => Some(Route::ModelReady(target)),
        "config" => Some(Route::ModelConfig(target)),
        "stats" => Some(Route::ModelStatistics(target)),
        _ => None,
    }
}

/// `index`, `models/{m}/load` and `models/{m}/unload`, each also behind a repository's name, after
/// `/v2/repository/`. There is one repository, so its name is not looked at.
fn repository_route(rest: &str) -> Option<Route<'_>> {
    let segments: Vec<&str> = rest.split('/').collect();
    match segments.as_slice() {
        ["index"] | [_, "index"] => Some(Route::RepositoryIndex),
        ["models", model, action] | [_, "models", model, action] => {
            let model = name(model)?;
            match *action {
                "load" => Some(Route::RepositoryLoad(model)),
                "unload" => Some(Route::RepositoryUnload(model)),
                _ => None,
            }
        }
        _ => None,
    }
}

/// What follows `/v1/models/`: a verb stands after a colon in the last segment.
fn v1_route(rest: &str) -> Option<Route<'_>> {
    let (rest, verb) = match rest.rsplit_once(':') {
        Some((before, verb)) if !verb.contains('/') => (before, Some(verb)),
        _ => (rest, None),
    };
    let (model, after) = split(rest);
    let model = name(model)?;
    let (version, after) = if let Some(after) = after.strip_prefix("versions/") {
        let (number, after) = split(after);
        (V1Version::Number(name(number)?), after)
    } else if let Some(after) = after.strip_prefix("labels/") {
        let (label, after) = split(after);
        (V1Version::Label(name(label)?), after)
    } else {
        (V1Version::Current, after)
    };
    let target = V1Target { model, version };
    match (after, verb) {
        ("", None) => Some(Route::V1Status(target)),
        ("", Some("predict")) => Some(Route::V1Predict(target)),
        ("metadata", None) => Some(Route::V1Metadata(target)),
        _ => None,
    }
}

/// The first segment and everything after its slash.
fn split(path: &str) -> (&str, &str) {
    path.split_once('/').unwrap_or((path, ""))
}

/// A name out of a path segment, percent-decoded; `None` where it is empty or not text.
fn name(segment: &str) -> Option<Cow<'_, str>> {
    if segment.is_empty() {
        return None;
    }
    if !segment.contains('%') {
        return Some(Cow::Borrowed(segment));
    }
    let mut decoded = Vec::with_capacity(segment.len());
    let mut bytes = segment.bytes();
    while let Some(byte) = bytes.next() {
        if byte == b'%' {
            let high = char::from(bytes.next()?).to_digit(16)?;
            let low = char::from(bytes.next()?).to_digit(16)?;
            decoded.push(u8::try_from(high * 16 + low).ok()?);
        } else {
            decoded.push(byte);
        }
    }
    String::from_utf8(decoded).ok().map(Cow::Owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(model: &str, version: Option<&str>) -> Target<'static> {
        Target {
            model: Cow::Owned(model.to_owned()),
            version: version.map(|version| Cow::Owned(version.to_owned())),
        }
    }

    fn v1(model: &str, version: V1Version<'static>) -> V1Target<'static> {
        V1Target { model: Cow::Owned(model.to_owned()), version }
    }

    #[test]
    fn every_path_has_its_route() {
        let number = || V1Version::Number(Cow::Borrowed("3"));
        let label = || V1Version::Label(Cow::Borrowed("stable"));
        let rows = [
            ("/", Some(Route::Root)),
            ("/v2", Some(Route::ServerMetadata)),
            ("/v2/", Some(Route::ServerMetadata)),
            ("/v2/health/live", Some(Route::Live)),
            ("/v2/health/ready", Some(Route::Ready)),
            ("/metrics", Some(Route::Metrics)),
            ("/openapi.json", Some(Route::OpenApi)),
            ("/v2/models/stats", Some(Route::AllStatistics)),
            ("/v2/models/m", Some(Route::ModelMetadata(target("m", None)))),
            ("/v2/models/m/", Some(Route::ModelMetadata(target("m", None)))),
            ("/v2/models/m/ready", Some(Route::ModelReady(target("m", None)))),
            ("/v2/models/m/config", Some(Route::ModelConfig(target("m", None)))),
            ("/v2/models/m/stats", Some(Route::ModelStatistics(target("m", None)))),
            ("/v2/models/stats/stats", Some(Route::ModelStatistics(target("stats", None)))),
            ("/v2/models/m/infer", Some(Route::Infer(target("m", None)))),
            ("/v2/models/m/versions/3", Some(Route::ModelMetadata(target("m", Some("3"))))),
            ("/v2/models/m/versions/3/infer", Some(Route::Infer(target("m", Some("3"))))),
            ("/v2/models/a%2Fb%20c/infer", Some(Route::Infer(target("a/b c", None)))),
            ("/v2/models/%zz/infer", None),
            ("/v2/models/%f", None),
            ("/v2/models/%ff", None),
            ("/v2/models/", None),
            ("/v2/models", None),
            ("/v2/models//infer", None),
            ("/v2/models/m/versions/", None),
            ("/v2/models/m/infer/more", None),
            ("/v2/models/m/unknown", None),
            ("/v2/repository/index", Some(Route::RepositoryIndex)),
            ("/v2/repository/mine/index", Some(Route::RepositoryIndex)),
            ("/v2/repository/models/m/load", Some(Route::RepositoryLoad("m".into()))),
            ("/v2/repository/mine/models/m/unload", Some(Route::RepositoryUnload("m".into()))),
            ("/v2/repository/models/m/other", None),
            ("/v2/repository/models/m", None),
            ("/v1/models/m", Some(Route::V1Status(v1("m", V1Version::Current)))),
            ("/v1/models/m:predict", Some(Route::V1Predict(v1("m", V1Version::Current)))),
            ("/v1/models/m/versions/3:predict", Some(Route::V1Predict(v1("m", number())))),
            ("/v1/models/m/labels/stable:predict", Some(Route::V1Predict(v1("m", label())))),
            ("/v1/models/m/versions/3", Some(Route::V1Status(v1("m", number())))),
            ("/v1/models/m/metadata", Some(Route::V1Metadata(v1("m", V1Version::Current)))),
            ("/v1/models/m/versions/3/metadata", Some(Route::V1Metadata(v1("m", number())))),
            ("/v1/models/m:classify", None),
            ("/v1/models/:predict", None),
            ("", None),
            ("*", None),
            ("/other", None),
        ];
        for (path, expected) in rows {
            assert_eq!(Route::of_path(path), expected, "{path}");
        }
    }

    #[test]
    fn inference_is_posted_and_metadata_is_read() {
        let infer = Route::of_path("/v2/models/m/infer").expect("a route").allowed();
        assert!(infer.admits(&Method::POST) && !infer.admits(&Method::GET));
        let metadata = Route::of_path("/v2/models/m").expect("a route").allowed();
        assert!(metadata.admits(&Method::HEAD) && !metadata.admits(&Method::POST));
    }
}
