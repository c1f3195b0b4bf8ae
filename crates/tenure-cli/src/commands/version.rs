//! `version`: which etcdctl this program stands in for, and which program it is.

use crate::{
    command_line::{Call, Group, Pending, Spec},
    help::PROGRAM,
    output,
};

/// The version of etcdctl whose commands and formats these are.
pub const ETCDCTL_VERSION: &str = "3.7.1";

/// `version`.
pub static SPEC: Spec = Spec {
    words: "version",
    about: "Shows the version",
    group: Some(Group::Utility),
    run: Some(run),
    ..Spec::EMPTY
};

fn run(_: &Call) -> Pending<'_> {
    Box::pin(async {
        let own = env!("CARGO_PKG_VERSION");
        // Tools read the first two lines.
        output::write(format!(
            "etcdctl version: {ETCDCTL_VERSION}\nAPI version: 3.7\n{PROGRAM} version: {own}\n"
        ))
    })
}
