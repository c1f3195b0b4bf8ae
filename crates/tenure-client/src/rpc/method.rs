//! The methods of etcd's services.

/// When a request may be sent again after no answer came, or after the answer that the server is not available.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Repeat {
    /// Always: it changes nothing, or twice is as good as once.
    Always,
    /// Only if it surely did not take effect.
    IfWithoutEffect,
}

/// A method, and whether it may be repeated.
#[derive(Debug)]
pub(crate) struct Method {
    pub path: &'static str,
    pub repeat: Repeat,
}

macro_rules! methods {
    ($($repeat:ident { $($name:ident = $path:literal,)* })*) => {
        $($(
            #[doc = concat!("`", $path, "`")]
            pub(crate) static $name: Method = Method { path: $path, repeat: Repeat::$repeat };
        )*)*
    };
}

// Which methods are repeated is what etcd's client does (`client/v3/retry.go`): reads all, and of the writes those that do no
// harm when they are carried out twice. Authenticate is added: a second token hurts nobody.
methods! {
    Always {
        RANGE = "/etcdserverpb.KV/Range",
        READ_ONLY_TXN = "/etcdserverpb.KV/Txn",
        LEASE_GRANT = "/etcdserverpb.Lease/LeaseGrant",
        LEASE_REVOKE = "/etcdserverpb.Lease/LeaseRevoke",
        LEASE_TIME_TO_LIVE = "/etcdserverpb.Lease/LeaseTimeToLive",
        LEASE_LEASES = "/etcdserverpb.Lease/LeaseLeases",
        LEASE_KEEP_ALIVE = "/etcdserverpb.Lease/LeaseKeepAlive",
        WATCH = "/etcdserverpb.Watch/Watch",
        MEMBER_LIST = "/etcdserverpb.Cluster/MemberList",
        ALARM = "/etcdserverpb.Maintenance/Alarm",
        STATUS = "/etcdserverpb.Maintenance/Status",
        HASH = "/etcdserverpb.Maintenance/Hash",
        HASH_KV = "/etcdserverpb.Maintenance/HashKV",
        SNAPSHOT = "/etcdserverpb.Maintenance/Snapshot",
        MOVE_LEADER = "/etcdserverpb.Maintenance/MoveLeader",
        AUTH_STATUS = "/etcdserverpb.Auth/AuthStatus",
        USER_GET = "/etcdserverpb.Auth/UserGet",
        USER_LIST = "/etcdserverpb.Auth/UserList",
        ROLE_GET = "/etcdserverpb.Auth/RoleGet",
        ROLE_LIST = "/etcdserverpb.Auth/RoleList",
        RANGE_STREAM = "/etcdserverpb.KV/RangeStream",
        AUTHENTICATE = "/etcdserverpb.Auth/Authenticate",
    }
    IfWithoutEffect {
        LEASE_GRANT_CHOSEN = "/etcdserverpb.Lease/LeaseGrant",
        PUT = "/etcdserverpb.KV/Put",
        DELETE_RANGE = "/etcdserverpb.KV/DeleteRange",
        TXN = "/etcdserverpb.KV/Txn",
        COMPACT = "/etcdserverpb.KV/Compact",
        MEMBER_ADD = "/etcdserverpb.Cluster/MemberAdd",
        MEMBER_REMOVE = "/etcdserverpb.Cluster/MemberRemove",
        MEMBER_UPDATE = "/etcdserverpb.Cluster/MemberUpdate",
        MEMBER_PROMOTE = "/etcdserverpb.Cluster/MemberPromote",
        DEFRAGMENT = "/etcdserverpb.Maintenance/Defragment",
        DOWNGRADE = "/etcdserverpb.Maintenance/Downgrade",
        AUTH_ENABLE = "/etcdserverpb.Auth/AuthEnable",
        AUTH_DISABLE = "/etcdserverpb.Auth/AuthDisable",
        USER_ADD = "/etcdserverpb.Auth/UserAdd",
        USER_DELETE = "/etcdserverpb.Auth/UserDelete",
        USER_CHANGE_PASSWORD = "/etcdserverpb.Auth/UserChangePassword",
        USER_GRANT_ROLE = "/etcdserverpb.Auth/UserGrantRole",
        USER_REVOKE_ROLE = "/etcdserverpb.Auth/UserRevokeRole",
        ROLE_ADD = "/etcdserverpb.Auth/RoleAdd",
        ROLE_DELETE = "/etcdserverpb.Auth/RoleDelete",
        ROLE_GRANT_PERMISSION = "/etcdserverpb.Auth/RoleGrantPermission",
        ROLE_REVOKE_PERMISSION = "/etcdserverpb.Auth/RoleRevokePermission",
    }
}
