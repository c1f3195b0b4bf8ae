//! Clients that write and read.

use super::WRITERS;
use super::client::{Client, Connection, answer_of};
use bytes::Bytes;
use prost::Message;
use rand::RngExt;
use std::time::Duration;
use tenure_api::etcdserverpb as pb;
use tenure_api::mvccpb::KeyValue;
use tenure_check::{Answer, KeyRange, RangeEnd, What};
use tokio_util::sync::CancellationToken;
use tonic::Status;

/// Keys of each client, and keys that all clients compare and set.
const OWN_KEYS: u32 = 12;
const SHARED_KEYS: u32 = 6;
/// How many revisions back is read.
const BACK_MAX: i64 = 200;
/// The longest pause between two requests.
const THINK_MILLIS_MAX: u64 = 16;

/// One request after the other until it is told to stop.
pub(super) async fn run(mut client: Client, number: u32, stop: CancellationToken) {
    while !stop.is_cancelled() {
        match client.random.random_range(0..100) {
            0..40 => put(&mut client, number).await,
            40..45 => several(&mut client, number).await,
            45..55 => delete(&mut client, number).await,
            55..70 => compare_and_set(&mut client).await,
            70..85 => read(&mut client, false).await,
            85..90 => look_back(&mut client).await,
            _ => read(&mut client, true).await,
        }
        let pause = client.random.random_range(0..=THINK_MILLIS_MAX);
        tokio::time::sleep(Duration::from_millis(pause)).await;
    }
}

fn own_key(client: &mut Client, number: u32) -> Bytes {
    format!("c{number:02}/{:02}", client.random.random_range(0..OWN_KEYS)).into()
}

/// A value that names the request that wrote it.
pub(super) fn value(client: &mut Client, id: u64) -> Bytes {
    let length =
        if client.random.random_range(0..200) == 0 { 8_000 } else { client.random.random_range(0..120) };
    format!("{id:016x}{}", "v".repeat(length)).into()
}

/// The request that a value names.
pub(super) fn writer_of(value: &[u8]) -> Option<u64> {
    u64::from_str_radix(std::str::from_utf8(value.get(..16)?).ok()?, 16).ok()
}

/// Writes down how a write was answered.
pub(super) fn note_write(
    client: &Client,
    called: u64,
    id: u64,
    outcome: &Result<Option<pb::ResponseHeader>, Status>,
) -> Option<i64> {
    let record = &client.record;
    match outcome {
        Ok(header) => {
            let revision = header.as_ref().map_or(0, |header| header.revision);
            let returned = Some(record.moment());
            record.acknowledged();
            record.operation(
                called,
                returned,
                What::Write { id, answer: Answer::At { revision, writes: true } },
            );
            Some(revision)
        }
        Err(status) => {
            let answer = answer_of(status);
            let returned = (answer == Answer::Refused).then(|| record.moment());
            record.operation(called, returned, What::Write { id, answer });
            None
        }
    }
}

async fn put(client: &mut Client, number: u32) {
    let key = own_key(client, number);
    let (called, id) = (client.record.moment(), client.record.id());
    let prev_kv = client.random.random_range(0..4) == 0;
    let put = pb::PutRequest { key: key.clone(), value: value(client, id), prev_kv, ..Default::default() };
    let call = |channel| async move { pb::kv_client::KvClient::new(channel).put(put).await };
    let (_, outcome) = client.call(call).await;
    let previous = outcome.as_ref().ok().and_then(|answer| answer.prev_kv.clone());
    if let Some(revision) = note_write(client, called, id, &outcome.map(|answer| answer.header))
        && prev_kv
    {
        note_read(client, called, None, revision - 1, KeyRange::single(key), previous.into_iter().collect());
    }
}

/// A transaction that reads all keys of a client, changes some of them, and reads them again: it sees what it did, and all of it has
/// one revision.
async fn several(client: &mut Client, number: u32) {
    use pb::request_op::Request;
    let (called, id) = (client.record.moment(), client.record.id());
    let range = own_keys(number);
    let first = client.random.random_range(0..OWN_KEYS);
    let keys = (0..3).map(|step| Bytes::from(format!("c{number:02}/{:02}", (first + step) % OWN_KEYS)));
    let changes = keys.enumerate().map(|(place, key)| match place {
        0 => Request::RequestDeleteRange(pb::DeleteRangeRequest { key, ..Default::default() }),
        _ => Request::RequestPut(pb::PutRequest { key, value: value(client, id), ..Default::default() }),
    });
    let mut success = vec![operation(Request::RequestRange(range.clone()))];
    success.extend(changes.map(operation));
    success.push(operation(Request::RequestRange(range.clone())));
    let txn = pb::TxnRequest { success, ..Default::default() };
    let call = |channel| async move { pb::kv_client::KvClient::new(channel).txn(txn).await };
    let outcome = client.call(call).await.1;
    let responses = outcome.as_ref().map(|answer| answer.responses.clone()).unwrap_or_default();
    let Some(revision) = note_write(client, called, id, &outcome.map(|answer| answer.header)) else { return };
    let mut found = responses.into_iter().filter_map(|response| match response.response {
        Some(pb::response_op::Response::ResponseRange(found)) => Some(found.kvs),
        _ => None,
    });
    let (Some(before), Some(after), None) = (found.next(), found.next(), found.next()) else {
        return client
            .record
            .wrong(format!("the transaction of revision {revision} does not answer its ranges"));
    };
    let range = range_of(&range.key, &range.range_end);
    note_read(client, called, None, revision - 1, range.clone(), before);
    note_read(client, called, None, revision, range, after);
}

/// All keys of a client.
fn own_keys(number: u32) -> pb::RangeRequest {
    pb::RangeRequest {
        key: format!("c{number:02}/").into(),
        range_end: format!("c{number:02}0").into(),
        ..Default::default()
    }
}

/// A read of a revision of the past.
async fn look_back(client: &mut Client) {
    let mut range = own_keys(client.random.random_range(0..WRITERS));
    let call = |range| |channel| async move { pb::kv_client::KvClient::new(channel).range(range).await };
    let Ok(now) = client.call(call(pb::RangeRequest { count_only: true, ..range.clone() })).await.1 else {
        return;
    };
    let revision = now.header.map_or(0, |header| header.revision) - client.random.random_range(0..BACK_MAX);
    if revision <= 0 {
        return;
    }
    range.revision = revision;
    let watched = range_of(&range.key, &range.range_end);
    if let Ok(answer) = client.call(call(range)).await.1 {
        let saw = answer.kvs.iter().map(|pair| pair.encode_to_vec().into()).collect();
        let (called, returned) = (client.record.moment(), Some(client.record.moment()));
        client.record.operation(called, returned, What::Past { revision, range: watched, saw });
    }
}

/// A transaction: the deletion of one key, and a mark that says whose it is.
async fn delete(client: &mut Client, number: u32) {
    let key = own_key(client, number);
    let (called, id) = (client.record.moment(), client.record.id());
    let mark = pb::PutRequest {
        key: format!("mark/{number:02}").into(),
        value: value(client, id),
        ..Default::default()
    };
    let delete = pb::DeleteRangeRequest { key, ..Default::default() };
    let success = vec![
        operation(pb::request_op::Request::RequestDeleteRange(delete)),
        operation(pb::request_op::Request::RequestPut(mark)),
    ];
    let txn = pb::TxnRequest { success, ..Default::default() };
    let call = |channel| async move { pb::kv_client::KvClient::new(channel).txn(txn).await };
    let (_, outcome) = client.call(call).await;
    note_write(client, called, id, &outcome.map(|answer| answer.header));
}

fn operation(request: pb::request_op::Request) -> pb::RequestOp {
    pb::RequestOp { request: Some(request) }
}

/// Reads a key that all clients write, and sets it unless somebody else has in between.
async fn compare_and_set(client: &mut Client) {
    let key: Bytes = format!("shared/{}", client.random.random_range(0..SHARED_KEYS)).into();
    let range = pb::RangeRequest { key: key.clone(), ..Default::default() };
    let Some(before) = read_range(client, range.clone()).await else { return };
    let expected = before.first().map_or(0, |pair| pair.mod_revision);
    let (called, id) = (client.record.moment(), client.record.id());
    let compare = pb::Compare {
        result: pb::compare::CompareResult::Equal.into(),
        target: pb::compare::CompareTarget::Mod.into(),
        key: key.clone(),
        target_union: Some(pb::compare::TargetUnion::ModRevision(expected)),
        ..Default::default()
    };
    let put = pb::PutRequest { key: key.clone(), value: value(client, id), ..Default::default() };
    let txn = pb::TxnRequest {
        compare: vec![compare],
        success: vec![operation(pb::request_op::Request::RequestPut(put))],
        failure: vec![operation(pb::request_op::Request::RequestRange(range))],
    };
    let call = |channel| async move { pb::kv_client::KvClient::new(channel).txn(txn).await };
    let (_, outcome) = client.call(call).await;
    match outcome {
        Ok(answer) if answer.succeeded => {
            if let Some(revision) = note_write(client, called, id, &Ok(answer.header)) {
                // What was compared is what the key held just before.
                note_read(client, called, None, revision - 1, KeyRange::single(key), before);
            }
        }
        Ok(answer) => {
            let revision = answer.header.map_or(0, |header| header.revision);
            client.record.operation(called, None, What::Write { id, answer: Answer::Refused });
            let found = answer.responses.into_iter().next().and_then(|response| response.response);
            let Some(pb::response_op::Response::ResponseRange(found)) = found else {
                return client.record.wrong(format!("a transaction answers its range with {found:?}"));
            };
            if found.kvs.first().map_or(0, |pair| pair.mod_revision) == expected {
                client
                    .record
                    .wrong(format!("a comparison with {expected} failed, and then {found:?} was read"));
            }
            note_read(client, called, None, revision, KeyRange::single(key), found.kvs);
        }
        Err(status) => {
            note_write(client, called, id, &Err(status));
        }
    }
}

/// A read of one key, or of all keys of a client.
async fn read(client: &mut Client, is_linearizable: bool) {
    let number = client.random.random_range(0..6);
    let mut range = own_keys(number);
    range.serializable = !is_linearizable;
    if client.random.random() {
        (range.key, range.range_end) = (own_key(client, number), Bytes::new());
    }
    read_range(client, range).await;
}

async fn read_range(client: &mut Client, range: pb::RangeRequest) -> Option<Vec<KeyValue>> {
    let called = client.record.moment();
    let is_serializable = range.serializable;
    let watched = range_of(&range.key, &range.range_end);
    let call = |channel| async move { pb::kv_client::KvClient::new(channel).range(range).await };
    let (connection, outcome) = client.call(call).await;
    let answer = outcome.ok()?;
    let revision = answer.header.map_or(0, |header| header.revision);
    // A connection is made again by itself: then nobody knows which run has answered.
    if is_serializable && !client.is_current(&connection) {
        return None;
    }
    let server = is_serializable.then_some(connection);
    note_read(client, called, server, revision, watched, answer.kvs.clone());
    Some(answer.kvs)
}

fn note_read(
    client: &Client,
    called: u64,
    server: Option<Connection>,
    revision: i64,
    range: KeyRange,
    pairs: Vec<KeyValue>,
) {
    let pairs = pairs.iter().map(|pair| pair.encode_to_vec().into()).collect();
    let server = server.map(|server| (server.at, server.run));
    let returned = Some(client.record.moment());
    client.record.operation(called, returned, What::Read { server, revision, saw: Some((range, pairs)) });
}

/// A range of the wire as the checkers have it.
pub(super) fn range_of(key: &Bytes, range_end: &Bytes) -> KeyRange {
    let end = match &range_end[..] {
        [] => RangeEnd::Single,
        [0] => RangeEnd::Open,
        _ => RangeEnd::Before(range_end.clone()),
    };
    KeyRange { start: key.clone(), end }
}
