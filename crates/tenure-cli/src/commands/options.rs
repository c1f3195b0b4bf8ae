//! `options`: shows the flags that all commands share.

use crate::{
    command_line::{Call, Group, Pending, Spec},
    help, output, settings,
};

/// `options`.
pub static SPEC: Spec = Spec {
    words: "options",
    about: "Shows the flags that all commands share",
    group: Some(Group::Utility),
    run: Some(run),
    ..Spec::EMPTY
};

fn run(_: &Call) -> Pending<'_> {
    Box::pin(async {
        let flags = help::shared_flags(settings::FLAGS);
        output::write(format!("The following options can be passed to any command:\n\n{flags}"))
    })
}
