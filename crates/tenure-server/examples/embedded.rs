//! A member inside another program: in memory, without a socket.

use tenure_api::etcdserverpb::kv_client::KvClient;
use tenure_api::etcdserverpb::{PutRequest, RangeRequest};
use tenure_server::Server;
use tenure_server::config::{ServerConfig, Storage};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let config =
        ServerConfig { storage: Storage::Memory, listen_client_urls: Vec::new(), ..ServerConfig::default() };
    let server = Server::start(config).await?;
    let mut kv = KvClient::new(server.channel());

    kv.put(PutRequest { key: "greeting".into(), value: "hello".into(), ..PutRequest::default() }).await?;
    let answer = kv.range(RangeRequest { key: "greeting".into(), ..RangeRequest::default() }).await?;
    for pair in answer.into_inner().kvs {
        println!("{} = {}", pair.key.escape_ascii(), pair.value.escape_ascii());
    }
    server.shutdown().await?;
    Ok(())
}
