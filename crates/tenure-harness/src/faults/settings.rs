//! What members are told that differs from run to run, or from member to member.

use super::{Plan, streams};
use crate::cluster::Cluster;
use crate::pki::{Authority, Owner};
use anyhow::{Result, bail};
use rand::seq::IndexedRandom;
use rand::{Rng, RngExt};
use std::fs;
use std::path::Path;
use std::str::FromStr;

/// Applied entries between two snapshots, and entries that are kept behind one: from members that snapshot all the time and send
/// whole snapshots to whoever has been away for a moment, to members that hardly ever do.
const SNAPSHOT_COUNTS: [u32; 4] = [60, 250, 1_000, 5_000];
const CATCHUP_ENTRIES: [u32; 4] = [20, 100, 300, 2_000];
/// How long a signed token is good, in seconds: clients have to log in again while something happens.
const JWT_TTL_SECONDS: u32 = 20;

/// Who asks has to log in, and this is what he is known by from then on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tokens {
    /// Tokens that the members remember.
    Simple,
    /// Signed tokens, which any member can check and which end soon.
    Jwt,
}

/// TLS between members.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PeerTls {
    /// `--peer-auto-tls`.
    Auto,
    /// Certificates of one authority, asked of both sides.
    Certificates,
}

impl FromStr for Tokens {
    type Err = anyhow::Error;

    fn from_str(name: &str) -> Result<Self> {
        match name {
            "simple" => Ok(Self::Simple),
            "jwt" => Ok(Self::Jwt),
            _ => bail!("{name}: not one of simple, jwt"),
        }
    }
}

impl FromStr for PeerTls {
    type Err = anyhow::Error;

    fn from_str(name: &str) -> Result<Self> {
        match name {
            "auto" => Ok(Self::Auto),
            "certificates" => Ok(Self::Certificates),
            _ => bail!("{name}: not one of auto, certificates"),
        }
    }
}

/// The cluster of a plan, not started, with what it needs in `directory`.
pub(super) fn cluster(plan: &Plan, directory: &Path, random: &mut impl Rng) -> Result<Cluster> {
    let mut flags = plan.flags.clone();
    flags.push(streams::NOTIFY_FLAG.to_owned());
    if let Some(tokens) = plan.auth {
        // Clients log in with every connection, and a debug build takes long for a password.
        flags.push("--bcrypt-cost=4".to_owned());
        flags.extend(jwt_flag(tokens, directory)?);
    }
    if let Some(tls) = plan.peer_tls {
        flags.extend(tls_flags(tls, directory)?);
    }
    if plan.is_varied {
        flags.push(format!("--strict-reconfig-check={}", random.random::<bool>()));
    }
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let make = if plan.peer_tls.is_some() { Cluster::with_tls_links } else { Cluster::with_links };
    let mut cluster = make(&plan.program, directory, plan.members, &flags)?;
    if plan.is_varied {
        for member in &mut cluster.members {
            let mut one_of = |all: &[u32; 4]| *all.choose(random).expect("there are four");
            member.add_flags([
                format!("--snapshot-count={}", one_of(&SNAPSHOT_COUNTS)),
                format!("--snapshot-catchup-entries={}", one_of(&CATCHUP_ENTRIES)),
            ]);
        }
    }
    Ok(cluster)
}

fn jwt_flag(tokens: Tokens, directory: &Path) -> Result<Option<String>> {
    if tokens == Tokens::Simple {
        return Ok(None);
    }
    let secret = directory.join("tokens.secret");
    fs::write(&secret, rand::random::<[u8; 32]>())?;
    let secret = secret.display();
    Ok(Some(format!("--auth-token=jwt,sign-method=HS256,priv-key={secret},ttl={JWT_TTL_SECONDS}s")))
}

fn tls_flags(tls: PeerTls, directory: &Path) -> Result<Vec<String>> {
    if tls == PeerTls::Auto {
        return Ok(vec!["--peer-auto-tls".to_owned()]);
    }
    let authority = Authority::new(directory, "peers")?;
    let member = authority.issue("member", &Owner::local_server())?;
    Ok(vec![
        format!("--peer-cert-file={}", member.certificate.display()),
        format!("--peer-key-file={}", member.key.display()),
        format!("--peer-trusted-ca-file={}", authority.certificate().display()),
        "--peer-client-cert-auth".to_owned(),
    ])
}
