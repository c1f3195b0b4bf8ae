//! Members: listed, added, removed.

use crate::{
    Client, Error, MemberId, ResponseHeader, Result,
    rpc::{Rpc, method},
    types::header,
};
use futures::future::BoxFuture;
use std::{future::IntoFuture, sync::Arc, time::Duration};
use tenure_api::etcdserverpb as pb;
use tokio_util::task::AbortOnDropHandle;

impl Client {
    /// The members of the cluster, and changes of them.
    ///
    /// ```no_run
    /// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
    /// for member in client.cluster().member_list().await?.members {
    ///     println!("{} {} {:?}", member.id, member.name, member.client_urls);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn cluster(&self) -> Cluster {
        Cluster { client: self.clone() }
    }

    /// Asks the cluster for its members, and uses the client URLs of those that have started and are no learners as endpoints from now
    /// on. [`ClientConfig::auto_sync_interval`](crate::ClientConfig::auto_sync_interval) does so again and again.
    ///
    /// ```no_run
    /// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
    /// // Members may have been added since the client was made.
    /// client.sync().await?;
    /// println!("{:?}", client.endpoints());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`Cluster::member_list`]; [`Error::Invalid`] if there is no such URL, or one that cannot be an endpoint. Then the endpoints
    /// are those of before.
    pub async fn sync(&self) -> Result<()> {
        sync(self.rpc()).await
    }
}

async fn sync(rpc: &Rpc) -> Result<()> {
    let request = pb::MemberListRequest { linearizable: true };
    let response: pb::MemberListResponse = rpc.unary(&method::MEMBER_LIST, &request).await?;
    rpc.set_endpoints(&synced_endpoints(&members(response.members)))
}

/// Asks for the members again and again, until the client is closed or the handle is dropped.
pub(crate) fn keep_synced(rpc: Arc<Rpc>, interval: Duration) -> AbortOnDropHandle<()> {
    AbortOnDropHandle::new(tokio::spawn(async move {
        let syncing = async {
            loop {
                tokio::time::sleep(interval).await;
                if let Err(error) = sync(&rpc).await {
                    tracing::warn!(%error, "the endpoints were not synchronised with the members");
                }
            }
        };
        tokio::select! {
            () = syncing => {}
            () = rpc.pool().closed() => {}
        }
    }))
}

/// A learner serves nobody but who asks for possibly old data; a member without a name has not started.
fn synced_endpoints(members: &[Member]) -> Vec<String> {
    let serving = members.iter().filter(|member| member.is_started() && !member.is_learner);
    serving.flat_map(|member| member.client_urls.iter().cloned()).collect()
}

/// The members of the cluster. From [`Client::cluster`]; cheap to clone.
///
/// No change is sent twice: after [`Error::ConnectionLost`] look whether it took effect.
///
/// ```no_run
/// use tenure_client::{Client, EtcdError};
///
/// /// Adds a member in two steps: so the others do not wait for it while it has nothing yet.
/// async fn grow(client: &Client, peer_url: &str) -> tenure_client::Result<()> {
///     let cluster = client.cluster();
///     let added = cluster.member_add_as_learner([peer_url]).await?.member;
///     println!("start it now, with --initial-cluster-state existing");
///     loop {
///         match cluster.member_promote(added.id).await {
///             Ok(_) => return Ok(()),
///             Err(error) if error.is(EtcdError::LearnerNotReady) => {
///                 tokio::time::sleep(std::time::Duration::from_secs(1)).await;
///             }
///             Err(error) => return Err(error),
///         }
///     }
/// }
/// ```
#[derive(Clone, Debug)]
pub struct Cluster {
    client: Client,
}

/// A member.
///
/// ```no_run
/// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
/// for member in client.cluster().member_list().await?.members {
///     println!("{} {:?}", member.name, member.client_urls);
///     println!("  with a vote: {}, peers: {:?}", !member.is_learner, member.peer_urls);
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Member {
    /// Its id, which no other member ever gets.
    pub id: MemberId,
    /// Its name; empty until it has started.
    pub name: String,
    /// Where other members reach it.
    pub peer_urls: Vec<String>,
    /// Where clients reach it; empty until it has started.
    pub client_urls: Vec<String>,
    /// It follows the log but has no vote yet.
    pub is_learner: bool,
}

impl Member {
    /// Whether it has started since it was added.
    ///
    /// ```
    /// use tenure_client::Member;
    ///
    /// let mut member = Member { peer_urls: vec!["http://10.0.0.4:2380".into()], ..Member::default() };
    /// assert!(!member.is_started(), "it was added, and has not been heard of yet");
    /// member.name = "d".into();
    /// assert!(member.is_started());
    /// ```
    #[must_use]
    pub fn is_started(&self) -> bool {
        !self.name.is_empty()
    }
}

impl From<pb::Member> for Member {
    fn from(member: pb::Member) -> Self {
        Member {
            id: MemberId(member.id),
            name: member.name,
            peer_urls: member.peer_ur_ls,
            client_urls: member.client_ur_ls,
            is_learner: member.is_learner,
        }
    }
}

fn members(members: Vec<pb::Member>) -> Vec<Member> {
    members.into_iter().map(Member::from).collect()
}

/// The members.
///
/// ```no_run
/// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
/// let members = client.cluster().member_list().await?.members;
/// let voters = members.iter().filter(|member| !member.is_learner).count();
/// println!("{} of {voters} may fail", (voters - 1) / 2);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct MembersResponse {
    /// Server and store. The answers of this service carry no revision.
    pub header: ResponseHeader,
    /// All members, after the change if there was one.
    pub members: Vec<Member>,
}

/// A member that was added.
///
/// ```no_run
/// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
/// let added = client.cluster().member_add(["http://10.0.0.4:2380"]).await?;
/// println!("{} is one of {} now", added.member.id, added.members.len());
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct MemberAddResponse {
    /// Server and store.
    pub header: ResponseHeader,
    /// The new member. It has no name until it starts.
    pub member: Member,
    /// All members, the new one too.
    pub members: Vec<Member>,
}

impl Cluster {
    /// The members, as a majority of them knows them: `cluster.member_list().await?`. With `.serializable()` as the one that answers
    /// knows them, which works without a majority, but may be old.
    ///
    /// ```no_run
    /// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
    /// for member in client.cluster().member_list().await?.members {
    ///     println!("{} {}", member.id, member.name);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Timeout`](crate::EtcdError::Timeout) and [`NoLeader`](crate::EtcdError::NoLeader) if there is no majority; no member can be
    /// reached.
    pub fn member_list(&self) -> MemberList {
        MemberList { client: self.client.clone(), is_serializable: false }
    }

    /// Adds a member with a vote, which then has to be started with these peer URLs.
    ///
    /// ```no_run
    /// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
    /// let added = client.cluster().member_add(["http://10.0.0.4:2380"]).await?;
    /// // What the new member has to be started with; its own name is not known yet.
    /// for member in added.members.iter().filter(|member| member.is_started()) {
    ///     println!("--initial-cluster {}={}", member.name, member.peer_urls.join(","));
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::Invalid`] if a URL is malformed: nothing is sent. Among others [`PeerURLExist`](crate::EtcdError::PeerURLExist),
    /// [`MemberNotEnoughStarted`](crate::EtcdError::MemberNotEnoughStarted), and [`Unhealthy`](crate::EtcdError::Unhealthy) while the
    /// member that is asked has not been connected for five seconds to a majority of the voters, counted with one more (older servers:
    /// to all of them): try again a little later.
    pub async fn member_add<U: Into<String>>(
        &self,
        peer_urls: impl IntoIterator<Item = U>,
    ) -> Result<MemberAddResponse> {
        self.add(checked_urls(peer_urls)?, false).await
    }

    /// Adds a member without a vote, which [`Cluster::member_promote`] gives it once it has caught up.
    ///
    /// ```no_run
    /// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
    /// let learner = client.cluster().member_add_as_learner(["http://10.0.0.4:2380"]).await?.member;
    /// assert!(learner.is_learner);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`Cluster::member_add`], and [`TooManyLearners`](crate::EtcdError::TooManyLearners).
    pub async fn member_add_as_learner<U: Into<String>>(
        &self,
        peer_urls: impl IntoIterator<Item = U>,
    ) -> Result<MemberAddResponse> {
        self.add(checked_urls(peer_urls)?, true).await
    }

    async fn add(&self, peer_urls: Vec<String>, is_learner: bool) -> Result<MemberAddResponse> {
        let request = pb::MemberAddRequest { peer_ur_ls: peer_urls, is_learner };
        let response: pb::MemberAddResponse = self.client.unary(&method::MEMBER_ADD, &request).await?;
        Ok(MemberAddResponse {
            header: header(response.header),
            member: response.member.ok_or(Error::Protocol("no member in the answer to adding one"))?.into(),
            members: members(response.members),
        })
    }

    /// Removes a member. Its process ends, and its data is of no more use.
    ///
    /// ```no_run
    /// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
    /// let members = client.cluster().member_list().await?.members;
    /// if let Some(broken) = members.iter().find(|member| member.name == "c") {
    ///     client.cluster().member_remove(broken.id).await?;
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`MemberNotFound`](crate::EtcdError::MemberNotFound), [`MemberNotEnoughStarted`](crate::EtcdError::MemberNotEnoughStarted) if those
    /// that stay are no majority.
    pub async fn member_remove(&self, id: MemberId) -> Result<MembersResponse> {
        let request = pb::MemberRemoveRequest { id: id.0 };
        let response: pb::MemberRemoveResponse = self.client.unary(&method::MEMBER_REMOVE, &request).await?;
        Ok(MembersResponse { header: header(response.header), members: members(response.members) })
    }

    /// Replaces a member's peer URLs.
    ///
    /// ```no_run
    /// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
    /// use tenure_client::MemberId;
    ///
    /// client.cluster().member_update(MemberId(0x8e9e_05c5_2164_694d), ["http://10.0.0.9:2380"]).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::Invalid`] if a URL is malformed: nothing is sent. [`MemberNotFound`](crate::EtcdError::MemberNotFound),
    /// [`PeerURLExist`](crate::EtcdError::PeerURLExist).
    pub async fn member_update<U: Into<String>>(
        &self,
        id: MemberId,
        peer_urls: impl IntoIterator<Item = U>,
    ) -> Result<MembersResponse> {
        let request = pb::MemberUpdateRequest { id: id.0, peer_ur_ls: checked_urls(peer_urls)? };
        let response: pb::MemberUpdateResponse = self.client.unary(&method::MEMBER_UPDATE, &request).await?;
        Ok(MembersResponse { header: header(response.header), members: members(response.members) })
    }

    /// Gives a learner its vote.
    ///
    /// ```no_run
    /// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
    /// use tenure_client::{EtcdError, MemberId};
    ///
    /// match client.cluster().member_promote(MemberId(0x8e9e_05c5_2164_694d)).await {
    ///     Err(error) if error.is(EtcdError::LearnerNotReady) => println!("it has not caught up yet"),
    ///     answer => println!("{} members", answer?.members.len()),
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`LearnerNotReady`](crate::EtcdError::LearnerNotReady) until it has caught up,
    /// [`MemberNotLearner`](crate::EtcdError::MemberNotLearner), [`MemberNotFound`](crate::EtcdError::MemberNotFound).
    pub async fn member_promote(&self, id: MemberId) -> Result<MembersResponse> {
        let request = pb::MemberPromoteRequest { id: id.0 };
        let response: pb::MemberPromoteResponse =
            self.client.unary(&method::MEMBER_PROMOTE, &request).await?;
        Ok(MembersResponse { header: header(response.header), members: members(response.members) })
    }
}

/// A list of members on its way, from [`Cluster::member_list`].
///
/// ```no_run
/// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
/// let known_to_one = client.cluster().member_list().serializable().await?;
/// println!("{} members", known_to_one.members.len());
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
#[must_use = "nothing happens until it is awaited"]
pub struct MemberList {
    client: Client,
    is_serializable: bool,
}

impl MemberList {
    /// Has the member that is asked answer what it knows, without asking the others.
    ///
    /// ```no_run
    /// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
    /// // Answered even where no majority is left.
    /// for member in client.cluster().member_list().serializable().await?.members {
    ///     println!("{} {:?}", member.name, member.client_urls);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn serializable(mut self) -> Self {
        self.is_serializable = true;
        self
    }
}

impl IntoFuture for MemberList {
    type Output = Result<MembersResponse>;
    type IntoFuture = BoxFuture<'static, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let request = pb::MemberListRequest { linearizable: !self.is_serializable };
            let response: pb::MemberListResponse = self.client.unary(&method::MEMBER_LIST, &request).await?;
            Ok(MembersResponse { header: header(response.header), members: members(response.members) })
        })
    }
}

/// Peer URLs of a form that a server can use. One that it cannot would otherwise become part of the cluster's configuration.
fn checked_urls<U: Into<String>>(urls: impl IntoIterator<Item = U>) -> Result<Vec<String>> {
    let urls: Vec<String> = urls.into_iter().map(|url| url.into().trim().to_owned()).collect();
    if urls.is_empty() {
        return Err(Error::invalid("no valid URLs given: name one peer URL at least"));
    }
    for url in &urls {
        check_url(url)?;
    }
    Ok(urls)
}

fn check_url(url: &str) -> Result<()> {
    let bad = |reason: &str| Err(Error::invalid(format!("{reason}: {url}")));
    let Some((scheme, rest)) = url.split_once("://") else {
        return bad("URL scheme must be http, https, unix, or unixs");
    };
    match scheme {
        "unix" | "unixs" if rest.is_empty() => bad("URL must name a socket"),
        "unix" | "unixs" => Ok(()),
        "http" | "https" if rest.contains(['/', '?', '#']) => bad("URL must not contain a path"),
        "http" | "https" if is_host_and_port(rest) => Ok(()),
        "http" | "https" => bad("URL address does not have the form \"host:port\""),
        _ => bad("URL scheme must be http, https, unix, or unixs"),
    }
}

/// `host:port`, with an IPv6 address in brackets.
fn is_host_and_port(authority: &str) -> bool {
    let Some((host, port)) = authority.rsplit_once(':') else { return false };
    let host_is_fine = match host.strip_prefix('[') {
        Some(address) => address.strip_suffix(']').is_some_and(|address| !address.is_empty()),
        None => !host.contains([':', '[', ']']),
    };
    let has_blanks =
        authority.contains(|character: char| character.is_whitespace() || character.is_control());
    host_is_fine && !has_blanks && port.parse::<u16>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peer_urls_of_every_form_are_taken_and_trimmed() {
        let urls =
            ["http://a:1", "https://[::1]:2380", " http://127.0.0.1:2380 ", "unix:///run/x", "unixs://x:1"];
        let checked = checked_urls(urls).unwrap();
        assert_eq!(checked[2], "http://127.0.0.1:2380");
        assert_eq!(checked.len(), urls.len());
    }

    #[test]
    fn what_cannot_be_a_peer_url_is_refused_with_the_reason() {
        let reason = |url: &str| checked_urls([url]).unwrap_err().to_string();
        for (url, part) in [
            ("", "scheme"),
            ("127.0.0.1:2380", "scheme"),
            ("ftp://a:1", "scheme"),
            ("http://a", "host:port"),
            ("http://a:x", "host:port"),
            ("http://a:1:2", "host:port"),
            ("http://::1:1", "host:port"),
            ("http://a b:1", "host:port"),
            ("http://a:1/", "path"),
            ("http://a:1?x", "path"),
            ("unix://", "socket"),
        ] {
            assert!(reason(url).contains(part), "{url}: {}", reason(url));
        }
        let none: [&str; 0] = [];
        assert!(checked_urls(none).unwrap_err().to_string().contains("no valid URLs given"));
    }

    #[test]
    fn only_members_that_serve_become_endpoints() {
        let member = |name: &str, url: &str, is_learner| Member {
            name: name.to_owned(),
            client_urls: vec![url.to_owned()],
            is_learner,
            ..Default::default()
        };
        let members = [
            member("a", "http://a:1", false),
            member("", "http://b:1", false),
            member("c", "http://c:1", true),
        ];
        assert_eq!(synced_endpoints(&members), ["http://a:1"]);
    }
}
