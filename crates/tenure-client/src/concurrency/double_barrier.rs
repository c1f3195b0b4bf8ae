//! Waiting for each other.

use super::{
    Session,
    line::{self, Ask, Patience, Place, Terms},
};
use crate::{
    Compare, Error, EventKind, GetResponse, IntoBytes, KeyRange, KeyValue, Op, Result, Revision, SortOrder,
    SortTarget, kv::Get,
};
use bytes::Bytes;

/// A barrier that a number of programs enter together and leave together, with the layout of etcd's recipe: who enters puts the
/// key `KEY/waiters/TIME` with the lease of his session, and when as many have as there shall be, `KEY/ready` is put.
///
/// ```no_run
/// # async fn example(session: tenure_client::concurrency::Session) -> tenure_client::Result<()> {
/// use tenure_client::concurrency::DoubleBarrier;
///
/// // Three programs do this.
/// let barrier = DoubleBarrier::new(&session, "round", 3);
/// let inside = barrier.enter().await?;
/// println!("all three are here");
/// inside.leave().await?;
/// println!("all three are done");
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct DoubleBarrier {
    session: Session,
    waiters: Bytes,
    ready: Bytes,
    count: usize,
}

/// Somebody is inside a [`DoubleBarrier`].
///
/// Dropping it leaves in the background, without waiting for the others.
///
/// ```no_run
/// # async fn example(barrier: &tenure_client::concurrency::DoubleBarrier) -> tenure_client::Result<()> {
/// let inside = barrier.enter().await?;
/// println!("in, as {:?}", inside.key());
/// // Does not wait for the others, as `leave` would.
/// drop(inside);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
#[must_use = "dropping it leaves"]
pub struct DoubleBarrierGuard {
    barrier: DoubleBarrier,
    place: Place,
    /// When all were told to go: whoever came later belongs to the next round.
    ready: Revision,
}

/// Who has entered, the oldest first, and when all were told to go.
struct Entered {
    revision: Revision,
    waiters: Vec<KeyValue>,
    /// 0 for never.
    ready: Revision,
}

impl Entered {
    /// Without those who had come when an earlier round was told to go: they are about to leave.
    fn of_next_round(mut self) -> Self {
        self.waiters.retain(|pair| pair.create_revision > self.ready);
        self
    }

    /// Those alone who had come when a round was told to go.
    fn of_round(mut self, ready: Revision) -> Self {
        self.waiters.retain(|pair| pair.create_revision < ready);
        self
    }

    fn position(&self, place: &Place) -> Option<usize> {
        self.waiters
            .iter()
            .position(|pair| pair.key == *place.key() && pair.create_revision == place.created())
    }
}

impl DoubleBarrier {
    /// The barrier of this name for `count` who enter. Nothing is asked of the server yet.
    ///
    /// ```no_run
    /// # async fn example(session: &tenure_client::concurrency::Session) {
    /// use tenure_client::concurrency::DoubleBarrier;
    ///
    /// let barrier = DoubleBarrier::new(session, "round", 3);
    /// # drop(barrier);
    /// # }
    /// ```
    #[must_use]
    pub fn new(session: &Session, key: impl IntoBytes, count: usize) -> Self {
        let key = key.into_bytes();
        let (waiters, ready) = (line::joined(&key, "/waiters/"), line::joined(&key, "/ready"));
        DoubleBarrier { session: session.clone(), waiters, ready, count }
    }

    /// Enters, and waits until as many have as there shall be. Goes on through lost connections, as long as the session lives.
    /// Dropping the future leaves in the background.
    ///
    /// ```no_run
    /// # async fn example(barrier: &tenure_client::concurrency::DoubleBarrier) -> tenure_client::Result<()> {
    /// use tenure_client::Error;
    ///
    /// match barrier.enter().await {
    ///     Ok(inside) => inside.leave().await?,
    ///     Err(Error::TooManyClients) => println!("this round is complete without me"),
    ///     Err(error) => return Err(error),
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::TooManyClients`] if as many have entered already; [`Error::SessionExpired`] if the session ends meanwhile, or
    /// somebody deletes the key; and refusals.
    pub async fn enter(&self) -> Result<DoubleBarrierGuard> {
        let mut patience = Patience::of(&self.session);
        let place = loop {
            match self.entered().await {
                Ok(entered) if entered.waiters.len() >= self.count => return Err(Error::TooManyClients),
                Ok(_) => {}
                Err(error) => {
                    patience.after(error).await?;
                    continue;
                }
            }
            let key = line::unique_key(&self.waiters);
            let ask = Ask { key, value: Bytes::new(), ahead: self.waiters.clone(), terms: Terms::New };
            if let Some(place) = Place::take(&self.session, ask, None).await? {
                break place;
            }
        };
        let complete = async {
            loop {
                match self.wait_complete(&place).await {
                    Ok(ready) => return Ok::<Revision, Error>(ready),
                    Err(error) => patience.after(error).await?,
                }
            }
        };
        let ready = tokio::select! {
            complete = complete => complete?,
            _ = self.session.expired() => return Err(Error::SessionExpired),
        };
        Ok(DoubleBarrierGuard { barrier: self.clone(), place, ready })
    }

    /// The revision at which all were told to go.
    async fn wait_complete(&self, place: &Place) -> Result<Revision> {
        loop {
            let entered = self.entered().await?;
            let (ready, is_there) = (entered.ready, entered.position(place).is_some());
            if is_there && ready > place.created() {
                return Ok(ready);
            }
            let entered = entered.of_next_round();
            let Some(position) = entered.position(place) else { return Err(Error::SessionExpired) };
            if position >= self.count {
                return Err(Error::TooManyClients);
            }
            match entered.waiters.get(self.count.saturating_sub(1)) {
                // He who came last tells the others; the first one does as well, should the last one be gone right after.
                Some(last) if position == 0 || position + 1 == self.count => {
                    self.tell_ready(place, last.create_revision).await?;
                }
                _ => self.changed(&entered).await?,
            }
        }
    }

    /// Tells everybody to go, unless that has been done since the last one came.
    async fn tell_ready(&self, place: &Place, since: Revision) -> Result<()> {
        let txn = Op::txn()
            .when([place.condition(), Compare::mod_revision(&self.ready).less(since)])
            .and_then([Op::put(&self.ready, "")]);
        self.session.client().execute(txn).await.map(drop)
    }

    /// Waits until there is a reason to look again.
    async fn changed(&self, entered: &Entered) -> Result<()> {
        let client = self.session.client();
        let mut count = entered.waiters.len();
        let mut changes = client.watch(self.keys()).start_revision(entered.revision + 1).await?;
        while let Some(response) = changes.next().await {
            let events = match response {
                Ok(response) => response.events,
                Err(Error::Compacted { .. }) => return Ok(()),
                Err(error) => return Err(error),
            };
            for event in events {
                let is_waiter = event.kv.key.starts_with(&self.waiters);
                match event.kind {
                    EventKind::Put if event.kv.key == self.ready => return Ok(()),
                    EventKind::Put if is_waiter && event.is_create() => count += 1,
                    // The first place may be ours now.
                    EventKind::Delete if is_waiter => return Ok(()),
                    _ => {}
                }
            }
            if count >= self.count {
                return Ok(());
            }
        }
        Err(Error::Closed)
    }

    /// `ready` and `waiters`, and little else: `ready` comes first.
    fn keys(&self) -> KeyRange {
        KeyRange::between(&self.ready, crate::prefix_end(&self.waiters))
    }

    /// Both at one revision, by one read. (A transaction of two is what ends an etcd before 3.5.5 if the connection breaks meanwhile.)
    async fn entered(&self) -> Result<Entered> {
        let read = Get::new(self.keys()).sort(SortTarget::CreateRevision, SortOrder::Ascend);
        let GetResponse { header, mut kvs, .. } = self.session.client().execute(read).await?;
        let ready = kvs.iter().find(|pair| pair.key == self.ready).map_or(0, |pair| pair.mod_revision);
        kvs.retain(|pair| pair.key.starts_with(&self.waiters));
        Ok(Entered { revision: header.revision, waiters: kvs, ready })
    }
}

impl DoubleBarrierGuard {
    /// The key of this one.
    ///
    /// ```no_run
    /// # async fn example(inside: &tenure_client::concurrency::DoubleBarrierGuard) {
    /// println!("{}", String::from_utf8_lossy(inside.key()));
    /// # }
    /// ```
    #[must_use]
    pub fn key(&self) -> &Bytes {
        self.place.key()
    }

    /// Leaves, and waits until all others have left, or their sessions have ended. Goes on through lost connections, as
    /// long as the session lives. If the future is dropped, it leaves in the background without waiting.
    ///
    /// ```no_run
    /// # async fn example(barrier: &tenure_client::concurrency::DoubleBarrier) -> tenure_client::Result<()> {
    /// let inside = barrier.enter().await?;
    /// // Everybody's share of the work.
    /// inside.leave().await?;
    /// println!("all shares are done");
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::SessionExpired`] if the session ends meanwhile; and refusals.
    pub async fn leave(self) -> Result<()> {
        let DoubleBarrierGuard { barrier, place, ready } = self;
        let session = barrier.session.clone();
        tokio::select! {
            left = barrier.leave(place, ready) => left,
            _ = session.expired() => Err(Error::SessionExpired),
        }
    }
}

impl DoubleBarrier {
    async fn leave(&self, place: Place, ready: Revision) -> Result<()> {
        let mut patience = Patience::of(&self.session);
        let mut place = Some(place);
        loop {
            match self.left(&mut place, ready).await {
                Ok(true) => return Ok(()),
                Ok(false) => {}
                Err(error) => patience.after(error).await?,
            }
        }
    }

    /// Goes on until somebody else has left. True if nobody of the round that was told to go at `ready` is there any more. Those of the
    /// next one are not waited for: they may wait for us.
    ///
    /// As in etcd's recipe, the oldest one stays until all others are gone, and clears up. Each other one leaves and waits for
    /// the oldest.
    async fn left(&self, place: &mut Option<Place>, ready: Revision) -> Result<bool> {
        let entered = self.entered().await?.of_round(ready);
        let client = self.session.client();
        let position = place.as_ref().and_then(|place| entered.position(place));
        if position != Some(0)
            && let Some(place) = place.take()
        {
            place.leave().await?;
            return Ok(false);
        }
        match (&entered.waiters[..], &place) {
            ([], _) => return Ok(true),
            ([_], Some(own)) => {
                let is_of_round = Compare::mod_revision(&self.ready).less(ready + 1);
                let txn = Op::txn()
                    .when([own.condition(), is_of_round])
                    .and_then([Op::delete(&self.ready), Op::delete(own.key())]);
                if client.execute(txn).await?.succeeded {
                    return Ok(true);
                }
            }
            ([_, .., youngest], Some(_)) => {
                line::deleted(client, &youngest.key, entered.revision + 1).await?;
                return Ok(false);
            }
            ([oldest, ..], None) => {
                line::deleted(client, &oldest.key, entered.revision + 1).await?;
                return Ok(false);
            }
        }
        // Others have been told to go meanwhile: that is theirs to clear up.
        match place.take() {
            Some(own) => own.leave().await.map(|()| true),
            None => Ok(true),
        }
    }
}
