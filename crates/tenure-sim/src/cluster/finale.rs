//! The end: nothing goes wrong any more, so everything must come right.

use super::host::Place;
use super::{Cluster, Event, LEASE_BOUNDS};
use crate::check::{self, LeaseEvent};
use crate::member::Failure;
use crate::workload::TTL_SECONDS_MAX;
use std::time::Duration;
use tenure_core::command::{AlarmAction, AlarmCommand, Command};
use tenure_core::state::AlarmEntry;

/// A cluster in which nothing goes wrong any more comes right within this time.
const COME_RIGHT_MICROS: u64 = 40_000_000;
const STEP_MICROS: u64 = 250_000;

impl Cluster {
    /// Takes everything back that went wrong.
    pub(super) fn calm_down(&mut self) {
        self.note(|| "nothing goes wrong any more".into());
        self.is_calm = true;
        self.network.heal_all();
        for at in 0..self.hosts.len() {
            let host = &mut self.hosts[at];
            host.disk.heal();
            host.frozen_until = 0;
            host.busy_until = 0;
            self.schedule(200_000, Event::Boot(at));
            self.schedule(400_000, Event::Retire(at));
        }
    }

    /// Lets everything run until all members are equal and nobody waits for an answer. Clients go on for a moment.
    pub(super) fn come_right(&mut self) -> Result<(), Failure> {
        let end = self.now + COME_RIGHT_MICROS;
        self.run_until(self.now + 3_000_000)?;
        self.is_quiet = true;
        loop {
            self.run_until(self.now + STEP_MICROS)?;
            self.clear_alarms()?;
            if !self.agreed.model.has_alarm()
                && self.are_equal()
                && self.operations.is_empty()
                && self.are_watchers_current()
            {
                break;
            }
            if self.now > end {
                return Err(format!("it does not come right: {:?}", self.standing()));
            }
        }
        let mut are_members = 0;
        for at in 0..self.hosts.len() {
            if self.hosts[at].place == Place::Inside {
                self.check_state(at)?;
                self.check_leases(at)?;
                are_members += 1;
            }
        }
        if are_members == 0 { Err("nobody is left".into()) } else { Ok(()) }
    }

    /// Whoever leads is asked to clear every alarm, until none is left.
    fn clear_alarms(&mut self) -> Result<(), Failure> {
        let raised: Vec<_> = self.agreed.model.alarms().collect();
        if let Some(leader) = self.leader().filter(|_| self.random.chance(30)) {
            for AlarmEntry { member, alarm } in raised {
                let (action, alarm) = (AlarmAction::Deactivate, Some(alarm));
                self.propose_by_member(leader, Command::Alarm(AlarmCommand { action, member, alarm }))?;
            }
        }
        Ok(())
    }

    fn are_equal(&self) -> bool {
        let mut members = self.hosts.iter().filter(|host| host.place == Place::Inside);
        members.all(|host| {
            host.member.as_ref().is_some_and(|member| {
                member.state.applied() == self.agreed.last() && member.status().leader.is_some()
            })
        })
    }

    fn are_watchers_current(&self) -> bool {
        let revision = self.agreed.model.revision();
        self.watchers.iter().all(|watcher| watcher.next > revision)
    }

    /// Where everybody is.
    fn standing(&self) -> Vec<String> {
        let mut lines = vec![format!("{} entries, {} operations", self.agreed.last(), self.operations.len())];
        for (at, host) in self.hosts.iter().enumerate() {
            let status = host.member.as_ref().map(|member| (member.state.applied(), member.status()));
            lines.push(format!("m{} {:?} {status:?}", at + 1, host.place));
        }
        lines
    }

    fn check_leases(&self, at: usize) -> Result<(), Failure> {
        let Some(member) = &self.hosts[at].member else { return Ok(()) };
        let expected: Vec<_> = self.agreed.model.leases().collect();
        let found: Vec<_> = member.state.leases.iter().collect();
        if expected != found {
            return Err(format!("m{} has the leases {found:?}, and must have {expected:?}", at + 1));
        }
        Ok(())
    }

    /// Nobody renews a lease any more: all of them end in time.
    pub(super) fn outlive_leases(&mut self) -> Result<(), Failure> {
        let since = self.true_time();
        let longest = Duration::from_secs(TTL_SECONDS_MAX as u64) + LEASE_BOUNDS.late;
        while self.agreed.model.leases().next().is_some() && self.true_time() < since + longest {
            self.run_until(self.now + STEP_MICROS)?;
        }
        let at = self.true_time();
        let left: Vec<i64> = self.agreed.model.leases().map(|lease| lease.id.0).collect();
        for id in left {
            self.agreed.lease_event(id, LeaseEvent::Alive { at: at + Duration::from_millis(1), since });
        }
        Ok(())
    }

    /// Judges the whole history.
    pub(super) fn judge(&mut self) -> Result<(), Failure> {
        for mut watcher in std::mem::take(&mut self.watchers) {
            watcher.seen.is_complete = true;
            self.agreed.history.watches.push(watcher.seen);
        }
        check::all(&self.agreed.history, LEASE_BOUNDS)
    }
}
