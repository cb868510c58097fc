//! The network's limit: a hyper server that reads the body it is sent and answers fixed bytes.
//! It runs as a process of its own, on one thread like the daemon's network side.

use std::convert::Infallible;
use std::path::Path;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

/// Serves until killed; prints its address on the first line of stdout. `answer` is a file with
/// the body; `header_length` becomes `Inference-Header-Content-Length` where it is not 0.
pub fn serve(answer: &Path, header_length: usize) {
    let body = Bytes::from(std::fs::read(answer).expect("the benchmark wrote the answer"));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime needs only memory and an epoll descriptor");
    let tasks = tokio::task::LocalSet::new();
    tasks.block_on(&runtime, async move {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        println!("{}", listener.local_addr().expect("a bound address"));
        loop {
            let (stream, _) = listener.accept().await.expect("a connection");
            stream.set_nodelay(true).expect("a TCP option");
            let body = body.clone();
            tokio::task::spawn_local(async move {
                let service =
                    service_fn(move |request| answer_one(request, body.clone(), header_length));
                // A client that goes away in the middle is the end of its connection, no more.
                let _ = hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service)
                    .await;
            });
        }
    });
}

async fn answer_one(
    request: Request<Incoming>,
    body: Bytes,
    header_length: usize,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let received = request.into_body().collect().await;
    assert!(received.is_ok(), "the load generator sends whole bodies");
    let mut response = Response::builder().header("content-type", "application/octet-stream");
    if header_length > 0 {
        response = response.header("inference-header-content-length", header_length);
    }
    Ok(response.body(Full::new(body)).expect("the headers are valid"))
}
