//! A connection to each endpoint.

use super::{Connection, Dialer};
use crate::{Endpoint, Error, Result};
use arc_swap::{ArcSwap, ArcSwapOption};
use parking_lot::Mutex;
use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::{
    runtime::Handle,
    sync::{Notify, watch},
    time::{Instant, sleep, timeout, timeout_at},
};
use tokio_util::{
    sync::{CancellationToken, DropGuard},
    task::AbortOnDropHandle,
};

/// The pause after a failed attempt to connect doubles from the first to the second.
const REDIAL_BACKOFF_MIN: Duration = Duration::from_millis(50);
const REDIAL_BACKOFF_MAX: Duration = Duration::from_secs(3);

/// The longest pause while somebody waits for a connection.
const REDIAL_PAUSE_WANTED_MAX: Duration = Duration::from_millis(200);

/// What is longer cannot be waited for.
const FOR_EVER: Duration = Duration::from_secs(100 * 365 * 86_400);

/// The connection to one endpoint, and why there is none.
struct Link {
    endpoint: Endpoint,
    open: ArcSwapOption<Connection>,
    /// Why the last attempt failed.
    failure: Mutex<String>,
    /// Somebody waits for a connection: try again before the pause is over.
    wanted: Notify,
}

/// The task of a connection that is not the pool's: dropping it closes the connection.
pub(crate) type Driven = AbortOnDropHandle<()>;

/// How long requests with one answer may go on where nobody is wanted any more. Servers give them up after seven seconds.
const DRAIN_MAX: Duration = Duration::from_secs(10);

/// A link that is wanted. Dropping it has the connection end, with what is under way on it or soon after.
struct Kept {
    link: Arc<Link>,
    _retirement: DropGuard,
}

/// An endpoint as it was written last, and the link to it.
struct Listed {
    endpoint: Endpoint,
    kept: Arc<Kept>,
}

/// Connections to all endpoints; whoever asks gets those that are open in turn.
pub(crate) struct Pool {
    dialer: Dialer,
    links: ArcSwap<Vec<Listed>>,
    /// One at a time sets endpoints.
    setting: Mutex<()>,
    next: AtomicUsize,
    /// Counts what has changed: a connection was made or lost, an attempt failed, endpoints were set, the pool was closed.
    changes: watch::Sender<u64>,
    closed: CancellationToken,
    /// Where connections are driven: endpoints may be set from outside of it.
    runtime: Handle,
}

impl Pool {
    /// Starts to connect to all endpoints.
    pub(crate) fn new(dialer: Dialer, endpoints: Vec<Endpoint>) -> Self {
        let pool = Pool {
            dialer,
            links: ArcSwap::default(),
            setting: Mutex::default(),
            next: AtomicUsize::new(0),
            changes: watch::Sender::new(0),
            closed: CancellationToken::new(),
            runtime: Handle::current(),
        };
        pool.set_endpoints(endpoints);
        pool
    }

    pub(crate) fn dialer(&self) -> &Dialer {
        &self.dialer
    }

    /// Connects to these and no others. Connections to endpoints that stay are kept, also if they are written in another way;
    /// requests under way on others have a while to be answered, streams end.
    pub(crate) fn set_endpoints(&self, endpoints: Vec<Endpoint>) {
        let _setting = self.setting.lock();
        if self.is_closed() {
            return;
        }
        let before = self.links.load();
        let mut links: Vec<Listed> = Vec::new();
        for endpoint in endpoints {
            if self.find(&links, &endpoint).is_some() {
                continue;
            }
            let kept = match self.find(&before, &endpoint) {
                Some(listed) => listed.kept.clone(),
                None => Arc::new(self.link(endpoint.clone())),
            };
            links.push(Listed { endpoint, kept });
        }
        self.links.store(Arc::new(links));
        self.changes.send_modify(|count| *count += 1);
    }

    fn find<'a>(&self, links: &'a [Listed], endpoint: &Endpoint) -> Option<&'a Listed> {
        links.iter().find(|listed| self.dialer.is_same(&listed.endpoint, endpoint))
    }

    fn link(&self, endpoint: Endpoint) -> Kept {
        let link = Arc::new(Link {
            endpoint,
            open: ArcSwapOption::empty(),
            failure: Mutex::new("not answered yet".to_owned()),
            wanted: Notify::new(),
        });
        let retired = CancellationToken::new();
        let keeping = keep(link.clone(), self.dialer.clone(), self.changes.clone(), retired.clone());
        self.runtime.spawn(self.closed.clone().run_until_cancelled_owned(keeping));
        Kept { link, _retirement: retired.drop_guard() }
    }

    /// The endpoints, as they were written.
    pub(crate) fn endpoints(&self) -> Vec<String> {
        self.links.load().iter().map(|listed| listed.endpoint.to_string()).collect()
    }

    pub(crate) fn len(&self) -> usize {
        self.links.load().len()
    }

    /// Closes all connections; calls under way end. Whoever waits for a connection gets [`Error::Closed`].
    pub(crate) fn close(&self) {
        let _setting = self.setting.lock();
        self.closed.cancel();
        self.links.store(Arc::default());
        self.changes.send_modify(|count| *count += 1);
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.is_cancelled()
    }

    /// Ends once the pool is closed.
    pub(crate) async fn closed(&self) {
        self.closed.cancelled().await;
    }

    /// The next open connection.
    fn open(&self) -> Option<Connection> {
        self.open_beside(&[])
    }

    /// The next open connection that is not to one of these endpoints.
    fn open_beside(&self, endpoints: &[Arc<str>]) -> Option<Connection> {
        let links = self.links.load();
        (0..links.len()).find_map(|_| {
            let number = self.next.fetch_add(1, Ordering::Relaxed) % links.len();
            let open = links[number].kept.link.open.load();
            let wanted = |connection: &&Arc<Connection>| {
                connection.is_open() && !endpoints.contains(connection.endpoint())
            };
            open.as_ref().filter(wanted).map(|connection| (**connection).clone())
        })
    }

    /// The next open connection; waits for one as long as the configuration says.
    pub(crate) async fn connection(&self) -> Result<Connection> {
        self.connection_before(None).await
    }

    /// [`Pool::connection`], given up at `end`.
    pub(crate) async fn connection_before(&self, end: Option<Instant>) -> Result<Connection> {
        match self.open() {
            Some(connection) => Ok(connection),
            None => self.wait(end, |pool| pool.open(), |_| true).await,
        }
    }

    /// The next open connection that is not to one of these endpoints, which did not serve well; to one of them if there is
    /// no other. Waits as [`Pool::connection`] does.
    pub(crate) async fn connection_beside(&self, endpoints: &[Arc<str>]) -> Result<Connection> {
        match self.open_beside(endpoints) {
            Some(connection) => Ok(connection),
            None => self.connection().await,
        }
    }

    /// The connection to this endpoint, which is connected to for this purpose if it is not one of the pool's. Given up at `end`.
    pub(crate) async fn connection_to(
        &self,
        endpoint: &Endpoint,
        end: Option<Instant>,
    ) -> Result<(Connection, Option<Driven>)> {
        if self.is_closed() {
            return Err(Error::Closed);
        }
        let of = |pool: &Pool| {
            let links = pool.links.load();
            pool.find(&links, endpoint).map(|listed| listed.kept.clone())
        };
        if of(self).is_some() {
            let open = |pool: &Pool| {
                let open = of(pool)?.link.open.load_full();
                open.filter(|connection| connection.is_open()).map(|connection| (*connection).clone())
            };
            let connection = match open(self) {
                Some(connection) => connection,
                None => self.wait(end, open, |link| self.dialer.is_same(&link.endpoint, endpoint)).await?,
            };
            return Ok((connection, None));
        }
        self.dialer.check(endpoint)?;
        let waited = self.dialer.dial_timeout();
        let dialed = self.dialer.dial(endpoint).await;
        let (connection, mut driver) = dialed
            .map_err(|reason| Error::Unreachable { waited, reason: format!("{endpoint}: {reason}") })?;
        let driven = AbortOnDropHandle::new(tokio::spawn(async move { drop(driver.ended().await) }));
        Ok((connection, Some(driven)))
    }

    /// Waits until `found` finds a connection, as long as the configuration says, but not after `end`.
    async fn wait(
        &self,
        end: Option<Instant>,
        found: impl Fn(&Pool) -> Option<Connection>,
        is_concerned: impl Fn(&Link) -> bool,
    ) -> Result<Connection> {
        let started = Instant::now();
        let limit = started.checked_add(self.dialer.connection_wait()).unwrap_or(started + FOR_EVER);
        let deadline = end.map_or(limit, |end| end.min(limit));
        let mut changes = self.changes.subscribe();
        loop {
            if self.is_closed() {
                return Err(Error::Closed);
            }
            if let Some(connection) = found(self) {
                return Ok(connection);
            }
            for listed in self.links.load().iter().filter(|listed| is_concerned(&listed.kept.link)) {
                listed.kept.link.wanted.notify_one();
            }
            if timeout_at(deadline, changes.changed()).await.is_err() {
                let links = self.links.load();
                let concerned =
                    links.iter().map(|listed| &listed.kept.link).filter(|link| is_concerned(link));
                let mut reasons: Vec<String> =
                    concerned.map(|link| format!("{}: {}", link.endpoint, link.failure.lock())).collect();
                if reasons.is_empty() {
                    reasons.push("it is no longer one of the endpoints".to_owned());
                }
                return Err(Error::Unreachable { waited: started.elapsed(), reason: reasons.join("; ") });
            }
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        // Tasks that wait for the end of the pool would otherwise never see it.
        self.close();
    }
}

/// Keeps a connection to one endpoint: makes it, drives it, and makes it anew when it ends, until the link is retired.
async fn keep(link: Arc<Link>, dialer: Dialer, changes: watch::Sender<u64>, retired: CancellationToken) {
    let mut pause = REDIAL_BACKOFF_MIN;
    loop {
        let Some(dialed) = retired.run_until_cancelled(dialer.dial(&link.endpoint)).await else { return };
        let reason = match dialed {
            Ok((connection, mut driver)) => {
                let made = Instant::now();
                tracing::debug!(endpoint = %link.endpoint, "connected");
                link.open.store(Some(Arc::new(connection)));
                changes.send_modify(|count| *count += 1);
                let ended = retired.run_until_cancelled(driver.ended()).await;
                link.open.store(None);
                let Some(end) = ended else {
                    // Streams are begun anew elsewhere, without a loss; what has one answer may be a write.
                    drop(timeout(DRAIN_MAX, driver.idle()).await);
                    return;
                };
                // Whoever is turned away at once is not to be asked again at once.
                if made.elapsed() > REDIAL_BACKOFF_MAX {
                    pause = REDIAL_BACKOFF_MIN;
                }
                end.reason
            }
            Err(reason) => reason,
        };
        tracing::debug!(endpoint = %link.endpoint, reason, "not connected");
        *link.failure.lock() = reason;
        changes.send_modify(|count| *count += 1);
        // Somebody who waits shortens the pause, but not to nothing: many clients may wait for this server.
        let pause_min = (pause / 2).min(REDIAL_PAUSE_WANTED_MAX);
        let pausing = async {
            sleep(pause_min).await;
            drop(timeout(pause - pause_min, link.wanted.notified()).await);
        };
        if retired.run_until_cancelled(pausing).await.is_none() {
            return;
        }
        pause = (pause * 2).min(REDIAL_BACKOFF_MAX);
    }
}
