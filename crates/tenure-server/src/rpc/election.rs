//! The Election service: leader election among clients.

use super::line::{self, Line, Place, Session};
use crate::limits;
use crate::member::Member;
use bytes::Bytes;
use tenure_api::error::{EtcdError, UnlistedError};
use tenure_api::etcdserverpb::WatchCreateRequest;
use tenure_api::mvccpb::{Event, KeyValue, event::EventType};
use tenure_api::server::v3electionpb::election_server::Election;
use tenure_api::v3electionpb::{
    CampaignRequest, CampaignResponse, LeaderKey, LeaderRequest, LeaderResponse, ProclaimRequest,
    ProclaimResponse, ResignRequest, ResignResponse,
};
use tenure_api::wire::WatchResponse;
use tenure_core::command::{Op, Put, Txn};
use tenure_core::types::Revision;
use tokio::sync::mpsc;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

/// The service.
#[derive(Clone)]
pub struct ElectionService {
    member: Member,
}

/// An election as one caller sees it.
#[derive(Clone)]
struct Ballot {
    line: Line,
}

/// The next leader and the revision at which he leads.
type Led = (Revision, KeyValue);

impl ElectionService {
    /// The service of a member.
    #[must_use]
    pub fn new(member: Member) -> Self {
        Self { member }
    }

    fn ballot<T>(&self, request: &Request<T>) -> Ballot {
        Ballot { line: Line::new(&self.member, request) }
    }
}

impl Ballot {
    /// Replaces the value of a leader's key; answers the revision that did.
    async fn replace(
        &self,
        key: Bytes,
        created: Revision,
        lease: i64,
        value: Bytes,
    ) -> Result<Revision, Status> {
        let put = Put { key: key.clone(), value, lease, ..Put::default() };
        let txn = Txn {
            compare: vec![line::created_at(key, created)],
            success: vec![Op::Put(put)],
            failure: Vec::new(),
        };
        let outcome = self.line.txn(txn).await?;
        if outcome.succeeded { Ok(outcome.revision) } else { Err(UnlistedError::ElectionNotLeader.into()) }
    }

    /// Gives the place its value if it was taken before with another one.
    async fn revalue(&self, place: &Place, session: Session, value: Bytes) -> Result<(), Status> {
        if place.found.as_ref().is_none_or(|pair| pair.value == value) {
            return Ok(());
        }
        let replaced = self.replace(place.key.clone(), place.created, session.lease.0, value).await;
        if replaced.is_err() {
            // Whoever cannot say what he stands for does not stand.
            self.line.txn(line::delete_if_created(place.key.clone(), place.created)).await?;
        }
        replaced.map(drop)
    }

    /// Tells who leads, what he proclaims, and who leads after him, until nobody listens.
    async fn observe_all(self, name: Bytes, out: mpsc::Sender<Result<LeaderResponse, Status>>) {
        let told = tokio::select! {
            () = out.closed() => return,
            told = self.tell_all(&name, &out) => told,
        };
        if let Err(status) = told {
            // Whoever listens learns why it ends.
            drop(out.send(Err(status)).await);
        }
    }

    async fn tell_all(
        &self,
        name: &[u8],
        out: &mpsc::Sender<Result<LeaderResponse, Status>>,
    ) -> Result<(), Status> {
        loop {
            let led = match self.line.first(name).await? {
                (revision, Some(leader)) => Some((revision, leader)),
                (revision, None) => self.next_leader(name, revision.next()).await?,
            };
            let Some((revision, leader)) = led else { continue };
            let create = WatchCreateRequest {
                key: leader.key.clone(),
                start_revision: revision.0 + 1,
                ..WatchCreateRequest::default()
            };
            if !self.tell(out, revision, leader).await {
                return Ok(());
            }
            let mut watch = self.line.watch(create);
            'leader: while let Some((revision, events)) = next_events(&mut watch).await? {
                for event in events {
                    if event.r#type() == EventType::Delete {
                        break 'leader;
                    }
                    let Some(pair) = event.kv else { continue };
                    if !self.tell(out, revision, pair).await {
                        return Ok(());
                    }
                }
            }
        }
    }

    /// The first candidate from `from` on, when there is none now; nothing if that cannot be said any more.
    async fn next_leader(&self, name: &[u8], from: Revision) -> Result<Option<Led>, Status> {
        let prefix = line::prefix(name);
        let create = WatchCreateRequest {
            range_end: line::prefix_end(&prefix),
            key: prefix,
            start_revision: from.0,
            ..WatchCreateRequest::default()
        };
        let mut watch = self.line.watch(create);
        while let Some((_, events)) = next_events(&mut watch).await? {
            let put = events.into_iter().find(|event| event.r#type() == EventType::Put);
            if let Some(pair) = put.and_then(|event| event.kv) {
                return Ok(Some((Revision(pair.mod_revision), pair)));
            }
        }
        Ok(None)
    }

    async fn tell(
        &self,
        out: &mpsc::Sender<Result<LeaderResponse, Status>>,
        revision: Revision,
        pair: KeyValue,
    ) -> bool {
        let header = Some(self.line.member().headers().at(revision));
        out.send(Ok(LeaderResponse { header, kv: Some(pair) })).await.is_ok()
    }
}

/// The next events of a watch, and the revision of their answer; nothing once a compaction has overtaken it.
async fn next_events(
    watch: &mut ReceiverStream<Result<WatchResponse, Status>>,
) -> Result<Option<(Revision, Vec<Event>)>, Status> {
    loop {
        let response = watch.next().await.unwrap_or_else(|| Err(line::told(EtcdError::Stopped)))?;
        if response.canceled {
            return Ok(None);
        }
        if !response.events.is_empty() {
            let revision = Revision(response.header.unwrap_or_default().revision);
            let events = response.events.into_iter().map(line::decode).collect::<Result<_, _>>()?;
            return Ok(Some((revision, events)));
        }
    }
}

fn required(leader: Option<LeaderKey>) -> Result<LeaderKey, Status> {
    leader.ok_or_else(|| UnlistedError::ElectionMissingLeaderKey.into())
}

#[tonic::async_trait]
impl Election for ElectionService {
    async fn campaign(
        &self,
        request: Request<CampaignRequest>,
    ) -> Result<Response<CampaignResponse>, Status> {
        let ballot = self.ballot(&request);
        let CampaignRequest { name, lease, value } = request.into_inner();
        let session = ballot.line.session(lease).await?;
        let place = ballot.line.line_up(&name, session, value.clone()).await?;
        ballot.revalue(&place, session, value).await?;
        ballot.line.wait_first(&place, session).await?;
        let leader = LeaderKey { name, key: place.key, rev: place.created.0, lease: session.lease.0 };
        let header = Some(self.member.headers().at(place.revision));
        Ok(Response::new(CampaignResponse { header, leader: Some(leader) }))
    }

    async fn proclaim(
        &self,
        request: Request<ProclaimRequest>,
    ) -> Result<Response<ProclaimResponse>, Status> {
        let ballot = self.ballot(&request);
        let ProclaimRequest { leader, value } = request.into_inner();
        let leader = required(leader)?;
        let revision = ballot.replace(leader.key, Revision(leader.rev), leader.lease, value).await?;
        let header = Some(self.member.headers().at(revision));
        Ok(Response::new(ProclaimResponse { header }))
    }

    async fn leader(&self, request: Request<LeaderRequest>) -> Result<Response<LeaderResponse>, Status> {
        let ballot = self.ballot(&request);
        let (revision, leader) = ballot.line.first(&request.into_inner().name).await?;
        let leader = leader.ok_or(UnlistedError::ElectionNoLeader)?;
        let header = Some(self.member.headers().at(revision));
        Ok(Response::new(LeaderResponse { header, kv: Some(leader) }))
    }

    type ObserveStream = ReceiverStream<Result<LeaderResponse, Status>>;

    async fn observe(
        &self,
        request: Request<LeaderRequest>,
    ) -> Result<Response<Self::ObserveStream>, Status> {
        let ballot = self.ballot(&request);
        let (out, responses) = mpsc::channel(limits::OBSERVE_RESPONSES_QUEUED_MAX);
        self.member.tasks().spawn(ballot.observe_all(request.into_inner().name, out));
        Ok(Response::new(ReceiverStream::new(responses)))
    }

    async fn resign(&self, request: Request<ResignRequest>) -> Result<Response<ResignResponse>, Status> {
        let ballot = self.ballot(&request);
        let leader = required(request.into_inner().leader)?;
        let outcome = ballot.line.txn(line::delete_if_created(leader.key, Revision(leader.rev))).await?;
        let header = Some(self.member.headers().at(outcome.revision));
        Ok(Response::new(ResignResponse { header }))
    }
}
