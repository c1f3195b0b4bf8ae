//! What the disk does to a member: damage is told and nothing goes on, and what was acknowledged is there afterwards.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use tenure_api::etcdserverpb::kv_client::KvClient;
use tenure_api::etcdserverpb::{PutRequest, RangeRequest};
use tenure_harness::process::{Server, exit_code};
use tonic::transport::Channel;

fn tenured() -> PathBuf {
    PathBuf::from(env!("CARGO_BIN_EXE_tenured"))
}

async fn put(kv: &mut KvClient<Channel>, key: &str, value: Vec<u8>) -> Result<i64, tonic::Status> {
    let request = PutRequest { key: key.to_owned().into(), value: value.into(), ..PutRequest::default() };
    Ok(kv.put(request).await?.into_inner().header.unwrap().revision)
}

async fn count(server: &Server) -> i64 {
    let request = RangeRequest {
        key: "\0".into(),
        range_end: "\0".into(),
        count_only: true,
        ..RangeRequest::default()
    };
    KvClient::new(server.channel().await.unwrap()).range(request).await.unwrap().into_inner().count
}

fn log_segment(data: &Path) -> PathBuf {
    data.join("member/wal/0000000000000000-0000000000000000.wal")
}

#[tokio::test]
async fn damage_within_the_log_stops_the_start_and_changes_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    let mut server = Server::start(&tenured(), &data, &[]).await.unwrap();
    let mut kv = KvClient::new(server.channel().await.unwrap());
    for at in 0..8 {
        put(&mut kv, &format!("key-{at}"), format!("value-{at}").into_bytes()).await.unwrap();
    }
    server.kill().unwrap();

    let segment = log_segment(&data);
    let mut bytes = fs::read(&segment).unwrap();
    let place = bytes.windows(7).position(|window| window == b"value-3").unwrap();
    bytes[place] ^= 0x20;
    fs::write(&segment, &bytes).unwrap();

    let start = std::process::Command::new(tenured())
        .arg(format!("--data-dir={}", data.display()))
        .args([
            "--listen-peer-urls=http://127.0.0.1:0",
            "--listen-client-urls=http://127.0.0.1:0",
            "--advertise-client-urls=http://127.0.0.1:1",
        ])
        .output()
        .unwrap();
    assert_eq!(start.status.code(), Some(1));
    let log = String::from_utf8(start.stderr).unwrap();
    assert!(log.contains("is damaged at offset") && log.contains("checksum mismatch"), "{log}");
    assert_eq!(fs::read(&segment).unwrap(), bytes, "the log is as it was");
}

/// The limit on the length of files stands for a full disk: from some byte on every write fails.
#[tokio::test]
async fn a_write_that_fails_stops_the_member_and_loses_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    let limited = directory.path().join("limited");
    let script = "#!/bin/sh\ntrap '' XFSZ\nulimit -f 125000\nexec \"$TENURED\" \"$@\"\n";
    fs::write(&limited, script.replace("$TENURED", tenured().to_str().unwrap())).unwrap();
    fs::set_permissions(&limited, fs::Permissions::from_mode(0o755)).unwrap();

    let mut server = Server::start(&limited, &data, &[]).await.unwrap();
    let mut kv = KvClient::new(server.channel().await.unwrap());
    let mut acknowledged = 0;
    while put(&mut kv, &format!("key-{acknowledged}"), vec![b'x'; 1_000_000]).await.is_ok() {
        acknowledged += 1;
        assert!(acknowledged < 100, "more than fits was written");
    }
    let status = server.wait_end().await.unwrap();
    assert_eq!(exit_code(status), 1, "{}", server.log_tail());
    assert!(server.log_tail().contains("File too large"), "{}", server.log_tail());

    let server = Server::start(&tenured(), &data, &[]).await.unwrap();
    assert!(count(&server).await >= acknowledged, "{acknowledged} were acknowledged");
}
