//! Snapshots between members: sending one to a member that is too far behind, and taking one up.
//!
//! A snapshot that arrives goes into a file without a name, then, record by record, into segments that nobody reads and a
//! state machine that nobody sees. Only then the node is told. If it wants it, [`install`] puts both into their places between two
//! entries. A crash before leaves what was there, a crash after the new; nothing in between is visible.

use super::driver::Event;
use super::whole::{self, MemberSnapshot};
use super::{Member, Shared, version};
use crate::limits;
use bytes::Bytes;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;
use tenure_core::command::AuthCommand;
use tenure_core::membership::conf_state_to_json;
use tenure_core::mvcc::Mvcc;
use tenure_core::node::{Applied, Message, Persist, Snapshot};
use tenure_core::state::{Halt, LoadRun, StateMachine, TableChange};
use tenure_core::types::{LogIndex, LogPosition};
use tenure_storage::disk::DiskFile;
use tenure_storage::snapshot::{SnapshotContent, SnapshotError};
use tenure_storage::store::{Installation, StoreError};
use tenure_storage::wal::Wal;
use thiserror::Error;
use tokio::sync::mpsc;

/// A snapshot that has been taken up and waits for the node's word.
pub struct Received {
    position: LogPosition,
    tables: Vec<TableChange>,
    installation: Installation,
    state: StateMachine,
}

/// Why a snapshot was not taken up. The member is what it was.
#[derive(Debug, Error)]
pub enum ReceiveError {
    /// Another one is being taken up.
    #[error("another snapshot is being received")]
    Busy,
    /// The sender or the connection failed.
    #[error("the snapshot broke off: {0}")]
    BrokenOff(String),
    /// It holds more than its message says.
    #[error("the database is at entry {database}, but the snapshot at {message}")]
    Ahead {
        /// Of the database.
        database: LogIndex,
        /// Of the message.
        message: LogIndex,
    },
    /// The message has no snapshot.
    #[error("the message has no snapshot")]
    NoSnapshot,
    /// The database cannot be read, or the disk failed.
    #[error(transparent)]
    Database(#[from] SnapshotError),
    /// The store does not take it.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The member stops.
    #[error("the member stops")]
    Stopped,
}

impl From<std::io::Error> for ReceiveError {
    fn from(error: std::io::Error) -> Self {
        ReceiveError::Database(error.into())
    }
}

impl Member {
    /// Takes up a snapshot of another member and hands it to the node.
    ///
    /// * `chunks`: the database, piece by piece; an error or an early end is the sender's failure.
    ///
    /// # Errors
    /// [`ReceiveError`].
    pub(crate) async fn receive_snapshot(
        &self,
        message: Message,
        chunks: mpsc::Receiver<Result<Bytes, String>>,
    ) -> Result<(), ReceiveError> {
        let Ok(_one) = self.shared.receiving.try_acquire() else { return Err(ReceiveError::Busy) };
        let snapshot = message.snapshot.clone().ok_or(ReceiveError::NoSnapshot)?;
        let shared = self.shared.clone();
        let taking_up = tokio::task::spawn_blocking(move || receive(&shared, &snapshot, chunks));
        let received = taking_up.await.map_err(|_| ReceiveError::Stopped)??;
        let event = Event::Snapshot(Box::new(message), Box::new(received));
        self.shared.inbox.try_send(event).map_err(|_| ReceiveError::Busy)
    }
}

fn receive(
    shared: &Shared,
    snapshot: &Snapshot,
    mut chunks: mpsc::Receiver<Result<Bytes, String>>,
) -> Result<Received, ReceiveError> {
    let began = Instant::now();
    let file = nameless_file(shared)?;
    let mut bytes = 0;
    while let Some(chunk) = chunks.blocking_recv() {
        let chunk = chunk.map_err(ReceiveError::BrokenOff)?;
        file.write_all_at(&chunk, bytes)?;
        bytes += chunk.len() as u64;
    }
    tracing::info!(bytes, "snapshot-index" = snapshot.position.index.0, "received a database snapshot");
    shared.metrics.handles.snap_db_save.observe(began.elapsed().as_secs_f64());
    take_up(shared, snapshot, file)
}

/// A file that is gone when it is closed, whatever happens.
fn nameless_file(shared: &Shared) -> std::io::Result<Arc<dyn DiskFile>> {
    static SERIAL: AtomicU64 = AtomicU64::new(0);
    let name = format!("received-{}.tmp", SERIAL.fetch_add(1, Ordering::Relaxed));
    let path = Path::new("member").join(name);
    if shared.disk.exists(&path)? {
        shared.disk.remove(&path)?;
    }
    let file = shared.disk.create(&path)?;
    shared.disk.remove(&path)?;
    Ok(file)
}

fn take_up(shared: &Shared, snapshot: &Snapshot, file: Arc<dyn DiskFile>) -> Result<Received, ReceiveError> {
    let content = SnapshotContent::open(file)?;
    let (database, message) = (content.applied()?, snapshot.position.index);
    if database > message {
        return Err(ReceiveError::Ahead { database, message });
    }
    let mut tables = content.tables()?;
    // Raft's word counts: databases of old members do not say who takes part.
    tables.push(TableChange::ConfState(conf_state_to_json(&snapshot.conf_state).into()));
    let mut state = StateMachine::new(shared.config.learners_max);
    tables.iter().for_each(|row| state.load_table(row));
    let mut installation = shared.store.install_begin();
    let mut run = LoadRun::default();
    for record in content.records()? {
        let record = record?;
        run.push(record.at, record.tombstone, &record.kv).map_err(SnapshotError::from)?;
        installation.push(&record)?;
        if run.len() >= limits::LOAD_RUN_RECORDS || run.key_bytes() >= limits::LOAD_RUN_KEY_BYTES {
            state.load_run(&std::mem::take(&mut run).sorted());
        }
        if shared.is_stopping() {
            return Err(ReceiveError::Stopped);
        }
    }
    state.load_run(&run.sorted());
    state.restored(snapshot.position.index, snapshot.position.term);
    Ok(Received { position: snapshot.position, tables, installation, state })
}

/// Puts a snapshot that the node wants into the place of store and state, and notes it in the log. Runs on the WAL thread, after
/// everything that was handed out before.
pub fn install(
    shared: &Shared,
    wal: &mut Wal,
    persist: &Persist,
    received: Received,
) -> Result<Applied, Halt> {
    let stop = |error: &dyn std::fmt::Display| Halt(format!("installing a snapshot: {error}"));
    let Received { position, tables, installation, state } = received;
    let wanted = persist.snapshot.as_ref().map(|snapshot| snapshot.position);
    if wanted != Some(position) {
        return Err(stop(&format!("{wanted:?} is wanted, but {position:?} was received")));
    }
    let (revision, conf_state) = (state.mvcc.revision(), state.membership.conf_state().clone());
    let cluster_version = state.membership.cluster_version().map(str::to_owned);
    if let Some(version) = &cluster_version {
        version::check_known(version).map_err(|error| stop(&error))?;
    }
    let applied = Applied::snapshot(&state);
    shared.metrics.handles.snapshot_apply_in_progress.set(1);
    let compacted = state.mvcc.compacted();
    {
        let _applying = shared.applying.lock();
        // Readers wait for the few moments in which store and state do not belong together.
        let mut current = shared.state.write();
        installation.finish(position, tables).map_err(|error| stop(&error))?;
        shared.auth_enabled.store(state.auth.is_enabled(), Ordering::Release);
        *current = state;
        shared.installs.fetch_add(1, Ordering::AcqRel);
        shared.compactions.replaced(compacted);
        shared.tail.replace(revision);
        // Which users have left meanwhile the tokens do not say: everybody logs in again.
        shared.authenticator.applied(position.index, &AuthCommand::Disable);
    }
    wal.save_installed(position, &conf_state).map_err(|error| stop(&error))?;
    wal.release_to(position.index).map_err(|error| stop(&error))?;
    shared.applied.advance(position.index);
    shared.pending.applied(position.term);
    if let Some(version) = &cluster_version {
        shared.follow_cluster_version(version);
    }
    shared.follow_members();
    if compacted > Mvcc::NEVER_COMPACTED {
        // What the sender had not removed yet is removed here.
        shared.compacted.send_replace(Mvcc::NEVER_COMPACTED);
        shared.upkeep_bell.ring();
    }
    shared.metrics.handles.snapshot_apply_in_progress.set(0);
    tracing::info!("snapshot-index" = position.index.0, revision = revision.0, "installed a snapshot");
    Ok(applied)
}

impl Shared {
    /// Sends this member's state to one that is too far behind, in the background. The node is told how it went.
    pub(super) fn send_snapshot(&self, message: Message) {
        let (to, me, peers) = (message.to, self.me.clone(), self.peers.clone());
        let permit = self.sending.clone().try_acquire_owned();
        self.peers.spawn(async move {
            let sent = match (permit, me.upgrade()) {
                (Ok(permit), Some(shared)) => {
                    let capturing = tokio::task::spawn_blocking(move || whole::snapshot_for_member(&shared));
                    let sent = match capturing.await {
                        Ok(Ok(MemberSnapshot { file, snapshot, v2_members })) => {
                            let message = Message { snapshot: Some(snapshot), ..message };
                            let sent = peers.send_snapshot(message, v2_members, file).await;
                            sent.map_err(|error| error.to_string())
                        }
                        Ok(Err(error)) => Err(error.to_string()),
                        Err(error) => Err(error.to_string()),
                    };
                    drop(permit);
                    sent
                }
                _ => Err("too many snapshots are being sent".to_owned()),
            };
            if let Err(error) = &sent {
                tracing::warn!(
                    "remote-peer-id" = format!("{:x}", to.0),
                    error,
                    "failed to send database snapshot"
                );
            }
            if let Some(shared) = me.upgrade() {
                shared.inbox.send(Event::SnapshotSent { to, arrived: sent.is_ok() });
            }
        });
    }
}
