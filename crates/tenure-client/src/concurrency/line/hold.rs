//! A place that is first in line, watched.

use super::{Patience, Place};
use crate::{Compare, Error, EventKind, Result, Revision, concurrency::Session};
use bytes::Bytes;
use std::sync::OnceLock;
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

/// What a lock and a leadership have in common: a key that is the first in its line, and what tells when it no longer is.
///
/// [`MutexGuard`](crate::concurrency::MutexGuard) and [`Leadership`](crate::concurrency::Leadership) are such a hold, and have its
/// methods.
///
/// ```no_run
/// # use tenure_client::concurrency::{Leadership, MutexGuard};
/// # async fn example(guard: MutexGuard, leadership: Leadership) {
/// use tenure_client::concurrency::Hold;
///
/// /// Works as long as what it needs is held.
/// async fn guarded(hold: &Hold, work: impl Future<Output = ()>) {
///     tokio::select! {
///         why = hold.lost() => println!("somebody else may have it: {why}"),
///         () = work => println!("done"),
///     }
/// }
/// guarded(&guard, async { /* under the lock */ }).await;
/// guarded(&leadership, async { /* as the leader */ }).await;
/// # }
/// ```
#[derive(Debug)]
pub struct Hold {
    place: Place,
    /// The key is gone.
    gone: CancellationToken,
    /// Why it is lost, once somebody has asked.
    loss: OnceLock<Error>,
    watching: AbortOnDropHandle<()>,
}

impl Hold {
    pub(in crate::concurrency) fn new(place: Place) -> Self {
        let gone = CancellationToken::new();
        let watching = watch(
            place.session().clone(),
            place.key().clone(),
            place.created(),
            place.seen() + 1,
            gone.clone(),
        );
        Hold { place, gone, loss: OnceLock::new(), watching: AbortOnDropHandle::new(tokio::spawn(watching)) }
    }

    pub(in crate::concurrency) fn place(&self) -> &Place {
        &self.place
    }

    /// The place alone, unwatched.
    pub(in crate::concurrency) fn into_place(self) -> Place {
        self.watching.abort();
        self.place
    }

    /// The key that stands for it.
    ///
    /// ```no_run
    /// # async fn example(guard: &tenure_client::concurrency::MutexGuard) {
    /// println!("{}", String::from_utf8_lossy(guard.key()));
    /// # }
    /// ```
    #[must_use]
    pub fn key(&self) -> &Bytes {
        self.place.key()
    }

    /// The fencing token: the revision at which the key was created. A later holder, or leader, has a higher one.
    ///
    /// ```no_run
    /// # async fn example(guard: &tenure_client::concurrency::MutexGuard) -> tenure_client::Result<()> {
    /// // For what is not in the store: whoever gets it refuses lower ones than it has seen.
    /// println!("PUT /backup?fence={}", guard.revision());
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn revision(&self) -> Revision {
        self.place.created()
    }

    /// The revision of the store at which it was found to be held: that of the key, or a later one if others had to go first. Go's
    /// `Header().Revision`.
    ///
    /// ```no_run
    /// # async fn example(guard: &tenure_client::concurrency::MutexGuard) -> tenure_client::Result<()> {
    /// println!("held since revision {}, in line since {}", guard.held_revision(), guard.revision());
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn held_revision(&self) -> Revision {
        self.place.seen()
    }

    /// Ends when it is lost, and says why. Whoever counts on it should stop then.
    ///
    /// * What [`Session::expired`](crate::concurrency::Session::expired) says: the lease was revoked or ran out, could not be renewed
    ///   before its end, or the session was closed or orphaned.
    /// * [`Error::KeyGone`]: somebody has deleted the key. So has the server when the lease ends; mostly that is heard of in this way.
    ///
    /// It may be waited for by several at once, and again: then it says the same at once.
    ///
    /// ```no_run
    /// # async fn example(guard: &tenure_client::concurrency::MutexGuard) {
    /// # async fn work() {}
    /// tokio::select! {
    ///     why = guard.lost() => println!("stopped, somebody else may have the lock: {why}"),
    ///     () = work() => println!("done"),
    /// }
    /// # }
    /// ```
    pub async fn lost(&self) -> Error {
        if let Some(loss) = self.loss.get() {
            return loss.clone();
        }
        let loss = tokio::select! {
            // A lease that has ended says more than the key that it took along.
            biased;
            loss = self.place.session().expired() => loss,
            () = self.gone.cancelled() => Error::KeyGone { key: self.key().clone() },
        };
        self.loss.get_or_init(|| loss).clone()
    }

    /// Whether it is held, as far as is known here. A loss on the server is known a moment after it has happened, so this is no
    /// proof: [`Hold::owner_condition`] is.
    ///
    /// ```no_run
    /// # async fn example(leadership: &tenure_client::concurrency::Leadership) {
    /// while leadership.is_held() {
    ///     // One step of the work, short enough.
    ///     tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    /// }
    /// # }
    /// ```
    #[must_use]
    pub fn is_held(&self) -> bool {
        !self.gone.is_cancelled() && !self.place.session().is_expired()
    }

    /// Holds as long as it is held, for transactions. As Go's `Mutex.IsOwner`.
    ///
    /// ```no_run
    /// # async fn example(client: tenure_client::Client, guard: &tenure_client::concurrency::MutexGuard) -> tenure_client::Result<()> {
    /// use tenure_client::Op;
    ///
    /// let write = Op::put("balance/7", "100");
    /// let done = client.txn().when([guard.owner_condition()]).and_then([write]).commit().await?;
    /// println!("{}", if done.succeeded { "written" } else { "the lock was lost: nothing was written" });
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn owner_condition(&self) -> Compare {
        self.place.condition()
    }
}

/// Watches the key until it is gone.
async fn watch(session: Session, key: Bytes, created: Revision, mut from: Revision, told: CancellationToken) {
    let mut patience = Patience::of(&session);
    loop {
        let error = match gone(&session, &key, created, from).await {
            Ok(()) => return told.cancel(),
            Err(error) => error,
        };
        if !matches!(error, Error::Compacted { .. })
            && let Err(error) = patience.after(error).await
        {
            // The session's end is noticed without this.
            tracing::debug!(%error, key = %key.escape_ascii(), "a key that is held cannot be watched");
            return;
        }
        match session.client().get(&key).keys_only().await {
            Ok(now) if now.first().is_none_or(|pair| pair.create_revision != created) => {
                return told.cancel();
            }
            Ok(now) => from = now.header.revision + 1,
            Err(_) => {}
        }
    }
}

/// Ends when the key is deleted, or is another one of the same name.
async fn gone(session: &Session, key: &Bytes, created: Revision, from: Revision) -> Result<()> {
    let mut changes = session.client().watch(key).start_revision(from).await?;
    while let Some(response) = changes.next().await {
        let is_gone = response?
            .events
            .iter()
            .any(|event| event.kind == EventKind::Delete || event.kv.create_revision != created);
        if is_gone {
            return Ok(());
        }
    }
    Err(Error::Closed)
}
