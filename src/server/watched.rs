//! A socket whose movements are noted in its connection's [`Progress`].

use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use smallvec::SmallVec;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::progress::Progress;
use super::stream::Stream;

/// Of a body that nobody wants, this much is taken before the connection closes, so that a client
/// that only reads after it has sent everything finds its answer and not a reset.
const LINGER_BYTES: usize = 256 * 1024 * 1024;

/// Parts of up to this many bytes together are written as one.
const JOINED_WRITE_BYTES: usize = 1024;

pub struct Watched {
    stream: Stream,
    progress: Rc<Progress>,
    shut: bool,
    lingered: usize,
}

impl Watched {
    pub fn new(stream: Stream, progress: Rc<Progress>) -> Watched {
        Watched { stream, progress, shut: false, lingered: 0 }
    }

    fn note_write(&self, result: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        match &result {
            Poll::Pending => self.progress.write_blocked(),
            Poll::Ready(Ok(count)) => self.progress.bytes_went(*count),
            // hyper gives the connection up.
            Poll::Ready(Err(_)) => {}
        }
        result
    }
}

impl AsyncRead for Watched {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buffer.filled().len();
        ready!(Pin::new(&mut this.stream).poll_read(context, buffer))?;
        // Some clients end a body with an empty line of their own: it begins no request, and what
        // begins none must neither wait for its end nor date the next one.
        let is_empty_line = |byte: &u8| matches!(byte, b'\r' | b'\n');
        if !buffer.filled()[before..].iter().all(is_empty_line) {
            this.progress.bytes_came();
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Watched {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let result = Pin::new(&mut this.stream).poll_write(context, bytes);
        this.note_write(result)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        // Copying a small head and body together costs less than the kernel's walk over two.
        let total: usize = slices.iter().map(|slice| slice.len()).sum();
        let result = if slices.len() > 1 && total <= JOINED_WRITE_BYTES {
            let mut joined: SmallVec<[u8; JOINED_WRITE_BYTES]> = SmallVec::new();
            slices.iter().for_each(|slice| joined.extend_from_slice(slice));
            Pin::new(&mut this.stream).poll_write(context, &joined)
        } else {
            Pin::new(&mut this.stream).poll_write_vectored(context, slices)
        };
        this.note_write(result)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(Pin::new(&mut this.stream).poll_flush(context))?;
        this.progress.flushed();
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if !this.shut {
            ready!(Pin::new(&mut this.stream).poll_shutdown(context))?;
            this.shut = true;
            this.progress.closing();
        }
        if !this.progress.left_unread() {
            return Poll::Ready(Ok(()));
        }
        let mut scratch = [0u8; 16 * 1024];
        while this.lingered < LINGER_BYTES {
            let mut buffer = ReadBuf::new(&mut scratch);
            match ready!(Pin::new(&mut this.stream).poll_read(context, &mut buffer)) {
                Ok(()) if !buffer.filled().is_empty() => this.lingered += buffer.filled().len(),
                // The client has finished, or has gone.
                _ => break,
            }
        }
        Poll::Ready(Ok(()))
    }
}
