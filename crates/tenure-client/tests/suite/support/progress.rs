//! Whether those who work on something together get on.

use super::{PATIENCE, metrics};
use std::{
    fmt::Write,
    future::{Future, IntoFuture},
    pin::pin,
    time::Duration,
};
use tenure_client::{Client, Result};
use tokio::{
    sync::watch,
    time::{Instant, timeout},
};

/// The steps that many take. On a busy machine all of them together may take any time; what must not be is that nobody takes one.
#[derive(Clone, Debug)]
pub struct Progress {
    steps: watch::Sender<u64>,
    /// How long nobody may take a step.
    patience: Duration,
}

impl Default for Progress {
    fn default() -> Self {
        Progress::with_patience(PATIENCE)
    }
}

impl Progress {
    /// Nobody may need longer than this for a step.
    pub fn with_patience(patience: Duration) -> Self {
        Progress { steps: watch::Sender::new(0), patience }
    }

    /// How often somebody got on.
    pub fn steps(&self) -> u64 {
        *self.steps.borrow()
    }

    /// Somebody got on.
    pub fn step(&self) {
        self.steps.send_modify(|steps| *steps += 1);
    }

    /// Waits for the work, as long as somebody gets on. If not, says how things stand at the server of `observer`, who has
    /// a connection of his own.
    pub async fn of<T>(&self, observer: &Client, work: impl IntoFuture<Output = T>) -> T {
        let mut work = pin!(work.into_future());
        let mut steps = self.steps.subscribe();
        let mut longest = Duration::ZERO;
        loop {
            let since = Instant::now();
            let stepped = tokio::select! {
                biased;
                done = &mut work => {
                    println!("{} steps, at most {longest:?} between two", *steps.borrow());
                    return done;
                }
                stepped = timeout(self.patience, steps.changed()) => stepped,
            };
            longest = longest.max(since.elapsed());
            if stepped.is_err() {
                let steps = *steps.borrow();
                let state = standing(observer).await;
                panic!("nobody gets on after {steps} steps, for {:?}; {state}", self.patience);
            }
        }
    }
}

/// What a server knows: revision, keys, leases, watches.
pub async fn standing(observer: &Client) -> String {
    let mut told = String::new();
    for part in [keys(observer).await, leases(observer).await, watches(observer).await] {
        let part = part.unwrap_or_else(|error| format!("unknown: {error}"));
        write!(told, "{part}; ").expect("memory takes everything");
    }
    told
}

async fn in_time<T>(asked: impl Future<Output = Result<T>>) -> Result<T> {
    let waited = Duration::from_secs(5);
    timeout(waited, asked).await.unwrap_or(Err(tenure_client::Error::Timeout { waited }))
}

async fn keys(observer: &Client) -> Result<String> {
    let all = in_time(observer.get("").prefix().into_future()).await?;
    let keys = all.kvs.iter().map(|pair| {
        let (created, modified) = (pair.create_revision, pair.mod_revision);
        format!("{} {created}/{modified} of {} = {}", pair.key_text(), pair.lease, pair.value_text())
    });
    Ok(format!("revision {}, keys {:#?}", all.header.revision, keys.collect::<Vec<_>>()))
}

async fn leases(observer: &Client) -> Result<String> {
    let mut told = String::from("leases");
    for id in in_time(observer.lease().leases().into_future()).await?.leases {
        let life = in_time(observer.lease().time_to_live(id).into_future()).await?;
        write!(told, " {id}: {} of {} s,", life.ttl_seconds, life.granted_ttl_seconds)
            .expect("memory takes everything");
    }
    Ok(told)
}

async fn watches(observer: &Client) -> Result<String> {
    let endpoint = observer.endpoints().into_iter().next().unwrap_or_default();
    let asked = async { Ok(metrics::figures(&endpoint, "watch").await) };
    in_time(asked).await.map(|figures| format!("{figures:?}"))
}
