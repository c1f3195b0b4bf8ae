//! A place in line.

use super::{Patience, Permit, deleted};
use crate::{
    Client, Compare, Error, EtcdError, KeyValue, Op, Result, Revision,
    concurrency::Session,
    kv::{Get, Txn, TxnResponse},
};
use bytes::Bytes;
use std::time::{Duration, Instant};
use tokio::{runtime::Handle, task::JoinHandle};

/// When a place that was left, and whose key was put by a request whose answer was lost, is looked at again.
const SWEEP_PAUSES: [Duration; 4] =
    [Duration::from_secs(1), Duration::from_secs(2), Duration::from_secs(4), Duration::from_secs(8)];

/// Who wants which place.
#[derive(Clone, Debug)]
pub(in crate::concurrency) struct Ask {
    /// The key to put.
    pub key: Bytes,
    pub value: Bytes,
    /// What the keys begin with that go before, if they are older.
    pub ahead: Bytes,
    pub terms: Terms,
}

/// On what terms a place is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::concurrency) enum Terms {
    /// The key is named for the session's lease: one that is there already is ours.
    Session,
    /// As `Session`, but only if it is the first place.
    SessionIfFirst,
    /// The key is to be new: one that is there already is somebody else's, unless an answer of ours was lost.
    New,
}

/// A place in line. Dropping it gives it up in the background.
#[derive(Debug)]
pub(in crate::concurrency) struct Place {
    session: Session,
    key: Bytes,
    created: Revision,
    /// The last revision at which the key was there.
    seen: Revision,
    /// A request that puts the key may still be under way.
    is_in_doubt: bool,
    is_first: bool,
    /// The pair that was there before.
    found: Option<KeyValue>,
    permit: Option<Permit>,
    is_left: bool,
    runtime: Handle,
}

impl Place {
    /// Takes a place; nothing if that cannot be on these terms.
    ///
    /// Goes on by itself until it is known whether the key was put. So if the future is dropped meanwhile, the place is taken
    /// all the same, and then given up.
    pub(in crate::concurrency) async fn take(
        session: &Session,
        ask: Ask,
        permit: Option<Permit>,
    ) -> Result<Option<Self>> {
        if session.is_expired() {
            return Err(Error::SessionExpired);
        }
        let taking = tokio::spawn(line_up(session.clone(), ask, permit));
        let taken = tokio::select! {
            taken = taking => taken.unwrap_or(Err(Error::Closed))?,
            _ = session.expired() => return Err(Error::SessionExpired),
        };
        if session.is_expired() { Err(Error::SessionExpired) } else { Ok(taken) }
    }

    /// A place that is known to be there, and the first: taken by this program in an earlier life.
    pub(in crate::concurrency) fn taken_up(
        session: &Session,
        pair: KeyValue,
        seen: Revision,
        permit: Option<Permit>,
    ) -> Self {
        Place {
            session: session.clone(),
            key: pair.key.clone(),
            created: pair.create_revision,
            seen,
            is_in_doubt: false,
            is_first: true,
            found: Some(pair),
            permit,
            is_left: false,
            runtime: Handle::current(),
        }
    }

    pub(in crate::concurrency) fn session(&self) -> &Session {
        &self.session
    }

    pub(in crate::concurrency) fn key(&self) -> &Bytes {
        &self.key
    }

    /// The revision at which the key was created.
    pub(in crate::concurrency) fn created(&self) -> Revision {
        self.created
    }

    /// The last revision at which the key is known to have been there.
    pub(in crate::concurrency) fn seen(&self) -> Revision {
        self.seen
    }

    /// The pair that was there when the place was taken, if it had been taken before.
    pub(in crate::concurrency) fn found(&self) -> Option<&KeyValue> {
        self.found.as_ref()
    }

    /// Holds as long as the place is ours.
    pub(in crate::concurrency) fn condition(&self) -> Compare {
        Compare::create_revision(&self.key).equal(self.created)
    }

    /// Waits until nobody is ahead. False if somebody has deleted our key meanwhile.
    pub(in crate::concurrency) async fn wait_first(&mut self, ahead: &Bytes) -> Result<bool> {
        let session = self.session.clone();
        let is_first = tokio::select! {
            is_first = self.stand(ahead) => is_first?,
            _ = session.expired() => return Err(Error::SessionExpired),
        };
        if session.is_expired() { Err(Error::SessionExpired) } else { Ok(is_first) }
    }

    async fn stand(&mut self, ahead: &Bytes) -> Result<bool> {
        if self.is_first {
            return Ok(true);
        }
        let mut patience = Patience::of(&self.session);
        loop {
            match self.look(ahead).await {
                Ok(Sight::First { revision }) => {
                    (self.is_first, self.seen) = (true, revision);
                    return Ok(true);
                }
                Ok(Sight::Gone) => return Ok(false),
                Ok(Sight::Behind { key, revision }) => {
                    if let Err(error) = deleted(self.session.client(), &key, revision + 1).await {
                        patience.after(error).await?;
                    }
                }
                Err(error) => patience.after(error).await?,
            }
        }
    }

    /// Looks at the own key and the one before it. They need not be of one revision: nobody can come to stand before us any more, and our
    /// key, if it is there, has been there all the time.
    ///
    /// A transaction would read both at once; but etcd before 3.5.5 ends if the connection breaks while it reads in one.
    async fn look(&self, ahead: &Bytes) -> Result<Sight> {
        let client = self.session.client();
        let own = client.execute(Get::new(&self.key).keys_only());
        let before = Get::new(ahead).last_created().create_revision_max(self.created - 1).keys_only();
        let (own, before) = tokio::try_join!(own, client.execute(before))?;
        let is_there = own.first().is_some_and(|own| own.create_revision == self.created);
        Ok(match before.first() {
            _ if !is_there => Sight::Gone,
            Some(first) => Sight::Behind { key: first.key.clone(), revision: before.header.revision },
            None => Sight::First { revision: own.header.revision },
        })
    }

    /// Gives the place up because its key is gone. Another one can be taken with the permit.
    pub(in crate::concurrency) fn lost(mut self) -> Option<Permit> {
        self.is_left = true;
        self.permit.take()
    }

    /// The place as it is, which is left to the session and its lease.
    pub(in crate::concurrency) fn kept(mut self) {
        self.is_left = true;
    }

    /// Gives the place up. Goes on in the background if the future is dropped.
    pub(in crate::concurrency) async fn leave(mut self) -> Result<()> {
        match self.depart() {
            Some(departing) => departing.await.unwrap_or(Err(Error::Closed)),
            None => Ok(()),
        }
    }

    fn depart(&mut self) -> Option<JoinHandle<Result<()>>> {
        if std::mem::replace(&mut self.is_left, true) {
            return None;
        }
        let departure = Departure {
            session: self.session.clone(),
            key: self.key.clone(),
            created: self.created,
            is_in_doubt: self.is_in_doubt,
            permit: self.permit.take(),
        };
        Some(self.runtime.spawn(departure.carry_out()))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        drop(self.depart());
    }
}

/// What somebody in line sees before him.
enum Sight {
    First {
        revision: Revision,
    },
    Behind {
        key: Bytes,
        revision: Revision,
    },
    /// His own place is gone.
    Gone,
}

/// Puts the key if it is not there, until it is known whether it was put, and when.
///
/// If the answer to a put is lost, the same transaction asks for the key: it finds what the first one put, and if it has to put
/// the key itself, the first one cannot any more as long as that is there.
async fn line_up(session: Session, ask: Ask, permit: Option<Permit>) -> Result<Option<Place>> {
    let mut patience = Patience::of(&session);
    let mut is_in_doubt = false;
    let taken = loop {
        let error = match session.client().execute(ask.txn(&session)).await {
            Ok(response) => break ask.taken(&session, &response, is_in_doubt),
            Err(error) if error.is(EtcdError::LeaseNotFound) => break Err(Error::SessionExpired),
            Err(error) => error,
        };
        is_in_doubt |= error.may_have_taken_effect();
        if let Err(error) = patience.after(error).await {
            break Err(error);
        }
    };
    let runtime = Handle::current();
    match taken {
        Ok(Some(Taken { created, seen, is_first, found })) => Ok(Some(Place {
            session,
            key: ask.key,
            created,
            seen,
            is_in_doubt,
            is_first,
            found,
            permit,
            is_left: false,
            runtime,
        })),
        Ok(None) => Ok(None),
        Err(error) => {
            if is_in_doubt {
                runtime.spawn(sweep(session.client().clone(), ask.key, 0, permit));
            }
            Err(error)
        }
    }
}

struct Taken {
    created: Revision,
    seen: Revision,
    is_first: bool,
    found: Option<KeyValue>,
}

impl Ask {
    fn txn(&self, session: &Session) -> Txn {
        let condition = match self.terms {
            Terms::Session | Terms::New => Compare::create_revision(&self.key).equal(0),
            // Nobody at all stands there.
            Terms::SessionIfFirst => Compare::create_revision(&self.ahead).prefix().equal(0),
        };
        let put = Op::put(&self.key, &self.value).lease(session.lease());
        let first = Op::from(Get::new(&self.ahead).first_created().keys_only());
        Txn::new()
            .when([condition])
            .and_then([Op::from(put), first.clone()])
            .or_else([Op::from(Get::new(&self.key)), first])
    }

    fn taken(&self, session: &Session, response: &TxnResponse, is_in_doubt: bool) -> Result<Option<Taken>> {
        let is_first_at = |created, first: Option<&KeyValue>| {
            first.is_none_or(|first: &KeyValue| first.create_revision >= created)
        };
        if response.succeeded {
            let created = response.header.revision;
            let first = response.responses.get(1).and_then(|response| response.as_get());
            let first = first.ok_or(Error::Protocol("fewer answers than operations"))?.first();
            return Ok(Some(Taken {
                created,
                seen: created,
                is_first: is_first_at(created, first),
                found: None,
            }));
        }
        let [own, first] = reads(response)?;
        let Some(own) = own else { return Ok(None) };
        let is_first = is_first_at(own.create_revision, first);
        let is_ours = match self.terms {
            Terms::Session => true,
            Terms::SessionIfFirst => is_first,
            Terms::New => is_in_doubt && own.lease == session.lease() && own.value == self.value,
        };
        let found = Some(own.clone());
        Ok(is_ours.then_some(Taken {
            created: own.create_revision,
            seen: response.header.revision,
            is_first,
            found,
        }))
    }
}

/// What two reads have found.
fn reads(response: &TxnResponse) -> Result<[Option<&KeyValue>; 2]> {
    match &response.responses[..] {
        [one, two] => {
            let read = |response: &crate::OpResponse| response.as_get().is_some();
            if !read(one) || !read(two) {
                return Err(Error::Protocol("an answer of another kind than its request"));
            }
            let first = |response| crate::OpResponse::as_get(response).and_then(|read| read.first());
            Ok([first(one), first(two)])
        }
        _ => Err(Error::Protocol("another number of answers than operations")),
    }
}

/// The way out.
struct Departure {
    session: Session,
    key: Bytes,
    created: Revision,
    is_in_doubt: bool,
    permit: Option<Permit>,
}

impl Departure {
    async fn carry_out(self) -> Result<()> {
        let Departure { session, key, created, is_in_doubt, permit } = self;
        let mut patience = Patience::without_end(session.client());
        let delete =
            || Txn::new().when([Compare::create_revision(&key).equal(created)]).and_then([Op::delete(&key)]);
        // The key is of this one place, so it does no harm to delete it twice.
        let outcome = loop {
            let error = match session.client().execute(delete()).await {
                Ok(_) => break Ok(()),
                // A lease that the server has ended took the key with it.
                Err(_) if session.is_gone() => break Ok(()),
                Err(error) => error,
            };
            // By the clock here the lease is over. By that of the server the key may be there for a while.
            if Instant::now() >= session.deadline() {
                break Err(error);
            }
            if let Err(error) = patience.after(error).await {
                break Err(error);
            }
        };
        if let Err(error) = &outcome {
            tracing::debug!(%error, key = %key.escape_ascii(), "a place in line was not given up and lasts as long as its lease");
        }
        if is_in_doubt {
            tokio::spawn(sweep(session.client().clone(), key, created, permit));
        }
        outcome
    }
}

/// Looks for a key that a request has put after all, long after it was given up: it would stand there as long as its lease,
/// for nobody. Does nothing while somebody else of the session uses the key: then it is his.
async fn sweep(client: Client, key: Bytes, created: Revision, permit: Option<Permit>) {
    let permit = permit.map(Permit::given_back);
    for pause in SWEEP_PAUSES {
        tokio::time::sleep(pause).await;
        let _permit = match &permit {
            None => None,
            Some(permit) => match permit() {
                Some(permit) => Some(permit),
                None => continue,
            },
        };
        let txn =
            Txn::new().when([Compare::create_revision(&key).greater(created)]).and_then([Op::delete(&key)]);
        if let Err(error) = client.execute(txn).await {
            tracing::debug!(%error, key = %key.escape_ascii(), "looking for a late key failed");
        }
    }
}
