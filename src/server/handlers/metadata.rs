//! x
use crate::server::{
    ServerSettings, Services,
    respond::{self, Failure},
    response_body::Answer,
    router::Target,
};
use hyper::Response;
type R = Result<Response<Answer>, Failure>;
pub fn server(_: &ServerSettings) -> Response<Answer> {
    respond::json("{}")
}
pub fn all_statistics(_: &Services) -> R {
    Err(Failure::UnknownPath { path: String::new() })
}
pub fn model(_: &Services, _: &Target<'_>) -> R {
    Err(Failure::UnknownPath { path: String::new() })
}
pub fn model_ready(_: &Services, _: &Target<'_>) -> R {
    Err(Failure::UnknownPath { path: String::new() })
}
pub fn config(_: &Services, _: &Target<'_>) -> R {
    Err(Failure::UnknownPath { path: String::new() })
}
pub fn statistics(_: &Services, _: &Target<'_>) -> R {
    Err(Failure::UnknownPath { path: String::new() })
}
