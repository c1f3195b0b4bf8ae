//! Leases.

use super::Violation;
use std::time::Duration;

/// The life of a lease. Times are true time since the begin.
#[derive(Clone, Debug, Default)]
pub struct Lease {
    /// Its id.
    pub id: i64,
    /// What became of it, in any order.
    pub events: Vec<LeaseEvent>,
}

/// What became of a lease.
#[derive(Clone, Copy, Debug)]
pub enum LeaseEvent {
    /// It exists.
    Granted {
        /// Since when.
        at: Duration,
        /// Its life.
        ttl: Duration,
    },
    /// A client was told that it has its whole life again.
    Renewed {
        /// When he asked.
        called: Duration,
        /// When he was answered.
        returned: Duration,
        /// Its life.
        ttl: Duration,
    },
    /// It is gone.
    Ended {
        /// Since when.
        at: Duration,
        /// Whether its life was over; if not, a client has revoked it.
        has_expired: bool,
    },
    /// It is still there, and since `since` nothing kept the cluster from ending it.
    Alive {
        /// When it was looked at.
        at: Duration,
        /// Since when all was well.
        since: Duration,
    },
}

/// How exact leases are.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// A lease ends at most so much before its life is over.
    pub early: Duration,
    /// A cluster that is well ends a lease so long after its life is over, or after the cluster got well, if that came later.
    pub late: Duration,
}

/// No lease ended early, or late.
///
/// # Errors
/// What is wrong.
pub fn leases(leases: &[Lease], bounds: Bounds) -> Result<(), Violation> {
    leases.iter().try_for_each(|lease| check(lease, bounds))
}

fn check(lease: &Lease, bounds: Bounds) -> Result<(), Violation> {
    let mut lives_until = Duration::ZERO;
    let mut last_told = Duration::ZERO;
    let mut longest = Duration::ZERO;
    for event in &lease.events {
        match *event {
            LeaseEvent::Granted { at, ttl } => {
                lives_until = lives_until.max(at + ttl);
                (last_told, longest) = (last_told.max(at), longest.max(ttl));
            }
            LeaseEvent::Renewed { called, returned, ttl } => {
                lives_until = lives_until.max(called + ttl);
                (last_told, longest) = (last_told.max(returned), longest.max(ttl));
            }
            LeaseEvent::Ended { .. } | LeaseEvent::Alive { .. } => {}
        }
    }
    for event in &lease.events {
        match *event {
            LeaseEvent::Ended { at, has_expired: true } if at + bounds.early < lives_until => {
                return Err(format!(
                    "lease {} ended at {at:?}, but lives until {lives_until:?}: {lease:?}",
                    lease.id
                ));
            }
            LeaseEvent::Alive { at, since } if at > last_told.max(since) + longest + bounds.late => {
                return Err(format!("lease {} is still there at {at:?}: {lease:?}", lease.id));
            }
            _ => {}
        }
    }
    Ok(())
}
