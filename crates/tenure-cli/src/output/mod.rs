//! Answers as text: one file a format.

mod auth;
mod cluster;
mod fields;
pub mod json;
mod protobuf;
mod simple;
mod table;
pub mod wire;

pub use auth::AuthAnswer;
pub use cluster::ClusterAnswer;

use crate::exit::{Exit, Failure};
use crate::go::duration;
use std::{
    io::{self, Write},
    time::Duration,
};
use tenure_client::raw::etcdserverpb as pb;

/// The values of `--write-out`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// One fact a line, `"Name" : value`.
    Fields,
    /// One JSON object a line.
    Json,
    /// The bytes of the message.
    Protobuf,
    /// What people read.
    Simple,
    /// A drawn table.
    Table,
}

impl Format {
    /// The format of a name.
    ///
    /// # Errors
    /// There is none of this name.
    pub fn parse(name: &str) -> Result<Self, Failure> {
        match name {
            "fields" => Ok(Format::Fields),
            "json" => Ok(Format::Json),
            "protobuf" => Ok(Format::Protobuf),
            "simple" => Ok(Format::Simple),
            "table" => Ok(Format::Table),
            _ => Err(Failure::new(Exit::BadFeature, "unsupported output format")),
        }
    }

    /// The refusal to print an answer in this format.
    fn unsupported(self) -> Failure {
        let name = match self {
            Format::Fields => "fields",
            Format::Json => "json",
            Format::Protobuf => "protobuf",
            Format::Simple => "simple",
            Format::Table => "table",
        };
        Failure::new(Exit::BadFeature, format!("{name} not supported as output format"))
    }
}

/// How fit an endpoint is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointHealth {
    /// The endpoint as it was given.
    pub endpoint: String,
    /// How long the read took; nothing if there was none.
    pub took: Option<Duration>,
    /// Why it is not fit; nothing if it is.
    pub error: Option<String>,
}

impl EndpointHealth {
    /// How long the read took, as Go writes it; empty if there was none.
    fn took_text(&self) -> String {
        self.took.map(duration::format).unwrap_or_default()
    }
}

/// Everything that a server answers and a command prints.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// Pairs read.
    Range(pb::RangeResponse),
    /// A pair written.
    Put(pb::PutResponse),
    /// Pairs deleted.
    DeleteRange(pb::DeleteRangeResponse),
    /// A transaction carried out.
    Txn(pb::TxnResponse),
    /// Something that a watcher is told.
    Watch(pb::WatchResponse),
    /// A lease made.
    LeaseGrant(pb::LeaseGrantResponse),
    /// The lease of this id ended.
    LeaseRevoke(i64, pb::LeaseRevokeResponse),
    /// A lease renewed.
    LeaseKeepAlive(pb::LeaseKeepAliveResponse),
    /// What is left of a lease.
    LeaseTimeToLive(pb::LeaseTimeToLiveResponse, TimeToLive),
    /// All leases.
    LeaseLeases(pb::LeaseLeasesResponse),
    /// All members.
    Members(pb::MemberListResponse),
    /// Alarms.
    Alarms(pb::AlarmResponse),
    /// How fit endpoints are.
    Health(Vec<EndpointHealth>),
    /// How endpoints are.
    Status(Vec<(String, pb::StatusResponse)>),
    /// Users and roles.
    Auth(AuthAnswer),
    /// Changes of the cluster.
    Cluster(ClusterAnswer),
    /// The checksums of endpoints.
    HashKv(Vec<(String, pb::HashKvResponse)>),
}

/// Whether the keys of a lease were asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimeToLive {
    /// Only its time.
    Bare,
    /// Its keys too.
    WithKeys,
}

/// What is printed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Text {
    /// On standard output.
    pub out: Vec<u8>,
    /// On standard error.
    pub err: Vec<u8>,
}

impl Text {
    /// A line on standard output.
    fn line(&mut self, line: impl AsRef<[u8]>) {
        self.out.extend_from_slice(line.as_ref());
        self.out.push(b'\n');
    }
}

/// How answers are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Printer {
    format: Format,
    hex: bool,
    values_only: bool,
}

impl Printer {
    /// Prints in a format; keys, values and ids in hexadecimal if `hex`.
    #[must_use]
    pub fn new(format: Format, hex: bool) -> Self {
        Printer { format, hex, values_only: false }
    }

    /// The same, but without keys.
    #[must_use]
    pub fn values_only(self) -> Self {
        Printer { values_only: true, ..self }
    }

    /// The format.
    #[must_use]
    pub fn format(&self) -> Format {
        self.format
    }

    /// An answer as text.
    ///
    /// # Errors
    /// The format has no way to print it.
    pub fn render(&self, answer: &Answer) -> Result<Text, Failure> {
        match self.format {
            Format::Fields => fields::render(answer, self.hex),
            Format::Json => Ok(json::render(answer, self.hex)),
            Format::Protobuf => protobuf::render(answer),
            Format::Simple => Ok(simple::render(answer, self.hex, self.values_only)),
            Format::Table => table::render(answer),
        }
    }

    /// Writes what a change of users or roles has answered.
    ///
    /// # Errors
    /// As [`Printer::print`].
    pub fn changed(
        &self,
        line: impl Into<Vec<u8>>,
        header: Option<pb::ResponseHeader>,
    ) -> Result<(), Failure> {
        self.print(&Answer::Auth(AuthAnswer::Changed(line.into(), header)))
    }

    /// Writes an answer to standard output.
    ///
    /// # Errors
    /// The format has no way to print it, or nobody reads it.
    pub fn print(&self, answer: &Answer) -> Result<(), Failure> {
        let text = self.render(answer)?;
        io::stderr().write_all(&text.err).map_err(unwritable)?;
        write(&text.out)
    }
}

/// Writes bytes to standard output, at once.
///
/// # Errors
/// Nobody reads it.
pub fn write(bytes: impl AsRef<[u8]>) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    out.write_all(bytes.as_ref()).and_then(|()| out.flush()).map_err(unwritable)
}

fn unwritable(error: io::Error) -> Failure {
    match error.kind() {
        // The reader has what it wants, as `head` does: no reason to complain.
        io::ErrorKind::BrokenPipe => Failure::told(Exit::Io),
        _ => Failure::new(Exit::Io, error),
    }
}

/// The header of an answer; a missing one reads as all zero.
fn header_of(header: &Option<pb::ResponseHeader>) -> pb::ResponseHeader {
    header.unwrap_or_default()
}

/// The columns of a table, and its rows.
type Columns = (&'static [&'static str], Vec<Vec<String>>);

fn member_columns(members: &[pb::Member]) -> Columns {
    let names = &["ID", "Status", "Name", "Peer Addrs", "Client Addrs", "Is Learner"];
    let rows = members.iter().map(|member| {
        vec![
            format!("{:x}", member.id),
            if member.name.is_empty() { "unstarted" } else { "started" }.to_owned(),
            member.name.clone(),
            member.peer_ur_ls.join(","),
            member.client_ur_ls.join(","),
            member.is_learner.to_string(),
        ]
    });
    (names, rows.collect())
}

fn health_columns(endpoints: &[EndpointHealth]) -> Columns {
    let rows = endpoints.iter().map(|endpoint| {
        vec![
            endpoint.endpoint.clone(),
            endpoint.error.is_none().to_string(),
            endpoint.took_text(),
            endpoint.error.clone().unwrap_or_default(),
        ]
    });
    (&["endpoint", "health", "took", "error"], rows.collect())
}

fn status_columns(endpoints: &[(String, pb::StatusResponse)]) -> Columns {
    let names = &[
        "endpoint",
        "ID",
        "version",
        "storage version",
        "db size",
        "in use",
        "percentage not in use",
        "quota",
        "is leader",
        "is learner",
        "raft term",
        "raft index",
        "raft applied index",
        "errors",
        "downgrade target version",
        "downgrade enabled",
    ];
    (names, endpoints.iter().map(|(endpoint, status)| status_row(endpoint, status)).collect())
}

fn status_row(endpoint: &str, status: &pb::StatusResponse) -> Vec<String> {
    let member = header_of(&status.header).member_id;
    let size = |bytes: i64| crate::go::size::format(u64::try_from(bytes).unwrap_or_default());
    let used = (status.db_size_in_use * 100).checked_div(status.db_size).unwrap_or(100);
    let downgrade = status.downgrade_info.clone().unwrap_or_default();
    vec![
        endpoint.to_owned(),
        format!("{member:x}"),
        status.version.clone(),
        status.storage_version.clone(),
        size(status.db_size),
        size(status.db_size_in_use),
        format!("{}%", 100 - used),
        size(status.db_size_quota),
        (status.leader == member).to_string(),
        status.is_learner.to_string(),
        status.raft_term.to_string(),
        status.raft_index.to_string(),
        status.raft_applied_index.to_string(),
        status.errors.join(", "),
        downgrade.target_version,
        downgrade.enabled.to_string(),
    ]
}

fn hash_columns(endpoints: &[(String, pb::HashKvResponse)]) -> Columns {
    let rows = endpoints.iter().map(|(endpoint, hash)| {
        vec![endpoint.clone(), hash.hash.to_string(), hash.hash_revision.to_string()]
    });
    (&["endpoint", "hash", "hash_revision"], rows.collect())
}

/// The name of an alarm in the protocol; its number if it has none.
fn alarm_name(alarm: i32) -> String {
    pb::AlarmType::try_from(alarm).map_or_else(|_| alarm.to_string(), |alarm| alarm.as_str_name().to_owned())
}

/// The name of an event's kind in the protocol; its number if it has none.
fn event_name(kind: i32) -> String {
    use tenure_client::raw::mvccpb::event::EventType;
    EventType::try_from(kind).map_or_else(|_| kind.to_string(), |kind| kind.as_str_name().to_owned())
}
