//! Backups.

use super::Maintenance;
use crate::{
    Client, Endpoint, Error, Result,
    rpc::{Answers, method},
};
use bytes::Bytes;
use futures::{Stream, StreamExt, future::BoxFuture};
use sha2::{Digest, Sha256};
use std::{
    fs::OpenOptions,
    future::IntoFuture,
    io,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    pin::Pin,
    sync::atomic::{AtomicU64, Ordering},
    task::{Context, Poll, ready},
};
use tenure_api::etcdserverpb as pb;
use tokio::{
    fs::File,
    io::{AsyncWriteExt, BufWriter},
};

/// The checksum at the end of a backup.
const CHECKSUM_BYTES: usize = 32;

/// Bytes that are written to the file at once.
const WRITE_BYTES: usize = 1024 * 1024;

/// A backup on its way, from [`Maintenance::snapshot`].
///
/// ```no_run
/// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
/// let snapshot = client.maintenance().snapshot().endpoint("10.0.0.2:2379").await?;
/// println!("{} bytes are to come", snapshot.database_bytes());
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
#[must_use = "nothing happens until it is awaited"]
pub struct SnapshotCall {
    client: Client,
    endpoint: Option<String>,
}

impl SnapshotCall {
    pub(super) fn new(client: Client) -> Self {
        SnapshotCall { client, endpoint: None }
    }

    /// Takes the backup of this member, which need not be one of the client's endpoints.
    ///
    /// ```no_run
    /// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
    /// // One backup of each member.
    /// for (number, endpoint) in client.endpoints().into_iter().enumerate() {
    ///     let snapshot = client.maintenance().snapshot().endpoint(endpoint).await?;
    ///     snapshot.save(format!("backup-{number}.db")).await?;
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn endpoint(mut self, endpoint: impl Into<String>) -> Self {
        self.endpoint = Some(endpoint.into());
        self
    }
}

impl IntoFuture for SnapshotCall {
    type Output = Result<Snapshot>;
    type IntoFuture = BoxFuture<'static, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let (rpc, request) = (self.client.rpc(), pb::SnapshotRequest {});
            let mut answers: Answers<pb::SnapshotResponse> = match &self.endpoint {
                None => rpc.server_stream(&method::SNAPSHOT, &request).await?,
                Some(endpoint) => {
                    let endpoint: Endpoint = endpoint.parse()?;
                    rpc.server_stream_to(&endpoint, &method::SNAPSHOT, &request).await?
                }
            };
            let first = answers.next().await?.ok_or(INCOMPLETE)?;
            let version = Some(first.version.clone()).filter(|version| !version.is_empty());
            let total_bytes = first.remaining_bytes.saturating_add(first.blob.len() as u64);
            let answers = answers.preceded_by(first);
            Ok(Snapshot { answers, version, total_bytes, checksum: Checksum::default(), is_over: false })
        })
    }
}

const INCOMPLETE: Error = Error::Protocol("the backup ends before its checksum; take it again");
const DAMAGED: Error =
    Error::Protocol("the backup does not have the checksum that was sent with it; take it again");

/// A backup of the whole store at one revision, as a stream of the bytes of its file: etcd's database followed by its SHA-256.
///
/// The checksum is compared at the end: only a stream that ends without an error was complete. It is read as fast as it is taken;
/// what waits is bounded by the windows of HTTP/2 (2 MiB). Dropping it gives the backup up.
///
/// ```no_run
/// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
/// let mut snapshot = client.maintenance().snapshot().await?;
/// let mut bytes = 0;
/// while let Some(part) = snapshot.next().await {
///     bytes += part?.len();
/// }
/// println!("{bytes} bytes of a store of version {:?}", snapshot.version());
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Snapshot {
    answers: Answers<pb::SnapshotResponse>,
    version: Option<String>,
    total_bytes: u64,
    checksum: Checksum,
    is_over: bool,
}

impl Snapshot {
    /// The version of the store's format, if the server tells it: those of etcd before 3.6 do not.
    ///
    /// ```no_run
    /// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
    /// let snapshot = client.maintenance().snapshot().await?;
    /// println!("for etcd {} or later", snapshot.version().unwrap_or("3.5 or before"));
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn version(&self) -> Option<&str> {
        self.version.as_deref()
    }

    /// The size of the database, without its checksum, as the server announced it.
    ///
    /// ```no_run
    /// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
    /// let mut snapshot = client.maintenance().snapshot().await?;
    /// let (total, mut done) = (snapshot.database_bytes(), 0);
    /// while let Some(part) = snapshot.next().await {
    ///     done += part?.len() as u64;
    ///     println!("{} %", (done * 100).checked_div(total).unwrap_or(100).min(100));
    /// }
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn database_bytes(&self) -> u64 {
        self.total_bytes
    }

    /// The next bytes; nothing once all have come and the checksum was right.
    ///
    /// Cancel-safe: no bytes are lost when the future is dropped.
    ///
    /// ```no_run
    /// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
    /// let mut bytes = Vec::new();
    /// let mut snapshot = client.maintenance().snapshot().await?;
    /// while let Some(part) = snapshot.next().await {
    ///     bytes.extend_from_slice(&part?);
    /// }
    /// // No error: all of it is there, and its checksum is right.
    /// println!("{} bytes", bytes.len());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`Maintenance::snapshot`]; [`Error::Protocol`] at the end, if the checksum is missing or wrong. After an error nothing comes.
    pub async fn next(&mut self) -> Option<Result<Bytes>> {
        StreamExt::next(self).await
    }
}

impl Stream for Snapshot {
    type Item = Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes>>> {
        if self.is_over {
            return Poll::Ready(None);
        }
        let answer = ready!(self.answers.poll_next_unpin(cx));
        let item = match answer {
            Some(Ok(answer)) => {
                self.checksum.add(&answer.blob);
                return Poll::Ready(Some(Ok(answer.blob)));
            }
            Some(Err(error)) => Some(Err(error)),
            None => std::mem::take(&mut self.checksum).check().err().map(Err),
        };
        self.is_over = true;
        Poll::Ready(item)
    }
}

/// The SHA-256 of all bytes but the last 32, which must be it.
#[derive(Clone, Debug, Default)]
struct Checksum {
    hash: Sha256,
    /// The last bytes so far: at the end they are what was sent as the checksum.
    last: Vec<u8>,
}

impl Checksum {
    fn add(&mut self, bytes: &[u8]) {
        let kept_of_bytes = bytes.len().min(CHECKSUM_BYTES);
        let hashed_of_last = (self.last.len() + kept_of_bytes).saturating_sub(CHECKSUM_BYTES);
        self.hash.update(&self.last[..hashed_of_last]);
        self.last.drain(..hashed_of_last);
        let (hashed, kept) = bytes.split_at(bytes.len() - kept_of_bytes);
        self.hash.update(hashed);
        self.last.extend_from_slice(kept);
    }

    fn check(self) -> Result<()> {
        if self.last.len() < CHECKSUM_BYTES {
            return Err(INCOMPLETE);
        }
        if self.hash.finalize()[..] != self.last[..] { Err(DAMAGED) } else { Ok(()) }
    }
}

/// A backup that is safe in its file.
///
/// ```no_run
/// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
/// let saved = client.maintenance().snapshot_to_file("backup.db").await?;
/// println!("{} bytes, format {:?}", saved.file_bytes, saved.version);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SavedSnapshot {
    /// The version of the store's format, if the server tells it: those of etcd before 3.6 do not.
    pub version: Option<String>,
    /// Size of the file.
    pub file_bytes: u64,
}

impl Maintenance {
    /// Saves a backup to a file, which `etcdutl snapshot restore` and Tenure can start from. A file of that name is replaced.
    ///
    /// The bytes go to a file beside it first, readable for its owner only. When the checksum is right and the bytes are on disk,
    /// that one takes the name. If anything fails, or the future is dropped, no new file is left, and the old one is as it was.
    ///
    /// ```no_run
    /// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
    /// let saved = client.maintenance().snapshot_to_file("backup.db").await?;
    /// println!("{} bytes", saved.file_bytes);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`Maintenance::snapshot`]; [`Error::Protocol`] for a wrong checksum, [`Error::Io`] if the file cannot be written.
    pub async fn snapshot_to_file(&self, path: impl AsRef<Path>) -> Result<SavedSnapshot> {
        let snapshot = self.snapshot().await?;
        snapshot.save(path).await
    }
}

impl Snapshot {
    /// Saves the rest of the stream, which should be all of it: see [`Maintenance::snapshot_to_file`].
    ///
    /// ```no_run
    /// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
    /// // From a member that does not lead, so that the leader is not slowed down.
    /// let snapshot = client.maintenance().snapshot().endpoint("10.0.0.2:2379").await?;
    /// let saved = snapshot.save("backup.db").await?;
    /// println!("{} bytes", saved.file_bytes);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As the stream; [`Error::Io`] if the file cannot be written.
    pub async fn save(mut self, path: impl AsRef<Path>) -> Result<SavedSnapshot> {
        let path = path.as_ref();
        let (file, unfinished) = Unfinished::create(path)?;
        let failed = |error| Error::io(format!("write the backup {}", unfinished.path.display()), error);
        let mut file = BufWriter::with_capacity(WRITE_BYTES, file);
        let mut file_bytes = 0;
        while let Some(part) = self.next().await {
            let part = part?;
            file.write_all(&part).await.map_err(failed)?;
            file_bytes += part.len() as u64;
        }
        file.flush().await.map_err(failed)?;
        file.get_ref().sync_all().await.map_err(failed)?;
        unfinished.finish(path).await?;
        Ok(SavedSnapshot { version: self.version, file_bytes })
    }
}

/// A file that goes away unless it is finished.
struct Unfinished {
    path: PathBuf,
    is_finished: bool,
}

impl Unfinished {
    /// Makes a file beside `path` whose name no other call uses.
    fn create(path: &Path) -> Result<(File, Self)> {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let mut name = path.as_os_str().to_owned();
        name.push(format!(".{}-{count}.part", std::process::id()));
        let unfinished = Unfinished { path: PathBuf::from(name), is_finished: false };
        let mut options = OpenOptions::new();
        // One of the same name is left over from a process that had this id.
        options.write(true).create(true).truncate(true).mode(0o600);
        // Not in the background: it would make the file also after this future was dropped.
        let file = options
            .open(&unfinished.path)
            .map_err(|error| Error::io(format!("create {}", unfinished.path.display()), error))?;
        Ok((File::from_std(file), unfinished))
    }

    /// Gives it its name, durably.
    async fn finish(mut self, path: &Path) -> Result<()> {
        let failed = |error| Error::io(format!("name the backup {}", path.display()), error);
        tokio::fs::rename(&self.path, path).await.map_err(failed)?;
        self.is_finished = true;
        sync_directory(path).await.map_err(failed)
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        if !self.is_finished
            && let Err(error) = std::fs::remove_file(&self.path)
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(path = %self.path.display(), %error, "an unfinished backup is left behind");
        }
    }
}

/// Makes the names in the directory of `path` durable.
async fn sync_directory(path: &Path) -> io::Result<()> {
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    File::open(directory).await?.sync_all().await
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sealed(database: &[u8]) -> Vec<u8> {
        [database, &Sha256::digest(database)[..]].concat()
    }

    fn check(bytes: &[u8], part_bytes: usize) -> Result<()> {
        let mut checksum = Checksum::default();
        for part in bytes.chunks(part_bytes) {
            checksum.add(part);
        }
        checksum.check()
    }

    #[test]
    fn a_checksum_is_found_however_the_bytes_are_cut() {
        for database_bytes in [0_u8, 1, 31, 32, 33, 100] {
            let bytes = sealed(&vec![database_bytes; usize::from(database_bytes)]);
            for part_bytes in 1..=bytes.len() {
                check(&bytes, part_bytes).unwrap();
            }
        }
    }

    #[test]
    fn what_is_missing_or_changed_is_found() {
        let bytes = sealed(b"database");
        for cut in 0..bytes.len() {
            assert!(check(&bytes[..cut], 7).is_err(), "{cut}");
        }
        for place in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[place] ^= 1;
            assert!(check(&changed, 7).is_err(), "{place}");
        }
    }
}
