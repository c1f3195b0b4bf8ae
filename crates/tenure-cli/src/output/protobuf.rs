//! `--write-out=protobuf`: the bytes of the message, without anything between or after them.

use super::{Answer, Format, Text, auth, cluster, header_of};
use crate::exit::{Exit, Failure};
use prost::Message;
use tenure_client::raw::etcdserverpb as pb;

pub(super) fn render(answer: &Answer) -> Result<Text, Failure> {
    let out = match answer {
        Answer::Range(response) => response.encode_to_vec(),
        Answer::Put(response) => response.encode_to_vec(),
        Answer::DeleteRange(response) => response.encode_to_vec(),
        Answer::Txn(response) => response.encode_to_vec(),
        Answer::Watch(response) => as_told(response).encode_to_vec(),
        Answer::Members(response) => response.encode_to_vec(),
        Answer::Alarms(response) => response.encode_to_vec(),
        // Of answers about leases etcdctl's library has the header only.
        Answer::LeaseGrant(response) => header_of(&response.header).encode_to_vec(),
        Answer::LeaseKeepAlive(response) => header_of(&response.header).encode_to_vec(),
        Answer::LeaseTimeToLive(response, _) => header_of(&response.header).encode_to_vec(),
        Answer::LeaseLeases(response) => header_of(&response.header).encode_to_vec(),
        Answer::LeaseRevoke(..) => {
            let message = "marshal unsupported for type *clientv3.LeaseRevokeResponse";
            return Err(Failure::new(Exit::BadFeature, message));
        }
        Answer::Auth(answer) => auth::protobuf(answer),
        Answer::Cluster(answer) => cluster::protobuf(answer),
        Answer::Health(_) | Answer::Status(_) | Answer::HashKv(_) => {
            return Err(Format::Protobuf.unsupported());
        }
    };
    Ok(Text { out, err: Vec::new() })
}

/// What etcdctl's library keeps of a watch answer.
fn as_told(response: &pb::WatchResponse) -> pb::WatchResponse {
    pb::WatchResponse {
        header: response.header,
        events: response.events.clone(),
        compact_revision: response.compact_revision,
        canceled: response.canceled,
        created: response.created,
        ..Default::default()
    }
}
