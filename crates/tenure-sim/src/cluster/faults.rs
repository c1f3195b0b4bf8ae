//! What goes wrong, and what operators do meanwhile.

use super::host::{Host, Place, description, id_of};
use super::network::HostAt;
use super::{Cluster, Event, HOSTS_MAX, election_micros};
use crate::disk::{Crash, Fault};
use crate::member::{Failure, MemberOptions};
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
        match self.random.below(100) {
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
            _ => return self.check_state(at),
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
        let Some((kind, about, is_promote)) = change else { return Ok(()) };
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
        let options = MemberOptions { founders: Vec::new(), ..self.hosts[0].options.clone() };
        self.hosts.push(Host::new(at, options, Place::Outside, &mut self.random));
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
