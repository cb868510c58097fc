//! A connection's socket, TCP or unix, and the first look at what it wants.
//!
//! The first bytes are looked at without being taken: what they begin decides which thread
//! serves the connection, and that thread reads them again.

use std::io;
use std::os::unix::net::UnixStream as StdUnixStream;
use std::pin::Pin;
use std::task::{Context, Poll};

use rustix::net::{RecvFlags, recv};
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::{TcpStream, UnixStream};

/// A socket that belongs to the runtime it was made in.
pub enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// A socket on its way to another thread's runtime.
pub enum DetachedStream {
    Tcp(std::net::TcpStream),
    Unix(StdUnixStream),
}

/// What a connection begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opening {
    /// A request to a model over HTTP/1.
    Inference,
    /// Any other HTTP/1 request.
    Administration,
    /// HTTP/2, whose requests are of both kinds, at the same time.
    Http2,
}

impl Opening {
    /// What the first bytes say, or `None` where more of them are needed.
    ///
    /// Everything posted is inference but what is posted to the repository.
    pub fn of_bytes(bytes: &[u8]) -> Option<Opening> {
        const ADMINISTRATION: &[u8] = b"POST /v2/repository";
        const HTTP2: &[u8] = b"PRI * HTTP/2.0\r\n";
        const POST: &[u8] = b"POST ";
        if bytes.is_empty() {
            return None;
        }
        if bytes.starts_with(HTTP2) {
            return Some(Opening::Http2);
        }
        if bytes.starts_with(ADMINISTRATION) {
            return Some(Opening::Administration);
        }
        if HTTP2.starts_with(bytes) || ADMINISTRATION.starts_with(bytes) {
            return None;
        }
        Some(if bytes.starts_with(POST) { Opening::Inference } else { Opening::Administration })
    }
}

impl Stream {
    /// Waits for the first bytes; `None` where the client closes before it sent any.
    ///
    /// # Errors
    /// The socket failed.
    pub async fn opening(&self) -> io::Result<Option<Opening>> {
        match self {
            Stream::Tcp(stream) => stream.async_io(Interest::READABLE, || look(stream)).await,
            Stream::Unix(stream) => stream.async_io(Interest::READABLE, || look(stream)).await,
        }
    }

    /// Takes the socket out of this thread's runtime.
    ///
    /// # Errors
    /// The runtime could not let it go.
    pub fn detach(self) -> io::Result<DetachedStream> {
        Ok(match self {
            Stream::Tcp(stream) => DetachedStream::Tcp(stream.into_std()?),
            Stream::Unix(stream) => DetachedStream::Unix(stream.into_std()?),
        })
    }
}

impl DetachedStream {
    /// Gives the socket to the current thread's runtime.
    ///
    /// # Errors
    /// The runtime could not take it.
    pub fn attach(self) -> io::Result<Stream> {
        Ok(match self {
            DetachedStream::Tcp(stream) => Stream::Tcp(TcpStream::from_std(stream)?),
            DetachedStream::Unix(stream) => Stream::Unix(UnixStream::from_std(stream)?),
        })
    }
}

/// Looks at the bytes that wait. Too few of them count as none: more will make the socket
/// readable again.
fn look(socket: impl std::os::fd::AsFd) -> io::Result<Option<Opening>> {
    let mut bytes = [0u8; 32];
    let (_, count) = recv(socket, &mut bytes[..], RecvFlags::PEEK)?;
    if count == 0 {
        return Ok(None);
    }
    match Opening::of_bytes(&bytes[..count]) {
        Some(opening) => Ok(Some(opening)),
        None => Err(io::ErrorKind::WouldBlock.into()),
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Tcp(stream) => Pin::new(stream).poll_read(context, buffer),
            Stream::Unix(stream) => Pin::new(stream).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Stream::Tcp(stream) => Pin::new(stream).poll_write(context, bytes),
            Stream::Unix(stream) => Pin::new(stream).poll_write(context, bytes),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Stream::Tcp(stream) => Pin::new(stream).poll_write_vectored(context, slices),
            Stream::Unix(stream) => Pin::new(stream).poll_write_vectored(context, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        // Sockets have no buffer of their own in this process.
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Tcp(stream) => Pin::new(stream).poll_shutdown(context),
            Stream::Unix(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_bytes_tell_inference_from_administration() {
        let rows: [(&[u8], Option<Opening>); 11] = [
            (b"", None),
            (b"P", None),
            (b"POST /v2/", None),
            (b"POST /v2/repository", Some(Opening::Administration)),
            (b"POST /v2/models/m/infer HTTP/1.1", Some(Opening::Inference)),
            (b"POST /v1", Some(Opening::Inference)),
            (b"GET /v2/health/live", Some(Opening::Administration)),
            (b"PUT", Some(Opening::Administration)),
            (b"PRI * HTTP/2", None),
            (b"PRI * HTTP/2.0\r\n\r\nSM", Some(Opening::Http2)),
            (b"\r\nGET /", Some(Opening::Administration)),
        ];
        for (bytes, expected) in rows {
            assert_eq!(Opening::of_bytes(bytes), expected, "{}", bytes.escape_ascii());
        }
    }
}
