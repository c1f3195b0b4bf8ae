//! Generates the wire types and stubs from `proto/` with a compiler written in Rust: no `protoc` needed.
//!
//! Two passes over the same files. The first makes every message and the client stubs. The second makes the
//! server stubs alone, with a few hot answers replaced by types of `src/wire.rs` that are encoded from
//! bytes the store already holds.

use prost::Message;
use std::{
    env, fs, io,
    path::{Path, PathBuf},
};

const FILES: [&str; 13] = [
    "auth.proto",
    "etcdserver.proto",
    "grpc/health/v1/health.proto",
    "kv.proto",
    "lease.proto",
    "membership.proto",
    "raft.proto",
    "raft_internal.proto",
    "record.proto",
    "rpc.proto",
    "snap.proto",
    "v3election.proto",
    "v3lock.proto",
];

const PACKAGES: [&str; 10] = [
    "authpb",
    "etcdserverpb",
    "leasepb",
    "membershippb",
    "mvccpb",
    "raftpb",
    "snappb",
    "v3electionpb",
    "v3lockpb",
    "walpb",
];

/// Answers that the server writes from stored bytes.
const ENCODED: [&str; 6] = [
    "RangeResponse",
    "RangeStreamResponse",
    "PutResponse",
    "DeleteRangeResponse",
    "TxnResponse",
    "WatchResponse",
];

/// Messages with a password, a hash or a token: `src/secret.rs` says how they are shown.
const SECRET: [&str; 6] = [
    ".authpb.User",
    ".etcdserverpb.AuthenticateRequest",
    ".etcdserverpb.AuthenticateResponse",
    ".etcdserverpb.AuthUserAddRequest",
    ".etcdserverpb.AuthUserChangePasswordRequest",
    ".etcdserverpb.InternalAuthenticateRequest",
];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=proto");
    println!("cargo:rerun-if-changed=build.rs");
    let out = PathBuf::from(env::var("OUT_DIR")?);
    let descriptors = protox::compile(FILES, ["proto"])?;
    fs::write(out.join("descriptor.bin"), descriptors.encode_to_vec())?;

    let mut messages = prost_build::Config::new();
    messages.bytes(["."]);
    messages.skip_debug(SECRET);
    tonic_prost_build::configure()
        .build_server(false)
        .build_transport(false)
        .client_mod_attribute(".", "#[cfg(feature = \"grpc\")]")
        .compile_fds_with_config(descriptors.clone(), messages)?;

    let server = out.join("server");
    match fs::create_dir(&server) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error.into()),
        _ => {}
    }
    let mut services = prost_build::Config::new();
    let mut stubs =
        tonic_prost_build::configure().build_client(false).build_transport(false).out_dir(&server);
    for name in ENCODED {
        stubs = stubs.extern_path(format!(".etcdserverpb.{name}"), format!("crate::wire::{name}"));
    }
    for package in PACKAGES {
        stubs = stubs.extern_path(format!(".{package}"), format!("crate::{package}"));
    }
    stubs = stubs.extern_path(".grpc.health.v1", "crate::health");
    services.bytes(["."]);
    services.skip_debug(SECRET);
    stubs.compile_fds_with_config(descriptors, services)?;
    use_own_codec(&out)?;
    use_own_codec(&server)?;
    Ok(())
}

/// The generator has no option for the codec of the stubs.
fn use_own_codec(directory: &Path) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "rs") {
            let stubs = fs::read_to_string(&path)?;
            fs::write(&path, stubs.replace("tonic_prost::ProstCodec", "crate::codec::MessageCodec"))?;
        }
    }
    Ok(())
}
