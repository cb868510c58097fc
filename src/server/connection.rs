//! One connection from its first request to its end.

use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Instant;

use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};

use super::handlers::asked::Memo;
use super::network::NetworkThread;
use super::progress::{Command, Patience, Progress, Wire};
use super::service;
use super::stream::{Opening, Stream};
use super::watched::Watched;

/// Requests at once on one HTTP/2 connection: as many as its peers usually grant.
const MAX_CONCURRENT_STREAMS: u32 = 256;
/// Bytes of one request's head; hyper answers 431 beyond it.
const MAX_HEAD_BYTES: u32 = 32 * 1024;
/// What an HTTP/2 client may send ahead per request and per connection: room for an image.
const STREAM_WINDOW: u32 = 1024 * 1024;
const CONNECTION_WINDOW: u32 = 4 * 1024 * 1024;

/// What the requests of one connection share.
pub struct Connection {
    pub thread: Rc<NetworkThread>,
    pub progress: Rc<Progress>,
    /// A client mostly repeats itself.
    pub memo: RefCell<Memo>,
}

/// Serves a connection until either side ends it.
pub async fn serve(thread: Rc<NetworkThread>, stream: Stream, opening: Opening) {
    let settings = &thread.shared.settings;
    let wire = if opening == Opening::Http2 { Wire::Http2 } else { Wire::Http1 };
    let patience = Patience { header: settings.header_timeout, idle: settings.idle_timeout };
    let progress = Rc::new(Progress::new(wire, Instant::now()));
    let _watch = thread.watch(progress.clone(), patience);
    let io = TokioIo::new(Watched::new(stream, progress.clone()));
    let memo = RefCell::new(Memo::default());
    let shared = Rc::new(Connection { thread, progress: progress.clone(), memo });
    let service = service_fn(move |request| service::answer(shared.clone(), request));
    // An error ends the connection and concerns its client alone: hyper has answered what can be
    // answered, and what was under way is counted as cancelled.
    if wire == Wire::Http2 {
        let mut builder = http2::Builder::new(OnThisThread);
        builder
            .timer(TokioTimer::new())
            .max_concurrent_streams(MAX_CONCURRENT_STREAMS)
            .max_header_list_size(MAX_HEAD_BYTES)
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW);
        let connection = pin!(builder.serve_connection(io, service));
        follow(connection, &progress, |connection| connection.graceful_shutdown()).await;
    } else {
        // Without hyper's own timer for heads, which costs an allocation a request: the thread's
        // sweep keeps that limit.
        let mut builder = http1::Builder::new();
        builder.header_read_timeout(None).max_header_size(MAX_HEAD_BYTES as usize);
        let connection = pin!(builder.serve_connection(io, service));
        follow(connection, &progress, |connection| connection.graceful_shutdown()).await;
    }
}

/// Drives a connection, and does what its thread tells it.
async fn follow<C: Future>(
    mut connection: Pin<&mut C>,
    progress: &Progress,
    finish: impl Fn(Pin<&mut C>),
) {
    let mut finish_due = false;
    poll_fn(|context: &mut Context<'_>| {
        let command = progress.take_command(context.waker());
        if command == Some(Command::Abort) || connection.as_mut().poll(context).is_ready() {
            return Poll::Ready(());
        }
        finish_due |= command == Some(Command::Finish);
        // Only now: a request that was waiting in the socket has been taken just above. One of
        // which a part has come is waited for: hyper would close on it without an answer.
        if finish_due && !progress.head_under_way() {
            finish_due = false;
            finish(connection.as_mut());
            return connection.as_mut().poll(context).map(drop);
        }
        Poll::Pending
    })
    .await;
}

/// Runs HTTP/2's streams beside their connection.
#[derive(Clone)]
struct OnThisThread;

impl<F: Future + 'static> hyper::rt::Executor<F> for OnThisThread {
    fn execute(&self, future: F) {
        tokio::task::spawn_local(async move {
            future.await;
        });
    }
}
