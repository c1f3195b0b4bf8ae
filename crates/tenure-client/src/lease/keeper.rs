//! Whoever keeps a lease alive, and what they are told.

use super::{LeaseKeepAliveResponse, renewals::Book, schedule::Life};
use crate::{Error, LeaseId, Result};
use futures::Stream;
use parking_lot::Mutex;
use std::{
    collections::VecDeque,
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};
use tokio::sync::Notify;

/// Renewals that wait at most to be looked at, as in etcd's client. Older ones are forgotten.
const NEWS_MAX: usize = 16;

/// What a keeper is told.
pub(super) struct Mailbox {
    post: Mutex<Post>,
    changed: Notify,
}

struct Post {
    /// Renewals that were not looked at yet; [`NEWS_MAX`] at most.
    news: VecDeque<LeaseKeepAliveResponse>,
    life: Option<Life>,
    /// Why it is over.
    loss: Option<Error>,
    /// Who waits for news.
    reader: Option<Waker>,
}

impl Mailbox {
    pub(super) fn new(life: Option<Life>, news: Option<LeaseKeepAliveResponse>) -> Self {
        let news = VecDeque::from_iter(news);
        Mailbox { post: Mutex::new(Post { news, life, loss: None, reader: None }), changed: Notify::new() }
    }

    /// The lease is renewed.
    pub(super) fn renewed(&self, response: LeaseKeepAliveResponse, life: Life) {
        self.change(|post| {
            if post.news.len() == NEWS_MAX {
                post.news.pop_front();
            }
            post.news.push_back(response);
            post.life = Some(life);
        });
    }

    /// The lease is not renewed any more. The first reason stays.
    pub(super) fn lost(&self, error: Error) {
        self.change(|post| {
            post.loss.get_or_insert(error);
        });
    }

    fn change(&self, change: impl FnOnce(&mut Post)) {
        let reader = {
            let mut post = self.post.lock();
            change(&mut post);
            post.reader.take()
        };
        if let Some(reader) = reader {
            reader.wake();
        }
        self.changed.notify_waiters();
    }

    /// Waits until `found` finds something.
    async fn find<T>(&self, found: impl Fn(&Post) -> Option<T>) -> T {
        loop {
            // Made before looking, so that no change is missed.
            let changed = self.changed.notified();
            if let Some(found) = found(&self.post.lock()) {
                return found;
            }
            changed.await;
        }
    }
}

/// Keeps a lease alive until it is dropped; from [`Lease::keep_alive`](super::Lease::keep_alive).
///
/// All keepers of a client share one stream of renewals, and those of one lease its renewals. A lease is renewed when a third
/// of its life is over. A broken connection, or a member that does not answer, is left for another one in time.
///
/// Nobody needs to look at [`LeaseKeeper::next`]: renewals go on without. Who relies on the lease should look at
/// [`LeaseKeeper::lost`]. It does not keep the client: when the last [`Client`](crate::Client) is dropped or closed, renewals end,
/// and `lost` says [`Error::Closed`].
///
/// ```no_run
/// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
/// use std::time::Duration;
///
/// let granted = client.lease().grant(Duration::from_secs(10)).await?;
/// let keeper = client.lease().keep_alive(granted.id).await?;
/// client.put("services/me", "10.0.0.1:80").lease(granted.id).await?;
/// // As long as the keeper lives, the key stays. If it is lost all the same, this says so:
/// let why = keeper.lost().await;
/// println!("not registered any more: {why}");
/// # Ok(())
/// # }
/// ```
#[must_use = "the lease is not renewed any more when this is dropped"]
pub struct LeaseKeeper {
    id: LeaseId,
    mailbox: Arc<Mailbox>,
    book: Arc<Book>,
}

impl fmt::Debug for LeaseKeeper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let post = self.mailbox.post.lock();
        f.debug_struct("LeaseKeeper").field("id", &self.id).field("loss", &post.loss).finish_non_exhaustive()
    }
}

impl LeaseKeeper {
    pub(super) fn new(id: LeaseId, mailbox: Arc<Mailbox>, book: Arc<Book>) -> Self {
        LeaseKeeper { id, mailbox, book }
    }

    /// The lease.
    ///
    /// ```no_run
    /// # async fn example(keeper: &tenure_client::LeaseKeeper) {
    /// println!("keeping {}", keeper.id());
    /// # }
    /// ```
    #[must_use]
    pub fn id(&self) -> LeaseId {
        self.id
    }

    /// The next renewal; nothing once the lease is [lost](Self::lost), after all renewals before that.
    ///
    /// Of renewals that nobody looked at, the last 16 are kept. Dropping the future loses none.
    ///
    /// ```no_run
    /// # async fn example(mut keeper: tenure_client::LeaseKeeper) {
    /// while let Some(renewal) = keeper.next().await {
    ///     println!("{} s more", renewal.ttl_seconds);
    /// }
    /// println!("over: {}", keeper.lost().await);
    /// # }
    /// ```
    pub async fn next(&mut self) -> Option<LeaseKeepAliveResponse> {
        std::future::poll_fn(|cx| self.poll_news(cx)).await
    }

    /// Ends when the lease is not kept alive any more, and says why:
    ///
    /// * [`LeaseNotFound`](crate::EtcdError::LeaseNotFound): it was revoked, or it ran out.
    /// * [`LeaseExpired`](Error::LeaseExpired): it could not be renewed before its end, counted from when the last renewal was
    ///   *sent*. The server counts from a little later, so the lease may still be there for a moment, and its keys with it; but
    ///   from now on it may go at any time.
    /// * [`PermissionDenied`](crate::EtcdError::PermissionDenied): the user may not write one of its keys.
    /// * [`Closed`](Error::Closed): [`Lease::close`](super::Lease::close) or [`Client::close`](crate::Client::close) was called, or
    ///   the client was dropped. The lease runs out by itself.
    ///
    /// It may be waited for by several at once, and again: then it says the same at once. Time is that of the system's
    /// monotonic clock, which stands still while the machine sleeps; what must not happen without the lease should therefore be
    /// made conditional on one of its keys.
    ///
    /// ```no_run
    /// # async fn example(client: tenure_client::Client, keeper: tenure_client::LeaseKeeper) -> tenure_client::Result<()> {
    /// let work = async {
    ///     loop {
    ///         client.put("heartbeat", "").lease(keeper.id()).await?;
    ///         tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    ///     }
    /// };
    /// tokio::select! {
    ///     outcome = work => outcome,
    ///     why = keeper.lost() => Err(why),
    /// }
    /// # }
    /// ```
    pub async fn lost(&self) -> Error {
        self.mailbox.find(|post| post.loss.clone()).await
    }

    /// Whether [`LeaseKeeper::lost`] would end at once.
    ///
    /// ```no_run
    /// # async fn example(keeper: &tenure_client::LeaseKeeper) {
    /// if keeper.is_lost() {
    ///     println!("lease {} is not to be relied on any more", keeper.id());
    /// }
    /// # }
    /// ```
    #[must_use]
    pub fn is_lost(&self) -> bool {
        self.mailbox.post.lock().loss.is_some()
    }

    /// What [`LeaseKeeper::lost`] would say at once.
    pub(crate) fn loss(&self) -> Option<Error> {
        self.mailbox.post.lock().loss.clone()
    }

    /// How long the lease lives after a renewal, as the server said last.
    ///
    /// ```no_run
    /// # async fn example(keeper: &tenure_client::LeaseKeeper) -> tenure_client::Result<()> {
    /// println!("a crash is noticed within {:?}", keeper.ttl());
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn ttl(&self) -> Duration {
        self.mailbox.post.lock().life.map(|life| life.ttl).unwrap_or_default()
    }

    /// Until when the lease lives for sure, unless it is revoked: its TTL after the last renewal that was answered had been sent.
    ///
    /// ```no_run
    /// # async fn example(keeper: &tenure_client::LeaseKeeper) {
    /// let left = keeper.deadline().saturating_duration_since(std::time::Instant::now());
    /// if left < std::time::Duration::from_secs(2) {
    ///     println!("too little time to begin something that must not be interrupted");
    /// }
    /// # }
    /// ```
    #[must_use]
    pub fn deadline(&self) -> Instant {
        self.mailbox.post.lock().life.map_or_else(Instant::now, |life| life.deadline.into_std())
    }

    /// Waits until the lease is known to live.
    pub(super) async fn confirmed(&self) -> Result<()> {
        let found = |post: &Post| match (&post.loss, &post.life) {
            (Some(loss), _) => Some(Err(loss.clone())),
            (None, Some(_)) => Some(Ok(())),
            (None, None) => None,
        };
        self.mailbox.find(found).await
    }

    /// Stops as if it were dropped: [`LeaseKeeper::lost`] says [`Error::Closed`].
    pub(crate) fn stop(&self) {
        self.book.leave(self.id, &self.mailbox);
        self.mailbox.lost(Error::Closed);
    }

    fn poll_news(&mut self, cx: &mut Context<'_>) -> Poll<Option<LeaseKeepAliveResponse>> {
        let mut post = self.mailbox.post.lock();
        if let Some(news) = post.news.pop_front() {
            return Poll::Ready(Some(news));
        }
        if post.loss.is_some() {
            return Poll::Ready(None);
        }
        post.reader = Some(cx.waker().clone());
        Poll::Pending
    }
}

/// The renewals: see [`LeaseKeeper::next`].
impl Stream for LeaseKeeper {
    type Item = LeaseKeepAliveResponse;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.poll_news(cx)
    }
}

impl Drop for LeaseKeeper {
    fn drop(&mut self) {
        self.book.leave(self.id, &self.mailbox);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::EtcdError;
    use tonic::Status;

    fn keeper() -> (LeaseKeeper, Arc<Mailbox>) {
        let mailbox = Arc::new(Mailbox::new(None, None));
        (LeaseKeeper::new(LeaseId(1), mailbox.clone(), Arc::default()), mailbox)
    }

    fn renew(mailbox: &Mailbox, ttl_seconds: i64) {
        let life = Life::new(tokio::time::Instant::now(), ttl_seconds);
        mailbox.renewed(LeaseKeepAliveResponse { ttl_seconds, ..Default::default() }, life);
    }

    #[tokio::test]
    async fn too_many_news_push_out_the_oldest_and_never_the_loss() {
        let (mut keeper, mailbox) = keeper();
        for ttl_seconds in 1..=20 {
            renew(&mailbox, ttl_seconds);
        }
        mailbox.lost(Status::from(EtcdError::LeaseNotFound).into());
        mailbox.lost(Error::Closed);
        assert!(keeper.is_lost());
        for ttl_seconds in 5..=20 {
            assert_eq!(keeper.next().await.map(|news| news.ttl_seconds), Some(ttl_seconds));
        }
        assert_eq!((keeper.next().await, keeper.next().await), (None, None));
        assert!(keeper.lost().await.is(EtcdError::LeaseNotFound), "the first reason stays");
        assert_eq!(keeper.ttl(), Duration::from_secs(20));
    }

    #[tokio::test]
    async fn who_waits_is_woken() {
        let (mut keeper, mailbox) = keeper();
        let waiting = tokio::spawn(async move {
            keeper.confirmed().await.unwrap();
            let news = keeper.next().await;
            let (first, second) = tokio::join!(keeper.lost(), keeper.lost());
            (news, keeper.next().await, first, second)
        });
        tokio::task::yield_now().await;
        renew(&mailbox, 5);
        tokio::task::yield_now().await;
        mailbox.lost(Error::Closed);
        let (news, end, first, second) = waiting.await.unwrap();
        assert_eq!((news.map(|news| news.ttl_seconds), end), (Some(5), None));
        assert!(matches!((first, second), (Error::Closed, Error::Closed)));
    }
}
