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
    /// A proposal, unique in the life of the cluster: member, start time and a counter. See [`RequestIds`].
    RequestId(u64)
}

/// Makes request ids in etcd's shape: two bytes of the member, five of the start time in milliseconds, one that counts
/// and overflows into the time. As long as a member makes less than 256 ids a millisecond on average, ids of its
/// runs do not meet.
///
/// It comes as a pair, because the driver and the [`crate::node::Node`] both make ids: one makes the even,
/// the other the odd ones.
#[derive(Debug)]
pub struct RequestIds {
    member_bits: u64,
    count: u64,
}

impl RequestIds {
    const COUNT_BITS: u32 = 48;

    /// The two makers of `member`, started `unix_millis` after 1970.
    #[must_use]
    pub fn pair(member: MemberId, unix_millis: u64) -> (Self, Self) {
        let member_bits = member.0 << Self::COUNT_BITS;
        let count = unix_millis << 8;
        (Self { member_bits, count }, Self { member_bits, count: count | 1 })
    }

    /// The next id.
    pub fn next_id(&mut self) -> RequestId {
        self.count = self.count.wrapping_add(2);
        RequestId(self.member_bits | (self.count & ((1 << Self::COUNT_BITS) - 1)))
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn request_ids_hold_member_time_and_count() {
        let (mut even, mut odd) = RequestIds::pair(MemberId(0x8e9e_05c5_2164_694d), 0x0123_4567_89ab);
        assert_eq!(even.next_id(), RequestId(0x694d_2345_6789_ab02));
        assert_eq!(odd.next_id(), RequestId(0x694d_2345_6789_ab03));
        let last = (0..200).map(|_| even.next_id()).last();
        assert_eq!(last, Some(RequestId(0x694d_2345_6789_ac92)), "the count overflows into the time");
    }
}
