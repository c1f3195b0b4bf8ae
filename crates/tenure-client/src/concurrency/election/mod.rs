//! Elections.
//!
//! * `leaders`: who leads, from what is told of the candidates: no IO.
//! * `observe`: the stream of leaders.

mod leaders;
mod observe;

use super::{
    Session,
    line::{self, Ask, Hold, Patience, Place, Terms},
};
use crate::{
    Client, Compare, Error, EtcdError, IntoBytes, KeyValue, Op, ResponseHeader, Result, Revision, kv::Get,
};
use bytes::Bytes;
use leaders::Led;
pub use observe::LeaderStream;
use std::ops::Deref;
use tokio::sync::Mutex;

/// An election over all programs of a cluster: of all who campaign under the same prefix one leads, whether they use this
/// crate, etcd's client for Go, `etcdctl elect`, or the Election service.
///
/// Everybody who campaigns puts the key `PREFIX/LEASE`, with the lease of his session in hexadecimal, and what he proclaims
/// as its value. The oldest key leads; when it goes, the next oldest does.
///
/// ```no_run
/// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
/// use std::time::Duration;
/// use tenure_client::concurrency::{Election, Session};
///
/// let session = Session::builder(&client).ttl(Duration::from_secs(10)).open().await?;
/// let election = Election::new(&session, "scheduler");
/// let leadership = election.campaign("10.0.0.7:80").await?;
/// tokio::select! {
///     why = leadership.lost() => println!("somebody else may lead by now: {why}"),
///     () = schedule() => leadership.resign().await?,
/// }
/// # Ok(())
/// # }
/// # async fn schedule() {}
/// ```
///
/// Leading is worth as much as a lock: see [`Mutex`](super::Mutex).
#[derive(Clone, Debug)]
pub struct Election {
    session: Session,
    prefix: Bytes,
    key: Bytes,
}

/// Who leads.
///
/// ```no_run
/// # async fn example(election: &tenure_client::concurrency::Election) -> tenure_client::Result<()> {
/// let leader = election.leader().await?;
/// println!("{} says {}", leader.kv.key_text(), leader.kv.value_text());
/// println!("its fencing token is {}", leader.kv.create_revision);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LeaderResponse {
    /// Server and store. The revision is the one at which he led, or proclaimed this, as far as it is known: not before.
    pub header: ResponseHeader,
    /// The leader's key, with what he proclaims as its value.
    pub kv: KeyValue,
}

impl LeaderResponse {
    fn new(header: ResponseHeader, led: Led) -> Self {
        LeaderResponse { header: ResponseHeader { revision: led.revision, ..header }, kv: led.leader }
    }
}

impl Election {
    /// The election of this name. Nothing is asked of the server yet.
    ///
    /// ```no_run
    /// # async fn example(session: &tenure_client::concurrency::Session) {
    /// use tenure_client::concurrency::Election;
    ///
    /// let election = Election::new(session, "scheduler");
    /// # drop(election);
    /// # }
    /// ```
    #[must_use]
    pub fn new(session: &Session, prefix: impl IntoBytes) -> Self {
        let prefix = line::prefix_of(prefix);
        let key = line::key_of(&prefix, session.lease());
        Election { session: session.clone(), prefix, key }
    }

    /// Stands for election with `value`, and waits until elected.
    ///
    /// It goes on through lost connections and servers that start again, as long as the session lives. If the answer to its
    /// put is lost, it first finds out whether its key is there. If somebody deletes its key while it waits, it stands
    /// again and is the last. The clones of one session stand one after the other.
    ///
    /// Dropping the future gives the candidacy up: the key is deleted in the background, at the latest by the end of the lease.
    ///
    /// ```no_run
    /// # async fn example(election: &tenure_client::concurrency::Election) -> tenure_client::Result<()> {
    /// use std::time::Duration;
    ///
    /// // Dropping the future gives the candidacy up.
    /// match tokio::time::timeout(Duration::from_secs(10), election.campaign("10.0.0.7:80")).await {
    ///     Ok(leadership) => println!("elected at revision {}", leadership?.revision()),
    ///     Err(_) => println!("somebody else goes on leading"),
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::SessionExpired`] if the session ends meanwhile; refusals such as
    /// [`PermissionDenied`](crate::EtcdError::PermissionDenied).
    pub async fn campaign(&self, value: impl IntoBytes) -> Result<Leadership> {
        let value = value.into_bytes();
        let mut permit = Some(self.session.permit(&self.key).await?);
        loop {
            let ask = Ask {
                key: self.key.clone(),
                value: value.clone(),
                ahead: self.prefix.clone(),
                terms: Terms::Session,
            };
            let taken = Place::take(&self.session, ask, permit).await?;
            let mut place = taken.ok_or(Error::Protocol("a key that is and is not there"))?;
            let proclaimed = place.found().map_or(place.created(), |pair| pair.mod_revision);
            let proclaimed = Mutex::new(proclaimed);
            if place.found().is_some_and(|pair| pair.value != value) {
                match proclaim(&place, &proclaimed, value.clone()).await {
                    Err(Error::NotLeader) => {
                        permit = place.lost();
                        continue;
                    }
                    proclaimed => proclaimed?,
                };
            }
            if place.wait_first(&self.prefix).await? {
                return Ok(Leadership { hold: Hold::new(place), proclaimed });
            }
            permit = place.lost();
        }
    }

    /// Takes a leadership up again that an earlier life of this program has [kept](Leadership::keep), with the same lease.
    /// As Go's `ResumeElection`, but it asks whether it still leads.
    ///
    /// ```no_run
    /// use tenure_client::{Client, Error, LeaseId, Revision, concurrency::{Election, Leadership, Session}};
    ///
    /// /// Goes on with what [`Leadership::keep`] answered before this program started again.
    /// async fn resume(client: &Client, lease: LeaseId, key: &[u8], revision: Revision) -> Result<Leadership, Error> {
    ///     let session = Session::builder(client).lease(lease).open().await?;
    ///     let election = Election::new(&session, "scheduler");
    ///     match election.resume(key, revision).await {
    ///         Err(Error::NotLeader) => election.campaign("10.0.0.7:80").await,
    ///         leadership => leadership,
    ///     }
    /// }
    /// ```
    ///
    /// # Errors
    /// [`Error::NotLeader`] if the key is gone, is another one by now, does not lead, or is in use by this session;
    /// [`Error::SessionExpired`]; and those of a read.
    pub async fn resume(&self, key: impl IntoBytes, revision: Revision) -> Result<Leadership> {
        let key = key.into_bytes();
        let permit = self.session.slots().try_permit(&key).ok_or(Error::NotLeader)?;
        let LeaderResponse { header, kv } = match self.leader().await {
            Err(Error::NoLeader) => return Err(Error::NotLeader),
            leader => leader?,
        };
        if self.session.is_expired() {
            return Err(Error::SessionExpired);
        }
        if kv.key != key || kv.create_revision != revision {
            return Err(Error::NotLeader);
        }
        let proclaimed = Mutex::new(kv.mod_revision);
        let place = Place::taken_up(&self.session, kv, header.revision, Some(permit));
        Ok(Leadership { hold: Hold::new(place), proclaimed })
    }

    /// Who leads.
    ///
    /// ```no_run
    /// # async fn example(election: &tenure_client::concurrency::Election) -> tenure_client::Result<()> {
    /// use tenure_client::Error;
    ///
    /// match election.leader().await {
    ///     Ok(leader) => println!("{} leads", leader.kv.value_text()),
    ///     Err(Error::NoLeader) => println!("nobody leads"),
    ///     Err(error) => return Err(error),
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::NoLeader`] if nobody does; and those of a read.
    pub async fn leader(&self) -> Result<LeaderResponse> {
        let answer = self.session.client().execute(Get::new(&self.prefix).first_created()).await?;
        let kv = answer.kvs.into_iter().next().ok_or(Error::NoLeader)?;
        Ok(LeaderResponse { header: answer.header, kv })
    }

    /// [`Election::observe`] for those who do not want to lead and have no session.
    ///
    /// ```no_run
    /// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
    /// use tenure_client::concurrency::Election;
    ///
    /// let mut leaders = Election::observer(&client, "jobs");
    /// while let Some(leader) = leaders.next().await {
    ///     println!("{} leads", leader?.kv.value_text());
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn observer(client: &Client, prefix: impl IntoBytes) -> LeaderStream {
        LeaderStream::new(client.clone(), line::prefix_of(prefix))
    }

    /// Tells who leads, and who leads after him, until it is dropped. It begins when it is first asked, needs no candidacy,
    /// and goes on when the session ends.
    ///
    /// ```no_run
    /// # async fn example(election: tenure_client::concurrency::Election) -> tenure_client::Result<()> {
    /// let mut leaders = election.observe();
    /// while let Some(leader) = leaders.next().await {
    ///     println!("{} leads", leader?.kv.value_text());
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn observe(&self) -> LeaderStream {
        LeaderStream::new(self.session.client().clone(), self.prefix.clone())
    }

    /// The key of this session: `PREFIX/LEASE`.
    ///
    /// ```no_run
    /// # async fn example(election: &tenure_client::concurrency::Election) -> tenure_client::Result<()> {
    /// let is_me = election.leader().await?.kv.key == *election.key();
    /// println!("I lead: {is_me}");
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn key(&self) -> &Bytes {
        &self.key
    }
}

/// A leadership, from [`Election::campaign`].
///
/// It has the methods of a [`Hold`]: the fencing token, what tells of a loss, the condition for transactions. Dropping it resigns in
/// the background, if its Tokio runtime still runs; [`Leadership::resign`] tells when that is done.
///
/// ```no_run
/// # async fn example(election: &tenure_client::concurrency::Election) -> tenure_client::Result<()> {
/// let leadership = election.campaign("starting").await?;
/// leadership.proclaim("ready").await?;
/// // What a leader does, until there is nothing left or somebody else leads.
/// leadership.resign().await?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
#[must_use = "dropping it resigns"]
pub struct Leadership {
    hold: Hold,
    /// When the value was last written, as far as is known. Locked while it is written.
    proclaimed: Mutex<Revision>,
}

impl Deref for Leadership {
    type Target = Hold;

    fn deref(&self) -> &Hold {
        &self.hold
    }
}

impl Leadership {
    /// Tells those who observe `value` instead of what was told before. Proclamations are carried out one after the other.
    ///
    /// If the answer is lost, it finds out whether the value was written, and writes it if not. If the future is dropped, the
    /// value may be written or not, at once; it will not replace what is proclaimed later.
    ///
    /// ```no_run
    /// # async fn example(leadership: &tenure_client::concurrency::Leadership) -> tenure_client::Result<()> {
    /// use tenure_client::Error;
    ///
    /// match leadership.proclaim("10.0.0.7:81").await {
    ///     Err(Error::NotLeader | Error::SessionExpired) => println!("somebody else leads by now"),
    ///     answer => println!("told since revision {}", answer?.revision),
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::NotLeader`] if the key is gone; [`Error::SessionExpired`] if the session has ended, or ends meanwhile; and
    /// the server's refusals.
    pub async fn proclaim(&self, value: impl IntoBytes) -> Result<ResponseHeader> {
        proclaim(self.hold.place(), &self.proclaimed, value.into_bytes()).await
    }

    /// Resigns, and comes back when the next one leads. That the leadership had been lost is no error. If the future is
    /// dropped, the work goes on in the background. It is tried as long as the lease may live: see
    /// [`MutexGuard::unlock`](super::MutexGuard::unlock), which is the same.
    ///
    /// ```no_run
    /// # async fn example(leadership: tenure_client::concurrency::Leadership) -> tenure_client::Result<()> {
    /// leadership.resign().await?;
    /// println!("the next one leads");
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// What keeps the key from being deleted. Then it lasts as long as the lease on the server, and the next one leads only after that.
    pub async fn resign(self) -> Result<()> {
        self.hold.into_place().leave().await
    }

    /// Lets go without resigning: leads on as long as the lease lives. Answers what [`Election::resume`] needs.
    ///
    /// The session that it was won with must be kept from revoking the lease: with [`Session::orphan`], or by being of a
    /// [given lease](super::SessionBuilder::lease).
    ///
    /// ```no_run
    /// # use tenure_client::concurrency::{Leadership, Session};
    /// # async fn example(session: Session, leadership: Leadership) -> tenure_client::Result<()> {
    /// // For the next start of this program, which must come before the lease runs out.
    /// let lease = session.lease();
    /// let (key, revision) = leadership.keep();
    /// session.orphan();
    /// println!("{lease} {key:?} {revision}");
    /// # Ok(())
    /// # }
    /// ```
    #[must_use = "nobody else knows"]
    pub fn keep(self) -> (Bytes, Revision) {
        let place = self.hold.into_place();
        let kept = (place.key().clone(), place.created());
        place.kept();
        kept
    }
}

/// Writes what a place proclaims.
///
/// The condition on the last write makes sure that a request whose answer was lost does nothing once a later one has been
/// carried out.
async fn proclaim(place: &Place, proclaimed: &Mutex<Revision>, value: Bytes) -> Result<ResponseHeader> {
    let session = place.session();
    if session.is_expired() {
        return Err(Error::SessionExpired);
    }
    let mut proclaimed = proclaimed.lock().await;
    let mut patience = Patience::of(session);
    let mut is_in_doubt = false;
    loop {
        let txn = Op::txn()
            .when([place.condition(), Compare::mod_revision(place.key()).equal(*proclaimed)])
            .and_then([Op::put(place.key(), &value).lease(session.lease())])
            .or_else([Op::get(place.key())]);
        let response = match session.client().execute(txn).await {
            Ok(response) => response,
            Err(error) if error.is(EtcdError::LeaseNotFound) => return Err(Error::SessionExpired),
            Err(error) => {
                is_in_doubt |= error.may_have_taken_effect();
                patience.after(error).await?;
                continue;
            }
        };
        if response.succeeded {
            *proclaimed = response.header.revision;
            return Ok(response.header);
        }
        let found = response.responses.first().and_then(|response| response.as_get());
        let found = found.ok_or(Error::Protocol("fewer answers than operations"))?.first();
        let Some(pair) = found.filter(|pair| pair.create_revision == place.created()) else {
            return Err(Error::NotLeader);
        };
        *proclaimed = pair.mod_revision;
        if is_in_doubt && pair.value == value {
            return Ok(ResponseHeader { revision: pair.mod_revision, ..response.header });
        }
    }
}
