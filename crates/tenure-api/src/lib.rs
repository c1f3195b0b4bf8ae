//! etcd v3 wire types, gRPC stubs and the table of errors. No logic lives here.
//!
//! * One module a protobuf package, with its messages and client stubs: [`etcdserverpb`], [`mvccpb`],
//!   [`raftpb`], ...
//! * [`server`]: the server stubs, whose hot answers are the types of [`wire`].
//! * `codec`: how messages are carried.
//! * [`error`]: name, code and text of every error.
//! * [`FILE_DESCRIPTOR_SET`]: all of it described, for server reflection.

#[cfg(feature = "grpc")]
pub mod codec;
pub mod error;
mod secret;
pub mod wire;

macro_rules! package {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[allow(missing_docs, clippy::all, reason = "generated from proto/")]
        pub mod $name {
            include!(concat!(env!("OUT_DIR"), "/", stringify!($name), ".rs"));
        }
    };
}

package! {
    /// Users, roles, permissions.
    authpb
}
package! {
    /// The services that clients call, and the replicated request.
    etcdserverpb
}
/// The health protocol of gRPC (`grpc.health.v1`).
#[allow(missing_docs, clippy::all, reason = "generated from proto/")]
pub mod health {
    include!(concat!(env!("OUT_DIR"), "/grpc.health.v1.rs"));
}
package! {
    /// Leases as they are stored.
    leasepb
}
package! {
    /// Members as the log carries them.
    membershippb
}
package! {
    /// Key-value pairs and events.
    mvccpb
}
package! {
    /// What Raft keeps and sends.
    raftpb
}
package! {
    /// The envelope of snapshot files.
    snappb
}
package! {
    /// Elections as a service.
    v3electionpb
}
package! {
    /// Locks as a service.
    v3lockpb
}
package! {
    /// The records of the write-ahead log.
    walpb
}

/// Server stubs.
#[allow(missing_docs, clippy::all, reason = "generated from proto/")]
#[cfg(feature = "grpc")]
pub mod server {
    /// KV, Watch, Lease, Cluster, Maintenance and Auth.
    pub mod etcdserverpb {
        include!(concat!(env!("OUT_DIR"), "/server/etcdserverpb.rs"));
    }
    /// The health protocol of gRPC.
    pub mod health {
        include!(concat!(env!("OUT_DIR"), "/server/grpc.health.v1.rs"));
    }
    /// Elections as a service.
    pub mod v3electionpb {
        include!(concat!(env!("OUT_DIR"), "/server/v3electionpb.rs"));
    }
    /// Locks as a service.
    pub mod v3lockpb {
        include!(concat!(env!("OUT_DIR"), "/server/v3lockpb.rs"));
    }
}

/// All of `proto/` as a serialized `FileDescriptorSet`, for server reflection.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptor.bin"));
