//! Software transactional memory: a closure that reads and writes, carried out as one transaction.
//!
//! * `attempt`: what one run of the closure has read and is going to write: no IO.

mod attempt;

use crate::{
    Client, Error, EtcdError, IntoBytes, KeyValue, LeaseId, Result, Revision,
    kv::{Get, GetResponse, Kv, TxnResponse},
};
use attempt::Attempt;
use backon::{BackoffBuilder, ExponentialBuilder};
use bytes::Bytes;
use futures::future::try_join_all;
use std::{iter::zip, time::Duration};

/// Keys that are read at the same time at most: as many as a transaction of etcd may name.
const READS_AT_ONCE_MAX: usize = 128;

/// What a transaction promises about the writes of others while it runs.
///
/// At every level the writes are carried out together, at one revision, or not at all; nobody sees some of them. A transaction
/// sees its own writes, and a key that it reads twice has the same value both times. The levels differ in when the reads of a
/// run belong together, and in what makes the transaction run again.
///
/// | level | reads of one run | runs again if somebody | what can happen all the same |
/// |---|---|---|---|
/// | `SerializableSnapshot` | of one revision | changed a key that it read or writes | |
/// | `Serializable` | of one revision | changed a key that it read | a blind write replaces a newer one |
/// | `RepeatableReads` | of several revisions | changed a key that it read | the same; a run that fails sees a mix |
/// | `ReadCommitted` | of several revisions | (never) | the same, and it commits; lost updates |
///
/// A blind write is one to a key that the transaction has not read. A mix is values that never were together. An update is lost
/// when what is written rests on a value that is no more.
///
/// So what is committed is serializable at all levels but the last one. Transactions that read every key that they write
/// are the same at the first two.
///
/// ```no_run
/// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
/// use tenure_client::{Error, concurrency::{Isolation, Stm}};
///
/// // Reads every key that it writes, so this is as good as the default, and compares fewer keys.
/// let stm = Stm::new(&client).isolation(Isolation::Serializable);
/// stm.run(async |txn| {
///     if txn.get("mode").await?.is_none() {
///         txn.put("mode", "on");
///     }
///     Ok::<_, Error>(())
/// })
/// .await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Isolation {
    /// All reads of a run are of the revision of the first one. The transaction commits if, since then, nobody has changed a
    /// key that it read and nobody has written a key that it writes.
    ///
    /// As in etcd, a key that was deleted since, and that the transaction writes without having read it, does not count as
    /// written; and a transaction that reads nothing has no revision to compare with, so it always commits.
    #[default]
    SerializableSnapshot,
    /// All reads of a run are of the revision of the first one. The transaction commits if nobody has changed a key that it
    /// read. A key that it writes without having read it may have been changed since: that change is lost.
    Serializable,
    /// Each key is read as it is when it is first asked for, so two keys may be of different revisions. The transaction
    /// commits if nobody has changed a key that it read since it did so: then all that it read was true together at the end.
    /// The closure must be able to bear values that do not fit each other in runs that will not commit.
    RepeatableReads,
    /// As `RepeatableReads`, but the transaction always commits, whatever others did to the keys that it read.
    ReadCommitted,
}

impl Isolation {
    /// Whether all reads of a run are of one revision.
    fn has_snapshot(self) -> bool {
        matches!(self, Isolation::SerializableSnapshot | Isolation::Serializable)
    }
}

/// A transaction that an async closure describes. It runs the closure, and commits what that wrote if what it read is still
/// true, as its [`Isolation`] defines it; else it runs the closure again.
///
/// The closure may run any number of times, so it should do nothing but read and write through its argument. It aborts the
/// transaction by returning an error: nothing is written, and [`Stm::run`] returns that error.
///
/// ```no_run
/// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
/// use tenure_client::{Error, concurrency::Stm};
///
/// // Adds one, whatever others do at the same time.
/// let done = Stm::new(&client)
///     .run(async |txn| {
///         let count: u64 = match txn.get("count").await? {
///             Some(text) => String::from_utf8_lossy(&text).parse().unwrap_or(0),
///             None => 0,
///         };
///         txn.put("count", (count + 1).to_string());
///         Ok::<_, Error>(count + 1)
///     })
///     .await?;
/// println!("{} at revision {}", done.value, done.response.header.revision);
/// # Ok(())
/// # }
/// ```
///
/// Where the future must be [`Send`], as in a spawned task, the closure has to own what it uses (`async move`): with
/// borrowed captures the compiler of today cannot prove it ("not general enough").
///
/// ```no_run
/// # async fn example(client: tenure_client::Client) {
/// use tenure_client::{Error, concurrency::Stm};
///
/// for worker in 0..4 {
///     let client = client.clone();
///     tokio::spawn(async move {
///         let key = format!("worker/{worker}");
///         let stm = Stm::new(&client).prefetch([&key]);
///         stm.run(async move |txn| {
///             if txn.get(&key).await?.is_none() {
///                 txn.put(&key, "here");
///             }
///             Ok::<_, Error>(())
///         })
///         .await
///     });
/// }
/// # }
/// ```
///
/// It works on a [`Client`] and on the layers over one ([`Kv`]). Reads and writes together are one transaction of etcd: with
/// more keys read or written than `--max-txn-ops` (128) it is refused with
/// [`TooManyOps`](crate::EtcdError::TooManyOps).
#[derive(Debug)]
#[must_use = "nothing happens until it is run"]
pub struct Stm<'a, K = Client> {
    kv: &'a K,
    isolation: Isolation,
    prefetch: Vec<Bytes>,
    attempts_max: Option<u32>,
    backoff: Option<(Duration, Duration)>,
}

/// A transaction of [`Stm`] that was committed.
///
/// ```no_run
/// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
/// use tenure_client::{Error, concurrency::Stm};
///
/// let done = Stm::new(&client).run(async |txn| Ok::<_, Error>(txn.get("mode").await?)).await?;
/// println!("{:?} at revision {}", done.value, done.response.header.revision);
/// println!("after {} runs", done.attempts);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct StmResponse<T> {
    /// What the closure returned in the run that was committed.
    pub value: T,
    /// The answer to the commit. Its revision is that of the writes.
    pub response: TxnResponse,
    /// How often the closure ran.
    pub attempts: u32,
}

impl<'a, K: Kv> Stm<'a, K> {
    /// A transaction with [`Isolation::SerializableSnapshot`] that runs as often as it needs to, without pauses.
    ///
    /// ```no_run
    /// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
    /// use tenure_client::{Error, concurrency::Stm};
    ///
    /// let stm = Stm::new(&client);
    /// stm.run(async |txn| Ok::<_, Error>(txn.put("mode", "on"))).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn new(kv: &'a K) -> Self {
        Stm { kv, isolation: Isolation::default(), prefetch: Vec::new(), attempts_max: None, backoff: None }
    }

    /// What it promises about the writes of others.
    ///
    /// ```no_run
    /// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
    /// use tenure_client::{Error, concurrency::{Isolation, Stm}};
    ///
    /// let stm = Stm::new(&client).isolation(Isolation::RepeatableReads);
    /// stm.run(async |txn| {
    ///     let source = txn.get("source").await?.unwrap_or_default();
    ///     txn.put("copy", source);
    ///     Ok::<_, Error>(())
    /// })
    /// .await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn isolation(mut self, isolation: Isolation) -> Self {
        self.isolation = isolation;
        self
    }

    /// Reads these keys together before the closure runs, which saves a round trip for each. A key that the closure does not
    /// read does not count as read. Where the reads of a run are of one revision, those that others change at that moment are read
    /// once more.
    ///
    /// ```no_run
    /// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
    /// use tenure_client::{Error, concurrency::Stm};
    ///
    /// // Mostly one round trip for both reads, and one for the commit.
    /// let stm = Stm::new(&client).prefetch(["a", "b"]);
    /// stm.run(async |txn| {
    ///     let (a, b) = (txn.get("a").await?, txn.get("b").await?);
    ///     txn.put("a", b.unwrap_or_default());
    ///     txn.put("b", a.unwrap_or_default());
    ///     Ok::<_, Error>(())
    /// })
    /// .await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn prefetch<B: IntoBytes>(mut self, keys: impl IntoIterator<Item = B>) -> Self {
        self.prefetch.extend(keys.into_iter().map(IntoBytes::into_bytes));
        self
    }

    /// Runs the closure at most so often, at least once; then [`Error::Conflict`]. By default there is no limit, as in etcd's
    /// client: each conflict means that somebody else got on.
    ///
    /// ```no_run
    /// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
    /// use tenure_client::{Error, concurrency::Stm};
    ///
    /// let outcome = Stm::new(&client)
    ///     .attempts_max(3)
    ///     .run(async |txn| {
    ///         let visits: u64 = String::from_utf8_lossy(&txn.get("visits").await?.unwrap_or_default()).parse().unwrap_or(0);
    ///         txn.put("visits", (visits + 1).to_string());
    ///         Ok::<_, Error>(())
    ///     })
    ///     .await;
    /// if let Err(Error::Conflict { attempts }) = outcome {
    ///     println!("too busy: given up after {attempts} runs, nothing was written");
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn attempts_max(mut self, attempts_max: u32) -> Self {
        self.attempts_max = Some(attempts_max.max(1));
        self
    }

    /// Pauses after a conflict, from `min`, doubling up to `max`, each with some random more: for transactions that are long,
    /// and many. By default there are none: the next run starts with the values that the server sent with its refusal.
    ///
    /// ```no_run
    /// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
    /// use std::time::Duration;
    /// use tenure_client::{Error, concurrency::Stm};
    ///
    /// let stm = Stm::new(&client).backoff(Duration::from_millis(5), Duration::from_millis(200));
    /// stm.run(async |txn| {
    ///     let total = txn.get("total").await?.unwrap_or_default();
    ///     txn.put("report", total);
    ///     Ok::<_, Error>(())
    /// })
    /// .await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn backoff(mut self, min: Duration, max: Duration) -> Self {
        self.backoff = Some((min, max.max(min)));
        self
    }

    /// Runs the closure until what it did is committed.
    ///
    /// Dropping the future gives the transaction up. If that is during the commit, the writes may take effect, all or none.
    ///
    /// ```no_run
    /// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
    /// use tenure_client::{Error, concurrency::Stm};
    ///
    /// #[derive(Debug)]
    /// enum Refused {
    ///     TooLittle,
    ///     Store(Error),
    /// }
    ///
    /// impl From<Error> for Refused {
    ///     fn from(error: Error) -> Self {
    ///         Refused::Store(error)
    ///     }
    /// }
    ///
    /// let outcome = Stm::new(&client)
    ///     .run(async |txn| {
    ///         let balance = txn.get("balance/a").await?.unwrap_or_default();
    ///         let balance: u64 = String::from_utf8_lossy(&balance).parse().unwrap_or(0);
    ///         // An error aborts: nothing is written.
    ///         let rest = balance.checked_sub(10).ok_or(Refused::TooLittle)?;
    ///         txn.put("balance/a", rest.to_string());
    ///         Ok(rest)
    ///     })
    ///     .await;
    /// match outcome {
    ///     Ok(done) => println!("{} are left", done.value),
    ///     Err(Refused::TooLittle) => println!("not enough"),
    ///     Err(Refused::Store(error)) => return Err(error),
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// That of the closure, which aborts the transaction; [`Error::Conflict`] after [`Stm::attempts_max`] runs; and those
    /// of reads and of the commit. After [`Error::ConnectionLost`], and whatever else [may have taken
    /// effect](Error::may_have_taken_effect), all writes may be done or none: the transaction is not repeated then.
    pub async fn run<T, E, F>(self, mut body: F) -> Result<StmResponse<T>, E>
    where
        F: AsyncFnMut(&mut StmTxn<'_, K>) -> Result<T, E>,
        E: From<Error>,
    {
        let mut pauses = self.backoff.map(|(min, max)| pauses(min, max));
        let mut txn = StmTxn::new(self.kv, self.isolation);
        let mut attempts = 0;
        loop {
            attempts += 1;
            let fetched = match txn.attempt.is_fresh() {
                true => txn.fetch_ahead(self.prefetch.clone()).await,
                false => Ok(()),
            };
            let outcome = match fetched {
                Ok(()) => body(&mut txn).await,
                Err(error) => Err(error.into()),
            };
            let retry = match outcome {
                // A revision that was compacted away while it was read says nothing about the closure.
                Err(_) if txn.is_snapshot_gone => Attempt::new(self.isolation),
                Err(error) => return Err(error),
                Ok(value) => match txn.commit().await? {
                    Ok(response) => return Ok(StmResponse { value, response, attempts }),
                    Err(retry) => retry,
                },
            };
            if self.attempts_max.is_some_and(|max| attempts >= max) {
                return Err(Error::Conflict { attempts }.into());
            }
            txn = StmTxn::new(self.kv, self.isolation);
            match pauses.as_mut().and_then(Iterator::next) {
                // What came with the refusal is old after a pause.
                Some(pause) => tokio::time::sleep(pause).await,
                None => txn.attempt = retry,
            }
        }
    }
}

fn pauses(min: Duration, max: Duration) -> impl Iterator<Item = Duration> + Send {
    ExponentialBuilder::default()
        .with_min_delay(min)
        .with_max_delay(max)
        .with_factor(2.0)
        .with_jitter()
        .without_max_times()
        .build()
}

/// One run of a transaction: what the closure of [`Stm::run`] reads and writes through.
///
/// ```no_run
/// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
/// use tenure_client::{Client, Error, Result, concurrency::{Stm, StmTxn}};
///
/// /// A part of a transaction, to be used in several.
/// async fn number(txn: &mut StmTxn<'_>, key: &str) -> Result<u64> {
///     let value = txn.get(key).await?.unwrap_or_default();
///     Ok(String::from_utf8_lossy(&value).parse().unwrap_or(0))
/// }
///
/// Stm::new(&client)
///     .run(async |txn| {
///         let total = number(txn, "a").await? + number(txn, "b").await?;
///         txn.put("total", total.to_string());
///         Ok::<_, Error>(())
///     })
///     .await?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct StmTxn<'a, K = Client> {
    kv: &'a K,
    attempt: Attempt,
    is_snapshot_gone: bool,
}

impl<'a, K: Kv> StmTxn<'a, K> {
    fn new(kv: &'a K, isolation: Isolation) -> Self {
        StmTxn { kv, attempt: Attempt::new(isolation), is_snapshot_gone: false }
    }

    /// The value of `key`, nothing if it does not exist. What this transaction has written to it comes first.
    ///
    /// ```no_run
    /// # async fn example(txn: &mut tenure_client::concurrency::StmTxn<'_>) -> tenure_client::Result<()> {
    /// txn.put("mode", "on");
    /// // It sees what it has written itself.
    /// assert_eq!(txn.get("mode").await?.unwrap(), "on");
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`Client::get`]. They are best passed on: the transaction is aborted then, or run again if its revision has been
    /// compacted away.
    pub async fn get(&mut self, key: impl IntoBytes) -> Result<Option<Bytes>> {
        let key = key.into_bytes();
        if let Some(written) = self.attempt.written(&key) {
            return Ok(written);
        }
        Ok(self.read(key).await?.map(|pair| pair.value))
    }

    /// The values of several keys, in their order. Those that must be read are read together.
    ///
    /// ```no_run
    /// # async fn example(txn: &mut tenure_client::concurrency::StmTxn<'_>) -> tenure_client::Result<()> {
    /// for value in txn.values(["a", "b", "c"]).await? {
    ///     println!("{value:?}");
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`StmTxn::get`].
    pub async fn values<B: IntoBytes>(
        &mut self,
        keys: impl IntoIterator<Item = B>,
    ) -> Result<Vec<Option<Bytes>>> {
        let keys: Vec<Bytes> = keys.into_iter().map(IntoBytes::into_bytes).collect();
        let mut wanted: Vec<Bytes> =
            keys.iter().filter(|key| self.attempt.written(key).is_none()).cloned().collect();
        wanted.retain(|key| self.attempt.read(key).is_none());
        wanted.sort();
        wanted.dedup();
        self.fetch(wanted).await?;
        let mut values = Vec::with_capacity(keys.len());
        for key in keys {
            values.push(self.get(key).await?);
        }
        Ok(values)
    }

    /// The revision at which `key` was last changed, 0 if it does not exist. What this transaction has written to it does
    /// not count.
    ///
    /// ```no_run
    /// # async fn example(txn: &mut tenure_client::concurrency::StmTxn<'_>) -> tenure_client::Result<()> {
    /// if txn.rev("config").await? == 0 {
    ///     txn.put("config", "the first one");
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`StmTxn::get`].
    pub async fn rev(&mut self, key: impl IntoBytes) -> Result<Revision> {
        Ok(self.read(key.into_bytes()).await?.map_or(0, |pair| pair.mod_revision))
    }

    /// Writes `value` to `key` when the transaction commits.
    ///
    /// ```no_run
    /// # async fn example(txn: &mut tenure_client::concurrency::StmTxn<'_>) {
    /// txn.put("a", "1");
    /// txn.put("b", "2");
    /// # }
    /// ```
    pub fn put(&mut self, key: impl IntoBytes, value: impl IntoBytes) {
        self.put_with_lease(key, value, LeaseId(0));
    }

    /// Writes `value` to `key`, which goes away with `lease`, when the transaction commits.
    ///
    /// ```no_run
    /// # use tenure_client::concurrency::{Session, StmTxn};
    /// # async fn example(txn: &mut StmTxn<'_>, session: &Session) -> tenure_client::Result<()> {
    /// if txn.get("workers/7").await?.is_none() {
    ///     txn.put_with_lease("workers/7", "me", session.lease());
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn put_with_lease(&mut self, key: impl IntoBytes, value: impl IntoBytes, lease: LeaseId) {
        self.attempt.put(key.into_bytes(), value.into_bytes(), lease);
    }

    /// Deletes `key` when the transaction commits.
    ///
    /// ```no_run
    /// # async fn example(txn: &mut tenure_client::concurrency::StmTxn<'_>) -> tenure_client::Result<()> {
    /// // Moves a value.
    /// if let Some(value) = txn.get("from").await? {
    ///     txn.del("from");
    ///     txn.put("to", value);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn del(&mut self, key: impl IntoBytes) {
        self.attempt.del(key.into_bytes());
    }

    async fn read(&mut self, key: Bytes) -> Result<Option<KeyValue>> {
        if let Some(known) = self.attempt.read(&key) {
            return Ok(known);
        }
        self.fetch(vec![key.clone()]).await?;
        self.attempt.read(&key).ok_or(Error::Protocol("fewer answers than reads"))
    }

    /// Reads keys that count as read when they are asked for.
    async fn fetch(&mut self, keys: Vec<Bytes>) -> Result<()> {
        for keys in keys.chunks(READS_AT_ONCE_MAX) {
            match self.attempt.snapshot() {
                0 => self.fetch_newest(keys).await?,
                snapshot => self.fetch_at(keys, snapshot).await?,
            }
        }
        Ok(())
    }

    /// Reads keys as they are. If all reads of the run are of one revision, it is the least of those that the answers name, and what
    /// may have been something else then is read again.
    ///
    /// A transaction would read all at once; but etcd before 3.5.5 ends if the connection breaks while it reads in one.
    async fn fetch_newest(&mut self, keys: &[Bytes]) -> Result<()> {
        let found = try_join_all(keys.iter().map(|key| self.kv.execute(Get::new(key)))).await?;
        let revision = found.iter().map(|found| found.header.revision).min().unwrap_or_default();
        let is_known =
            |found: &GetResponse| !self.attempt.isolation().has_snapshot() || was_so_at(found, revision);
        let (known, unknown): (Vec<_>, Vec<_>) =
            zip(keys.iter().cloned(), found).partition(|(_, found)| is_known(found));
        self.attempt.fetched(revision, known.into_iter().map(pair));
        let unknown: Vec<Bytes> = unknown.into_iter().map(|(key, _)| key).collect();
        self.fetch_at(&unknown, revision).await
    }

    /// Reads keys as they were at a revision.
    async fn fetch_at(&mut self, keys: &[Bytes], revision: Revision) -> Result<()> {
        match try_join_all(keys.iter().map(|key| read_at(self.kv, key, revision))).await {
            Ok(found) => {
                self.attempt.fetched(revision, zip(keys.iter().cloned(), found).map(pair));
                Ok(())
            }
            Err(error) => {
                self.is_snapshot_gone = error.is(EtcdError::Compacted);
                Err(error)
            }
        }
    }

    async fn fetch_ahead(&mut self, mut keys: Vec<Bytes>) -> Result<()> {
        keys.sort();
        keys.dedup();
        self.fetch(keys).await
    }

    /// The answer, or what the next run starts with.
    async fn commit(&mut self) -> Result<Result<TxnResponse, Attempt>> {
        let response = self.kv.execute(self.attempt.commit()).await?;
        if response.succeeded {
            return Ok(Ok(response));
        }
        let keys: Vec<Bytes> = self.attempt.keys_of_refusal().cloned().collect();
        let pairs = pairs(&response, keys.len())?;
        let mut retry = Attempt::new(self.attempt.isolation());
        if !keys.is_empty() {
            retry.fetched(response.header.revision, keys.into_iter().zip(pairs));
        }
        Ok(Err(retry))
    }
}

/// Whether what was read at a revision was the same at this earlier one.
fn was_so_at(found: &GetResponse, revision: Revision) -> bool {
    match found.first() {
        Some(pair) => pair.mod_revision <= revision,
        // It may have been deleted since.
        None => found.header.revision == revision,
    }
}

fn pair((key, found): (Bytes, GetResponse)) -> (Bytes, Option<KeyValue>) {
    (key, found.kvs.into_iter().next())
}

/// Reads a key as it was at a revision.
async fn read_at(kv: &impl Kv, key: &Bytes, revision: Revision) -> Result<GetResponse> {
    let get = Get::new(key).revision(revision);
    match kv.execute(get.clone().serializable()).await {
        // The member that was asked has not come so far yet. The others have.
        Err(error) if error.is(EtcdError::FutureRev) => kv.execute(get).await,
        found => found,
    }
}

/// The pairs that the reads of a transaction found.
fn pairs(response: &TxnResponse, reads: usize) -> Result<Vec<Option<KeyValue>>> {
    let found = response.responses.iter().filter_map(|response| response.as_get());
    let pairs: Vec<_> = found.map(|response| response.first().cloned()).collect();
    if pairs.len() == reads { Ok(pairs) } else { Err(Error::Protocol("fewer answers than reads")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_have_been_something_else_at_a_revision_is_not_taken_for_it() {
        let found = |read_at, changed_at: Option<Revision>| {
            let pair = |mod_revision| KeyValue { mod_revision, ..KeyValue::default() };
            let header = crate::ResponseHeader { revision: read_at, ..Default::default() };
            GetResponse { header, kvs: changed_at.map(pair).into_iter().collect(), ..Default::default() }
        };
        assert!(was_so_at(&found(9, Some(7)), 7) && was_so_at(&found(9, Some(7)), 8));
        assert!(!was_so_at(&found(9, Some(8)), 7));
        assert!(was_so_at(&found(7, None), 7) && !was_so_at(&found(8, None), 7));
    }
}
