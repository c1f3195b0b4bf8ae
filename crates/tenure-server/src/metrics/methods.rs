//! The gRPC methods that are counted, in the order of their array.

/// How a method uses its stream; the label `grpc_type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MethodType {
    /// One request, one answer.
    Unary,
    /// One request, many answers.
    ServerStream,
    /// Many of both.
    BidiStream,
}

impl MethodType {
    /// The value of the label.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            MethodType::Unary => "unary",
            MethodType::ServerStream => "server_stream",
            MethodType::BidiStream => "bidi_stream",
        }
    }
}

/// One method of the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Method {
    /// `/package.Service/Method`.
    pub path: &'static str,
    /// `package.Service`.
    pub service: &'static str,
    /// The bare name.
    pub name: &'static str,
    /// How it uses its stream.
    pub kind: MethodType,
}

macro_rules! methods {
    ($($service:literal { $($kind:ident $name:literal,)* })*) => {
        /// All methods. Those that are called most come first, since a path is searched from the front.
        pub const METHODS: &[Method] = &[$($(
            Method {
                path: concat!("/", $service, "/", $name),
                service: $service,
                name: $name,
                kind: MethodType::$kind,
            },
        )*)*];
    };
}

methods! {
    "etcdserverpb.KV" {
        Unary "Range",
        Unary "Put",
        Unary "Txn",
        Unary "DeleteRange",
        Unary "Compact",
        ServerStream "RangeStream",
    }
    "etcdserverpb.Lease" {
        BidiStream "LeaseKeepAlive",
        Unary "LeaseGrant",
        Unary "LeaseRevoke",
        Unary "LeaseTimeToLive",
        Unary "LeaseLeases",
    }
    "etcdserverpb.Watch" {
        BidiStream "Watch",
    }
    "etcdserverpb.Maintenance" {
        Unary "Status",
        Unary "Alarm",
        Unary "Defragment",
        Unary "Hash",
        Unary "HashKV",
        ServerStream "Snapshot",
        Unary "MoveLeader",
        Unary "Downgrade",
    }
    "etcdserverpb.Cluster" {
        Unary "MemberList",
        Unary "MemberAdd",
        Unary "MemberRemove",
        Unary "MemberUpdate",
        Unary "MemberPromote",
    }
    "grpc.health.v1.Health" {
        Unary "Check",
        ServerStream "Watch",
        Unary "List",
    }
    "v3lockpb.Lock" {
        Unary "Lock",
        Unary "Unlock",
    }
    "v3electionpb.Election" {
        Unary "Campaign",
        Unary "Proclaim",
        Unary "Leader",
        ServerStream "Observe",
        Unary "Resign",
    }
    "etcdserverpb.Auth" {
        Unary "Authenticate",
        Unary "AuthEnable",
        Unary "AuthDisable",
        Unary "AuthStatus",
        Unary "UserAdd",
        Unary "UserGet",
        Unary "UserList",
        Unary "UserDelete",
        Unary "UserChangePassword",
        Unary "UserGrantRole",
        Unary "UserRevokeRole",
        Unary "RoleAdd",
        Unary "RoleGet",
        Unary "RoleList",
        Unary "RoleDelete",
        Unary "RoleGrantPermission",
        Unary "RoleRevokePermission",
    }
}

/// The place of a path in [`METHODS`]; nothing for what the server does not count.
#[must_use]
pub fn position(path: &str) -> Option<usize> {
    METHODS.iter().position(|method| method.path == path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use prost::Message;
    use std::collections::BTreeSet;

    /// The table against the protocol itself.
    #[test]
    fn every_method_of_the_protocol_is_counted_with_its_type() {
        let set = prost_types::FileDescriptorSet::decode(tenure_api::FILE_DESCRIPTOR_SET).unwrap();
        let mut declared = BTreeSet::new();
        for file in &set.file {
            for service in &file.service {
                for method in &service.method {
                    let kind = match (method.client_streaming(), method.server_streaming()) {
                        (false, false) => "unary",
                        (false, true) => "server_stream",
                        (true, true) => "bidi_stream",
                        (true, false) => "client_stream",
                    };
                    let path = format!("/{}.{}/{}", file.package(), service.name(), method.name());
                    declared.insert((path, kind));
                }
            }
        }
        let counted: BTreeSet<_> =
            METHODS.iter().map(|method| (method.path.to_owned(), method.kind.as_str())).collect();
        assert_eq!(counted, declared);
        assert_eq!(counted.len(), METHODS.len(), "a method stands twice");
    }
}
