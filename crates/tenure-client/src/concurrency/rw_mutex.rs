//! Locks that readers share.

use super::{
    MutexGuard, Session,
    line::{self, Ask, Hold, Place, Terms},
};
use crate::{Error, IntoBytes, Result};
use bytes::Bytes;

/// A lock that is held by any number of readers, or by one writer, with the layout of etcd's recipe: readers put the keys
/// `PREFIX/read/TIME`, writers `PREFIX/write/TIME`.
///
/// A reader waits for the writers that have asked before him, a writer for everybody who has. So neither can starve the other.
///
/// ```no_run
/// # async fn example(session: tenure_client::concurrency::Session) -> tenure_client::Result<()> {
/// use tenure_client::concurrency::RwMutex;
///
/// let table = RwMutex::new(&session, "table");
/// let (one, other) = (table.read().await?, table.read().await?);
/// drop((one, other));
/// let writer = table.write().await?;
/// writer.unlock().await?;
/// # Ok(())
/// # }
/// ```
///
/// Each call asks for itself, so those who share a session exclude each other as all others do. See [`Mutex`](super::Mutex)
/// for what a lock is worth.
#[derive(Clone, Debug)]
pub struct RwMutex {
    session: Session,
    prefix: Bytes,
}

impl RwMutex {
    /// The lock of this name. Nothing is asked of the server yet.
    ///
    /// ```no_run
    /// # async fn example(session: &tenure_client::concurrency::Session) {
    /// use tenure_client::concurrency::RwMutex;
    ///
    /// let table = RwMutex::new(session, "table");
    /// # drop(table);
    /// # }
    /// ```
    #[must_use]
    pub fn new(session: &Session, prefix: impl IntoBytes) -> Self {
        RwMutex { session: session.clone(), prefix: line::prefix_of(prefix) }
    }

    /// Waits until no writer is there who has asked before. Dropping the future gives the place in line up.
    ///
    /// ```no_run
    /// # async fn example(client: tenure_client::Client, table: &tenure_client::concurrency::RwMutex) -> tenure_client::Result<()> {
    /// let reading = table.read().await?;
    /// let rows = client.get("table/rows/").prefix().await?;
    /// println!("{} rows", rows.count);
    /// reading.unlock().await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`Mutex::lock`](super::Mutex::lock).
    pub async fn read(&self) -> Result<MutexGuard> {
        self.lock("read/", line::joined(&self.prefix, "write/")).await
    }

    /// Waits until nobody is there who has asked before. Dropping the future gives the place in line up.
    ///
    /// ```no_run
    /// # async fn example(client: tenure_client::Client, table: &tenure_client::concurrency::RwMutex) -> tenure_client::Result<()> {
    /// use tenure_client::Op;
    ///
    /// let writing = table.write().await?;
    /// let write = Op::put("table/rows/7", "new");
    /// client.txn().when([writing.owner_condition()]).and_then([write]).commit().await?;
    /// writing.unlock().await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`Mutex::lock`](super::Mutex::lock).
    pub async fn write(&self) -> Result<MutexGuard> {
        self.lock("write/", self.prefix.clone()).await
    }

    async fn lock(&self, kind: &str, ahead: Bytes) -> Result<MutexGuard> {
        let prefix = line::joined(&self.prefix, kind);
        loop {
            let key = line::unique_key(&prefix);
            let ask = Ask { key, value: Bytes::new(), ahead: ahead.clone(), terms: Terms::New };
            // Nothing if another program has the same key: then with a later one.
            let Some(mut place) = Place::take(&self.session, ask, None).await? else { continue };
            if place.wait_first(&ahead).await? {
                return Ok(MutexGuard { hold: Hold::new(place) });
            }
            if self.session.is_expired() {
                return Err(Error::SessionExpired);
            }
            place.lost();
        }
    }
}
