//! Put, get, delete, compact.

use tenure_client::{Client, EtcdError, Op, SortOrder, SortTarget};

#[tokio::main]
async fn main() -> tenure_client::Result<()> {
    let endpoint = std::env::var("ENDPOINT").unwrap_or_else(|_| "127.0.0.1:2379".to_owned());
    let client = Client::connect([endpoint]).await?;

    let put = client.put("greeting", "hello").await?;
    println!("written at revision {}", put.header.revision);

    let answer = client.get("greeting").await?;
    for pair in &answer.kvs {
        println!("{} = {} (version {})", pair.key_text(), pair.value_text(), pair.version);
    }
    assert_eq!(answer.kvs[0].value, "hello");

    // A key that does not exist is no error: the answer has no pairs.
    assert!(client.get("nobody").await?.first().is_none());

    // Options come between the call and its await.
    let before = client.put("greeting", "hello, world").prev_kv().await?.prev_kv;
    println!("before, it was {}", before.map(|pair| pair.value_text().into_owned()).unwrap_or_default());

    for number in 0..10 {
        client.put(format!("fruit/{number}"), format!("{}", 100 - number)).await?;
    }
    let page = client.get("fruit/").prefix().sort(SortTarget::Value, SortOrder::Descend).limit(3).await?;
    println!("{} of {} fruits, more: {}", page.kvs.len(), page.count, page.more);

    // As it was at a revision.
    let old = client.get("greeting").revision(put.header.revision).await?;
    assert_eq!(old.kvs[0].value, "hello");

    // A large range comes in parts, all of one revision.
    let mut parts = client.get_stream(Op::get("fruit/").prefix());
    let mut keys = 0;
    while let Some(part) = parts.next().await {
        keys += part?.kvs.len();
    }
    println!("{keys} fruits in all");

    let deleted = client.delete("fruit/").prefix().await?;
    println!("{} fruits deleted", deleted.deleted);

    // Gives up the history; what is older than this can no longer be read.
    client.compact(deleted.header.revision).physical().await?;
    let error = client.get("greeting").revision(put.header.revision).await.expect_err("it is refused");
    assert!(error.is(EtcdError::Compacted));
    println!("{error}");
    Ok(())
}
