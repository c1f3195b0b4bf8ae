//! `snapshot`: saves a backup.

use super::lossy;
use crate::{
    command_line::{Call, Group, Pending, Spec},
    connection::Connection,
    exit::{Exit, Failure, os_words, status_message},
    output,
};
use sha2::{Digest, Sha256};
use std::{
    fs::{self, File, OpenOptions},
    io::Write,
    os::unix::{ffi::OsStringExt, fs::OpenOptionsExt},
    path::{Path, PathBuf},
};

/// The checksum at the end of the file.
const SUM_BYTES: usize = 32;

/// `snapshot`.
pub static SPEC: Spec = Spec {
    words: "snapshot <subcommand>",
    about: "Backups: save",
    group: Some(Group::Maintenance),
    commands: &[&SAVE],
    ..Spec::EMPTY
};

static SAVE: Spec = Spec {
    words: "save <filename>",
    about: "Saves what a member has stored to a file",
    long: "Saves what one member has stored to a file, with a checksum at its end.

  tenurectl snapshot save /backup/etcd-snapshot.db
  tenurectl snapshot save --endpoints=127.0.0.1:3000 /backup/etcd-snapshot.db

It takes as long as it takes, unless --command-timeout is given.",
    run: Some(save),
    ..Spec::EMPTY
};

fn save(call: &Call) -> Pending<'_> {
    Box::pin(async {
        let arguments = call.arguments();
        let [path] = arguments.as_slice() else {
            return Err(Failure::bad_args("snapshot save expects one argument <filename>"));
        };
        let settings = call.settings()?;
        if settings.endpoints.len() != 1 {
            let endpoints = settings.endpoints.join(" ");
            let message =
                format!("snapshot must be requested to one selected node, not multiple [{endpoints}]");
            return Err(Failure::new(Exit::Interrupted, message));
        }
        let connection = Connection::new(&settings.endpoints, &settings)?;
        let file = PathBuf::from(std::ffi::OsString::from_vec(path.clone()));
        let part = Part::create(&file)?;
        let download = part.fill(&connection);
        let version = match call.is_set("command-timeout") {
            true => tokio::time::timeout(settings.command_timeout, download)
                .await
                .unwrap_or_else(|_| Err(failed("context deadline exceeded")))?,
            false => download.await?,
        };
        let mut text = format!("Snapshot saved at {}\n", lossy(path));
        if !version.is_empty() {
            text.push_str(&format!("Server version {version}\n"));
        }
        output::write(text)
    })
}

fn failed(message: impl std::fmt::Display) -> Failure {
    Failure::new(Exit::Interrupted, message)
}

fn unwritten(what: &str, error: &std::io::Error) -> Failure {
    failed(format!("could not {what}: {}", os_words(error)))
}

/// A file that has its name only when it is whole.
struct Part {
    file: File,
    part: PathBuf,
    whole: PathBuf,
}

impl Drop for Part {
    fn drop(&mut self) {
        // It is gone already when it was renamed.
        drop(fs::remove_file(&self.part));
    }
}

impl Part {
    fn create(whole: &Path) -> Result<Self, Failure> {
        let mut part = whole.to_path_buf().into_os_string();
        part.push(".part");
        let part = PathBuf::from(part);
        let mut options = OpenOptions::new();
        let file = options.write(true).create(true).truncate(true).mode(0o600).open(&part);
        let file = file.map_err(|error| {
            let (path, reason) = (part.display(), os_words(&error));
            failed(format!("could not open {path} (open {path}: {reason})"))
        })?;
        Ok(Part { file, part, whole: whole.to_path_buf() })
    }

    /// Fetches the backup, checks its checksum, makes it durable under its name. Answers the version of the server's
    /// storage, which servers before 3.6 do not say.
    async fn fill(mut self, connection: &Connection) -> Result<String, Failure> {
        let status = |status: tonic::Status| failed(status_message(&status));
        let mut stream = connection.snapshot().await.map_err(status)?;
        let mut version = String::new();
        let mut sum = Sum::default();
        while let Some(chunk) = stream.message().await.map_err(status)? {
            self.file.write_all(&chunk.blob).map_err(|error| unwritten("write snapshot", &error))?;
            sum.add(&chunk.blob);
            version = chunk.version;
        }
        sum.check()?;
        self.file.sync_all().map_err(|error| unwritten("fsync snapshot", &error))?;
        fs::rename(&self.part, &self.whole).map_err(|error| {
            let (part, whole) = (self.part.display(), self.whole.display());
            let reason = os_words(&error);
            failed(format!("could not rename {part} to {whole} (rename {part} {whole}: {reason})"))
        })?;
        let directory = self.whole.parent().filter(|parent| !parent.as_os_str().is_empty());
        File::open(directory.unwrap_or(Path::new(".")))
            .and_then(|directory| directory.sync_all())
            .map_err(|error| unwritten("fsync the directory of the snapshot", &error))?;
        Ok(version)
    }
}

/// The checksum of everything but the last bytes, which should be that checksum.
#[derive(Default)]
struct Sum {
    hasher: Sha256,
    tail: Vec<u8>,
    bytes: usize,
}

impl Sum {
    fn add(&mut self, bytes: &[u8]) {
        self.bytes += bytes.len();
        self.tail.extend_from_slice(bytes);
        let known = self.tail.len().saturating_sub(SUM_BYTES);
        self.hasher.update(&self.tail[..known]);
        self.tail.drain(..known);
    }

    fn check(self) -> Result<(), Failure> {
        // Databases are made of pages, so the checksum is what is left over.
        if self.bytes % 512 != SUM_BYTES {
            return Err(failed(format!("sha256 checksum not found [bytes: {}]", self.bytes)));
        }
        let expected = self.hasher.finalize();
        if expected.as_slice() != self.tail {
            let (expected, got) = (expected.as_slice(), self.tail.as_slice());
            return Err(failed(format!("expected sha256 {expected:?}, got {got:?}")));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(chunks: &[&[u8]]) -> Result<(), String> {
        let mut sum = Sum::default();
        chunks.iter().for_each(|chunk| sum.add(chunk));
        sum.check().map_err(|failure| failure.message().to_owned())
    }

    #[test]
    fn the_checksum_may_be_split_over_chunks() {
        let page = [7u8; 512];
        let sum: Vec<u8> = Sha256::digest(page).to_vec();
        assert_eq!(check(&[&page, &sum]), Ok(()));
        assert_eq!(check(&[&page[..500], &page[500..], &sum[..1], &sum[1..]]), Ok(()));
        assert_eq!(check(&[&page]), Err("sha256 checksum not found [bytes: 512]".to_owned()));
        let mut flipped = page;
        flipped[3] ^= 1;
        let failure = check(&[&flipped, &sum]).expect_err("a bit is wrong");
        assert!(failure.starts_with("expected sha256 ["), "{failure}");
    }
}
