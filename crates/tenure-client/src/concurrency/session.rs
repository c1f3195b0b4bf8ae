//! A lease that is kept alive, for what is held together with it.

use super::line::{Permit, Slots};
use crate::{Client, Error, EtcdError, LeaseId, LeaseKeeper, Result, Ttl};
use bytes::Bytes;
use std::{
    fmt,
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::{
    runtime::Handle,
    time::{Instant, timeout},
};

/// How long a session's lease lives after its holder is gone, unless told otherwise.
const TTL: Ttl = Ttl::seconds(60);

/// How long closing takes at most. What cannot be revoked runs out by itself.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(10);

/// A lease that is kept alive, on which locks, leaderships and the like are held. Clones share it.
///
/// When the program ends without closing it, or is cut off from the servers, everything it holds is let go at the end of the
/// lease: the TTL is how long others then have to wait, and how long an interruption may last without anything being lost.
///
/// **Dropping** the last clone closes the session in the background, if it granted its lease itself: the lease is revoked, as
/// far as there is a Tokio runtime and a server to do so, and otherwise runs out. A lease that was given to
/// [`SessionBuilder::lease`] is just not kept alive any more. Locks and the like hold clones.
///
/// ```no_run
/// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
/// use std::time::Duration;
/// use tenure_client::concurrency::Session;
///
/// let session = Session::builder(&client).ttl(Duration::from_secs(10)).open().await?;
/// client.put("workers/7", "busy").lease(session.lease()).await?;
/// tokio::select! {
///     why = session.expired() => println!("others may have taken over: {why}"),
///     () = work() => {}
/// }
/// session.close().await?;
/// # Ok(())
/// # }
/// # async fn work() {}
/// ```
#[derive(Clone)]
pub struct Session {
    held: Arc<Held>,
}

/// What the clones of a session share.
struct Held {
    client: Client,
    keeper: LeaseKeeper,
    /// The session granted the lease itself.
    is_own: bool,
    /// Orphaned or closed: dropping it does nothing any more.
    is_let_go: AtomicBool,
    /// The keys of locks and the like that are in use.
    slots: Slots,
}

/// How a session is to be; from [`Session::builder`].
///
/// ```no_run
/// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
/// use std::time::Duration;
/// use tenure_client::{LeaseId, concurrency::Session};
///
/// // One that lets go 10 s after the program has died, and one that goes on with the lease of an earlier run.
/// let session = Session::builder(&client).ttl(Duration::from_secs(10)).open().await?;
/// let resumed = Session::builder(&client).lease(LeaseId(0x1234)).open().await?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
#[must_use = "nothing happens until it is opened"]
pub struct SessionBuilder {
    client: Client,
    ttl: Ttl,
    lease: Option<LeaseId>,
}

impl SessionBuilder {
    /// How long the lease lives without being renewed. Default: 60 s, as well for 0 and less. It is of no account
    /// together with [`SessionBuilder::lease`].
    ///
    /// ```no_run
    /// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
    /// use std::time::Duration;
    /// use tenure_client::concurrency::Session;
    ///
    /// let session = Session::builder(&client).ttl(Duration::from_secs(10)).open().await?;
    /// # drop(session);
    /// # Ok(())
    /// # }
    /// ```
    pub fn ttl(mut self, ttl: impl Into<Ttl>) -> Self {
        let ttl = ttl.into();
        self.ttl = if ttl > Ttl::seconds(0) { ttl } else { TTL };
        self
    }

    /// Keeps this lease alive instead of granting one. 0 grants one.
    ///
    /// ```no_run
    /// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
    /// use tenure_client::{EtcdError, LeaseId, concurrency::Session};
    ///
    /// // That of an earlier run of this program, which has written it down.
    /// let session = match Session::builder(&client).lease(LeaseId(0x1234)).open().await {
    ///     Err(error) if error.is(EtcdError::LeaseNotFound) => Session::open(&client).await?,
    ///     session => session?,
    /// };
    /// # drop(session);
    /// # Ok(())
    /// # }
    /// ```
    pub fn lease(mut self, id: LeaseId) -> Self {
        self.lease = (id != LeaseId(0)).then_some(id);
        self
    }

    /// Opens the session. If the future is dropped before, a lease may be left that runs out by itself.
    ///
    /// ```no_run
    /// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
    /// use std::time::Duration;
    /// use tenure_client::concurrency::Session;
    ///
    /// let session = Session::builder(&client).ttl(Duration::from_secs(30)).open().await?;
    /// println!("what it holds goes away with lease {}", session.lease());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Those of [`Lease::grant`](crate::Lease::grant) and [`Lease::keep_alive`](crate::Lease::keep_alive).
    pub async fn open(self) -> Result<Session> {
        let lease = self.client.lease();
        let keeper = match self.lease {
            Some(id) => lease.keep_alive(id).await?,
            None => {
                let since = Instant::now();
                let granted = lease.grant(self.ttl).await?;
                lease.keep_alive_granted(&granted, since).await?
            }
        };
        let is_own = self.lease.is_none();
        let held = Held {
            client: self.client,
            keeper,
            is_own,
            is_let_go: AtomicBool::new(false),
            slots: Slots::default(),
        };
        Ok(Session { held: Arc::new(held) })
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("lease", &self.lease())
            .field("is_expired", &self.is_expired())
            .finish_non_exhaustive()
    }
}

impl Session {
    /// A session with a lease of 60 s.
    ///
    /// ```no_run
    /// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
    /// use tenure_client::concurrency::{Mutex, Session};
    ///
    /// let session = Session::open(&client).await?;
    /// let guard = Mutex::new(&session, "jobs/nightly").lock().await?;
    /// # drop(guard);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`SessionBuilder::open`].
    pub async fn open(client: &Client) -> Result<Self> {
        Session::builder(client).open().await
    }

    /// A session with options: `Session::builder(&client).ttl(Duration::from_secs(10)).open().await?`.
    ///
    /// ```no_run
    /// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
    /// use std::time::Duration;
    /// use tenure_client::concurrency::Session;
    ///
    /// let session = Session::builder(&client).ttl(Duration::from_secs(10)).open().await?;
    /// # drop(session);
    /// # Ok(())
    /// # }
    /// ```
    pub fn builder(client: &Client) -> SessionBuilder {
        SessionBuilder { client: client.clone(), ttl: TTL, lease: None }
    }

    /// The client that it was opened with.
    ///
    /// ```no_run
    /// # async fn example(session: &tenure_client::concurrency::Session) -> tenure_client::Result<()> {
    /// session.client().put("workers/7", "busy").lease(session.lease()).await?;
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn client(&self) -> &Client {
        &self.held.client
    }

    /// Its lease.
    ///
    /// ```no_run
    /// # async fn example(session: &tenure_client::concurrency::Session) {
    /// println!("etcdctl lease timetolive {}", session.lease());
    /// # }
    /// ```
    #[must_use]
    pub fn lease(&self) -> LeaseId {
        self.held.keeper.id()
    }

    pub(super) fn slots(&self) -> &Slots {
        &self.held.slots
    }

    /// Waits until nobody else of this session uses the key; in the order of asking.
    pub(super) async fn permit(&self, key: &Bytes) -> Result<Permit> {
        tokio::select! {
            permit = self.slots().permit(key) => Ok(permit),
            _ = self.expired() => Err(Error::SessionExpired),
        }
    }

    /// Ends when the lease is not kept alive any more, and says why: it was revoked or ran out
    /// ([`LeaseNotFound`](EtcdError::LeaseNotFound)), it could not be renewed before its end ([`Error::LeaseExpired`]), or the
    /// session was closed or orphaned ([`Error::Closed`]). What was held is lost, or will be: see [`LeaseKeeper::lost`].
    ///
    /// ```no_run
    /// # async fn example(session: &tenure_client::concurrency::Session) {
    /// # async fn work() {}
    /// tokio::select! {
    ///     why = session.expired() => println!("others may have taken over: {why}"),
    ///     () = work() => println!("done"),
    /// }
    /// # }
    /// ```
    pub async fn expired(&self) -> Error {
        self.held.keeper.lost().await
    }

    /// Whether [`Session::expired`] would end at once.
    ///
    /// ```no_run
    /// # async fn example(session: &tenure_client::concurrency::Session) {
    /// if session.is_expired() {
    ///     println!("open another one, and take the locks anew");
    /// }
    /// # }
    /// ```
    #[must_use]
    pub fn is_expired(&self) -> bool {
        self.held.keeper.is_lost()
    }

    /// Whether the server has said that the lease is gone, and with it all its keys.
    pub(super) fn is_gone(&self) -> bool {
        self.held.keeper.loss().is_some_and(|loss| loss.is(EtcdError::LeaseNotFound))
    }

    /// Until when the lease lives for sure, unless it is revoked. It moves with every renewal.
    ///
    /// ```no_run
    /// # async fn example(session: &tenure_client::concurrency::Session) -> tenure_client::Result<()> {
    /// let left = session.deadline().saturating_duration_since(std::time::Instant::now());
    /// println!("nobody takes over for {left:?}");
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn deadline(&self) -> std::time::Instant {
        self.held.keeper.deadline()
    }

    /// Stops keeping the lease alive, for all clones. It runs out by itself, and what is held with it.
    ///
    /// ```no_run
    /// # async fn example(session: tenure_client::concurrency::Session) {
    /// // What it holds stays until the lease runs out: whoever starts again before that goes on with it.
    /// let lease = session.lease();
    /// session.orphan();
    /// println!("--lease {lease}");
    /// # }
    /// ```
    pub fn orphan(&self) {
        self.held.is_let_go.store(true, Ordering::Release);
        self.held.keeper.stop();
    }

    /// Closes the session for all clones: revokes the lease, even one that was given to it, so that everything held with it is
    /// let go at once. That the lease is gone already is no error. Takes 10 s at most, or the lease's TTL if that is less.
    ///
    /// ```no_run
    /// # async fn example(session: tenure_client::concurrency::Session) -> tenure_client::Result<()> {
    /// session.close().await?;
    /// println!("everything it held is free");
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::Timeout`] and whatever else keeps the lease from being revoked. Then it runs out by itself, as it does if the future
    /// is dropped.
    pub async fn close(self) -> Result<()> {
        self.orphan();
        self.held.revoke().await
    }
}

impl Held {
    /// Revokes the lease, in bounded time. It may be dropped meanwhile.
    fn revoke(&self) -> impl Future<Output = Result<()>> + Send + use<> {
        let (lease, id) = (self.client.lease(), self.keeper.id());
        let limit = self.keeper.ttl().min(CLOSE_TIMEOUT);
        async move {
            match timeout(limit, lease.revoke(id)).await {
                Ok(Err(error)) if error.is(EtcdError::LeaseNotFound) => Ok(()),
                Ok(answer) => answer.map(drop),
                Err(_) => Err(Error::Timeout { waited: limit }),
            }
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if self.is_let_go.load(Ordering::Acquire) || !self.is_own {
            return;
        }
        if let Ok(runtime) = Handle::try_current() {
            let revoke = self.revoke();
            runtime.spawn(async move {
                if let Err(error) = revoke.await {
                    tracing::debug!(%error, "a session's lease was not revoked and runs out");
                }
            });
        }
    }
}
