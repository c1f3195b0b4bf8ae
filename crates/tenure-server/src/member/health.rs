//! What the plain HTTP endpoints ask the member.

use super::Member;
use crate::auth::Caller;
use crate::http::{HealthSource, Versions};
use serde_json::json;
use std::sync::atomic::Ordering;
use tenure_api::error::EtcdError;
use tenure_core::command::{AlarmType, RangeQuery};
use tenure_core::types::{Key, KeyRange};

/// A read of one key, which need not be there.
fn probe(serializable: bool) -> RangeQuery {
    let range = KeyRange::single(Key::from("\0"));
    RangeQuery { limit: 1, keys_only: true, serializable, ..RangeQuery::of(range) }
}

impl HealthSource for Member {
    async fn serializable_read(&self) -> Result<(), EtcdError> {
        self.range(&Caller::Member, probe(true)).await.map(drop)
    }

    async fn linearizable_read(&self) -> Result<(), EtcdError> {
        self.range(&Caller::Member, probe(false)).await.map(drop)
    }

    fn alarms(&self) -> Vec<AlarmType> {
        self.alarms(None).into_iter().map(|entry| entry.alarm).collect()
    }

    fn has_leader(&self) -> bool {
        self.shared.leader().is_some()
    }

    fn is_learner(&self) -> bool {
        self.shared.is_learner.load(Ordering::Acquire)
    }

    fn versions(&self) -> Versions {
        let state = self.shared.state.read();
        Versions {
            cluster: state.membership.cluster_version().map(str::to_owned),
            storage: state.membership.storage_version().map(str::to_owned),
        }
    }

    fn raft_status(&self) -> serde_json::Value {
        let status = self.shared.node_status.lock().clone();
        json!({
            "id": format!("{:x}", self.shared.id.0),
            "term": status.term.0,
            "commit": status.commit.0,
            "applied": status.applied.0,
            "lead": status.leader.map_or_else(|| "0".to_owned(), |id| format!("{:x}", id.0)),
            "raftState": format!("State{:?}", status.role),
        })
    }
}
