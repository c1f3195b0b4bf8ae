//! Identifiers and positions.

use std::fmt;

macro_rules! number {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl From<$inner> for $name {
            fn from(value: $inner) -> Self {
                Self(value)
            }
        }
    };
}

number! {
    /// The revision of the store: one number for everything that one command changed.
    /// A fresh store is at revision 1, its first write makes revision 2 (reference P4).
    Revision(i64)
}
number! {
    /// A Raft term.
    Term(u64)
}
number! {
    /// A position in the Raft log.
    LogIndex(u64)
}
number! {
    /// A lease. etcd accepts negative ids; 0 means "no lease" on the wire and is an `Option` here.
    LeaseId(i64)
}
number! {
    /// A member of the cluster.
    MemberId(u64)
}
number! {
    /// The cluster.
    ClusterId(u64)
}
number! {
    /// A proposal, unique in the life of the cluster: member, start time and a counter.
    RequestId(u64)
}

impl Revision {
    /// The revision of a store that nobody has written to.
    pub const FIRST: Revision = Revision(1);

    /// The revision after this one.
    #[must_use]
    pub fn next(self) -> Revision {
        Revision(self.0 + 1)
    }
}

impl LogIndex {
    /// The index after this one.
    #[must_use]
    pub fn next(self) -> LogIndex {
        LogIndex(self.0 + 1)
    }
}

/// The address of one record: `sub` counts the records of one revision from 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RecordRevision {
    /// The store revision that the record belongs to.
    pub main: Revision,
    /// Its place among the records of that revision.
    pub sub: u32,
}

impl RecordRevision {
    /// The first record of a revision.
    #[must_use]
    pub fn first_of(main: Revision) -> Self {
        Self { main, sub: 0 }
    }
}

impl fmt::Display for RecordRevision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.main, self.sub)
    }
}
