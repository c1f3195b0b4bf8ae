//! What goes on for one owned key: it is acquired, watched, and let go.

use super::{Live, Shared};
use crate::{
    Compare, Error, EventKind, GetResponse, KeyValue, OpResponse, Result, Revision,
    kv::{Call, Get, Op, Txn},
};
use bytes::Bytes;
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::{
    sync::{Notify, oneshot},
    time::{sleep, timeout},
};

/// What a writer puts into an ownership key that stands in his way.
pub(super) const REVOKED: &[u8] = b"REVOKE";

/// How long an acquisition that was given up for lost is watched for: a server may carry out late what it got before.
const LATE: Duration = Duration::from_secs(60);

/// One key on its way to be owned, and as long as it is.
struct Keeper {
    shared: Arc<Shared>,
    live: Arc<Live>,
    key: Bytes,
    ownership: Bytes,
    /// Of the entry in the book.
    id: u64,
    /// Somebody here wants the key to be let go.
    release: Arc<Notify>,
}

/// How an acquisition went.
enum Acquired {
    /// The key is owned.
    Yes(GetResponse),
    /// It belongs to somebody else, or has a lease. It was read all the same.
    No(GetResponse),
    /// It belongs to this client, which does not know why: an earlier attempt was carried out late.
    Late(GetResponse, Revision),
    /// It may be owned or not.
    Unknown,
    /// It is surely not owned.
    Failed,
}

impl Shared {
    /// Acquires a key and reads it. Nothing if the server has to be asked in another way.
    ///
    /// It goes on when the future is dropped: an acquisition has to be followed to its end.
    pub(super) async fn acquire(self: &Arc<Self>, live: &Arc<Live>, key: Bytes) -> Option<GetResponse> {
        let (id, release) = self.book.lock().acquiring(live.number, &key)?;
        let ownership = self.ownership(&key);
        let keeper = Keeper { shared: self.clone(), live: live.clone(), key, ownership, id, release };
        let (answer, answered) = oneshot::channel();
        tokio::spawn(async move {
            let over = keeper.live.over.clone();
            tokio::select! {
                () = keeper.keep(answer) => {}
                () = over.cancelled() => {}
            }
        });
        answered.await.ok().flatten()
    }
}

impl Keeper {
    async fn keep(&self, answer: oneshot::Sender<Option<GetResponse>>) {
        let acquired = self.acquire().await;
        // Whoever asked may be gone.
        let tell = |read: Option<GetResponse>| drop(answer.send(read));
        match acquired {
            Acquired::Yes(read) => {
                let epoch = read.header.revision;
                self.shared.book.lock().acquired(&self.key, self.id, read.header, read.kvs.first().cloned());
                tell(Some(read));
                if self.hold(epoch).await {
                    self.release(epoch).await;
                }
            }
            Acquired::No(read) => {
                self.shared.see(read.header);
                self.shared.book.lock().rest(&self.key, Instant::now());
                tell(Some(read));
            }
            Acquired::Late(read, epoch) => {
                self.evict();
                tell(Some(read));
                self.release(epoch).await;
            }
            Acquired::Unknown => {
                self.evict();
                tell(None);
                drop(timeout(LATE, self.release_late()).await);
            }
            Acquired::Failed => {
                self.shared.book.lock().rest(&self.key, Instant::now());
                tell(None);
            }
        }
        self.shared.book.lock().gone(&self.key, self.id);
    }

    async fn acquire(&self) -> Acquired {
        let lease = self.live.session.lease();
        // A key with a lease can go away without anybody writing it.
        let is_free = [
            Compare::create_revision(&self.ownership).equal(0),
            Compare::lease(&self.key).equal(crate::LeaseId(0)),
        ];
        let txn = Txn::new()
            .when(is_free)
            .and_then([Op::from(Get::new(&self.key)), Op::put(&self.ownership, "").lease(lease).into()])
            .or_else([Get::new(&self.key), Get::new(&self.ownership)]);
        let response = match Call::new(&self.shared.client, txn).await {
            Ok(response) => response,
            Err(error) if error.may_have_taken_effect() => return Acquired::Unknown,
            Err(_) => return Acquired::Failed,
        };
        let mut responses = response.responses.into_iter();
        let Some(OpResponse::Get(read)) = responses.next() else { return Acquired::Unknown };
        let read = GetResponse { header: response.header, ..read };
        if response.succeeded {
            return Acquired::Yes(read);
        }
        match responses.next() {
            Some(OpResponse::Get(GetResponse { kvs, .. })) => match kvs.first() {
                Some(owner) if owner.lease == lease => Acquired::Late(read, owner.create_revision),
                _ => Acquired::No(read),
            },
            _ => Acquired::No(read),
        }
    }

    fn evict(&self) {
        self.shared.book.lock().evict(&self.key, self.id, Instant::now());
    }

    /// Waits until the key has to be let go, and forgets what it holds. Whether its ownership key may still be there.
    async fn hold(&self, epoch: Revision) -> bool {
        let revoked = self.revoked(epoch);
        let is_there = tokio::select! {
            is_there = revoked => is_there,
            () = self.release.notified() => true,
        };
        self.evict();
        is_there
    }

    /// Ends when the ownership key is marked or gone, or cannot be watched.
    async fn revoked(&self, epoch: Revision) -> bool {
        let mut revision = epoch;
        loop {
            match self.marked_after(epoch, revision).await {
                Ok(is_there) => return is_there,
                // What happened in between is seen by looking.
                Err(Error::Compacted { .. }) => {}
                Err(_) => return true,
            }
            let Ok(read) = Call::new(&self.shared.client, Get::new(&self.ownership)).await else {
                return true;
            };
            match read.kvs.first() {
                Some(owner) if owner.create_revision != epoch => return false,
                Some(owner) if owner.value == REVOKED => return true,
                Some(_) => revision = read.header.revision,
                None => return false,
            }
        }
    }

    async fn marked_after(&self, epoch: Revision, revision: Revision) -> Result<bool> {
        let watch = self.shared.client.watch(&self.ownership).start_revision(revision + 1);
        let mut changes = watch.await?;
        while let Some(response) = changes.next().await {
            for event in response?.events {
                match event.kind {
                    EventKind::Delete => return Ok(false),
                    EventKind::Put if event.kv.create_revision != epoch => return Ok(false),
                    EventKind::Put if event.kv.value == REVOKED => return Ok(true),
                    EventKind::Put => {}
                }
            }
        }
        Err(Error::Closed)
    }

    /// Deletes the ownership key. That ends every write of this client that is still on its way and counts on owning the key.
    async fn release(&self, epoch: Revision) {
        let mut pauses = self.shared.client.rpc().backoff();
        loop {
            let txn = Txn::new()
                .when([Compare::create_revision(&self.ownership).equal(epoch)])
                .and_then([Op::delete(&self.ownership)]);
            match Call::new(&self.shared.client, txn).await {
                Ok(response) => return self.shared.see(response.header),
                Err(Error::Closed) => return,
                Err(error) => tracing::debug!(%error, "an owned key is not let go yet"),
            }
            if let Some(pause) = pauses.next() {
                sleep(pause).await;
            }
        }
    }

    /// Lets go of the key whenever it turns out to be owned after all.
    async fn release_late(&self) {
        let lease = self.live.session.lease();
        let mut pauses = self.shared.client.rpc().backoff();
        loop {
            if let Ok(read) = Call::new(&self.shared.client, Get::new(&self.ownership)).await {
                let is_own = |owner: &&KeyValue| owner.lease == lease;
                match read.kvs.first().filter(is_own) {
                    Some(owner) => return self.release(owner.create_revision).await,
                    None => drop(self.appears_after(read.header.revision).await),
                }
            }
            if let Some(pause) = pauses.next() {
                sleep(pause).await;
            }
        }
    }

    async fn appears_after(&self, revision: Revision) -> Result<()> {
        let watch = self.shared.client.watch(&self.ownership).start_revision(revision + 1).filter_delete();
        let mut changes = watch.await?;
        while let Some(response) = changes.next().await {
            if response?.events.iter().any(|event| event.kv.lease == self.live.session.lease()) {
                return Ok(());
            }
        }
        Err(Error::Closed)
    }
}
