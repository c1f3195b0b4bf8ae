//! `elect`: takes part in an election, or watches one.

use super::lock::interrupted;
use crate::{
    command_line::{Call, Flag, Group, Kind, Pending, Spec},
    connection::Connection,
    exit::{Exit, Failure},
    output::{Answer, Printer},
    session::{Session, first_created, prefix_end},
    watcher::{Told, Watcher},
};
use std::sync::Arc;
use tenure_api::{
    error::UnlistedError,
    etcdserverpb::{RangeResponse, ResponseHeader, WatchCreateRequest},
    mvccpb::{KeyValue, event::EventType},
};

/// How long the lease of a candidate lives after its program died.
const TTL_SECONDS: i64 = 60;

/// `elect`.
pub static SPEC: Spec = Spec {
    words: "elect <election-name> [proposal]",
    about: "Takes part in an election, or shows who wins it",
    group: Some(Group::Concurrency),
    flags: &[Flag::new("listen", Kind::Bool, "only show who is elected").short('l')],
    run: Some(run),
    ..Spec::EMPTY
};

fn run(call: &Call) -> Pending<'_> {
    Box::pin(async {
        let arguments = call.arguments();
        let listen = call.flag("listen");
        match (arguments.as_slice(), listen) {
            ([_], false) => return Err(Failure::bad_args("no proposal argument but -l not set")),
            ([_, _], true) => return Err(Failure::bad_args("proposal given but -l is set")),
            ([_] | [_, _], _) => {}
            _ => {
                let message = "elect takes one election name argument and an optional proposal argument";
                return Err(Failure::bad_args(message));
            }
        }
        let (connection, printer) = call.connect().await?;
        let connection = Arc::new(connection);
        if listen {
            return tokio::select! {
                outcome = observe(connection, &arguments[0], &printer) => outcome,
                signal = interrupted() => signal,
            };
        }
        campaign(connection, &arguments[0], &arguments[1], &printer).await
    })
}

async fn campaign(
    connection: Arc<Connection>,
    name: &[u8],
    value: &[u8],
    printer: &Printer,
) -> Result<(), Failure> {
    let session = Session::start(connection.clone(), TTL_SECONDS).await?;
    let place = session.line_up(name, value).await?;
    let first = tokio::select! {
        first = session.wait_first(&place) => first?,
        signal = interrupted() => {
            signal?;
            session.end().await?;
            return Err(Failure::new(Exit::Error, UnlistedError::ContextCanceled));
        }
    };
    printer.print(&Answer::Range(first.pairs))?;
    tokio::select! {
        signal = interrupted() => signal?,
        () = session.lost() => return Err(Failure::new(Exit::Error, "elect: session expired")),
    }
    session.end().await
}

/// Shows the leader, every value it proclaims, and every leader after it.
async fn observe(connection: Arc<Connection>, name: &[u8], printer: &Printer) -> Result<(), Failure> {
    let prefix = [name, b"/"].concat();
    loop {
        let (header, leader) = leader(&connection, &prefix).await?;
        let create = WatchCreateRequest {
            key: leader.key.clone(),
            start_revision: header.revision + 1,
            ..Default::default()
        };
        print(printer, header, leader)?;
        let mut watcher = Watcher::new(connection.clone(), create);
        'leader: loop {
            let Told::News(news) = watcher.next().await else { return Err(lost()) };
            for event in news.events {
                if event.r#type == EventType::Delete as i32 {
                    break 'leader;
                }
                if let Some(pair) = event.kv {
                    print(printer, news.header.unwrap_or_default(), pair)?;
                }
            }
        }
    }
}

fn lost() -> Failure {
    Failure::new(Exit::Error, "elect: observer lost")
}

fn print(printer: &Printer, header: ResponseHeader, pair: KeyValue) -> Result<(), Failure> {
    let response = RangeResponse { header: Some(header), kvs: vec![pair], ..Default::default() };
    printer.print(&Answer::Range(response))
}

/// The leader now, or as soon as there is one.
async fn leader(connection: &Arc<Connection>, prefix: &[u8]) -> Result<(ResponseHeader, KeyValue), Failure> {
    let found = connection.range(first_created(prefix)).await?;
    let header = found.header.unwrap_or_default();
    if let Some(pair) = found.kvs.into_iter().next() {
        return Ok((header, pair));
    }
    let create = WatchCreateRequest {
        key: prefix.to_vec().into(),
        range_end: prefix_end(prefix).into(),
        start_revision: header.revision,
        ..Default::default()
    };
    let mut watcher = Watcher::new(connection.clone(), create);
    loop {
        let Told::News(news) = watcher.next().await else { return Err(lost()) };
        let mut header = news.header.unwrap_or_default();
        let put = news.events.into_iter().find(|event| event.r#type == EventType::Put as i32);
        if let Some(pair) = put.and_then(|event| event.kv) {
            header.revision = pair.mod_revision;
            return Ok((header, pair));
        }
    }
}
