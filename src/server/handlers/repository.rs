//! x
use crate::server::{
    respond::{self, Failure},
    response_body::Answer,
    service::Call,
};
use hyper::Response;
type R = Result<Response<Answer>, Failure>;
pub async fn index(_: Call<'_>) -> R {
    Err(Failure::UnknownPath { path: String::new() })
}
pub async fn load(_: Call<'_>, _: &str) -> R {
    Err(Failure::UnknownPath { path: String::new() })
}
pub async fn unload(_: Call<'_>, _: &str) -> R {
    Err(Failure::UnknownPath { path: String::new() })
}
