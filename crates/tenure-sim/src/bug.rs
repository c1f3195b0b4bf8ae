//! Faults that are planted on purpose, here and not in the product: a test shows that each is found.

/// A fault of a driver, or of the machine under it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bug {
    /// The log is written and not synced.
    SkipsFsync,
    /// A leader applies and answers what is in its own log, and does not wait until it is committed.
    AcknowledgesBeforeQuorum,
    /// A linearizable read is served from what the member has, without asking whether that is the newest.
    ReadsWithoutReadIndex,
    /// The last entry before a restart is applied again after it.
    AppliesTwiceAfterRestart,
    /// A watcher that a compaction has overtaken goes on behind it, and is not told.
    LosesEventAtCompaction,
    /// The clock of leases of who leads no more runs on, and he revokes what it says is over.
    OldLeaderRevokes,
    /// A read is answered though users or roles have changed since its client was let in.
    IgnoresAuthRevision,
    /// A command is applied in the name of somebody whose authentication is outdated.
    AppliesOutdatedIdentity,
    /// Another member's state is taken over without its leases.
    InstallsWithoutLeases,
}

impl Bug {
    /// All of them.
    pub const ALL: [Bug; 9] = [
        Bug::SkipsFsync,
        Bug::AcknowledgesBeforeQuorum,
        Bug::ReadsWithoutReadIndex,
        Bug::AppliesTwiceAfterRestart,
        Bug::LosesEventAtCompaction,
        Bug::OldLeaderRevokes,
        Bug::IgnoresAuthRevision,
        Bug::AppliesOutdatedIdentity,
        Bug::InstallsWithoutLeases,
    ];
}
