//! Upkeep of members: alarms, status, hashes, defragmentation, backups, leadership, versions.
//!
//! * `snapshot`: backups, as a stream and as a file.
//! * `version`: servers that are too old.

mod snapshot;
mod version;

pub use snapshot::{SavedSnapshot, Snapshot, SnapshotCall};

use crate::{
    Client, Endpoint, EtcdError, MemberId, ResponseHeader, Result, Revision,
    rpc::method::{self, Method},
    types::header,
};
use prost::Message;
use tenure_api::etcdserverpb as pb;

impl Client {
    /// Alarms, status, hashes, defragmentation, backups, leadership, versions.
    ///
    /// ```no_run
    /// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
    /// let status = client.maintenance().status("127.0.0.1:2379").await?;
    /// println!("{}: {} bytes, leader {}", status.version, status.db_size_bytes, status.leader);
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn maintenance(&self) -> Maintenance {
        Maintenance { client: self.clone() }
    }
}

/// Upkeep of members. From [`Client::maintenance`]; cheap to clone.
///
/// Methods that take an endpoint ask that member and no other; it need not be one of the client's endpoints. They are not repeated when
/// it fails.
///
/// ```no_run
/// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
/// let maintenance = client.maintenance();
/// // One after the other: a member that defragments may answer nobody.
/// for endpoint in client.endpoints() {
///     let before = maintenance.status(&endpoint).await?.db_size_bytes;
///     maintenance.defragment(&endpoint).await?;
///     let after = maintenance.status(&endpoint).await?.db_size_bytes;
///     println!("{endpoint}: from {before} to {after} bytes");
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Maintenance {
    client: Client,
}

/// What an alarm says.
///
/// ```
/// use tenure_client::AlarmKind;
///
/// assert_eq!(AlarmKind::from(1), AlarmKind::NoSpace);
/// assert_eq!(AlarmKind::from(99), AlarmKind::Other(99));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum AlarmKind {
    /// Nothing.
    #[default]
    None,
    /// The member's store is as large as its quota allows: the cluster takes no more writes.
    NoSpace,
    /// The member's data is not what the others have.
    Corrupt,
    /// One that this client does not know, by its number.
    Other(i32),
}

impl From<i32> for AlarmKind {
    fn from(number: i32) -> Self {
        match pb::AlarmType::try_from(number) {
            Ok(pb::AlarmType::None) => AlarmKind::None,
            Ok(pb::AlarmType::Nospace) => AlarmKind::NoSpace,
            Ok(pb::AlarmType::Corrupt) => AlarmKind::Corrupt,
            Err(_) => AlarmKind::Other(number),
        }
    }
}

impl From<AlarmKind> for i32 {
    fn from(kind: AlarmKind) -> Self {
        match kind {
            AlarmKind::None => pb::AlarmType::None as i32,
            AlarmKind::NoSpace => pb::AlarmType::Nospace as i32,
            AlarmKind::Corrupt => pb::AlarmType::Corrupt as i32,
            AlarmKind::Other(number) => number,
        }
    }
}

/// An alarm that is raised.
///
/// ```no_run
/// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
/// for alarm in client.maintenance().alarm_list().await?.alarms {
///     println!("{}: {:?}", alarm.member_id, alarm.alarm);
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct AlarmMember {
    /// Whose alarm it is.
    pub member_id: MemberId,
    /// What it says.
    pub alarm: AlarmKind,
}

impl From<pb::AlarmMember> for AlarmMember {
    fn from(alarm: pb::AlarmMember) -> Self {
        AlarmMember { member_id: MemberId(alarm.member_id), alarm: alarm.alarm.into() }
    }
}

/// Alarms.
///
/// ```no_run
/// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
/// let alarms = client.maintenance().alarm_list().await?.alarms;
/// println!("{}", if alarms.is_empty() { "all is well" } else { "look after your cluster" });
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AlarmResponse {
    /// Server and store.
    pub header: ResponseHeader,
    /// Those that are raised, or those that were disarmed.
    pub alarms: Vec<AlarmMember>,
}

impl From<pb::AlarmResponse> for AlarmResponse {
    fn from(response: pb::AlarmResponse) -> Self {
        AlarmResponse {
            header: header(response.header),
            alarms: response.alarms.into_iter().map(AlarmMember::from).collect(),
        }
    }
}

/// How a member is.
///
/// ```no_run
/// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
/// let status = client.maintenance().status("127.0.0.1:2379").await?;
/// println!("{}, {} bytes, {} of them in use", status.version, status.db_size_bytes, status.db_size_in_use_bytes);
/// println!("leads: {}", status.leader == status.header.member_id);
/// for fault in &status.errors {
///     println!("{fault}");
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StatusResponse {
    /// Server and store.
    pub header: ResponseHeader,
    /// The version of the server.
    pub version: String,
    /// Size of its store on disk.
    pub db_size_bytes: i64,
    /// The part of it that is in use; the rest can be given back by [`Maintenance::defragment`].
    pub db_size_in_use_bytes: i64,
    /// How large the store may become; 0 from servers before etcd 3.6.
    pub db_size_quota_bytes: i64,
    /// The leader as this member knows it; 0 for none.
    pub leader: MemberId,
    /// The newest entry of the Raft log that is committed.
    pub raft_index: u64,
    /// The Raft term.
    pub raft_term: u64,
    /// The newest entry that this member has applied.
    pub raft_applied_index: u64,
    /// What is wrong: no leader, alarms, corruption.
    pub errors: Vec<String>,
    /// Whether it has no vote yet.
    pub is_learner: bool,
    /// The version of the store's format; empty from servers before etcd 3.6.
    pub storage_version: String,
    /// The version that the cluster is being downgraded to, if it is.
    pub downgrade_target: Option<String>,
}

impl From<pb::StatusResponse> for StatusResponse {
    fn from(response: pb::StatusResponse) -> Self {
        StatusResponse {
            header: header(response.header),
            version: response.version,
            db_size_bytes: response.db_size,
            db_size_in_use_bytes: response.db_size_in_use,
            db_size_quota_bytes: response.db_size_quota,
            leader: MemberId(response.leader),
            raft_index: response.raft_index,
            raft_term: response.raft_term,
            raft_applied_index: response.raft_applied_index,
            errors: response.errors,
            is_learner: response.is_learner,
            storage_version: response.storage_version,
            downgrade_target: response
                .downgrade_info
                .filter(|info| info.enabled)
                .map(|info| info.target_version),
        }
    }
}

/// The hash of a member's whole store.
///
/// ```no_run
/// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
/// let answer = client.maintenance().hash("127.0.0.1:2379").await?;
/// println!("{:08x} at revision {}", answer.hash, answer.header.revision);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct HashResponse {
    /// Server and store.
    pub header: ResponseHeader,
    /// The hash.
    pub hash: u32,
}

/// The hash of a member's keys at a revision.
///
/// ```no_run
/// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
/// let answer = client.maintenance().hash_kv("127.0.0.1:2379", 0).await?;
/// println!("{:08x} of revisions {} to {}", answer.hash, answer.compact_revision, answer.hash_revision);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct HashKvResponse {
    /// Server and store.
    pub header: ResponseHeader,
    /// The hash. It is equal on all members if revision and compaction are.
    pub hash: u32,
    /// Up to where the history was given up.
    pub compact_revision: Revision,
    /// The revision of the hash; 0 from servers before etcd 3.6.
    pub hash_revision: Revision,
}

/// An answer that says nothing but that it is done.
///
/// ```no_run
/// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
/// use tenure_client::MemberId;
///
/// let answer = client.maintenance().move_leader(MemberId(0x8e9e_05c5_2164_694d)).await?;
/// println!("term {}", answer.header.raft_term);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct MaintenanceResponse {
    /// Server and store; all zero from methods that fill none.
    pub header: ResponseHeader,
}

/// What to do about a downgrade.
///
/// ```no_run
/// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
/// use tenure_client::DowngradeAction;
///
/// let maintenance = client.maintenance();
/// maintenance.downgrade(DowngradeAction::Validate, "3.6").await?;
/// maintenance.downgrade(DowngradeAction::Enable, "3.6").await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DowngradeAction {
    /// Say whether it could be begun.
    Validate,
    /// Begin it.
    Enable,
    /// Give it up.
    Cancel,
}

/// The answer to [`Maintenance::downgrade`].
///
/// ```no_run
/// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
/// use tenure_client::DowngradeAction;
///
/// let answer = client.maintenance().downgrade(DowngradeAction::Validate, "3.6").await?;
/// println!("from {} to 3.6", answer.version);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DowngradeResponse {
    /// Server and store.
    pub header: ResponseHeader,
    /// The version of the cluster.
    pub version: String,
}

impl Maintenance {
    /// The alarms that are raised.
    ///
    /// ```no_run
    /// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
    /// use tenure_client::AlarmKind;
    ///
    /// let alarms = client.maintenance().alarm_list().await?.alarms;
    /// if alarms.iter().any(|alarm| alarm.alarm == AlarmKind::NoSpace) {
    ///     println!("no writes until there is space again");
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`PermissionDenied`](EtcdError::PermissionDenied) for others than `root` once authentication is on; no member can be reached.
    pub async fn alarm_list(&self) -> Result<AlarmResponse> {
        self.alarm(pb::alarm_request::AlarmAction::Get, AlarmMember::default()).await
    }

    /// Disarms an alarm of a member. The cause must have been removed before: after [`NoSpace`](AlarmKind::NoSpace) compact and
    /// defragment, or the alarm comes back with the next write.
    ///
    /// The answer has the alarm if it was raised. That it was not is no error.
    ///
    /// ```no_run
    /// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
    /// for alarm in client.maintenance().alarm_list().await?.alarms {
    ///     println!("{:?} of member {}", alarm.alarm, alarm.member_id);
    ///     client.maintenance().alarm_disarm(alarm.member_id, alarm.alarm).await?;
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`Maintenance::alarm_list`].
    pub async fn alarm_disarm(&self, member: MemberId, alarm: AlarmKind) -> Result<AlarmResponse> {
        self.disarm(AlarmMember { member_id: member, alarm }).await
    }

    /// Disarms all alarms, one by one, once their cause is removed: see [`Maintenance::alarm_disarm`]. As Go's `AlarmDisarm` of
    /// an empty alarm.
    ///
    /// The answer has those that were raised. That there are none is no error.
    ///
    /// ```no_run
    /// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
    /// // A store that had grown to its quota: make space first, on every member.
    /// let revision = client.get("a").await?.header.revision;
    /// client.compact(revision).physical().await?;
    /// for endpoint in client.endpoints() {
    ///     client.maintenance().defragment(&endpoint).await?;
    /// }
    /// client.maintenance().alarm_disarm_all().await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`Maintenance::alarm_list`]. Some of several alarms may be disarmed then.
    pub async fn alarm_disarm_all(&self) -> Result<AlarmResponse> {
        let mut answer = self.alarm_list().await?;
        for alarm in std::mem::take(&mut answer.alarms) {
            let disarmed = self.disarm(alarm).await?;
            answer.header = disarmed.header;
            answer.alarms.extend(disarmed.alarms);
        }
        Ok(answer)
    }

    async fn disarm(&self, alarm: AlarmMember) -> Result<AlarmResponse> {
        self.alarm(pb::alarm_request::AlarmAction::Deactivate, alarm).await
    }

    async fn alarm(
        &self,
        action: pb::alarm_request::AlarmAction,
        alarm: AlarmMember,
    ) -> Result<AlarmResponse> {
        let request = pb::AlarmRequest {
            action: action as i32,
            member_id: alarm.member_id.0,
            alarm: alarm.alarm.into(),
        };
        let response: pb::AlarmResponse = self.client.unary(&method::ALARM, &request).await?;
        Ok(response.into())
    }

    /// Version, size, leader and faults of a member.
    ///
    /// ```no_run
    /// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
    /// for endpoint in client.endpoints() {
    ///     match client.maintenance().status(&endpoint).await {
    ///         Ok(status) => println!("{endpoint}: {}, index {}", status.version, status.raft_applied_index),
    ///         Err(error) => println!("{endpoint}: {error}"),
    ///     }
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::Invalid`](crate::Error::Invalid) for a malformed endpoint; the member cannot be reached.
    pub async fn status(&self, endpoint: impl AsRef<str>) -> Result<StatusResponse> {
        let response: pb::StatusResponse =
            self.to(endpoint.as_ref(), &method::STATUS, &pb::StatusRequest {}).await?;
        Ok(response.into())
    }

    /// The metrics of a member, in the text format of Prometheus: what it serves at `/metrics`.
    ///
    /// ```no_run
    /// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
    /// let metrics = client.maintenance().metrics("127.0.0.1:2379").await?;
    /// let line = metrics.lines().find(|line| line.starts_with("process_resident_memory_bytes "));
    /// println!("{line:?}");
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::Invalid`](crate::Error::Invalid) for a malformed endpoint; the member cannot be reached, or serves no metrics
    /// there, as one that is told to serve them elsewhere.
    pub async fn metrics(&self, endpoint: impl AsRef<str>) -> Result<String> {
        let endpoint: Endpoint = endpoint.as_ref().parse()?;
        let page = self.client.rpc().page(&endpoint, "/metrics").await?;
        Ok(String::from_utf8_lossy(&page).into_owned())
    }

    /// Gives the unused part of a member's store back to the file system. etcd's members serve nobody meanwhile: do it to one
    /// after the other, and set [`ClientConfig::request_timeout`](crate::ClientConfig::request_timeout) long enough.
    ///
    /// ```no_run
    /// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
    /// for endpoint in client.endpoints() {
    ///     client.maintenance().defragment(&endpoint).await?;
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`Maintenance::status`]. After a lost connection it may go on, or be done.
    pub async fn defragment(&self, endpoint: impl AsRef<str>) -> Result<MaintenanceResponse> {
        let response: pb::DefragmentResponse =
            self.to(endpoint.as_ref(), &method::DEFRAGMENT, &pb::DefragmentRequest {}).await?;
        Ok(MaintenanceResponse { header: header(response.header) })
    }

    /// The hash of a member's whole store. Only members of the same version and history agree; to compare members
    /// [`Maintenance::hash_kv`] is better.
    ///
    /// ```no_run
    /// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
    /// println!("{:08x}", client.maintenance().hash("127.0.0.1:2379").await?.hash);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`Maintenance::status`].
    pub async fn hash(&self, endpoint: impl AsRef<str>) -> Result<HashResponse> {
        let response: pb::HashResponse =
            self.to(endpoint.as_ref(), &method::HASH, &pb::HashRequest {}).await?;
        Ok(HashResponse { header: header(response.header), hash: response.hash })
    }

    /// The hash of a member's keys at `revision`; 0 for the newest.
    ///
    /// ```no_run
    /// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
    /// // Do all members have the same?
    /// let revision = client.get("a").await?.header.revision;
    /// let mut hashes = Vec::new();
    /// for endpoint in client.endpoints() {
    ///     let answer = client.maintenance().hash_kv(&endpoint, revision).await?;
    ///     hashes.push((answer.hash, answer.compact_revision));
    /// }
    /// println!("{}", if hashes.windows(2).all(|pair| pair[0] == pair[1]) { "the same" } else { "look closer" });
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`Maintenance::status`], and [`Compacted`](crate::EtcdError::Compacted) and [`FutureRev`](crate::EtcdError::FutureRev).
    pub async fn hash_kv(&self, endpoint: impl AsRef<str>, revision: Revision) -> Result<HashKvResponse> {
        let request = pb::HashKvRequest { revision };
        let response: pb::HashKvResponse = self.to(endpoint.as_ref(), &method::HASH_KV, &request).await?;
        Ok(HashKvResponse {
            header: header(response.header),
            hash: response.hash,
            compact_revision: response.compact_revision,
            hash_revision: response.hash_revision,
        })
    }

    /// Makes another member the leader. Only the leader can do so: of several endpoints the one that leads is found.
    ///
    /// ```no_run
    /// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
    /// use tenure_client::EtcdError;
    ///
    /// // Before the leader is stopped: somebody else takes over without an election timeout.
    /// let members = client.cluster().member_list().await?.members;
    /// if let Some(next) = members.iter().find(|member| member.name == "b") {
    ///     match client.maintenance().move_leader(next.id).await {
    ///         Err(error) if error.is(EtcdError::NotLeader) => println!("none of the endpoints leads"),
    ///         answer => drop(answer?),
    ///     }
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`BadLeaderTransferee`](crate::EtcdError::BadLeaderTransferee) if there is no such member or it is a learner,
    /// [`NotLeader`](crate::EtcdError::NotLeader) if none of the endpoints leads.
    pub async fn move_leader(&self, to: MemberId) -> Result<MaintenanceResponse> {
        let request = pb::MoveLeaderRequest { target_id: to.0 };
        let mut outcome = self.client.unary(&method::MOVE_LEADER, &request).await;
        for endpoint in self.client.endpoints() {
            match &outcome {
                Err(error) if error.is(EtcdError::NotLeader) => {}
                _ => break,
            }
            let asked = self.to(&endpoint, &method::MOVE_LEADER, &request).await;
            // One that cannot be reached does not hide that the others do not lead.
            if !matches!(&asked, Err(error) if error.etcd().is_none()) {
                outcome = asked;
            }
        }
        let response: pb::MoveLeaderResponse = outcome?;
        Ok(MaintenanceResponse { header: header(response.header) })
    }

    /// Checks, begins or gives up a downgrade of the cluster to `version`, `X.Y`, which is one minor version below. Cancelling takes no
    /// version.
    ///
    /// ```no_run
    /// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
    /// use tenure_client::{DowngradeAction, EtcdError};
    ///
    /// match client.maintenance().downgrade(DowngradeAction::Cancel, "").await {
    ///     Err(error) if error.is(EtcdError::NoInflightDowngrade) => println!("there was none"),
    ///     answer => println!("the cluster stays at {}", answer?.version),
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Among others [`WrongDowngradeVersionFormat`](crate::EtcdError::WrongDowngradeVersionFormat),
    /// [`InvalidDowngradeTargetVersion`](crate::EtcdError::InvalidDowngradeTargetVersion),
    /// [`DowngradeInProcess`](crate::EtcdError::DowngradeInProcess). Servers before etcd 3.5 do not know it.
    pub async fn downgrade(
        &self,
        action: DowngradeAction,
        version: impl Into<String>,
    ) -> Result<DowngradeResponse> {
        use pb::downgrade_request::DowngradeAction as Wire;
        let action = match action {
            DowngradeAction::Validate => Wire::Validate,
            DowngradeAction::Enable => Wire::Enable,
            DowngradeAction::Cancel => Wire::Cancel,
        };
        let request = pb::DowngradeRequest { action: action as i32, version: version.into() };
        let response: pb::DowngradeResponse = self.client.unary(&method::DOWNGRADE, &request).await?;
        Ok(DowngradeResponse { header: header(response.header), version: response.version })
    }

    /// A backup, as a stream of the bytes of its file: `maintenance.snapshot().await?`. With `.endpoint("host:port")` that of a
    /// certain member. See [`Snapshot`], and [`Maintenance::snapshot_to_file`] for what one usually wants.
    ///
    /// ```no_run
    /// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
    /// use tokio::io::AsyncWriteExt;
    ///
    /// // To wherever bytes can be written.
    /// let mut sink = tokio::io::sink();
    /// let mut snapshot = client.maintenance().snapshot().await?;
    /// while let Some(part) = snapshot.next().await {
    ///     sink.write_all(&part?).await.expect("the sink takes everything");
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`Maintenance::status`], and [`PermissionDenied`](EtcdError::PermissionDenied) for others than `root` once authentication
    /// is on.
    pub fn snapshot(&self) -> SnapshotCall {
        SnapshotCall::new(self.client.clone())
    }

    async fn to<R>(&self, endpoint: &str, method: &'static Method, request: &impl Message) -> Result<R>
    where
        R: Message + Default + 'static,
    {
        let endpoint: Endpoint = endpoint.parse()?;
        self.client.rpc().unary_to(&endpoint, method, request).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alarm_keeps_its_number() {
        for number in [0, 1, 2, 77, -1] {
            assert_eq!(i32::from(AlarmKind::from(number)), number);
        }
        assert_eq!(AlarmKind::from(1), AlarmKind::NoSpace);
    }

    #[test]
    fn a_downgrade_that_is_off_has_no_target() {
        let info = |enabled| pb::StatusResponse {
            downgrade_info: Some(pb::DowngradeInfo { enabled, target_version: "3.5.0".to_owned() }),
            ..Default::default()
        };
        assert_eq!(StatusResponse::from(info(false)).downgrade_target, None);
        assert_eq!(StatusResponse::from(info(true)).downgrade_target.as_deref(), Some("3.5.0"));
    }
}
