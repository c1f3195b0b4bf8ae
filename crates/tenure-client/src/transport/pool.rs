//! A connection to each endpoint.

use super::{Connection, Dialer};
use crate::{Endpoint, Error, Result};
use arc_swap::{ArcSwap, ArcSwapOption};
use parking_lot::Mutex;
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::{
    runtime::Handle,
    sync::{Notify, watch},
    time::{Instant, sleep, timeout_at},
};
use tokio_util::task::AbortOnDropHandle;

/// The pause after a failed attempt to connect doubles from the first to the second.
const REDIAL_BACKOFF_MIN: Duration = Duration::from_millis(50);
const REDIAL_BACKOFF_MAX: Duration = Duration::from_secs(3);

/// The longest pause while somebody waits for a connection.
const REDIAL_PAUSE_WANTED_MAX: Duration = Duration::from_millis(200);

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

/// A link and the task that keeps it. Dropping it closes the connection.
struct Kept {
    link: Arc<Link>,
    _task: AbortOnDropHandle<()>,
}

/// Connections to all endpoints; whoever asks gets those that are open in turn.
pub(crate) struct Pool {
    dialer: Dialer,
    links: ArcSwap<Vec<Arc<Kept>>>,
    next: AtomicUsize,
    /// Counts what has changed: a connection was made or lost, an attempt failed, endpoints were set, the pool was closed.
    changes: watch::Sender<u64>,
    is_closed: AtomicBool,
    /// Where connections are driven: endpoints may be set from outside of it.
    runtime: Handle,
}

impl Pool {
    /// Starts to connect to all endpoints.
    pub(crate) fn new(dialer: Dialer, endpoints: Vec<Endpoint>) -> Self {
        let pool = Pool {
            dialer,
            links: ArcSwap::default(),
            next: AtomicUsize::new(0),
            changes: watch::Sender::new(0),
            is_closed: AtomicBool::new(false),
            runtime: Handle::current(),
        };
        pool.set_endpoints(endpoints);
        pool
    }

    pub(crate) fn dialer(&self) -> &Dialer {
        &self.dialer
    }

    /// Connects to these and no others. Connections to endpoints that stay are kept; calls under way on others end.
    pub(crate) fn set_endpoints(&self, endpoints: Vec<Endpoint>) {
        let before = self.links.load();
        let mut links: Vec<Arc<Kept>> = Vec::new();
        for endpoint in endpoints {
            if links.iter().any(|kept| kept.link.endpoint == endpoint) {
                continue;
            }
            match before.iter().find(|kept| kept.link.endpoint == endpoint) {
                Some(kept) => links.push(kept.clone()),
                None => links.push(Arc::new(self.link(endpoint))),
            }
        }
        self.links.store(Arc::new(links));
        self.changes.send_modify(|count| *count += 1);
    }

    fn link(&self, endpoint: Endpoint) -> Kept {
        let link = Arc::new(Link {
            endpoint,
            open: ArcSwapOption::empty(),
            failure: Mutex::new("not answered yet".to_owned()),
            wanted: Notify::new(),
        });
        let task = self.runtime.spawn(keep(link.clone(), self.dialer.clone(), self.changes.clone()));
        Kept { link, _task: AbortOnDropHandle::new(task) }
    }

    /// The endpoints, as they were written.
    pub(crate) fn endpoints(&self) -> Vec<String> {
        self.links.load().iter().map(|kept| kept.link.endpoint.to_string()).collect()
    }

    pub(crate) fn len(&self) -> usize {
        self.links.load().len()
    }

    /// Closes all connections. Whoever waits for one gets [`Error::Closed`].
    pub(crate) fn close(&self) {
        self.is_closed.store(true, Ordering::Release);
        self.links.store(Arc::default());
        self.changes.send_modify(|count| *count += 1);
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.is_closed.load(Ordering::Acquire)
    }

    /// Ends once the pool is closed.
    pub(crate) async fn closed(&self) {
        let mut changes = self.changes.subscribe();
        while !self.is_closed() {
            if changes.changed().await.is_err() {
                return;
            }
        }
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
            let open = links[number].link.open.load();
            let wanted = |connection: &&Arc<Connection>| {
                connection.is_open() && !endpoints.contains(connection.endpoint())
            };
            open.as_ref().filter(wanted).map(|connection| (**connection).clone())
        })
    }

    /// The next open connection; waits for one as long as the dial timeout.
    pub(crate) async fn connection(&self) -> Result<Connection> {
        match self.open() {
            Some(connection) => Ok(connection),
            None => self.wait(|pool| pool.open(), |_| true).await,
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

    /// The connection to this endpoint, which is connected to for this purpose if it is not one of the pool's.
    pub(crate) async fn connection_to(&self, endpoint: &Endpoint) -> Result<(Connection, Option<Driven>)> {
        let of = |pool: &Pool| {
            let links = pool.links.load();
            links.iter().find(|kept| kept.link.endpoint == *endpoint).cloned()
        };
        if of(self).is_some() {
            let open = |pool: &Pool| {
                let open = of(pool)?.link.open.load_full();
                open.filter(|connection| connection.is_open()).map(|connection| (*connection).clone())
            };
            let connection = match open(self) {
                Some(connection) => connection,
                None => self.wait(open, |link| link.endpoint == *endpoint).await?,
            };
            return Ok((connection, None));
        }
        self.dialer.check(endpoint)?;
        let waited = self.dialer.dial_timeout();
        let dialed = self.dialer.dial(endpoint).await;
        let (connection, driver) = dialed
            .map_err(|reason| Error::Unreachable { waited, reason: format!("{endpoint}: {reason}") })?;
        let driven = AbortOnDropHandle::new(tokio::spawn(async move { drop(driver.await) }));
        Ok((connection, Some(driven)))
    }

    /// Waits until `found` finds a connection, as long as the dial timeout.
    async fn wait(
        &self,
        found: impl Fn(&Pool) -> Option<Connection>,
        is_concerned: impl Fn(&Link) -> bool,
    ) -> Result<Connection> {
        let started = Instant::now();
        let deadline = started + self.dialer.dial_timeout();
        let mut changes = self.changes.subscribe();
        loop {
            if self.is_closed() {
                return Err(Error::Closed);
            }
            if let Some(connection) = found(self) {
                return Ok(connection);
            }
            for kept in self.links.load().iter().filter(|kept| is_concerned(&kept.link)) {
                kept.link.wanted.notify_one();
            }
            if timeout_at(deadline, changes.changed()).await.is_err() {
                let links = self.links.load();
                let concerned = links.iter().map(|kept| &kept.link).filter(|link| is_concerned(link));
                let reasons: Vec<String> =
                    concerned.map(|link| format!("{}: {}", link.endpoint, link.failure.lock())).collect();
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

/// Keeps a connection to one endpoint: makes it, drives it, and makes it anew when it ends.
async fn keep(link: Arc<Link>, dialer: Dialer, changes: watch::Sender<u64>) {
    let mut pause = REDIAL_BACKOFF_MIN;
    loop {
        match dialer.dial(&link.endpoint).await {
            Ok((connection, driver)) => {
                let made = Instant::now();
                tracing::debug!(endpoint = %link.endpoint, "connected");
                link.open.store(Some(Arc::new(connection)));
                changes.send_modify(|count| *count += 1);
                let ended = driver.await;
                link.open.store(None);
                let reason = match ended {
                    Ok(()) => "the connection was closed".to_owned(),
                    Err(error) => crate::error::causes(&error),
                };
                tracing::debug!(endpoint = %link.endpoint, reason, "disconnected");
                *link.failure.lock() = reason;
                // Whoever is turned away at once is not to be asked again at once.
                if made.elapsed() > REDIAL_BACKOFF_MAX {
                    pause = REDIAL_BACKOFF_MIN;
                }
            }
            Err(reason) => {
                tracing::debug!(endpoint = %link.endpoint, reason, "cannot connect");
                *link.failure.lock() = reason;
            }
        }
        changes.send_modify(|count| *count += 1);
        // Somebody who waits shortens the pause, but not to nothing: many clients may wait for this server.
        let pause_min = (pause / 2).min(REDIAL_PAUSE_WANTED_MAX);
        sleep(pause_min).await;
        tokio::select! {
            () = sleep(pause - pause_min) => {}
            () = link.wanted.notified() => {}
        }
        pause = (pause * 2).min(REDIAL_BACKOFF_MAX);
    }
}
