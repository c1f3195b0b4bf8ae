//! `completion`: scripts that complete commands and flags in a shell.

use super::{ROOT, lossy};
use crate::{
    command_line::{Call, Group, Pending, Spec},
    exit::{Exit, Failure},
    go::quote::quote,
    help::{self, PROGRAM},
    output, settings,
};
use clap_complete::{Shell, generate};

/// `completion`.
pub static SPEC: Spec = Spec {
    words: "completion [bash|zsh|fish|powershell]",
    about: "Prints a completion script for a shell",
    long: "Prints a script that completes commands and flags.

bash:        source <(tenurectl completion bash)
zsh:         tenurectl completion zsh > \"${fpath[1]}/_tenurectl\"
fish:        tenurectl completion fish | source
PowerShell:  tenurectl completion powershell | Out-String | Invoke-Expression",
    group: Some(Group::Utility),
    run: Some(run),
    ..Spec::EMPTY
};

fn run(call: &Call) -> Pending<'_> {
    Box::pin(async {
        let arguments = call.arguments();
        let [shell] = arguments.as_slice() else {
            return Err(misused(format!("accepts 1 arg(s), received {}", arguments.len())));
        };
        let shell = match lossy(shell).as_str() {
            "bash" => Shell::Bash,
            "zsh" => Shell::Zsh,
            "fish" => Shell::Fish,
            "powershell" => Shell::PowerShell,
            _ => {
                return Err(misused(format!(
                    "invalid argument {} for \"{PROGRAM} completion\"",
                    quote(shell)
                )));
            }
        };
        let mut script = Vec::new();
        generate(shell, &mut ROOT.tree(settings::FLAGS), PROGRAM, &mut script);
        output::write(script)
    })
}

fn misused(message: String) -> Failure {
    eprintln!("Error: {message}\n{}", help::usage(&[&ROOT, &SPEC]));
    Failure::told(Exit::Error)
}
