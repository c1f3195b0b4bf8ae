//! Locks.

use super::{
    Session,
    line::{self, Ask, Hold, Place, Terms},
};
use crate::{Error, IntoBytes, Result};
use bytes::Bytes;
use std::ops::Deref;

/// A lock over all programs of a cluster: those with the same prefix exclude each other, whether they use this crate,
/// etcd's client for Go, `etcdctl lock`, or the Lock service.
///
/// Everybody who wants the lock puts the key `PREFIX/LEASE`, with the lease of his session in hexadecimal. The oldest key
/// holds the lock; each other one waits for the key just before its own to go. So the lock goes to whoever has asked first,
/// and a holder that is gone loses it with its lease.
///
/// ```no_run
/// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
/// use std::time::Duration;
/// use tenure_client::{Op, concurrency::{Mutex, Session}};
///
/// let session = Session::builder(&client).ttl(Duration::from_secs(10)).open().await?;
/// let mutex = Mutex::new(&session, "jobs/nightly");
/// let guard = mutex.lock().await?;
/// // Written only if the lock is still held when the write is carried out.
/// let done = client.txn().when([guard.owner_condition()]).and_then([Op::put("jobs/last", "today")]).commit().await?;
/// assert!(done.succeeded);
/// guard.unlock().await?;
/// # Ok(())
/// # }
/// ```
///
/// # What a lock is worth
///
/// A lock with a lease cannot stop its holder: if he is cut off for longer than the lease lives, somebody else gets the
/// lock while he still works. What he changes must be guarded, in etcd by [`owner_condition`](Hold::owner_condition) in each
/// transaction, elsewhere by [`revision`](Hold::revision), which grows from holder to holder: a store that remembers the
/// highest one it was shown can refuse lower ones.
///
/// # Who shares a session
///
/// The clones of one [`Session`] exclude each other as well, in order. Two sessions of the same lease, opened with
/// [`SessionBuilder::lease`](super::SessionBuilder::lease), are the same owner, as in etcd: a lock that one holds is at
/// once given to the other, which is how a program that starts again takes up its lock.
#[derive(Clone, Debug)]
pub struct Mutex {
    session: Session,
    prefix: Bytes,
    key: Bytes,
}

impl Mutex {
    /// The lock of this name. Nothing is asked of the server yet.
    ///
    /// ```no_run
    /// # async fn example(session: &tenure_client::concurrency::Session) {
    /// use tenure_client::concurrency::Mutex;
    ///
    /// let mutex = Mutex::new(session, "jobs/nightly");
    /// # drop(mutex);
    /// # }
    /// ```
    #[must_use]
    pub fn new(session: &Session, prefix: impl IntoBytes) -> Self {
        let prefix = line::prefix_of(prefix);
        let key = line::key_of(&prefix, session.lease());
        Mutex { session: session.clone(), prefix, key }
    }

    /// Waits for the lock.
    ///
    /// It goes on through lost connections and servers that start again, as long as the session lives. If the answer to its
    /// put is lost, it first finds out whether its key is there. If somebody deletes its key while it waits, it asks again
    /// and is the last.
    ///
    /// Dropping the future gives the place in line up: the key is deleted in the background, at the latest by the end of
    /// the lease.
    ///
    /// ```no_run
    /// # async fn example(mutex: &tenure_client::concurrency::Mutex) -> tenure_client::Result<()> {
    /// use std::time::Duration;
    ///
    /// // Dropping the future gives the place in line up.
    /// match tokio::time::timeout(Duration::from_secs(10), mutex.lock()).await {
    ///     Ok(guard) => guard?.unlock().await?,
    ///     Err(_) => println!("still held by somebody else"),
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::SessionExpired`] if the session ends meanwhile; refusals such as
    /// [`PermissionDenied`](crate::EtcdError::PermissionDenied).
    pub async fn lock(&self) -> Result<MutexGuard> {
        let mut permit = Some(self.session.permit(&self.key).await?);
        loop {
            let taken = Place::take(&self.session, self.ask(Terms::Session), permit).await?;
            let mut place = taken.ok_or(Error::Protocol("a key that is and is not there"))?;
            if place.wait_first(&self.prefix).await? {
                return Ok(MutexGuard { hold: Hold::new(place) });
            }
            permit = place.lost();
        }
    }

    /// Takes the lock if nobody holds it or waits for it.
    ///
    /// If the answer to its put is lost, it first finds out whether its key is there, for as long as the session lives.
    /// Dropping the future gives up what it may have got.
    ///
    /// ```no_run
    /// # async fn example(mutex: &tenure_client::concurrency::Mutex) -> tenure_client::Result<()> {
    /// use tenure_client::Error;
    ///
    /// match mutex.try_lock().await {
    ///     Ok(guard) => guard.unlock().await?,
    ///     Err(Error::Locked) => println!("somebody else does it already"),
    ///     Err(error) => return Err(error),
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::Locked`] if the lock is not free; else as [`Mutex::lock`].
    pub async fn try_lock(&self) -> Result<MutexGuard> {
        if self.session.is_expired() {
            return Err(Error::SessionExpired);
        }
        let permit = self.session.slots().try_permit(&self.key).ok_or(Error::Locked)?;
        let taken = Place::take(&self.session, self.ask(Terms::SessionIfFirst), Some(permit)).await?;
        let place = taken.ok_or(Error::Locked)?;
        Ok(MutexGuard { hold: Hold::new(place) })
    }

    /// The key of this session: `PREFIX/LEASE`.
    ///
    /// ```no_run
    /// # async fn example(client: tenure_client::Client, mutex: &tenure_client::concurrency::Mutex) -> tenure_client::Result<()> {
    /// let is_asked_for = client.get(mutex.key()).await?.count == 1;
    /// println!("this session holds the lock or waits for it: {is_asked_for}");
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn key(&self) -> &Bytes {
        &self.key
    }

    fn ask(&self, terms: Terms) -> Ask {
        Ask { key: self.key.clone(), value: Bytes::new(), ahead: self.prefix.clone(), terms }
    }
}

/// A lock that is held, of [`Mutex`] or [`RwMutex`](super::RwMutex).
///
/// It has the methods of a [`Hold`]: the fencing token, what tells of a loss, the condition for transactions. Dropping it unlocks in
/// the background, if its Tokio runtime still runs; [`MutexGuard::unlock`] tells when that is done.
///
/// ```no_run
/// # async fn example(mutex: &tenure_client::concurrency::Mutex) -> tenure_client::Result<()> {
/// {
///     let _guard = mutex.lock().await?;
///     // What nobody else may do meanwhile.
/// }
/// // It is being unlocked.
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
#[must_use = "dropping it unlocks"]
pub struct MutexGuard {
    pub(super) hold: Hold,
}

impl Deref for MutexGuard {
    type Target = Hold;

    fn deref(&self) -> &Hold {
        &self.hold
    }
}

impl MutexGuard {
    /// Unlocks, and comes back when the next one can have the lock. That it had been lost is no error. If the future is
    /// dropped, the work goes on in the background.
    ///
    /// It succeeds only when a server says so: that the key is deleted, or that its lease has ended. As long as the lease may live it is
    /// tried again through lost connections; when it is over by the clock of this machine, the last failure is told. Go's `Unlock` and
    /// `Resign` try once, and tell that failure.
    ///
    /// ```no_run
    /// # async fn example(mutex: &tenure_client::concurrency::Mutex) -> tenure_client::Result<()> {
    /// let guard = mutex.lock().await?;
    /// guard.unlock().await?;
    /// // Anybody who asks now finds it free.
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// What keeps the key from being deleted. Then it lasts as long as the lease on the server, and the next one has to wait for that.
    pub async fn unlock(self) -> Result<()> {
        self.hold.into_place().leave().await
    }
}
