//! Service discovery: an agent that keeps an instance registered, and knows all instances that live.
//!
//! `discovery NAME ADDRESS` is such an agent, until Ctrl-C. Without arguments two of them meet in one process.

use std::{collections::BTreeMap, time::Duration};
use tenure_client::{Client, Error, EventKind, concurrency::Session};
use tokio::sync::watch;

const SERVICE: &str = "services/web/";

/// How long an instance that has died is still listed.
const TTL: Duration = Duration::from_secs(5);

/// Addresses by key.
type Instances = BTreeMap<String, String>;

#[tokio::main]
async fn main() -> tenure_client::Result<()> {
    let endpoint = std::env::var("ENDPOINT").unwrap_or_else(|_| "127.0.0.1:2379".to_owned());
    let client = Client::connect(endpoint).await?;
    match &std::env::args().skip(1).collect::<Vec<_>>()[..] {
        [name, address] => {
            let agent = Agent::start(&client, name, address);
            let mut instances = agent.instances.clone();
            loop {
                tokio::select! {
                    _ = instances.changed() => println!("{:?}", *instances.borrow_and_update()),
                    _ = tokio::signal::ctrl_c() => return agent.stop().await,
                }
            }
        }
        _ => meet(&client).await,
    }
}

/// Two agents see each other come and go.
async fn meet(client: &Client) -> tenure_client::Result<()> {
    let mut a = Agent::start(client, "a", "10.0.0.1:80");
    let b = Agent::start(client, "b", "10.0.0.2:80");
    a.instances.wait_for(|instances| instances.len() == 2).await.expect("the agent runs");
    println!("a knows {:?}", *a.instances.borrow());
    b.stop().await?;
    a.instances.wait_for(|instances| instances.len() == 1).await.expect("the agent runs");
    println!("b is gone");
    a.stop().await
}

struct Agent {
    instances: watch::Receiver<Instances>,
    stop: watch::Sender<bool>,
    registration: tokio::task::JoinHandle<tenure_client::Result<()>>,
    following: tokio::task::JoinHandle<()>,
}

impl Agent {
    fn start(client: &Client, name: &str, address: &str) -> Self {
        let (known, instances) = watch::channel(Instances::new());
        let (stop, stopped) = watch::channel(false);
        let (key, address) = (format!("{SERVICE}{name}"), address.to_owned());
        let registration = tokio::spawn(stay_registered(client.clone(), key, address, stopped));
        let following = tokio::spawn(keep_following(client.clone(), known));
        Agent { instances, stop, registration, following }
    }

    /// Comes back when the others have been told that the instance is gone.
    async fn stop(self) -> tenure_client::Result<()> {
        self.following.abort();
        self.stop.send_replace(true);
        self.registration.await.expect("the task does not panic")
    }
}

/// Registers an instance, and does so anew whenever its lease was lost, until it is told to stop.
async fn stay_registered(
    client: Client,
    key: String,
    address: String,
    mut stopped: watch::Receiver<bool>,
) -> tenure_client::Result<()> {
    loop {
        let session = tokio::select! {
            session = register(&client, &key, &address) => session,
            () = told_to_stop(&mut stopped) => return Ok(()),
        };
        match session {
            // Renewed by itself, through broken connections and restarts of servers.
            Ok(session) => tokio::select! {
                why = session.expired() => println!("{key} is no longer registered: {why}"),
                // The end of the session is the end of its keys.
                () = told_to_stop(&mut stopped) => return session.close().await,
            },
            Err(Error::Closed) => return Err(Error::Closed),
            Err(error) => {
                println!("{key} cannot be registered: {error}");
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        }
    }
}

async fn register(client: &Client, key: &str, address: &str) -> tenure_client::Result<Session> {
    let session = Session::builder(client).ttl(TTL).open().await?;
    client.put(key, address).lease(session.lease()).await?;
    Ok(session)
}

/// Keeps `known` what the store has, as long as the client lives.
async fn keep_following(client: Client, known: watch::Sender<Instances>) {
    loop {
        match follow(&client, &known).await {
            Error::Closed => return,
            // What came in between can no longer be told: read anew, at once.
            Error::Compacted { .. } => {}
            error => {
                println!("cannot follow: {error}");
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        }
    }
}

/// Reads what there is, and then every change after it. Ends with an error only.
async fn follow(client: &Client, known: &watch::Sender<Instances>) -> Error {
    let now = match client.get(SERVICE).prefix().await {
        Ok(now) => now,
        Err(error) => return error,
    };
    let pairs = now.kvs.iter().map(|pair| (pair.key_text().into(), pair.value_text().into()));
    known.send_replace(pairs.collect());
    let mut changes = match client.watch(SERVICE).prefix().start_revision(now.header.revision + 1).await {
        Ok(changes) => changes,
        Err(error) => return error,
    };
    while let Some(response) = changes.next().await {
        let events = match response {
            Ok(response) => response.events,
            Err(error) => return error,
        };
        known.send_modify(|known| {
            for event in events {
                match event.kind {
                    EventKind::Put => known.insert(event.kv.key_text().into(), event.kv.value_text().into()),
                    EventKind::Delete => known.remove(&*event.kv.key_text()),
                };
            }
        });
    }
    Error::Closed
}

/// Ends when it was said, or when nobody can say it any more.
async fn told_to_stop(stopped: &mut watch::Receiver<bool>) {
    drop(stopped.wait_for(|stopped| *stopped).await);
}
