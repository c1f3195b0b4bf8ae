//! `tenurectl`: etcdctl's command line for Tenure and etcd.

use std::process::ExitCode;

fn main() -> ExitCode {
    tenure_cli::main(std::env::args_os().collect())
}
