//! A lock that tells when it is lost, and proves to the store that it is held.

use std::time::Duration;
use tenure_client::{
    Client, Op,
    concurrency::{Mutex, Session},
};

#[tokio::main]
async fn main() -> tenure_client::Result<()> {
    let endpoint = std::env::var("ENDPOINT").unwrap_or_else(|_| "127.0.0.1:2379".to_owned());
    let client = Client::connect([endpoint]).await?;

    // The session's lease is kept alive; if this program dies, the lock is free after ten seconds.
    let session = Session::builder(&client).ttl(Duration::from_secs(10)).open().await?;
    let guard = Mutex::new(&session, "locks/report").lock().await?;
    println!("locked, fencing revision {}", guard.revision());

    // A pause of this program, or of the network, may last longer than the lease. So what is written under the lock is written
    // on the condition that it is still held.
    let written =
        client.txn().when([guard.owner_condition()]).and_then([Op::put("report", "done")]).commit().await?;
    assert!(written.succeeded);

    // Work that must stop when the lock is lost.
    tokio::select! {
        why = guard.lost() => println!("lost, stop at once: {why}"),
        () = work() => println!("done"),
    }
    guard.unlock().await?;
    session.close().await?;
    Ok(())
}

async fn work() {
    tokio::task::yield_now().await;
}
