//! Users, roles and permissions. Turns authentication on, and off again at the end.

use tenure_client::{Client, ClientConfig, EtcdError, KeyRange, Permission};

#[tokio::main]
async fn main() -> tenure_client::Result<()> {
    let endpoint = std::env::var("ENDPOINT").unwrap_or_else(|_| "127.0.0.1:2379".to_owned());
    let client = Client::connect([endpoint.as_str()]).await?;
    let auth = client.auth();

    // The user root with the role root must be there before authentication can be turned on.
    auth.role_add("root").await?;
    auth.user_add("root", "secret").await?;
    auth.user_grant_role("root", "root").await?;

    auth.role_add("reader").await?;
    auth.role_grant_permission("reader", Permission::read(KeyRange::prefix("public/"))).await?;
    auth.user_add("guest", "guest").await?;
    auth.user_grant_role("guest", "reader").await?;
    auth.enable().await?;

    // The token is fetched when the client is made, and fetched anew when it expires.
    let guest = Client::connect(ClientConfig::new([endpoint.as_str()]).user("guest", "guest")).await?;
    assert_eq!(guest.get("public/motd").await?.count, 0);
    let refused = guest.put("public/motd", "mine").await.expect_err("it is refused");
    assert!(refused.is(EtcdError::PermissionDenied));
    println!("{refused}");

    let root = Client::connect(ClientConfig::new([endpoint.as_str()]).user("root", "secret")).await?;
    println!("users: {:?}", root.auth().user_list().await?.users);
    println!("roles of guest: {:?}", root.auth().user_get("guest").await?.roles);
    root.put("public/motd", "welcome").await?;
    assert_eq!(guest.get("public/motd").await?.kvs[0].value, "welcome");

    // Tidy up.
    root.auth().disable().await?;
    for user in ["guest", "root"] {
        client.auth().user_delete(user).await?;
    }
    for role in ["reader", "root"] {
        client.auth().role_delete(role).await?;
    }
    Ok(())
}
