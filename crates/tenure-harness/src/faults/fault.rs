//! What happens to a cluster.

use std::fmt;

/// Who it happens to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Victim {
    /// Whoever leads.
    Leader,
    /// One that follows.
    Follower,
}

/// What happens, to one member unless it says otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// SIGKILL, and a start some seconds later.
    Kill(Victim),
    /// SIGKILL, a start, and SIGKILL again while it catches up or takes up a snapshot.
    KillTwice(Victim),
    /// SIGKILL of all members at once.
    KillAll,
    /// SIGKILL of a majority, and when they start a split.
    KillMajority,
    /// SIGSTOP, and SIGCONT some seconds later.
    Freeze(Victim),
    /// SIGSTOP and SIGCONT in quick turns: a member that crawls.
    Stutter(Victim),
    /// SIGTERM, and a start.
    Terminate(Victim),
    /// All links of a member are reset.
    Cut(Victim),
    /// All links of a member are a black hole.
    BlackHole(Victim),
    /// What a member says is lost; it hears the others.
    Mute(Victim),
    /// A member hears nobody; the others hear it.
    Deafen(Victim),
    /// The link between the leader and one follower is a black hole.
    PartPair,
    /// A largest minority, with the leader or without, and the rest are black holes to each other.
    Split(Victim),
    /// Such a split, and before it heals another one with others in the minority. There is a majority at any moment.
    SplitTwice,
    /// All links are slow and uneven.
    Delay,
    /// A member loses its data: it is removed and joins again.
    Wipe,
    /// A member that runs is removed and joins again, as a learner that is promoted.
    Replace(Victim),
    /// The leadership is handed over.
    MoveLeader,
    /// The history is compacted.
    Compact,
    /// A member is defragmented.
    Defragment(Victim),
    /// A backup is read from a member.
    SaveSnapshot(Victim),
    /// The disk of the last member is full for some seconds.
    FillDisk,
}

use Victim::{Follower, Leader};

impl Fault {
    /// Everything that can happen.
    pub const ALL: [Fault; 33] = [
        Fault::Kill(Leader),
        Fault::Kill(Follower),
        Fault::KillTwice(Leader),
        Fault::KillTwice(Follower),
        Fault::KillAll,
        Fault::KillMajority,
        Fault::Freeze(Leader),
        Fault::Freeze(Follower),
        Fault::Stutter(Leader),
        Fault::Stutter(Follower),
        Fault::Terminate(Leader),
        Fault::Terminate(Follower),
        Fault::Cut(Leader),
        Fault::Cut(Follower),
        Fault::BlackHole(Leader),
        Fault::BlackHole(Follower),
        Fault::Mute(Leader),
        Fault::Mute(Follower),
        Fault::Deafen(Leader),
        Fault::Deafen(Follower),
        Fault::PartPair,
        Fault::Split(Leader),
        Fault::Split(Follower),
        Fault::SplitTwice,
        Fault::Delay,
        Fault::Wipe,
        Fault::Replace(Leader),
        Fault::Replace(Follower),
        Fault::MoveLeader,
        Fault::Compact,
        Fault::Defragment(Leader),
        Fault::SaveSnapshot(Follower),
        Fault::FillDisk,
    ];

    /// How many members are worse off for it. Of a minority a majority goes on, and so must writes.
    #[must_use]
    pub fn hurts(self, members: usize) -> usize {
        match self {
            Fault::KillAll | Fault::KillMajority => members,
            Fault::Split(_) | Fault::SplitTwice => minority(members),
            Fault::Delay
            | Fault::MoveLeader
            | Fault::Compact
            | Fault::Defragment(_)
            | Fault::SaveSnapshot(_) => 0,
            _ => 1,
        }
    }
}

/// The most members that can be hurt while a majority goes on.
#[must_use]
pub fn minority(members: usize) -> usize {
    members.saturating_sub(1) / 2
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (what, victim) = match *self {
            Fault::Kill(victim) => ("SIGKILL", Some(victim)),
            Fault::KillTwice(victim) => ("SIGKILL, and again", Some(victim)),
            Fault::KillAll => ("SIGKILL of all", None),
            Fault::KillMajority => ("SIGKILL of a majority, then a split", None),
            Fault::Freeze(victim) => ("SIGSTOP", Some(victim)),
            Fault::Stutter(victim) => ("SIGSTOP in quick turns", Some(victim)),
            Fault::Terminate(victim) => ("SIGTERM", Some(victim)),
            Fault::Cut(victim) => ("links reset", Some(victim)),
            Fault::BlackHole(victim) => ("links silent", Some(victim)),
            Fault::Mute(victim) => ("not heard", Some(victim)),
            Fault::Deafen(victim) => ("hears nobody", Some(victim)),
            Fault::PartPair => ("one link of the leader silent", None),
            Fault::Split(Leader) => ("links split, leader in the minority", None),
            Fault::Split(Follower) => ("links split, leader in the majority", None),
            Fault::SplitTwice => ("links split, and split otherwise", None),
            Fault::Delay => ("links slow", None),
            Fault::Wipe => ("loses its disk", Some(Follower)),
            Fault::Replace(victim) => ("removed, added as learner", Some(victim)),
            Fault::MoveLeader => ("move-leader", None),
            Fault::Compact => ("compaction", None),
            Fault::Defragment(victim) => ("defragment", Some(victim)),
            Fault::SaveSnapshot(victim) => ("snapshot save", Some(victim)),
            Fault::FillDisk => ("disk full", None),
        };
        match victim {
            Some(Leader) => write!(f, "leader: {what}"),
            Some(Follower) => write!(f, "follower: {what}"),
            None => f.write_str(what),
        }
    }
}
