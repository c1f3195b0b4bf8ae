//! `tenurectl`: etcdctl's commands, flags, output formats and exit codes, for Tenure and for etcd itself.
//!
//! * [`commands`]: one file a command: its words, and what it asks the server.
//! * [`command_line`]: how words become a call; [`help`] prints them.
//! * [`settings`]: the flags that all commands share, and the environment.
//! * [`secure`]: how connections are secured.
//! * [`output`]: one file a format.
//! * [`go`]: the notations of Go's standard library, of which etcdctl's output is made.
//! * [`exit`]: exit codes.
//!
//! What this crate must never know: how a server works, and how one is talked to: that is `tenure-client`'s.

pub mod command_line;
pub mod commands;
pub mod exit;
pub mod go;
pub mod help;
pub mod log;
pub mod output;
pub mod password;
pub mod secure;
pub mod settings;

use std::{ffi::OsString, process::ExitCode};

/// Runs the command that the words of a command line ask for and answers the code to exit with. `words` starts
/// with the name of the program.
#[must_use]
pub fn main(words: Vec<OsString>) -> ExitCode {
    let outcome = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => {
            let outcome = runtime.block_on(command_line::execute(words));
            // A thread may still wait for a line of standard input; the process does not wait for it.
            runtime.shutdown_background();
            outcome
        }
        Err(error) => Err(exit::Failure::new(exit::Exit::Io, error)),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}
