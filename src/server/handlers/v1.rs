//! x
use crate::server::{
    Services,
    respond::{self, Failure},
    response_body::Answer,
    router::V1Target,
    service::Call,
};
use hyper::Response;
type R = Result<Response<Answer>, Failure>;
pub async fn status(_: &Services, _: &V1Target<'_>) -> R {
    Err(Failure::UnknownPath { path: String::new() })
}
pub fn metadata(_: &Services, _: &V1Target<'_>) -> R {
    Err(Failure::UnknownPath { path: String::new() })
}
pub async fn predict(_: Call<'_>, _: &V1Target<'_>) -> R {
    Err(Failure::UnknownPath { path: String::new() })
}
