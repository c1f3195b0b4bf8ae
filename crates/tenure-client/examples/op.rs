//! Operations as values.

use tenure_client::{Client, Op, OpResponse};

#[tokio::main]
async fn main() -> tenure_client::Result<()> {
    let endpoint = std::env::var("ENDPOINT").unwrap_or_else(|_| "127.0.0.1:2379".to_owned());
    let client = Client::connect([endpoint]).await?;

    let ops: Vec<Op> = vec![
        Op::put("op/a", "1").into(),
        Op::put("op/b", "2").into(),
        Op::get("op/").prefix().into(),
        Op::delete("op/a").prev_kv().into(),
    ];
    for op in ops {
        match client.execute(op).await? {
            OpResponse::Put(put) => println!("written at {}", put.header.revision),
            OpResponse::Get(get) => println!("{} keys", get.count),
            OpResponse::Delete(delete) => println!("{} deleted", delete.deleted),
            OpResponse::Txn(txn) => println!("transaction: {}", txn.succeeded),
        }
    }
    Ok(())
}
