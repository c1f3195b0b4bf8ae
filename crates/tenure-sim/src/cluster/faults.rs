//! What goes wrong, and what operators do meanwhile.

use super::clients::Rush;
use super::host::{APPLY, DRIVER, Host, Place, WAL, description, id_of};
use super::network::HostAt;
use super::{Cluster, Event, HOSTS_MAX, election_micros};
use crate::disk::{Crash, Fault};
use crate::member::Failure;
use tenure_core::node::{Input, Role};
use tenure_core::types::{ConfChange, ConfChangeKind, ConfState, MemberId};

/// Members that operators keep a cluster at, at least and at most.
const MEMBERS_MIN: usize = 1;
const MEMBERS_MAX: usize = 6;

impl Cluster {
    /// Something goes wrong, or is done.
    pub(super) fn fault(&mut self) -> Result<(), Failure> {
        if self.is_calm {
            return Ok(());
        }
        let range = *self.random.pick(&[300_000, 1_000_000, 3_000_000]);
        let delay = self.random.below(range);
        self.schedule(delay, Event::Fault);
        let running = self.running();
        if running.is_empty() {
            return Ok(());
        }
        // Who leads has most to lose.
        let leader = self.leader().filter(|_| self.random.chance(40));
        let at = leader.unwrap_or(*self.random.pick(&running));
        match self.random.below(140) {
            0..14 => self.crash_one(at),
            14..18 => self.crash_all(),
            18..28 => self.fail_disk(at),
            28..48 => self.cut(at),
            48..58 => self.freeze(at),
            58..66 => return self.transfer(),
            66..82 => return self.change_members(at),
            82..86 => return self.stop(at),
            86..89 => return self.hand_in(at, Input::Campaign),
            89..92 => return self.defragment(at),
            92 | 93 => {
                let version = Input::ServerVersionMin("3.7.1".into());
                return self.hand_in(at, version);
            }
            94..100 => return self.check_state(at),
            100..115 => self.keep_busy(at),
            _ => self.surprise_leader(),
        }
        Ok(())
    }

    fn crash_one(&mut self, at: HostAt) {
        let mut crashes = vec![Crash::LosesAll, Crash::Tears, Crash::Tears];
        if !self.hosts[at].sync_failed {
            crashes.push(Crash::Process);
        }
        let crash = *self.random.pick(&crashes);
        self.crash(at, crash);
    }

    /// The power of the whole place fails.
    fn crash_all(&mut self) {
        for at in self.running() {
            let crash = *self.random.pick(&[Crash::LosesAll, Crash::Tears]);
            self.crash(at, crash);
        }
    }

    fn fail_disk(&mut self, at: HostAt) {
        let fault = *self.random.pick(&[
            Fault::PowerFails,
            Fault::PowerFailsInSync,
            Fault::PowerFailsInSync,
            Fault::SyncFails,
            Fault::Full,
        ]);
        let range = *self.random.pick(&[5, 40, 200]);
        let after = self.random.below(range);
        self.note(|| format!("m{}: {fault:?} after {after} changes", at + 1));
        self.hosts[at].disk.inject(fault, after);
    }

    /// Cuts one link, one host or a part of the hosts off, one way or both.
    fn cut(&mut self, at: HostAt) {
        let all = 0..self.hosts.len();
        let inside: Vec<HostAt> = match self.random.below(4) {
            0 => all.clone().filter(|_| self.random.chance(50)).collect(),
            _ => vec![at],
        };
        let one = self.random.place(self.hosts.len());
        let is_one_link = self.random.chance(25);
        let outside = all.filter(|other| !inside.contains(other) && (!is_one_link || *other == one));
        let (out, back) = *self.random.pick(&[(true, true), (true, true), (true, false), (false, true)]);
        let mut links = Vec::new();
        for other in outside {
            links.extend(inside.iter().filter(|_| out).map(|at| (*at, other)));
            links.extend(inside.iter().filter(|_| back).map(|at| (other, *at)));
        }
        self.note(|| format!("cut {links:?}"));
        let cut = self.network.cut(links);
        let range = *self.random.pick(&[500_000, 3_000_000, 8_000_000]);
        let delay = self.random.below(range);
        self.schedule(delay, Event::Heal(cut));
    }

    /// The process is held up, as by SIGSTOP, or by a machine that has other things to do.
    fn freeze(&mut self, at: HostAt) {
        let range = *self.random.pick(&[300_000, 2_000_000, 10_000_000]);
        let until = self.now + self.random.below(range);
        self.note(|| format!("m{} freezes until {}", at + 1, until / 1_000));
        self.hosts[at].frozen_until = until;
    }

    /// A thread of a member has its turn seldom, and finds much when it has.
    fn keep_busy(&mut self, at: HostAt) {
        let thread = *self.random.pick(&[WAL, DRIVER, DRIVER, APPLY]);
        let micros = *self.random.pick(&[20_000, 100_000, 500_000]);
        let until = self.now + 500_000 + self.random.below(3_000_000);
        self.note(|| format!("m{} is busy until {}: {thread}, {micros} us", at + 1, until / 1_000));
        self.hosts[at].keep_busy(thread, micros, until);
    }

    /// A leader whom clients ask for much, and who comes to it seldom, will lead no more in a moment: what is asked of him, the answers of
    /// the others and what ends his leadership come to him together.
    fn surprise_leader(&mut self) {
        let Some(leader) = self.leader() else { return };
        let until = self.now + 2_000_000;
        let driver_micros = *self.random.pick(&[20_000, 100_000, 300_000]);
        let apply_micros = *self.random.pick(&[0, 100_000, 1_000_000]);
        self.note(|| format!("m{} is busy and will be deposed", leader + 1));
        let host = &mut self.hosts[leader];
        host.keep_busy(DRIVER, driver_micros, until);
        host.keep_busy(APPLY, apply_micros, until);
        let run = host.run;
        self.rush = Rush { host: leader, until, is_of_renewals: self.random.chance(50) };
        for client in &mut self.clients {
            if self.random.chance(70) {
                client.host = leader;
            }
        }
        let delay = self.random.below(800_000);
        self.schedule(delay, Event::Depose { host: leader, run });
    }

    /// A busy leader hands the leadership over, or is removed. If he votes alone a learner shall vote, too.
    pub(super) fn depose(&mut self, at: HostAt, run: u64) -> Result<(), Failure> {
        if self.hosts[at].run != run || self.is_calm {
            return Ok(());
        }
        let Some(ConfState { voters, learners, .. }) = self.conf_state() else { return Ok(()) };
        let id = self.hosts[at].id;
        let others: Vec<MemberId> = voters.into_iter().filter(|voter| *voter != id).collect();
        match (others.is_empty(), learners.is_empty()) {
            (true, true) => Ok(()),
            (true, false) => {
                let next = *self.random.pick(&learners);
                self.propose_change(at, ConfChangeKind::AddVoter, next, true)
            }
            _ if self.random.chance(50) => self.propose_change(at, ConfChangeKind::Remove, id, false),
            _ => {
                let to = *self.random.pick(&others);
                self.hand_in(at, Input::TransferLeader(to))
            }
        }
    }

    /// Whether members seldom run for long.
    pub(super) fn is_frail(&self) -> bool {
        self.now < self.frail_until && !self.is_calm
    }

    /// A member has started that will not run for long, as likely as not, and whose disk can be slow meanwhile.
    pub(super) fn begin_frail(&mut self, at: HostAt) {
        if !self.is_frail() {
            return;
        }
        if self.random.chance(40) {
            let until = self.now + 1_000_000;
            self.hosts[at].keep_busy(WAL, 50_000, until);
        }
        if self.random.chance(60) {
            let range = *self.random.pick(&[1_000, 20_000, 200_000, 1_000_000]);
            let (delay, run) = (self.random.below(range), self.hosts[at].run);
            self.schedule(delay, Event::PowerFails { host: at, run });
        }
    }

    pub(super) fn power_fails(&mut self, at: HostAt, run: u64) {
        if self.hosts[at].run == run && !self.is_calm {
            let crash = *self.random.pick(&[Crash::LosesAll, Crash::Tears]);
            self.crash(at, crash);
        }
    }

    /// A host that is there from the beginning, and no founder, is to be a learner.
    pub(super) fn join(&mut self, at: HostAt) -> Result<(), Failure> {
        if self.is_calm || self.hosts[at].place != Place::Outside {
            return Ok(());
        }
        let delay = 100_000 + self.random.below(500_000);
        self.schedule(delay, Event::Join(at));
        let Some(leader) = self.leader() else { return Ok(()) };
        self.propose_change(leader, ConfChangeKind::AddLearner, id_of(at), false)
    }

    /// A member that believes that it leads.
    pub(super) fn leader(&self) -> Option<HostAt> {
        let leads =
            |host: &Host| host.member.as_ref().is_some_and(|member| member.status().role == Role::Leader);
        self.hosts.iter().position(leads)
    }

    fn transfer(&mut self) -> Result<(), Failure> {
        let Some(leader) = self.leader() else { return Ok(()) };
        let to = id_of(self.random.place(self.hosts.len()));
        self.note(|| format!("m{} hands the leadership to m{to}", leader + 1));
        self.hand_in(leader, Input::TransferLeader(to))
    }

    /// A stop as a user asks for it.
    fn stop(&mut self, at: HostAt) -> Result<(), Failure> {
        self.hosts[at].is_stopping = true;
        self.note(|| format!("m{} is to stop", at + 1));
        self.hand_in(at, Input::Stop)
    }

    fn defragment(&mut self, at: HostAt) -> Result<(), Failure> {
        self.with(at, |member, _| member.store.defragment().map_err(|error| error.to_string())).map(drop)
    }

    /// The members as whoever is furthest knows them.
    fn conf_state(&self) -> Option<ConfState> {
        let members = self.hosts.iter().filter_map(|host| host.member.as_ref());
        let furthest = members.max_by_key(|member| member.state.applied())?;
        Some(furthest.state.membership.conf_state().clone())
    }

    fn change_members(&mut self, at: HostAt) -> Result<(), Failure> {
        let Some(ConfState { voters, learners, .. }) = self.conf_state() else { return Ok(()) };
        let count = voters.len() + learners.len();
        let change = match self.random.below(13) {
            0..4 if count < MEMBERS_MAX && self.hosts.len() < HOSTS_MAX => Some(self.addition()),
            4..7 if !learners.is_empty() => {
                Some((ConfChangeKind::AddVoter, *self.random.pick(&learners), true))
            }
            7..10 if voters.len() > MEMBERS_MIN => {
                let all: Vec<MemberId> = voters.iter().chain(&learners).copied().collect();
                Some((ConfChangeKind::Remove, *self.random.pick(&all), false))
            }
            10 | 11 if !voters.is_empty() => {
                Some((ConfChangeKind::Update, *self.random.pick(&voters), false))
            }
            // As likely as not it makes no sense.
            12 => {
                let kinds = [ConfChangeKind::AddVoter, ConfChangeKind::AddLearner, ConfChangeKind::Remove];
                let about = id_of(self.random.place(self.hosts.len()));
                Some((*self.random.pick(&kinds), about, self.random.chance(50)))
            }
            _ => None,
        };
        match change {
            Some((kind, about, is_promote)) => self.propose_change(at, kind, about, is_promote),
            None => Ok(()),
        }
    }

    fn propose_change(
        &mut self,
        at: HostAt,
        kind: ConfChangeKind,
        about: MemberId,
        is_promote: bool,
    ) -> Result<(), Failure> {
        let mut described = description(about.0 as usize - 1);
        if kind == ConfChangeKind::Update {
            // Sometimes to where another is.
            described.peer_urls = match self.random.chance(20) {
                true => description(self.random.place(self.hosts.len())).peer_urls,
                false => vec![format!("http://m{about}:{}", self.random.between(1, 9_999))],
            };
        }
        let context = match kind {
            ConfChangeKind::Remove => bytes::Bytes::new(),
            _ => described.to_change_context(is_promote).into(),
        };
        self.note(|| format!("m{} proposes {kind:?} of m{about}", at + 1));
        self.with(at, |member, _| {
            let id = member.request_ids.next_id();
            let change = ConfChange { id, kind, member: about, context };
            member.hand_in(Input::ProposeConfChange(change));
            Ok(())
        })
        .map(drop)
    }

    /// A new host, as a learner or at once as a voter.
    fn addition(&mut self) -> (ConfChangeKind, MemberId, bool) {
        let at = self.hosts.len();
        let host = Host::to_join(at, &self.hosts[0].options, &mut self.random);
        self.hosts.push(host);
        let kind = *self.random.pick(&[
            ConfChangeKind::AddLearner,
            ConfChangeKind::AddLearner,
            ConfChangeKind::AddVoter,
        ]);
        (kind, id_of(at), false)
    }

    /// A member was added: its host starts, unless it is there already.
    pub(super) fn added(&mut self, id: MemberId) {
        let Some(at) = self.host_of(id) else { return };
        self.note(|| format!("m{id} is a member, or votes"));
        if self.hosts[at].place == Place::Outside {
            self.hosts[at].place = Place::Inside;
            let delay = self.random.below(2_000_000);
            self.schedule(delay, Event::Boot(at));
        }
    }

    /// A member was removed, and somebody can have been told so: it goes when it is taken away.
    pub(super) fn removed(&mut self, id: MemberId) {
        let Some(at) = self.host_of(id) else { return };
        self.note(|| format!("m{id} is removed"));
        self.hosts[at].place = Place::Leaving;
        let delay = self.random.below(4 * election_micros());
        self.schedule(delay, Event::Retire(at));
    }
}
