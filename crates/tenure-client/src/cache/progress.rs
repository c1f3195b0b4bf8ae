//! How far the copy is, and who waits for it to get further.

use crate::{Error, Result, Revision};
use std::sync::Arc;
use tokio::sync::{Notify, watch};

/// What is known of the copy. Everybody who waits looks at it again whenever it changes.
#[derive(Clone, Debug)]
struct State {
    revision: Revision,
    is_ready: bool,
    is_closed: bool,
    /// Answers of the server to the question how far the watch is.
    answers: u64,
    /// How often watches were to be told how far they are.
    announcements: u64,
    /// What the cache is doing, for those who wait in vain.
    reason: Arc<str>,
}

/// How a wait has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wait {
    /// The copy is there.
    Reached,
    /// The server was asked, and could not say that the copy is there.
    Unknown,
}

/// What a watch of the cache sees.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen {
    pub is_closed: bool,
    pub announcements: u64,
}

pub(super) struct Progress {
    state: watch::Sender<State>,
    /// Somebody wants the server to be asked how far the watch is.
    wanted: Notify,
}

impl Default for Progress {
    fn default() -> Self {
        let state = State {
            revision: 0,
            is_ready: false,
            is_closed: false,
            answers: 0,
            announcements: 0,
            reason: "the first copy is being made".into(),
        };
        Progress { state: watch::Sender::new(state), wanted: Notify::new() }
    }
}

impl Progress {
    pub(super) fn revision(&self) -> Revision {
        self.state.borrow().revision
    }

    pub(super) fn is_ready(&self) -> bool {
        let state = self.state.borrow();
        state.is_ready && !state.is_closed
    }

    pub(super) fn is_closed(&self) -> bool {
        self.state.borrow().is_closed
    }

    pub(super) fn reason(&self) -> Arc<str> {
        self.state.borrow().reason.clone()
    }

    /// The copy has come this far. `is_answer`: the server was asked.
    pub(super) fn moved(&self, revision: Revision, is_answer: bool) {
        self.state.send_modify(|state| {
            state.revision = revision;
            state.answers += u64::from(is_answer);
        });
    }

    pub(super) fn is_following(&self) {
        self.state.send_modify(|state| (state.is_ready, state.reason) = (true, "the watch is behind".into()));
    }

    pub(super) fn failed(&self, error: &Error) {
        self.state.send_modify(|state| (state.is_ready, state.reason) = (false, error.to_string().into()));
    }

    pub(super) fn close(&self) {
        self.state.send_modify(|state| state.is_closed = true);
    }

    pub(super) fn announce(&self) {
        self.state.send_modify(|state| state.announcements += 1);
    }

    pub(super) fn subscribe(&self) -> Subscription {
        Subscription(self.state.subscribe())
    }

    /// Ends when the server is to be asked.
    pub(super) async fn wanted(&self) {
        self.wanted.notified().await;
    }

    pub(super) async fn closed(&self) {
        // The sender is in the same place.
        drop(self.state.subscribe().wait_for(|state| state.is_closed).await);
    }

    pub(super) async fn ready(&self) -> Result<()> {
        self.until(|state| state.is_ready).await
    }

    pub(super) async fn loaded(&self) -> Result<()> {
        self.until(|state| state.revision > 0).await
    }

    async fn until(&self, is_so: impl Fn(&State) -> bool) -> Result<()> {
        let mut states = self.state.subscribe();
        match states.wait_for(|state| state.is_closed || is_so(state)).await {
            Ok(state) if !state.is_closed => Ok(()),
            _ => Err(Error::Closed),
        }
    }

    /// Waits until the copy is at a revision, or the server has said, when asked after this began, that it cannot tell.
    pub(super) async fn reach(&self, revision: Revision) -> Result<Wait> {
        let mut states = self.state.subscribe();
        let answers = states.borrow().answers;
        loop {
            {
                let state = states.borrow_and_update();
                if state.is_closed {
                    return Err(Error::Closed);
                }
                if state.revision >= revision {
                    return Ok(Wait::Reached);
                }
                // The first answer may be to a question of before, the second one is not.
                if state.answers >= answers + 2 {
                    return Ok(Wait::Unknown);
                }
            }
            self.wanted.notify_one();
            if states.changed().await.is_err() {
                return Err(Error::Closed);
            }
        }
    }
}

/// A watch of the cache waits with this.
pub(super) struct Subscription(watch::Receiver<State>);

impl Subscription {
    /// What there is now. [`Subscription::changed`] ends once it is something else.
    pub(super) fn seen(&mut self) -> Seen {
        let state = self.0.borrow_and_update();
        Seen { is_closed: state.is_closed, announcements: state.announcements }
    }

    pub(super) async fn changed(&mut self) {
        drop(self.0.changed().await);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::{FutureExt, pin_mut};

    #[tokio::test]
    async fn a_wait_ends_when_the_copy_is_there() {
        let progress = Progress::default();
        progress.moved(5, false);
        assert_eq!(progress.reach(5).await.unwrap(), Wait::Reached);
        let wait = progress.reach(7);
        pin_mut!(wait);
        assert!(wait.as_mut().now_or_never().is_none());
        assert!(progress.wanted().now_or_never().is_some());
        progress.moved(6, true);
        assert!(wait.as_mut().now_or_never().is_none());
        progress.moved(8, false);
        assert_eq!(wait.await.unwrap(), Wait::Reached);
    }

    #[tokio::test]
    async fn a_wait_ends_when_two_answers_did_not_help() {
        let progress = Progress::default();
        let wait = progress.reach(7);
        pin_mut!(wait);
        assert!(wait.as_mut().now_or_never().is_none());
        progress.moved(6, true);
        assert!(wait.as_mut().now_or_never().is_none());
        assert!(progress.wanted().now_or_never().is_some());
        progress.moved(6, true);
        assert_eq!(wait.await.unwrap(), Wait::Unknown);
    }

    #[tokio::test]
    async fn a_wait_ends_with_the_cache() {
        let progress = Progress::default();
        let (wait, ready) = (progress.reach(7), progress.ready());
        pin_mut!(wait, ready);
        assert!(wait.as_mut().now_or_never().is_none() && ready.as_mut().now_or_never().is_none());
        progress.close();
        assert!(matches!(wait.await, Err(Error::Closed)));
        assert!(matches!(ready.await, Err(Error::Closed)));
    }
}
