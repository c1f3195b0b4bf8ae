//! Transactions: conditions, and what is done if they hold and if they do not.

use tenure_client::{Client, Compare, Op};

#[tokio::main]
async fn main() -> tenure_client::Result<()> {
    let endpoint = std::env::var("ENDPOINT").unwrap_or_else(|_| "127.0.0.1:2379".to_owned());
    let client = Client::connect([endpoint]).await?;

    client.put("account/alice", "100").await?;
    let answer = client
        .txn()
        .when([Compare::value("account/alice").equal("100"), Compare::missing("account/bob")])
        .and_then([Op::put("account/alice", "60"), Op::put("account/bob", "40")])
        .or_else([Op::get("account/").prefix()])
        .commit()
        .await?;
    assert!(answer.succeeded);
    println!("both accounts changed at revision {}", answer.header.revision);

    // Read, compute, and write only if nobody came between.
    loop {
        let got = client.get("account/bob").await?;
        let pair = got.first().expect("bob has an account");
        let balance: u32 = pair.value_text().parse().expect("a balance is a number");
        let changed = client
            .txn()
            .when([Compare::mod_revision("account/bob").equal(pair.mod_revision)])
            .and_then([Op::put("account/bob", format!("{}", balance + 1))])
            .commit()
            .await?;
        if changed.succeeded {
            break;
        }
    }
    assert_eq!(client.get("account/bob").await?.kvs[0].value, "41");

    // Operations of several kinds: one list after the other.
    let moved = client.txn().and_then([Op::put("account/dave", "41")]).and_then([Op::delete("account/bob")]);
    let answer = moved.commit().await?;
    println!("moved at revision {}", answer.header.revision);

    // A transaction inside another one.
    let inner = Op::txn().when([Compare::exists("account/carol")]).or_else([Op::put("account/carol", "0")]);
    let outer = client.txn().when([Compare::exists("account/alice")]).and_then([inner]).commit().await?;
    let inner = outer.responses[0].as_txn().expect("the answer of the inner transaction");
    println!("outer {}, inner {}", outer.succeeded, inner.succeeded);
    Ok(())
}
