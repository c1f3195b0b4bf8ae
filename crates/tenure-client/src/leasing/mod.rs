//! Keys that a client owns and reads from its memory.
//!
//! A [`LeasingKv`] that reads a key makes itself its owner: it writes an ownership key, with the lease of its session, under a
//! prefix that all clients of the same data agree on. From then on it answers reads of that key from memory. Whoever wants to
//! write a key checks in the same transaction that nobody else owns it; if somebody does, he marks the ownership key, and waits
//! until the owner has let go.
//!
//! The keys and the mark are those of Go's `clientv3/leasing`, so both can work on the same data. **All** writers of the data must use
//! the layer, with the same prefix; who writes past it is not seen by owners.
//!
//! * Reads of one key, now, are served from memory if it is owned; they are linearizable. So are transactions
//!   that only read, if all their conditions and reads are on owned keys. Everything else goes to the server.
//! * A key that was let go because another client writes it is not acquired again for two seconds. A key with a lease is not owned: it can
//!   go away by itself.
//! * When the session is lost everything is forgotten, and the server is asked until there is a new one.
//! * A write whose outcome is not known makes its client let go of the key: should it be carried out late, it comes to nothing.

mod book;
mod keeper;
mod session;
mod write;

use crate::{
    Client, Error, GetResponse, IntoBytes, KeyRange, OpResponse, ResponseHeader, Result, Ttl, TxnResponse,
    concurrency::Session,
    kv::{Call, Get, Kv, Op, Txn, prefix_end},
};
use arc_swap::ArcSwapOption;
use book::{Book, Evaluated, Found};
use bytes::Bytes;
use parking_lot::Mutex;
use std::{
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

/// Owned keys, unless told otherwise.
const KEYS_MAX: usize = 4096;

/// How long a key rests, unless told otherwise.
const REST: Duration = Duration::from_secs(2);

/// How often a transaction is tried from memory while writes keep coming.
const EVALUATIONS_MAX: u32 = 3;

/// A layer that answers reads of keys that it owns from memory. Go's `leasing.NewKV`. Cheap to clone; clones share what they own.
///
/// Dropping a call gives it up; a write may then have taken effect or not, and its keys are let go.
///
/// ```no_run
/// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
/// use tenure_client::{Kv, leasing::LeasingKv};
///
/// let kv = LeasingKv::open(&client, "leasing/").await?;
/// kv.put("mode", "on").await?;
/// kv.get("mode").await?; // From the server, which makes this client its owner.
/// kv.get("mode").await?; // From memory.
/// kv.close().await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct LeasingKv {
    running: Arc<Running>,
}

/// What the clones share, and what goes on behind them.
struct Running {
    shared: Arc<Shared>,
    _session_keeper: AbortOnDropHandle<()>,
}

struct Shared {
    client: Client,
    /// Put before a key, it makes its ownership key.
    prefix: Bytes,
    ttl: Ttl,
    book: Mutex<Book>,
    live: ArcSwapOption<Live>,
    closed: CancellationToken,
}

/// A session that is alive.
struct Live {
    number: u64,
    session: Session,
    /// Ends what goes on for the session.
    over: CancellationToken,
}

impl Live {
    /// Whether its keys are owned for sure at this moment.
    fn is_sure(&self) -> bool {
        !self.over.is_cancelled() && !self.session.is_expired() && Instant::now() < self.session.deadline()
    }
}

/// How a leasing layer is to be, from [`LeasingKv::builder`].
///
/// ```no_run
/// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
/// use std::time::Duration;
/// use tenure_client::leasing::LeasingKv;
///
/// let kv = LeasingKv::builder(&client, "leasing/").ttl(Duration::from_secs(10)).keys_max(100).open().await?;
/// # drop(kv);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
#[must_use = "nothing happens until it is opened"]
pub struct LeasingBuilder {
    client: Client,
    prefix: Bytes,
    ttl: Ttl,
    keys_max: usize,
    rest: Duration,
}

impl LeasingBuilder {
    /// How long others have to wait for keys of this client after it is gone. Default: 60 s.
    ///
    /// ```no_run
    /// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
    /// use std::time::Duration;
    /// use tenure_client::leasing::LeasingKv;
    ///
    /// let kv = LeasingKv::builder(&client, "leasing/").ttl(Duration::from_secs(10)).open().await?;
    /// # drop(kv);
    /// # Ok(())
    /// # }
    /// ```
    pub fn ttl(mut self, ttl: impl Into<Ttl>) -> Self {
        self.ttl = ttl.into();
        self
    }

    /// So many keys are owned at most; others are read from the server. Each costs a watch. Default: 4096.
    ///
    /// ```no_run
    /// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
    /// use tenure_client::leasing::LeasingKv;
    ///
    /// let kv = LeasingKv::builder(&client, "leasing/").keys_max(100).open().await?;
    /// # drop(kv);
    /// # Ok(())
    /// # }
    /// ```
    pub fn keys_max(mut self, keys: usize) -> Self {
        self.keys_max = keys;
        self
    }

    /// How long a key is not acquired again after another client wanted to write it, or when it belongs to another one. The longer,
    /// the less keys that many write go back and forth. Default: 2 s.
    ///
    /// ```no_run
    /// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
    /// use std::time::Duration;
    /// use tenure_client::leasing::LeasingKv;
    ///
    /// let kv = LeasingKv::builder(&client, "leasing/").rest(Duration::from_secs(10)).open().await?;
    /// # drop(kv);
    /// # Ok(())
    /// # }
    /// ```
    pub fn rest(mut self, rest: Duration) -> Self {
        self.rest = rest;
        self
    }

    /// Opens the layer, with a session.
    ///
    /// ```no_run
    /// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
    /// use std::time::Duration;
    /// use tenure_client::{Kv, leasing::LeasingKv};
    ///
    /// let kv = LeasingKv::builder(&client, "leasing/").ttl(Duration::from_secs(30)).open().await?;
    /// println!("{:?}", kv.get("mode").await?.first());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::Invalid`] if the prefix is empty; and as [`SessionBuilder::open`](crate::concurrency::SessionBuilder::open).
    pub async fn open(self) -> Result<LeasingKv> {
        if self.prefix.is_empty() {
            return Err(Error::invalid("leasing without a prefix: name one that no other keys have"));
        }
        let shared = Arc::new(Shared {
            client: self.client,
            prefix: self.prefix,
            ttl: self.ttl,
            book: Mutex::new(Book::new(self.keys_max, self.rest)),
            live: ArcSwapOption::empty(),
            closed: CancellationToken::new(),
        });
        let live = shared.open_session(1).await?;
        let keeper = AbortOnDropHandle::new(tokio::spawn(session::keep(shared.clone(), live)));
        Ok(LeasingKv { running: Arc::new(Running { shared, _session_keeper: keeper }) })
    }
}

impl fmt::Debug for LeasingKv {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LeasingKv")
            .field("prefix", &self.shared().prefix)
            .field("keys_owned", &self.keys_owned())
            .finish_non_exhaustive()
    }
}

impl LeasingKv {
    /// A layer whose ownership keys are under `prefix`, with a session of 60 s.
    ///
    /// ```no_run
    /// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
    /// use tenure_client::{Kv, leasing::LeasingKv};
    ///
    /// let kv = LeasingKv::open(&client, "leasing/").await?;
    /// println!("{:?}", kv.get("mode").await?.first());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`LeasingBuilder::open`].
    pub async fn open(client: &Client, prefix: impl IntoBytes) -> Result<Self> {
        LeasingKv::builder(client, prefix).open().await
    }

    /// A layer with options: `LeasingKv::builder(&client, "leasing/").ttl(Duration::from_secs(10)).open().await?`.
    ///
    /// ```no_run
    /// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
    /// use std::time::Duration;
    /// use tenure_client::leasing::LeasingKv;
    ///
    /// let kv = LeasingKv::builder(&client, "leasing/").ttl(Duration::from_secs(10)).open().await?;
    /// # drop(kv);
    /// # Ok(())
    /// # }
    /// ```
    pub fn builder(client: &Client, prefix: impl IntoBytes) -> LeasingBuilder {
        let prefix = prefix.into_bytes();
        LeasingBuilder {
            client: client.clone(),
            prefix,
            ttl: Ttl::seconds(60),
            keys_max: KEYS_MAX,
            rest: REST,
        }
    }

    /// How many keys are owned.
    ///
    /// ```no_run
    /// # async fn example(kv: &tenure_client::leasing::LeasingKv) -> tenure_client::Result<()> {
    /// use tenure_client::Kv;
    ///
    /// kv.get("mode").await?;
    /// println!("{} keys are read from memory from now on", kv.keys_owned());
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn keys_owned(&self) -> usize {
        self.shared().book.lock().keys_owned()
    }

    /// Lets go of everything, and closes the session. Later calls fail with [`Error::Closed`]. Dropping the last clone does the
    /// same in the background.
    ///
    /// ```no_run
    /// # async fn example(kv: tenure_client::leasing::LeasingKv) -> tenure_client::Result<()> {
    /// // Others need not wait for the end of the lease to write what was owned.
    /// kv.close().await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`Session::close`](crate::concurrency::Session::close).
    pub async fn close(self) -> Result<()> {
        self.shared().closed.cancel();
        match self.shared().end_session() {
            Some(live) => live.session.clone().close().await,
            None => Ok(()),
        }
    }

    fn shared(&self) -> &Arc<Shared> {
        &self.running.shared
    }

    /// Reads one key, now.
    async fn read(&self, get: Get) -> Result<GetResponse> {
        let shared = self.shared();
        let before = shared.book.lock().flights();
        while let Some(live) = shared.live() {
            let found = shared.book.lock().read(live.number, &get.range.key, before, Instant::now());
            match found {
                // Whether the keys are still owned is looked at after what they hold.
                Found::Answer(header, pair) if live.is_sure() => {
                    return Ok(book::answered(&get, header, pair.as_ref()));
                }
                Found::Answer(..) => break,
                Found::Wait(writes) => writes.landed().await,
                Found::MayAcquire if !get.is_serializable => {
                    match shared.acquire(&live, get.range.key.clone()).await {
                        Some(read) => return Ok(book::answered(&get, read.header, read.kvs.first())),
                        None => break,
                    }
                }
                Found::MayAcquire | Found::Unknown => break,
            }
        }
        self.ask(get).await
    }

    /// Reads from the server.
    async fn ask(&self, get: Get) -> Result<GetResponse> {
        let response = Call::new(&self.shared().client, get).await?;
        self.shared().book.lock().see(response.header);
        Ok(response)
    }

    /// A transaction that reads only.
    async fn evaluate(&self, txn: Txn) -> Result<TxnResponse> {
        let shared = self.shared();
        for _ in 0..EVALUATIONS_MAX {
            let Some(live) = shared.live() else { break };
            let evaluated = shared.book.lock().evaluate(live.number, &txn);
            match evaluated {
                Evaluated::Answer(response) if live.is_sure() => return Ok(response),
                Evaluated::Wait(writes) => writes.landed().await,
                Evaluated::Answer(_) | Evaluated::Unknown => break,
            }
        }
        let response = Call::new(&shared.client, txn).await?;
        shared.book.lock().see(response.header);
        Ok(response)
    }
}

impl Kv for LeasingKv {
    async fn execute_op(&self, op: Op) -> Result<OpResponse> {
        let shared = self.shared();
        if shared.closed.is_cancelled() {
            return Err(Error::Closed);
        }
        Ok(match op {
            Op::Get(get) => {
                let is_of_now = get.range.is_single() && !get.range.key.is_empty() && get.revision == 0;
                let is_data = !get.range.key.starts_with(&shared.prefix);
                let read = if is_of_now && is_data { self.read(get).await } else { self.ask(get).await };
                OpResponse::Get(read?)
            }
            Op::Txn(txn) if txn.is_read_only() => OpResponse::Txn(self.evaluate(txn).await?),
            op => shared.write(op).await?,
        })
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.shared.closed.cancel();
        // The session is closed in the background when its last holder is gone.
        drop(self.shared.end_session());
    }
}

impl Shared {
    fn live(&self) -> Option<Arc<Live>> {
        self.live.load_full()
    }

    /// The ownership key of a key.
    fn ownership(&self, key: &[u8]) -> Bytes {
        [&self.prefix[..], key].concat().into()
    }

    /// The ownership keys of a range of keys.
    fn ownerships(&self, range: &KeyRange) -> KeyRange {
        let end = match &range.end[..] {
            b"" => Bytes::new(),
            b"\0" => prefix_end(&self.prefix),
            end => self.ownership(end),
        };
        KeyRange { key: self.ownership(&range.key), end }
    }

    fn see(&self, header: ResponseHeader) {
        self.book.lock().see(header);
    }
}
