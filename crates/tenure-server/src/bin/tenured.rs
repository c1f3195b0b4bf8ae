//! `tenured`: a member as a process.

use std::process::ExitCode;
use tenure_server::Server;
use tenure_server::config::ServerConfig;

#[cfg(feature = "mimalloc")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[tokio::main]
async fn main() -> ExitCode {
    let server = match Server::start(ServerConfig::default()).await {
        Ok(server) => server,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::FAILURE;
        }
    };
    eprintln!("ready to serve client requests");
    tokio::signal::ctrl_c().await.ok();
    match server.shutdown().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}
