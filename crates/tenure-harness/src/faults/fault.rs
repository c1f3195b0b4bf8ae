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

/// What happens. One thing at a time, and never to more than one member unless it says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// SIGKILL, and a start some seconds later.
    Kill(Victim),
    /// SIGKILL, a start, and SIGKILL again while it catches up or takes up a snapshot.
    KillTwice(Victim),
    /// SIGKILL of all members at once.
    KillAll,
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
    pub const ALL: [Fault; 29] = [
        Fault::Kill(Leader),
        Fault::Kill(Follower),
        Fault::KillTwice(Leader),
        Fault::KillTwice(Follower),
        Fault::KillAll,
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

    /// Whether a majority goes on, and so must writes.
    #[must_use]
    pub fn is_of_minority(self) -> bool {
        !matches!(self, Fault::KillAll)
    }

    /// Whether somebody asked for it who expects that hardly anybody notices.
    #[must_use]
    pub fn is_orderly(self) -> bool {
        matches!(
            self,
            Fault::Terminate(_)
                | Fault::MoveLeader
                | Fault::Compact
                | Fault::Defragment(_)
                | Fault::SaveSnapshot(_)
        )
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (what, victim) = match *self {
            Fault::Kill(victim) => ("SIGKILL", Some(victim)),
            Fault::KillTwice(victim) => ("SIGKILL, and again", Some(victim)),
            Fault::KillAll => ("SIGKILL of all", None),
            Fault::Freeze(victim) => ("SIGSTOP", Some(victim)),
            Fault::Stutter(victim) => ("SIGSTOP in quick turns", Some(victim)),
            Fault::Terminate(victim) => ("SIGTERM", Some(victim)),
            Fault::Cut(victim) => ("links reset", Some(victim)),
            Fault::BlackHole(victim) => ("links silent", Some(victim)),
            Fault::Mute(victim) => ("not heard", Some(victim)),
            Fault::Deafen(victim) => ("hears nobody", Some(victim)),
            Fault::PartPair => ("one link of the leader silent", None),
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
