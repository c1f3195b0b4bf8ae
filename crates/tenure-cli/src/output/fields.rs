//! `--write-out=fields`: one fact a line, `"Name" : value`.

use super::{Answer, AuthAnswer, Format, Text, alarm_name, auth, event_name, header_of};
use crate::exit::Failure;
use crate::go::{number::lease_id, quote::quote};
use std::fmt::Display;
use tenure_client::raw::{etcdserverpb as pb, mvccpb::KeyValue};

pub(super) fn render(answer: &Answer, hex: bool) -> Result<Text, Failure> {
    let mut fields = Fields { text: Text::default(), hex };
    match answer {
        Answer::Auth(answer) => fields.auth(answer)?,
        Answer::Cluster(_) => return Err(Format::Fields.unsupported()),
        answer => fields.answer(answer),
    }
    Ok(fields.text)
}

struct Fields {
    text: Text,
    hex: bool,
}

impl Fields {
    fn answer(&mut self, answer: &Answer) {
        match answer {
            Answer::Range(response) => self.range(response),
            Answer::Put(response) => self.put(response),
            Answer::DeleteRange(response) => self.delete_range(response),
            Answer::Txn(response) => self.txn(response),
            Answer::Watch(response) => self.watch(response),
            Answer::LeaseGrant(response) => {
                self.header(&response.header);
                self.lease("ID", response.id);
                self.field("TTL", response.ttl);
            }
            Answer::LeaseRevoke(_, response) => self.header(&response.header),
            Answer::LeaseKeepAlive(response) => {
                self.header(&response.header);
                self.lease("ID", response.id);
                self.field("TTL", response.ttl);
            }
            Answer::LeaseTimeToLive(response, _) => self.time_to_live(response),
            Answer::LeaseLeases(response) => {
                self.header(&response.header);
                response.leases.iter().for_each(|lease| self.lease("ID", lease.id));
            }
            Answer::Members(response) => self.members(response),
            Answer::Alarms(response) => self.alarms(response),
            Answer::Health(endpoints) => endpoints.iter().for_each(|endpoint| {
                self.field("Endpoint", quote(endpoint.endpoint.as_bytes()));
                self.field("Health", endpoint.error.is_none());
                self.field("Took", endpoint.took_text());
                self.field("Error", endpoint.error.as_deref().unwrap_or_default());
                self.text.line("");
            }),
            Answer::Status(endpoints) => {
                endpoints.iter().for_each(|(endpoint, status)| self.status(endpoint, status));
            }
            // See `render`: of some of it there is nothing to print.
            Answer::Auth(_) | Answer::Cluster(_) => {}
            Answer::HashKv(endpoints) => endpoints.iter().for_each(|(endpoint, hash)| {
                self.header(&hash.header);
                self.field("Endpoint", quote(endpoint.as_bytes()));
                self.field("Hash", hash.hash);
                self.field("HashRevision", hash.hash_revision);
                self.text.line("");
            }),
        }
    }

    fn auth(&mut self, answer: &AuthAnswer) -> Result<(), Failure> {
        let (header, lines) = auth::fields(answer)?;
        self.header(&Some(header));
        lines.iter().for_each(|line| self.text.line(line));
        Ok(())
    }

    fn field(&mut self, name: &str, value: impl Display) {
        self.text.line(format!("\"{name}\" : {value}"));
    }

    /// The id of a cluster or member.
    fn id(&mut self, name: &str, id: u64) {
        if self.hex {
            self.field(name, format!("{id:x}"));
        } else {
            self.field(name, id);
        }
    }

    /// The id of a lease.
    fn lease(&mut self, name: &str, id: i64) {
        if self.hex {
            self.field(name, lease_id(id));
        } else {
            self.field(name, id);
        }
    }

    fn header(&mut self, header: &Option<pb::ResponseHeader>) {
        let header = header_of(header);
        self.id("ClusterID", header.cluster_id);
        self.id("MemberID", header.member_id);
        // Answers that concern no keys have no revision.
        if header.revision > 0 {
            self.field("Revision", header.revision);
        }
        self.field("RaftTerm", header.raft_term);
    }

    fn pair(&mut self, prefix: &str, pair: &KeyValue) {
        self.field(&format!("{prefix}Key"), quote(&pair.key));
        self.field(&format!("{prefix}CreateRevision"), pair.create_revision);
        self.field(&format!("{prefix}ModRevision"), pair.mod_revision);
        self.field(&format!("{prefix}Version"), pair.version);
        self.field(&format!("{prefix}Value"), quote(&pair.value));
        self.lease(&format!("{prefix}Lease"), pair.lease);
    }

    fn range(&mut self, response: &pb::RangeResponse) {
        self.header(&response.header);
        response.kvs.iter().for_each(|pair| self.pair("", pair));
        self.field("More", response.more);
        self.field("Count", response.count);
    }

    fn put(&mut self, response: &pb::PutResponse) {
        self.header(&response.header);
        response.prev_kv.iter().for_each(|pair| self.pair("Prev", pair));
    }

    fn delete_range(&mut self, response: &pb::DeleteRangeResponse) {
        self.header(&response.header);
        self.field("Deleted", response.deleted);
        response.prev_kvs.iter().for_each(|pair| self.pair("Prev", pair));
    }

    fn txn(&mut self, response: &pb::TxnResponse) {
        use pb::response_op::Response;
        self.header(&response.header);
        self.field("Succeeded", response.succeeded);
        for response in response.responses.iter().filter_map(|op| op.response.as_ref()) {
            match response {
                Response::ResponseRange(response) => self.range(response),
                Response::ResponsePut(response) => self.put(response),
                Response::ResponseDeleteRange(response) => self.delete_range(response),
                Response::ResponseTxn(response) => self.txn(response),
            }
        }
    }

    fn watch(&mut self, response: &pb::WatchResponse) {
        self.header(&response.header);
        for event in &response.events {
            self.field("Type", event_name(event.r#type));
            event.prev_kv.iter().for_each(|pair| self.pair("Prev", pair));
            event.kv.iter().for_each(|pair| self.pair("", pair));
        }
    }

    fn time_to_live(&mut self, response: &pb::LeaseTimeToLiveResponse) {
        self.header(&response.header);
        self.lease("ID", response.id);
        self.field("TTL", response.ttl);
        self.field("GrantedTTL", response.granted_ttl);
        response.keys.iter().for_each(|key| self.field("Key", quote(key)));
    }

    fn members(&mut self, response: &pb::MemberListResponse) {
        self.header(&response.header);
        for member in &response.members {
            self.id("ID", member.id);
            self.field("Name", quote(member.name.as_bytes()));
            member.peer_ur_ls.iter().for_each(|url| self.field("PeerURL", quote(url.as_bytes())));
            member.client_ur_ls.iter().for_each(|url| self.field("ClientURL", quote(url.as_bytes())));
            self.field("IsLearner", member.is_learner);
            self.text.line("");
        }
    }

    fn alarms(&mut self, response: &pb::AlarmResponse) {
        self.header(&response.header);
        for alarm in &response.alarms {
            self.id("MemberID", alarm.member_id);
            self.field("AlarmType", alarm_name(alarm.alarm));
            self.text.line("");
        }
    }

    fn status(&mut self, endpoint: &str, status: &pb::StatusResponse) {
        let downgrade = status.downgrade_info.clone().unwrap_or_default();
        self.header(&status.header);
        self.field("Version", quote(status.version.as_bytes()));
        self.field("StorageVersion", quote(status.storage_version.as_bytes()));
        self.field("DBSize", status.db_size);
        self.field("DBSizeInUse", status.db_size_in_use);
        self.field("DBSizeQuota", status.db_size_quota);
        self.field("Leader", status.leader);
        self.field("IsLearner", status.is_learner);
        self.field("RaftIndex", status.raft_index);
        self.field("RaftTerm", status.raft_term);
        self.field("RaftAppliedIndex", status.raft_applied_index);
        self.field("Errors", format!("[{}]", status.errors.join(" ")));
        self.field("Endpoint", quote(endpoint.as_bytes()));
        self.field("DowngradeTargetVersion", quote(downgrade.target_version.as_bytes()));
        self.field("DowngradeEnabled", downgrade.enabled);
        self.text.line("");
    }
}
