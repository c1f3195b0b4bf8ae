//! The header of every answer.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tenure_api::etcdserverpb::ResponseHeader;
use tenure_core::types::{ClusterId, MemberId, Revision, Term};

/// Makes headers: who answers, in which term.
#[derive(Clone, Debug)]
pub struct Headers {
    cluster: ClusterId,
    member: MemberId,
    term: Arc<AtomicU64>,
}

impl Headers {
    /// Headers of a member.
    #[must_use]
    pub fn new(cluster: ClusterId, member: MemberId) -> Self {
        Self { cluster, member, term: Arc::default() }
    }

    /// The header of an answer that was true at `revision`.
    #[must_use]
    pub fn at(&self, revision: Revision) -> ResponseHeader {
        ResponseHeader {
            cluster_id: self.cluster.0,
            member_id: self.member.0,
            revision: revision.0,
            raft_term: self.term.load(Ordering::Relaxed),
        }
    }

    /// Notes the term that the member is in.
    pub fn enter(&self, term: Term) {
        self.term.store(term.0, Ordering::Relaxed);
    }

    /// The term that the member is in.
    #[must_use]
    pub fn term(&self) -> Term {
        Term(self.term.load(Ordering::Relaxed))
    }
}
