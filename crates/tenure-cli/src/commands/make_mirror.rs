//! `make-mirror`: copies keys to another cluster, and every change after them.

use super::lossy;
use crate::{
    command_line::{Call, Flag, Group, Kind, Pending, Spec},
    exit::{Exit, Failure},
    output, password,
    secure::Secure,
    settings::{Credentials, Settings},
};
use bytes::Bytes;
use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};
use tenure_client::{Client, Code, Error, Event, EventKind, Op, Result, mirror::Syncer};
use tokio::time::sleep;
use tokio_stream::StreamExt;

/// How often it is told how many keys were copied.
const REPORT_INTERVAL: Duration = Duration::from_secs(30);

/// How long to wait before a write is tried again.
const WRITE_BACKOFF: Duration = Duration::from_millis(500);

/// `make-mirror`.
pub static SPEC: Spec = Spec {
    words: "make-mirror [options] <destination>",
    about: "Copies keys to another cluster, and keeps the copy up to date",
    long: "Copies keys to another cluster, then every change of them, until it is interrupted. Changes of one revision are made
together, if they are no more than --max-txn-ops. Leases are not copied. Every half minute it tells how many changes it has made.",
    group: Some(Group::Utility),
    flags: &[
        Flag::new("prefix", Kind::Text, "only keys that begin with this"),
        Flag::new("rev", Kind::Int, "copy the changes from this revision on, instead of all keys"),
        Flag::new("max-txn-ops", Kind::Uint, "changes in one transaction at the destination").default("128"),
        Flag::new("dest-prefix", Kind::Text, "what the copies begin with instead of --prefix"),
        Flag::new("no-dest-prefix", Kind::Bool, "the copies begin with nothing instead of --prefix"),
        Flag::new("dest-cert", Kind::Text, "certificate of this client, for the destination"),
        Flag::new("dest-key", Kind::Text, "private key of that certificate"),
        Flag::new("dest-cacert", Kind::Text, "bundle of CA certificates that the destination is trusted by"),
        Flag::new("dest-insecure-transport", Kind::Bool, "connect to the destination without TLS").default("true"),
        Flag::new("dest-user", Kind::Text, "user at the destination, as name[:password]"),
        Flag::new("dest-password", Kind::Text, "password, if --dest-user has none"),
    ],
    run: Some(run),
    ..Spec::EMPTY
};

fn run(call: &Call) -> Pending<'_> {
    Box::pin(async {
        let arguments = call.arguments();
        let [destination] = arguments.as_slice() else {
            return Err(Failure::bad_args("make-mirror takes one destination argument"));
        };
        let mirror = Mirror::of(call)?;
        let settings = call.settings()?.patient();
        let destination = Settings {
            endpoints: vec![lossy(destination)],
            credentials: credentials(call)?,
            secure: Secure {
                cert: call.text("dest-cert"),
                key: call.text("dest-key"),
                cacert: call.text("dest-cacert"),
                insecure_transport: call.flag("dest-insecure-transport"),
                skip_verify: false,
            },
            ..settings.clone()
        };
        let (source, destination) = (settings.connect().await?, destination.connect().await?);
        tokio::select! {
            outcome = mirror.run(&source, &destination) => Ok(outcome?),
            failure = mirror.report() => Err(failure),
        }
    })
}

fn credentials(call: &Call) -> Result<Option<Credentials>, Failure> {
    let (user, password) = (call.text("dest-user"), call.text("dest-password"));
    if user.is_empty() {
        return Ok(None);
    }
    let (user, password) = match user.split_once(':') {
        _ if !password.is_empty() => (user, password),
        Some((user, password)) => (user.to_owned(), password.to_owned()),
        None => {
            let asked = password::ask("Destination Password: ");
            (user, asked.map_err(|error| Failure::new(Exit::Error, error))?)
        }
    };
    Ok(Some(Credentials::Password { user, password }))
}

struct Mirror {
    prefix: Vec<u8>,
    /// What stands in its place at the destination.
    destination_prefix: Vec<u8>,
    /// The last revision that is there already; 0 to copy everything first.
    revision: i64,
    ops_max: usize,
    changes: AtomicU64,
}

impl Mirror {
    fn of(call: &Call) -> Result<Self, Failure> {
        let (prefix, other) = (call.text("prefix"), call.text("dest-prefix"));
        let has_none = call.flag("no-dest-prefix");
        if has_none && !other.is_empty() {
            let message = "`--dest-prefix` and `--no-dest-prefix` cannot be set at the same time, choose one";
            return Err(Failure::bad_args(message));
        }
        let ops_max = call.uint("max-txn-ops");
        let ops_max = usize::try_from(ops_max).ok().filter(|ops| *ops > 0).ok_or_else(|| {
            Failure::bad_args(format!("--max-txn-ops is {ops_max}: a transaction holds one change at least"))
        })?;
        let destination_prefix = match (has_none, other.is_empty()) {
            (true, _) => String::new(),
            (false, true) => prefix.clone(),
            (false, false) => other,
        };
        Ok(Mirror {
            prefix: prefix.into_bytes(),
            destination_prefix: destination_prefix.into_bytes(),
            revision: (call.int("rev") - 1).max(0),
            ops_max,
            changes: AtomicU64::new(0),
        })
    }

    async fn run(&self, source: &Client, destination: &Client) -> Result<()> {
        let syncer = Syncer::at_revision(source, &self.prefix, self.revision);
        if self.revision == 0 {
            let mut pages = syncer.sync_base();
            while let Some(page) = pages.next().await {
                let puts: Vec<Op> = page?
                    .kvs
                    .into_iter()
                    .map(|pair| Op::from(Op::put(self.copy_of(&pair.key), pair.value)))
                    .collect();
                self.write(destination, &puts).await?;
            }
        }
        let mut updates = syncer.sync_updates().await?;
        while let Some(response) = updates.next().await {
            for events in response?.events.chunk_by(|one, other| one.kv.mod_revision == other.kv.mod_revision)
            {
                let ops: Vec<Op> = events.iter().map(|event| self.op(event)).collect();
                self.write(destination, &ops).await?;
            }
        }
        Ok(())
    }

    fn op(&self, event: &Event) -> Op {
        let key = self.copy_of(&event.kv.key);
        match event.kind {
            EventKind::Put => Op::put(key, event.kv.value.clone()).into(),
            EventKind::Delete => Op::delete(key).into(),
        }
    }

    fn copy_of(&self, key: &Bytes) -> Vec<u8> {
        let rest = key.strip_prefix(self.prefix.as_slice()).unwrap_or(key);
        [self.destination_prefix.as_slice(), rest].concat()
    }

    /// Writes in as few transactions as may be. What is not answered is written again: twice is as good as once here.
    async fn write(&self, destination: &Client, ops: &[Op]) -> Result<()> {
        for ops in ops.chunks(self.ops_max) {
            while let Err(error) = destination.txn().and_then(ops.to_vec()).commit().await {
                if !matches!(error, Error::ConnectionLost { .. }) && error.code() != Code::Unavailable {
                    return Err(error);
                }
                sleep(WRITE_BACKOFF).await;
            }
            self.changes.fetch_add(ops.len() as u64, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Tells now and then how many changes there were, until nobody reads it.
    async fn report(&self) -> Failure {
        loop {
            sleep(REPORT_INTERVAL).await;
            if let Err(failure) = output::write(format!("{}\n", self.changes.load(Ordering::Relaxed))) {
                return failure;
            }
        }
    }
}
