//! What a member without a log begins with: a new cluster, or its place in one that runs.

use super::BootError;
use crate::config::{EndpointUrl, InitialClusterState, ServerConfig};
use crate::discovery::{self, DiscoveryError};
use crate::peer::Network;
use crate::peer::join::{self, JoinError};
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use tenure_core::membership::{self, BootstrapError, Member, Membership};
use tenure_core::types::{
    ConfChange, ConfChangeKind, EntryKind, HardState, LogEntry, LogIndex, MemberId, RequestId,
};
use tenure_storage::wal::{Metadata, Replay};

/// How long another member may take to say who is in its cluster: a founder's, who mostly asks before they run, and a joiner's.
const FOUNDER_ASKS_FOR: Duration = Duration::from_secs(1);
const JOINER_ASKS_FOR: Duration = Duration::from_secs(10);

/// A member that has no log yet.
#[derive(Debug)]
pub struct Birth {
    /// Who it is.
    pub metadata: Metadata,
    /// The others that it knows of.
    pub others: Vec<Member>,
}

impl Birth {
    /// What the configuration says, and the cluster that it names.
    ///
    /// # Errors
    /// [`BootError::Bootstrap`], [`BootError::Discovery`], [`BootError::Join`].
    pub fn of(config: &ServerConfig, network: &Network) -> Result<Self, BootError> {
        match config.initial_cluster_state {
            InitialClusterState::New => Self::found(discovered(config, network)?.as_ref(), network),
            InitialClusterState::Existing if config.discovery.is_some() => {
                let text = "discovery URL should not be set when joining existing initial cluster";
                Err(DiscoveryError::Refused(text.to_owned()).into())
            }
            InitialClusterState::Existing => Self::join(config, network),
        }
    }

    fn found(config: &ServerConfig, network: &Network) -> Result<Self, BootError> {
        let founders = founders(config)?;
        let own = own_of(&founders, config)?;
        if founders.len() > 1 {
            let urls = others_urls(config);
            let asked = join::fetch(&network.dialer, &urls, FOUNDER_ASKS_FOR, Ok);
            let has_run = |member: &Member| member.id == own.id && !member.client_urls.is_empty();
            if network.runtime.block_on(asked).is_ok_and(|cluster| cluster.members.iter().any(has_run)) {
                return Err(JoinError::AlreadyBootstrapped(own.id.0).into());
            }
        }
        let metadata = metadata(&founders, own);
        let others = founders.into_iter().filter(|member| member.id != metadata.member).collect();
        Ok(Self { metadata, others })
    }

    fn join(config: &ServerConfig, network: &Network) -> Result<Self, BootError> {
        let urls = others_urls(config);
        let founders = config.founders();
        let asked = join::fetch(&network.dialer, &urls, JOINER_ASKS_FOR, |cluster| {
            Ok((cluster.place_of(&config.name, &founders)?, cluster))
        });
        let (own, cluster) = network.runtime.block_on(asked)?;
        let others: Vec<&Member> = cluster.members.iter().filter(|member| member.id != own.id).collect();
        network.runtime.block_on(join::check_versions(&network.dialer, &others, JOINER_ASKS_FOR))?;
        let metadata = Metadata { member: own.id, cluster: cluster.id };
        let others = cluster.members.into_iter().filter(|member| member.id != own.id).collect();
        Ok(Self { metadata, others })
    }
}

/// The configuration with the founders that a discovery finds, if it names one.
fn discovered<'a>(config: &'a ServerConfig, network: &Network) -> Result<Cow<'a, ServerConfig>, BootError> {
    let discovery = match &config.discovery {
        Some(discovery) if config.initial_cluster_state == InitialClusterState::New => discovery,
        _ => return Ok(Cow::Borrowed(config)),
    };
    let alone = founders(config)?;
    let own = own_of(&alone, config)?.id;
    tracing::info!(
        "discovery-token" = discovery.token,
        "discovery-endpoints" = discovery.endpoints.join(","),
        "Bootstrapping cluster using v3 discovery."
    );
    let founder = config.founders();
    let joining = network.given_up.run_until_cancelled(discovery::join(discovery, own, &founder));
    let joined = network.runtime.block_on(joining).unwrap_or(Err(DiscoveryError::GivenUp));
    let cluster = joined.inspect_err(|error| tracing::error!(%error, "discovery failed to join cluster"))?;
    tracing::info!(cluster = discovery::cluster_text(&cluster), "discovery joined cluster successfully");
    Ok(Cow::Owned(ServerConfig { initial_cluster: cluster, ..config.clone() }))
}

/// The founders of the cluster of a log that has no entry yet, if the member of that log is one: then it was stopped before it
/// had written them. A member that joins writes none.
///
/// # Errors
/// [`BootError::Bootstrap`], [`BootError::Discovery`].
pub fn founders_of(
    config: &ServerConfig,
    written: Metadata,
    network: &Network,
) -> Result<Option<Vec<Member>>, BootError> {
    let config = discovered(config, network)?;
    let config = config.as_ref();
    let founders = founders(config)?;
    let own = own_of(&founders, config)?;
    Ok((metadata(&founders, own) == written).then_some(founders))
}

fn founders(config: &ServerConfig) -> Result<Vec<Member>, BootError> {
    let texts = |urls: &[EndpointUrl]| urls.iter().map(ToString::to_string).collect();
    let cluster: BTreeMap<String, Vec<String>> =
        config.founders().iter().map(|(name, urls)| (name.clone(), texts(urls))).collect();
    Ok(Membership::bootstrap(&cluster, &config.initial_cluster_token)?)
}

fn own_of<'a>(founders: &'a [Member], config: &ServerConfig) -> Result<&'a Member, BootError> {
    let own = founders.iter().find(|member| member.name == config.name);
    own.ok_or_else(|| BootstrapError::NoUrl(config.name.clone()).into())
}

fn metadata(founders: &[Member], own: &Member) -> Metadata {
    Metadata { member: own.id, cluster: membership::cluster_id(founders.iter().map(|member| member.id)) }
}

/// Where the others of the configuration are.
fn others_urls(config: &ServerConfig) -> Vec<EndpointUrl> {
    let others = config.founders().into_iter().filter(|(name, _)| *name != config.name);
    others.flat_map(|(_, urls)| urls).collect()
}

/// What `--force-new-cluster` adds to a log.
#[derive(Debug)]
pub struct Forced {
    /// This member gets a vote if it has none, all others leave.
    pub added: Vec<LogEntry>,
    /// All of it is committed.
    pub hard_state: HardState,
}

/// Makes the member of a log the only one of its cluster. Everything in the log counts as committed. etcd gives up what the log does
/// not say to be; but the log says it late, and whoever needs this has no other copy of what was acknowledged.
///
/// * `known`: the members before the entries of `replay`.
pub fn forced(known: &Membership, replay: &Replay) -> Forced {
    let own = replay.metadata.member;
    let mut voters: BTreeSet<MemberId> = known.conf_state().voters.iter().copied().collect();
    let mut others: BTreeSet<MemberId> = known.members().map(|member| member.id).collect();
    for entry in &replay.entries {
        let change = (entry.kind == EntryKind::ConfChange).then(|| ConfChange::decode(entry.data.clone()));
        let Some(Ok(change)) = change else { continue };
        match change.kind {
            ConfChangeKind::AddVoter => {
                voters.insert(change.member);
                others.insert(change.member);
            }
            ConfChangeKind::AddLearner => {
                others.insert(change.member);
            }
            ConfChangeKind::Remove => {
                voters.remove(&change.member);
                others.remove(&change.member);
            }
            ConfChangeKind::Update => {}
        }
    }
    others.remove(&own);
    let change = |kind, member, context: String| ConfChange {
        id: RequestId(0),
        kind,
        member,
        context: context.into(),
    };
    let promoted = (!voters.contains(&own)).then(|| {
        let member = Member { id: own, ..Member::default() };
        change(ConfChangeKind::AddVoter, own, member.to_change_context(true))
    });
    let leave = others.into_iter().map(|member| change(ConfChangeKind::Remove, member, String::new()));
    let term = replay.hard_state.term;
    let added: Vec<LogEntry> = (replay.last_index.0 + 1..)
        .zip(promoted.into_iter().chain(leave))
        .map(|(index, change)| LogEntry {
            index: LogIndex(index),
            term,
            kind: EntryKind::ConfChange,
            data: change.encode(),
        })
        .collect();
    let commit = added.last().map_or(replay.last_index, |last| last.index);
    Forced { added, hard_state: HardState { commit, ..replay.hard_state } }
}
