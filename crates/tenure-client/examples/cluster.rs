//! The members of the cluster: who they are, how they are, and changing them.

use tenure_client::{Client, EtcdError};

#[tokio::main]
async fn main() -> tenure_client::Result<()> {
    let endpoint = std::env::var("ENDPOINT").unwrap_or_else(|_| "127.0.0.1:2379".to_owned());
    let client = Client::connect([endpoint.as_str()]).await?;

    for member in client.cluster().member_list().await?.members {
        println!(
            "{} {} peers {:?} clients {:?}",
            member.id, member.name, member.peer_urls, member.client_urls
        );
    }
    let status = client.maintenance().status(&endpoint).await?;
    println!("version {}, {} bytes, leader {}", status.version, status.db_size_bytes, status.leader);

    // A learner follows the log without a vote, until it is promoted.
    let added = client.cluster().member_add_as_learner(["http://127.0.0.1:42380"]).await?;
    println!("{} members, {} is a learner", added.members.len(), added.member.id);
    // It has not been started: there is nothing to promote.
    let refused = client.cluster().member_promote(added.member.id).await.expect_err("it is refused");
    assert!(refused.is(EtcdError::LearnerNotReady));
    let left = client.cluster().member_remove(added.member.id).await?;
    println!("{} members", left.members.len());
    Ok(())
}
