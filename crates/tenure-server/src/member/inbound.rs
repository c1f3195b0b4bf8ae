//! What other members say, on its way to the driver.

use super::Shared;
use super::driver::Event;
use crate::peer::Inbound;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::Duration;
use tenure_core::node::Message;
use tenure_core::state::Halt;
use tenure_core::types::MemberId;

/// A member that was removed goes on for so long: what it has to send, its own removal above all, leaves first.
const LEAVE_DELAY: Duration = Duration::from_secs(1);

const REMOVED: &str = "the member has been permanently removed from the cluster";

/// Does not keep the member alive.
pub struct ToDriver(Weak<Shared>);

impl ToDriver {
    pub fn new(shared: &Arc<Shared>) -> Self {
        Self(Arc::downgrade(shared))
    }

    /// Whether the driver takes it.
    fn send(&self, event: Event) -> bool {
        let Some(shared) = self.0.upgrade() else { return false };
        let taken = shared.inbox.try_send(event).is_ok();
        if !taken {
            tracing::debug!("dropped a message of another member: the driver is busy");
        }
        taken
    }
}

impl Inbound for ToDriver {
    fn receive(&self, message: Message) -> bool {
        self.send(Event::Receive(Box::new(message)))
    }

    fn unreachable(&self, member: MemberId) {
        self.send(Event::Unreachable(member));
    }

    fn told_removed(&self, by: MemberId) {
        if let Some(shared) = self.0.upgrade() {
            tracing::error!("told-by" = format!("{:x}", by.0), "{REMOVED}");
            shared.leave();
        }
    }
}

impl Shared {
    /// Follows the members that the state machine has now.
    pub(super) fn follow_members(&self) {
        let is_removed = {
            let state = self.state.read();
            self.peers.update(state.membership.members(), state.membership.removed());
            let own = state.membership.member(self.id);
            self.is_learner.store(own.is_some_and(|own| own.is_learner), Ordering::Release);
            state.membership.is_removed(self.id)
        };
        self.changes.send_replace(());
        if is_removed && !self.is_removed.swap(true, Ordering::AcqRel) {
            tracing::warn!("{REMOVED}; the member stops");
            let leaving = self.me.clone();
            self.peers.spawn(async move {
                tokio::time::sleep(LEAVE_DELAY).await;
                if let Some(shared) = leaving.upgrade() {
                    shared.leave();
                }
            });
        }
    }

    fn leave(&self) {
        self.is_removed.store(true, Ordering::Release);
        self.halt("membership", &Halt(REMOVED.into()));
    }
}
