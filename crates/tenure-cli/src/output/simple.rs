//! `--write-out=simple`: what people read.

use super::{Answer, Columns, EndpointHealth, Text, TimeToLive, alarm_name, auth, cluster, event_name};
use super::{hash_columns, member_columns, status_columns};
use crate::go::number::lease_id;
use tenure_client::raw::{etcdserverpb as pb, mvccpb::KeyValue};

pub(super) fn render(answer: &Answer, hex: bool, values_only: bool) -> Text {
    let mut simple = Simple { text: Text::default(), hex, values_only };
    simple.answer(answer);
    simple.text
}

struct Simple {
    text: Text,
    hex: bool,
    values_only: bool,
}

impl Simple {
    fn answer(&mut self, answer: &Answer) {
        match answer {
            Answer::Range(response) => self.range(response),
            Answer::Put(response) => self.put(response),
            Answer::DeleteRange(response) => self.delete_range(response),
            Answer::Txn(response) => self.txn(response),
            Answer::Watch(response) => self.watch(response),
            Answer::LeaseGrant(response) => {
                let id = lease_id(response.id);
                self.text.line(format!("lease {id} granted with TTL({}s)", response.ttl));
            }
            Answer::LeaseRevoke(id, _) => self.text.line(format!("lease {} revoked", lease_id(*id))),
            Answer::LeaseKeepAlive(response) => {
                let id = lease_id(response.id);
                self.text.line(format!("lease {id} keepalived with TTL({})", response.ttl));
            }
            Answer::LeaseTimeToLive(response, keys) => self.time_to_live(response, *keys),
            Answer::LeaseLeases(response) => {
                self.text.line(format!("found {} leases", response.leases.len()));
                response.leases.iter().for_each(|lease| self.text.line(lease_id(lease.id)));
            }
            Answer::Members(response) => self.rows(member_columns(&response.members)),
            Answer::Alarms(response) => response.alarms.iter().for_each(|alarm| self.alarm(alarm)),
            Answer::Health(endpoints) => endpoints.iter().for_each(|endpoint| self.health(endpoint)),
            Answer::Status(endpoints) => self.rows(status_columns(endpoints)),
            Answer::Auth(answer) => auth::simple(answer, &mut self.text),
            Answer::Cluster(answer) => cluster::simple(answer, &mut self.text),
            Answer::HashKv(endpoints) => self.rows(hash_columns(endpoints)),
        }
    }

    fn rows(&mut self, (_, rows): Columns) {
        rows.iter().for_each(|row| self.text.line(row.join(", ")));
    }

    fn pair(&mut self, pair: &KeyValue) {
        if !self.values_only {
            self.bytes(&pair.key);
        }
        self.bytes(&pair.value);
    }

    fn bytes(&mut self, bytes: &[u8]) {
        if self.hex {
            self.text.line(bytes.iter().map(|byte| format!("\\x{byte:02x}")).collect::<String>());
        } else {
            self.text.line(bytes);
        }
    }

    fn range(&mut self, response: &pb::RangeResponse) {
        response.kvs.iter().for_each(|pair| self.pair(pair));
    }

    fn put(&mut self, response: &pb::PutResponse) {
        self.text.line("OK");
        response.prev_kv.iter().for_each(|pair| self.pair(pair));
    }

    fn delete_range(&mut self, response: &pb::DeleteRangeResponse) {
        self.text.line(response.deleted.to_string());
        response.prev_kvs.iter().for_each(|pair| self.pair(pair));
    }

    fn txn(&mut self, response: &pb::TxnResponse) {
        use pb::response_op::Response;
        self.text.line(if response.succeeded { "SUCCESS" } else { "FAILURE" });
        for response in response.responses.iter().filter_map(|op| op.response.as_ref()) {
            self.text.line("");
            match response {
                Response::ResponseRange(response) => self.range(response),
                Response::ResponsePut(response) => self.put(response),
                Response::ResponseDeleteRange(response) => self.delete_range(response),
                Response::ResponseTxn(response) => self.txn(response),
            }
        }
    }

    fn watch(&mut self, response: &pb::WatchResponse) {
        for event in &response.events {
            self.text.line(event_name(event.r#type));
            event.prev_kv.iter().chain(&event.kv).for_each(|pair| self.pair(pair));
        }
    }

    fn time_to_live(&mut self, response: &pb::LeaseTimeToLiveResponse, keys: TimeToLive) {
        let id = lease_id(response.id);
        if response.granted_ttl == 0 && response.ttl == -1 {
            return self.text.line(format!("lease {id} already expired"));
        }
        let (granted, left) = (response.granted_ttl, response.ttl);
        let mut line = format!("lease {id} granted with TTL({granted}s), remaining({left}s)").into_bytes();
        if keys == TimeToLive::WithKeys {
            line.extend_from_slice(b", attached keys([");
            line.extend_from_slice(&response.keys.join(&b" "[..]));
            line.extend_from_slice(b"])");
        }
        self.text.line(line);
    }

    fn alarm(&mut self, alarm: &pb::AlarmMember) {
        self.text.line(format!("memberID:{} alarm:{}", alarm.member_id, alarm_name(alarm.alarm)));
    }

    fn health(&mut self, health: &EndpointHealth) {
        let endpoint = &health.endpoint;
        match &health.error {
            None => {
                let took = health.took_text();
                self.text
                    .line(format!("{endpoint} is healthy: successfully committed proposal: took = {took}"));
            }
            Some(error) => {
                let line = format!("{endpoint} is unhealthy: failed to commit proposal: {error}\n");
                self.text.err.extend_from_slice(line.as_bytes());
            }
        }
    }
}
