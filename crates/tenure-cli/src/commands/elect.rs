//! `elect`: takes part in an election, or watches one.

use super::lock::{close, interrupted, show, until_interrupted};
use crate::{
    command_line::{Call, Flag, Group, Kind, Pending, Spec},
    exit::{Exit, Failure},
    output::{Answer, Printer, wire},
    settings::Settings,
};
use tenure_client::{
    Client,
    concurrency::{Election, Session},
    raw::etcdserverpb::RangeResponse,
};

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
        let settings = call.settings()?;
        let client = settings.clone().patient().connect().await?;
        if listen {
            return tokio::select! {
                outcome = observe(&client, &arguments[0], &settings.printer) => outcome,
                signal = interrupted() => signal,
            };
        }
        campaign(&client, &arguments[0], &arguments[1], &settings).await
    })
}

async fn campaign(client: &Client, name: &[u8], value: &[u8], settings: &Settings) -> Result<(), Failure> {
    let session = Session::open(client).await?;
    let election = Election::new(&session, name);
    let leadership = until_interrupted(&session, settings, election.campaign(value)).await?;
    show(client, &session, settings, leadership.key()).await?;
    tokio::select! {
        signal = interrupted() => signal?,
        _ = session.expired() => return Err(Failure::new(Exit::Error, "elect: session expired")),
    }
    close(session, settings).await
}

/// Shows the leader, every value it proclaims, and every leader after it.
async fn observe(client: &Client, name: &[u8], printer: &Printer) -> Result<(), Failure> {
    let mut leaders = Election::observer(client, name);
    while let Some(leader) = leaders.next().await {
        let leader = leader?;
        let kvs = vec![wire::pair(&leader.kv)];
        let response =
            RangeResponse { header: Some(wire::header(&leader.header)), kvs, ..Default::default() };
        printer.print(&Answer::Range(response))?;
    }
    Err(Failure::new(Exit::Error, "elect: observer lost"))
}
