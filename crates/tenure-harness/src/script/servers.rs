//! The servers of a script.

use super::Script;
use crate::{
    cluster::Cluster,
    pki::{Authority, Owner},
    port::free_port,
    process::Server,
    rpc,
};
use anyhow::{Context, Result, ensure};
use std::path::Path;

/// A member beside the first.
pub(super) struct Other {
    pub server: Server,
    pub id: u64,
}

/// What a script runs against.
pub(super) struct Servers {
    pub first: Server,
    pub others: Vec<Other>,
    /// Where the first listens with TLS.
    pub tls: Option<String>,
}

impl Servers {
    /// Starts them. What they keep, and with TLS the certificates, is in `directory`: `ca.crt`, `server.crt`, that of the client
    /// whose common name is `root`, and `stranger.crt`, which another authority has issued; keys are beside them.
    pub async fn start(program: &Path, directory: &Path, script: &Script, flags: &[String]) -> Result<Self> {
        let (count, tls) = (script.members()?, script.tls());
        if count > 1 {
            ensure!(tls.is_none(), "members and tls do not go together");
            let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
            let cluster = Cluster::start(program, directory, count, &flags).await?;
            let mut members = cluster.members.into_iter();
            let first = members.next().context("a cluster has a first member")?;
            let mut others = Vec::new();
            for server in members {
                let id = rpc::identity(server.channel().await?).await?.member;
                others.push(Other { server, id });
            }
            return Ok(Self { first, others, tls: None });
        }
        let mut first = Server::new(program, &directory.join("data"), flags)?;
        let mut address = None;
        if let Some(more) = tls {
            let tls = format!("127.0.0.1:{}", free_port()?);
            first.add_flags(tls_flags(directory, &first, &tls)?);
            first.add_flags(more);
            address = Some(tls);
        }
        first.start_again().await?;
        Ok(Self { first, others: Vec::new(), tls: address })
    }
}

fn tls_flags(directory: &Path, server: &Server, tls: &str) -> Result<Vec<String>> {
    let authority = Authority::new(directory, "ca")?;
    let identity = authority.issue("server", &Owner::local_server())?;
    authority.issue("client", &Owner::named("root"))?;
    Authority::new(directory, "other")?.issue("stranger", &Owner::named("root"))?;
    Ok(vec![
        // The last of a repeated flag counts.
        format!("--listen-client-urls={},https://{tls}", server.url()),
        format!("--cert-file={}", identity.certificate.display()),
        format!("--key-file={}", identity.key.display()),
        format!("--trusted-ca-file={}", authority.certificate().display()),
    ])
}
