//! What one watch was told and its user has not read.

use super::{QUEUED_BYTES_MAX, QUEUED_RESPONSES_MAX, WatchResponse};
use crate::{Error, Result};
use futures::task::AtomicWaker;
use parking_lot::Mutex;
use std::{
    collections::VecDeque,
    task::{Context, Poll},
};

/// The queue between the stream that serves a watch and its user.
#[derive(Default)]
pub(super) struct Queue {
    contents: Mutex<Contents>,
    reader: AtomicWaker,
}

#[derive(Default)]
struct Contents {
    /// With the bytes of each.
    responses: VecDeque<(WatchResponse, usize)>,
    bytes: usize,
    is_confirmed: bool,
    /// A response found no room. The watch goes on once there is room again.
    is_starved: bool,
    end: Option<End>,
}

enum End {
    Failed(Error),
    Over,
}

/// What a reader finds.
pub(super) struct Read {
    /// Nothing at the end.
    pub response: Option<Result<WatchResponse>>,
    /// There is room again: the watch has to be told so.
    pub is_drained: bool,
}

impl Contents {
    fn has_room(&self, bytes: usize) -> bool {
        let fits = self.bytes.saturating_add(bytes) <= QUEUED_BYTES_MAX;
        self.responses.is_empty() || (fits && self.responses.len() < QUEUED_RESPONSES_MAX)
    }

    fn is_half_empty(&self) -> bool {
        self.bytes <= QUEUED_BYTES_MAX / 2 && self.responses.len() <= QUEUED_RESPONSES_MAX / 2
    }
}

impl Queue {
    /// Adds a response, if there is room for it. If not, the reader tells once there is ([`Read::is_drained`]).
    #[must_use]
    pub(super) fn offer(&self, response: WatchResponse, bytes: usize) -> bool {
        let mut contents = self.contents.lock();
        if contents.end.is_some() {
            return true;
        }
        if !contents.has_room(bytes) {
            contents.is_starved = true;
            return false;
        }
        contents.bytes += bytes;
        contents.responses.push_back((response, bytes));
        drop(contents);
        self.reader.wake();
        true
    }

    /// As [`Queue::offer`], of what is not missed when it is left out.
    pub(super) fn offer_progress(&self, response: WatchResponse, bytes: usize) {
        let mut contents = self.contents.lock();
        if contents.end.is_none() && contents.has_room(bytes) {
            contents.bytes += bytes;
            contents.responses.push_back((response, bytes));
            drop(contents);
            self.reader.wake();
        }
    }

    /// The server has taken the watch.
    pub(super) fn confirm(&self) {
        self.contents.lock().is_confirmed = true;
        self.reader.wake();
    }

    /// Nothing comes after what is there, but for the error. The first end counts.
    pub(super) fn end(&self, error: Option<Error>) {
        let mut contents = self.contents.lock();
        if contents.end.is_none() {
            contents.end = Some(error.map_or(End::Over, End::Failed));
        }
        drop(contents);
        self.reader.wake();
    }

    /// Waits until the server has taken the watch, or refused it.
    pub(super) fn poll_confirmed(&self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        self.reader.register(cx.waker());
        let mut contents = self.contents.lock();
        if contents.is_confirmed {
            return Poll::Ready(Ok(()));
        }
        match contents.end.replace(End::Over) {
            Some(End::Failed(error)) => Poll::Ready(Err(error)),
            Some(End::Over) => Poll::Ready(Err(Error::Closed)),
            None => {
                contents.end = None;
                Poll::Pending
            }
        }
    }

    /// Waits until nothing comes any more.
    pub(super) fn poll_end(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.reader.register(cx.waker());
        if self.contents.lock().end.is_some() { Poll::Ready(()) } else { Poll::Pending }
    }

    /// The next response.
    pub(super) fn poll_next(&self, cx: &mut Context<'_>) -> Poll<Read> {
        self.reader.register(cx.waker());
        let mut contents = self.contents.lock();
        if let Some((response, bytes)) = contents.responses.pop_front() {
            contents.bytes -= bytes;
            let is_drained = contents.is_starved && contents.is_half_empty();
            if is_drained {
                contents.is_starved = false;
            }
            return Poll::Ready(Read { response: Some(Ok(response)), is_drained });
        }
        let end = |response| Poll::Ready(Read { response, is_drained: false });
        match contents.end.replace(End::Over) {
            Some(End::Failed(error)) => end(Some(Err(error))),
            Some(End::Over) => end(None),
            None => {
                contents.end = None;
                Poll::Pending
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ResponseHeader;
    use futures::task::noop_waker_ref;

    fn response(revision: i64) -> WatchResponse {
        let header = ResponseHeader { revision, ..Default::default() };
        WatchResponse { header, events: Vec::new(), created: false }
    }

    fn read(queue: &Queue) -> Option<Read> {
        match queue.poll_next(&mut Context::from_waker(noop_waker_ref())) {
            Poll::Ready(read) => Some(read),
            Poll::Pending => None,
        }
    }

    #[test]
    fn a_full_queue_takes_nothing_until_half_of_it_is_read() {
        let queue = Queue::default();
        for revision in 0..4 {
            assert!(queue.offer(response(revision), QUEUED_BYTES_MAX / 4));
        }
        assert!(!queue.offer(response(4), 1));
        queue.offer_progress(response(4), 1);
        let drained: Vec<bool> = (0..4).map(|_| read(&queue).unwrap().is_drained).collect();
        assert_eq!(drained, [false, true, false, false]);
        assert!(read(&queue).is_none());
    }

    #[test]
    fn a_queue_is_bounded_by_responses_too() {
        let queue = Queue::default();
        let taken = (0..QUEUED_RESPONSES_MAX + 5).filter(|_| queue.offer(response(1), 0)).count();
        assert_eq!(taken, QUEUED_RESPONSES_MAX);
    }

    #[test]
    fn a_response_of_any_size_fits_an_empty_queue() {
        let queue = Queue::default();
        assert!(queue.offer(response(1), usize::MAX));
        assert!(!queue.offer(response(2), 1));
        assert!(read(&queue).unwrap().is_drained);
        assert!(queue.offer(response(2), 1));
    }

    #[test]
    fn the_end_comes_after_what_was_told_and_once() {
        let queue = Queue::default();
        queue.confirm();
        assert!(queue.offer(response(1), 1));
        queue.end(Some(Error::NoLeader));
        queue.end(Some(Error::Closed));
        assert!(matches!(read(&queue).unwrap().response, Some(Ok(_))));
        assert!(matches!(read(&queue).unwrap().response, Some(Err(Error::NoLeader))));
        assert!(read(&queue).unwrap().response.is_none());
        assert!(read(&queue).unwrap().response.is_none());
    }

    #[test]
    fn who_waits_for_a_watch_is_told_why_there_is_none() {
        let queue = Queue::default();
        let mut cx = Context::from_waker(noop_waker_ref());
        assert!(queue.poll_confirmed(&mut cx).is_pending());
        queue.end(Some(Error::NoLeader));
        assert!(matches!(queue.poll_confirmed(&mut cx), Poll::Ready(Err(Error::NoLeader))));
        assert!(queue.poll_end(&mut cx).is_ready());
    }
}
