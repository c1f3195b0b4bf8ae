//! A lease that is kept alive while a command holds a lock or an election.

use crate::{
    connection::Connection,
    exit::{Exit, Failure},
    watcher::{Told, Watcher},
};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use tenure_api::{
    etcdserverpb::{
        Compare, PutRequest, RangeRequest, RangeResponse, RequestOp, TxnRequest, WatchCreateRequest,
        compare::{CompareResult, CompareTarget, TargetUnion},
        range_request::{SortOrder, SortTarget},
        request_op::Request,
        response_op::Response,
    },
    mvccpb::event::EventType,
};
use tokio::{
    sync::watch,
    task::JoinHandle,
    time::{sleep, sleep_until},
};

/// How long to wait before a renewal that failed is tried again.
const RENEWAL_BACKOFF: Duration = Duration::from_millis(500);

/// A lease, and the task that renews it.
pub struct Session {
    connection: Arc<Connection>,
    lease: i64,
    lost: watch::Receiver<bool>,
    renewal: JoinHandle<()>,
}

impl Drop for Session {
    fn drop(&mut self) {
        self.renewal.abort();
    }
}

/// A key that waits in line under a name: the first in line holds the lock or leads.
#[derive(Clone, Debug)]
pub struct Place {
    /// `name/` and the lease id in hexadecimal.
    pub key: Vec<u8>,
    /// The revision that created it.
    pub revision: i64,
    /// The revision of the store when the place was taken or found, if it was the first then.
    first_at: Option<i64>,
    prefix: Vec<u8>,
}

/// The first place in line.
#[derive(Clone, Debug)]
pub struct First {
    /// The revision of the store when it became the first.
    pub revision: i64,
    /// Its pair; without pairs if it was lost meanwhile.
    pub pairs: RangeResponse,
}

impl Session {
    /// Makes a lease of `ttl_seconds` and begins to renew it.
    ///
    /// # Errors
    /// The lease cannot be made.
    pub async fn start(connection: Arc<Connection>, ttl_seconds: i64) -> Result<Self, Failure> {
        let granted = connection.lease_grant(ttl_seconds).await?;
        let (lose, lost) = watch::channel(false);
        let (id, ttl) = (granted.id, granted.ttl);
        let renewing = connection.clone();
        let renewal = tokio::spawn(async move {
            renew(&renewing, id, ttl).await;
            lose.send_replace(true);
        });
        Ok(Session { connection, lease: id, lost, renewal })
    }

    /// The lease has ended, or nobody could be asked to renew it until it must have.
    pub async fn lost(&self) {
        let mut lost = self.lost.clone();
        // An error says that the task is gone, which ends renewals too.
        drop(lost.wait_for(|lost| *lost).await);
    }

    /// Ends the lease, and with it every key it holds.
    ///
    /// # Errors
    /// The server refuses, or does not answer in time.
    pub async fn end(&self) -> Result<(), Failure> {
        self.connection.lease_revoke(self.lease).await.map(drop)
    }

    /// Takes a place in line under `name`, or finds the one that this session has already.
    ///
    /// # Errors
    /// The server refuses, or does not answer in time.
    pub async fn line_up(&self, name: &[u8], value: &[u8]) -> Result<Place, Failure> {
        let prefix = [name, b"/"].concat();
        let key = [prefix.as_slice(), format!("{:x}", self.lease).as_bytes()].concat();
        let put = PutRequest {
            key: key.clone().into(),
            value: value.to_vec().into(),
            lease: self.lease,
            ..Default::default()
        };
        let get = RangeRequest { key: key.clone().into(), ..Default::default() };
        let op = |request| RequestOp { request: Some(request) };
        let first = || op(Request::RequestRange(first_created(&prefix)));
        let txn = TxnRequest {
            compare: vec![absent(&key)],
            success: vec![op(Request::RequestPut(put)), first()],
            failure: vec![op(Request::RequestRange(get)), first()],
        };
        let response = self.connection.txn(txn).await?;
        let created = |at: usize| match response.responses.get(at).and_then(|op| op.response.as_ref()) {
            Some(Response::ResponseRange(range)) => range.kvs.first().map(|pair| pair.create_revision),
            _ => None,
        };
        let now = response.header.unwrap_or_default().revision;
        let revision = created(0).unwrap_or(now);
        let first_at = (created(1) == Some(revision)).then_some(now);
        Ok(Place { key, revision, first_at, prefix })
    }

    /// Waits until everybody who stood in line before `place` is gone.
    ///
    /// # Errors
    /// The server refuses, or does not answer in time.
    pub async fn wait_first(&self, place: &Place) -> Result<First, Failure> {
        while place.first_at.is_none() {
            let before = self.connection.range(last_created(&place.prefix, place.revision - 1)).await?;
            let Some(pair) = before.kvs.first() else { break };
            let create = WatchCreateRequest {
                key: pair.key.clone(),
                start_revision: before.header.unwrap_or_default().revision,
                ..Default::default()
            };
            wait_deleted(Watcher::new(self.connection.clone(), create)).await?;
        }
        let key = place.key.clone().into();
        let pairs = self.connection.range(RangeRequest { key, ..Default::default() }).await?;
        let now = pairs.header.unwrap_or_default().revision;
        Ok(First { revision: place.first_at.unwrap_or(now), pairs })
    }
}

/// Renews a lease three times in its life until it is gone.
async fn renew(connection: &Connection, id: i64, ttl_seconds: i64) {
    let life = |seconds: i64| Duration::from_secs(u64::try_from(seconds).unwrap_or_default());
    let mut end = Instant::now() + life(ttl_seconds);
    let mut pause = life(ttl_seconds) / 3;
    loop {
        sleep(pause).await;
        let renewal = connection.lease_keep_alive_once(id);
        tokio::select! {
            () = sleep_until(end.into()) => return,
            renewed = renewal => match renewed {
                Ok(response) if response.ttl <= 0 => return,
                Ok(response) => {
                    end = Instant::now() + life(response.ttl);
                    pause = life(response.ttl) / 3;
                }
                Err(_) => pause = RENEWAL_BACKOFF,
            },
        }
    }
}

async fn wait_deleted(mut watcher: Watcher) -> Result<(), Failure> {
    loop {
        match watcher.next().await {
            Told::News(response) => {
                if response.events.iter().any(|event| event.r#type == EventType::Delete as i32) {
                    return Ok(());
                }
            }
            Told::End(reason, _) => return Err(Failure::new(Exit::Error, reason)),
        }
    }
}

fn absent(key: &[u8]) -> Compare {
    Compare {
        result: CompareResult::Equal.into(),
        target: CompareTarget::Create.into(),
        key: key.to_vec().into(),
        target_union: Some(TargetUnion::CreateRevision(0)),
        ..Default::default()
    }
}

/// The youngest key with the prefix that was created at `revision` or before.
fn last_created(prefix: &[u8], revision: i64) -> RangeRequest {
    RangeRequest {
        key: prefix.to_vec().into(),
        range_end: prefix_end(prefix).into(),
        limit: 1,
        sort_order: SortOrder::Descend.into(),
        sort_target: SortTarget::Create.into(),
        max_create_revision: revision,
        ..Default::default()
    }
}

/// The oldest key with the prefix.
#[must_use]
pub fn first_created(prefix: &[u8]) -> RangeRequest {
    RangeRequest {
        key: prefix.to_vec().into(),
        range_end: prefix_end(prefix).into(),
        limit: 1,
        sort_order: SortOrder::Ascend.into(),
        sort_target: SortTarget::Create.into(),
        ..Default::default()
    }
}

/// The first key after all keys with the prefix; a zero byte, which means "no end", if there is none.
#[must_use]
pub fn prefix_end(prefix: &[u8]) -> Vec<u8> {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if last < 0xff {
            end.push(last + 1);
            return end;
        }
    }
    vec![0]
}

#[cfg(test)]
mod tests {
    use super::prefix_end;

    #[test]
    fn the_end_of_a_prefix() {
        assert_eq!(prefix_end(b"a"), b"b");
        assert_eq!(prefix_end(b"a\xff\xff"), b"b");
        assert_eq!(prefix_end(b"\xff"), b"\0");
        assert_eq!(prefix_end(b""), b"\0");
    }
}
