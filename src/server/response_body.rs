//! Response bodies that are written part by part, without being copied together.

use std::convert::Infallible;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use smallvec::SmallVec;

use super::account::Account;
use super::progress::{Progress, Wire};

/// Over HTTP/2, hyper asks for more only when the client has made room: in pieces of this size,
/// that tells a client which takes its response from one that does not.
const PIECE_BYTES: usize = 64 * 1024;

/// What a handler answers with.
#[derive(Default)]
pub struct Answer {
    pub parts: SmallVec<[Bytes; 2]>,
    /// Closed when the last byte has left.
    pub account: Option<Box<Account>>,
}

impl Answer {
    pub fn of(bytes: impl Into<Bytes>) -> Answer {
        Answer { parts: SmallVec::from_iter([bytes.into()]), account: None }
    }

    pub fn len(&self) -> usize {
        self.parts.iter().map(Bytes::len).sum()
    }
}

/// An answer on its way into hyper.
pub struct ResponseBody {
    answer: Answer,
    next: usize,
    progress: Rc<Progress>,
}

impl ResponseBody {
    /// Empty parts are left out: hyper takes every frame for a part of the length it was told.
    pub fn new(mut answer: Answer, progress: Rc<Progress>) -> ResponseBody {
        answer.parts.retain(|part| !part.is_empty());
        let mut body = ResponseBody { answer, next: 0, progress };
        body.settle();
        body
    }

    /// Hands the account on once nothing is left to be taken.
    fn settle(&mut self) {
        if self.is_end_stream()
            && let Some(account) = self.answer.account.take()
        {
            self.progress.response_leaves(account);
        }
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let this = self.get_mut();
        let Some(part) = this.answer.parts.get_mut(this.next) else { return Poll::Ready(None) };
        let piece = if this.progress.wire() == Wire::Http2 && part.len() > PIECE_BYTES {
            part.split_to(PIECE_BYTES)
        } else {
            this.next += 1;
            std::mem::take(part)
        };
        this.progress.part_taken();
        this.settle();
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.next == self.answer.parts.len()
    }

    fn size_hint(&self) -> SizeHint {
        let left: usize = self.answer.parts[self.next..].iter().map(Bytes::len).sum();
        SizeHint::with_exact(left as u64)
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;
    use std::time::Instant;

    use super::*;

    /// Everything that comes out, piece by piece.
    fn pieces(body: &mut ResponseBody) -> Vec<Bytes> {
        let mut context = Context::from_waker(Waker::noop());
        let mut taken = Vec::new();
        while let Poll::Ready(Some(Ok(frame))) = Pin::new(&mut *body).poll_frame(&mut context) {
            taken.push(frame.into_data().expect("only data is sent"));
        }
        assert!(body.is_end_stream());
        assert_eq!(body.size_hint().exact(), Some(0));
        taken
    }

    #[test]
    fn parts_come_out_in_order_and_empty_ones_are_left_out() {
        for wire in [Wire::Http1, Wire::Http2] {
            let parts = ["ab", "", "cde"].map(|part| Bytes::from_static(part.as_bytes()));
            let answer = Answer { parts: SmallVec::from_iter(parts), account: None };
            let progress = Rc::new(Progress::new(wire, Instant::now()));
            let mut body = ResponseBody::new(answer, progress);
            assert_eq!(body.size_hint().exact(), Some(5));
            assert_eq!(pieces(&mut body), ["ab", "cde"]);
        }
    }

    #[test]
    fn over_http2_a_long_part_comes_in_pieces() {
        let whole = Bytes::from_iter((0..3 * PIECE_BYTES / 2).map(|byte| byte as u8));
        for (wire, lengths) in
            [(Wire::Http1, vec![whole.len()]), (Wire::Http2, vec![PIECE_BYTES, PIECE_BYTES / 2])]
        {
            let progress = Rc::new(Progress::new(wire, Instant::now()));
            let mut body = ResponseBody::new(Answer::of(whole.clone()), progress);
            let taken = pieces(&mut body);
            assert_eq!(taken.iter().map(Bytes::len).collect::<Vec<_>>(), lengths);
            assert_eq!(taken.concat(), whole);
        }
    }
}
