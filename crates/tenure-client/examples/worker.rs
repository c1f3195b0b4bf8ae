//! A worker that does something on a clock, on one machine of several: the leader, who hands over when he is stopped.
//!
//! `worker NAME` is such a worker, until Ctrl-C. Without arguments two of them take turns in one process.

use std::time::Duration;
use tenure_client::{
    Client, Error, Op, Result,
    concurrency::{Election, Leadership, Session},
};
use tokio::sync::watch;

/// How long nobody works after the leader has died.
const TTL: Duration = Duration::from_secs(5);

const INTERVAL: Duration = Duration::from_millis(500);

#[tokio::main]
async fn main() -> Result<()> {
    let endpoint = std::env::var("ENDPOINT").unwrap_or_else(|_| "127.0.0.1:2379".to_owned());
    let client = Client::connect(endpoint).await?;
    let (stop, stopped) = watch::channel(false);
    match std::env::args().nth(1) {
        Some(name) => {
            tokio::spawn(async move {
                if tokio::signal::ctrl_c().await.is_ok() {
                    stop.send_replace(true);
                }
            });
            work(client, name, stopped).await
        }
        None => take_turns(client).await,
    }
}

/// The first leads until it is stopped, the second until its lease is revoked, and then again.
async fn take_turns(client: Client) -> Result<()> {
    let (stop_one, stopped) = watch::channel(false);
    let one = tokio::spawn(work(client.clone(), "one".to_owned(), stopped));
    runs_of(&client, "one").await?;
    let (stop_two, stopped) = watch::channel(false);
    let two = tokio::spawn(work(client.clone(), "two".to_owned(), stopped));
    stop_one.send_replace(true);
    one.await.expect("the task does not panic")?;
    let leader = runs_of(&client, "two").await?;
    client.lease().revoke(leader.lease).await?;
    runs_of(&client, "two").await?;
    stop_two.send_replace(true);
    two.await.expect("the task does not panic")
}

/// Waits for the next run of a worker, and says with what it leads.
async fn runs_of(client: &Client, name: &str) -> Result<tenure_client::KeyValue> {
    let mut runs = client.watch("cron/last").await?;
    while let Some(response) = runs.next().await {
        if response?.events.iter().any(|event| event.kv.value == name) {
            break;
        }
    }
    // The oldest candidate leads.
    client.get("cron/leader/").first_created().await?.kvs.pop().ok_or(Error::NoLeader)
}

/// Stands for election again and again, and works while it leads, until it is stopped.
async fn work(client: Client, name: String, mut stopped: watch::Receiver<bool>) -> Result<()> {
    while !*stopped.borrow() {
        match term(&client, &name, &mut stopped).await {
            Ok(()) => {}
            Err(Error::Closed) => return Err(Error::Closed),
            Err(error) => {
                println!("{name}: {error}");
                tokio::time::sleep(INTERVAL).await;
            }
        }
    }
    Ok(())
}

/// One session: waits to lead, and leads until that is lost or it is stopped.
async fn term(client: &Client, name: &str, stopped: &mut watch::Receiver<bool>) -> Result<()> {
    let session = Session::builder(client).ttl(TTL).open().await?;
    let election = Election::new(&session, "cron/leader");
    let leadership = tokio::select! {
        leadership = election.campaign(name) => leadership?,
        () = told_to_stop(stopped) => return session.close().await,
    };
    println!("{name} leads, fencing token {}", leadership.revision());
    tokio::select! {
        // Somebody may have deleted the key, or the session is over.
        why = leadership.lost() => println!("{name} does not lead any more: {why}"),
        outcome = run_on_time(client, name, &leadership) => outcome?,
        () = told_to_stop(stopped) => {
            // Comes back when the next one leads, if there is one.
            leadership.resign().await?;
            println!("{name} has handed over");
        }
    }
    session.close().await
}

/// Does the work whenever its time has come. Ends when somebody else leads.
async fn run_on_time(client: &Client, name: &str, leadership: &Leadership) -> Result<()> {
    let mut clock = tokio::time::interval(INTERVAL);
    let token = leadership.revision();
    loop {
        clock.tick().await;
        // Written only if this one still leads: it may have been stopped for longer than its lease, without knowing. The token is
        // for whoever is written to and is not in this store: it refuses those that are lower than one it has seen.
        let ran = client
            .txn()
            .when([leadership.owner_condition()])
            .and_then([Op::put("cron/last", name), Op::put(format!("cron/runs/{token}"), name)])
            .commit()
            .await;
        match ran {
            Ok(answer) if answer.succeeded => println!("{name} ran at revision {}", answer.header.revision),
            Ok(_) => return Err(Error::NotLeader),
            // Perhaps it ran, perhaps not: running twice must do no harm. Whether the lead is lost is told elsewhere.
            Err(error) => println!("{name}: {error}"),
        }
    }
}

/// Ends when it was said, or when nobody can say it any more.
async fn told_to_stop(stopped: &mut watch::Receiver<bool>) {
    drop(stopped.wait_for(|stopped| *stopped).await);
}
