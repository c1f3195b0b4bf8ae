//! `snapshot`: saves a backup.

use super::lossy;
use crate::{
    command_line::{Call, Group, Pending, Spec},
    exit::{Exit, Failure, os_words},
    output,
};
use std::{ffi::OsString, os::unix::ffi::OsStringExt};
use tenure_client::Error;

/// `snapshot`.
pub static SPEC: Spec = Spec {
    words: "snapshot <subcommand>",
    about: "Backups: save",
    group: Some(Group::Maintenance),
    commands: &[&RESTORE, &SAVE, &STATUS],
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

// etcdctl 3.4 and 3.5 have these two. A script that was made for them must not go on as if it had its backup back.

static RESTORE: Spec = Spec {
    words: "restore <filename>",
    about: "snapshot restore is a command of etcdutl now: etcdutl snapshot restore <filename> [options]",
    group: Some(Group::Elsewhere),
    ..Spec::EMPTY
};

static STATUS: Spec = Spec {
    words: "status <filename>",
    about: "snapshot status is a command of etcdutl now: etcdutl snapshot status <filename> [options]",
    group: Some(Group::Elsewhere),
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
        let is_bounded = call.is_set("command-timeout");
        let settings = if is_bounded { settings } else { settings.patient() };
        let client = settings.connect().await.map_err(|failure| match failure.exit() {
            Exit::BadConnection => failure.with_exit(Exit::Interrupted),
            _ => failure,
        })?;
        let maintenance = client.maintenance();
        let saving = maintenance.snapshot_to_file(OsString::from_vec(path.clone()));
        let saved = match is_bounded {
            true => settings.in_time(saving).await,
            false => saving.await,
        };
        let saved = saved.map_err(|error| match &error {
            Error::Io { error, .. } => {
                let reason = os_words(error);
                Failure::new(Exit::Interrupted, format!("could not write {} ({reason})", lossy(path)))
            }
            // What the stream is refused with is told as it came.
            _ => Failure::from_status(error).with_exit(Exit::Interrupted),
        })?;
        let mut text = format!("Snapshot saved at {}\n", lossy(path));
        if let Some(version) = saved.version {
            text.push_str(&format!("Server version {version}\n"));
        }
        output::write(text)
    })
}
