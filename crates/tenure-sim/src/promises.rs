//! What a node promises to whoever drives it, looked at in every turn. Most of it would otherwise be noticed only if what a broken
//! promise leads to came true, too.

use crate::member::Failure;
use bytes::Bytes;
use std::collections::BTreeSet;
use tenure_core::node::{
    Input, LeaseRefusal, LeaseTicket, Message, MessageKind, Output, Persist, ReadTicket, Role, Status,
};
use tenure_core::types::{HardState, LogIndex, MemberId, Term};

/// How often something happened that needs several things at once. What does not happen proves nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Turns {
    /// A leader was lost in the turn in which a read of his was answered.
    pub lost_with_answers: u64,
    /// A leader was told of his own removal while renewals of leases waited.
    pub left_with_renewals: u64,
    /// Who votes alone led before it was durable that he does, and there were learners to be told.
    pub led_before_durable: u64,
    /// A commit index was learnt, in a turn with a tick, together with entries up to it.
    pub learnt_with_entries: u64,
}

impl Turns {
    /// Adds what else happened.
    pub fn add(&mut self, other: Turns) {
        self.lost_with_answers += other.lost_with_answers;
        self.left_with_renewals += other.left_with_renewals;
        self.led_before_durable += other.led_before_durable;
        self.learnt_with_entries += other.learnt_with_entries;
    }
}

/// What is known of a node and of the disk under it.
#[derive(Debug)]
pub struct Promises {
    /// What the member will not forget: hard state and end of the log.
    durable: (HardState, LogIndex),
    /// The end of the log once everything is written that was asked for.
    logged: LogIndex,
    /// The last change of the members that was applied, and the own removal.
    conf_changed: LogIndex,
    removed: Option<LogIndex>,
    reads: BTreeSet<ReadTicket>,
    renewals: BTreeSet<LeaseTicket>,
    /// Questions that were others', or of which it is not known for whom they were asked.
    unclear: BTreeSet<Bytes>,
    asked: Option<Asked>,
    /// A read was given up: which of the others the next question is for is not known.
    is_doubtful: bool,
    /// What happened. To be taken out.
    pub turns: Turns,
}

/// A question whether this member leads, and the oldest of the reads for which it was asked.
#[derive(Debug)]
struct Asked {
    context: Bytes,
    ticket: ReadTicket,
    acknowledged: BTreeSet<MemberId>,
}

/// What is known of a turn before it.
#[derive(Debug)]
pub struct Turn {
    was_leader: bool,
    was_removed: bool,
    had_renewals: bool,
    has_tick: bool,
    /// Something has become durable: what was held back until then leaves, questions of earlier turns among it.
    lets_go: bool,
    /// What must be answered in it: a majority has said so while this member led.
    answered: Option<ReadTicket>,
}

impl Promises {
    /// Those of the node of a member that starts with this on its disk.
    #[must_use]
    pub fn new(hard_state: HardState, last: LogIndex) -> Self {
        Self {
            durable: (hard_state, last),
            logged: last,
            conf_changed: LogIndex(0),
            removed: None,
            reads: BTreeSet::new(),
            renewals: BTreeSet::new(),
            unclear: BTreeSet::new(),
            asked: None,
            is_doubtful: false,
            turns: Turns::default(),
        }
    }

    /// This is on the disk for ever, or until something else is.
    pub fn note_durable(&mut self, hard_state: HardState, last: LogIndex) {
        self.durable = (hard_state, last);
    }

    /// A change of the members is applied, and whether this member was removed.
    pub fn note_conf_change(&mut self, index: LogIndex, is_removed: bool) {
        self.conf_changed = index;
        if is_removed {
            self.removed.get_or_insert(index);
        }
    }

    /// A turn of a node that stands at `status` begins.
    pub fn begin(&mut self, status: &Status, inputs: &[Input]) -> Turn {
        let turn = Turn {
            was_leader: status.role == Role::Leader,
            was_removed: self.removed.is_some_and(|removed| removed <= status.applied),
            had_renewals: !self.renewals.is_empty(),
            has_tick: inputs.iter().any(|input| matches!(input, Input::Tick)),
            lets_go: inputs.iter().any(|input| matches!(input, Input::Persisted(_))),
            answered: self.note_acknowledgements(status, inputs),
        };
        for input in inputs {
            match input {
                Input::ReadIndex(ticket) => drop(self.reads.insert(*ticket)),
                Input::RenewLease { ticket, .. } => drop(self.renewals.insert(*ticket)),
                Input::Receive(message) if message.kind == MessageKind::ReadIndex => {
                    self.unclear.extend(message.entries.iter().map(|entry| entry.data.clone()));
                }
                _ => {}
            }
        }
        turn
    }

    /// Takes note of who has said that this member leads, up to what can end that or change who is asked. Returns the read that a majority
    /// has answered.
    fn note_acknowledgements(&mut self, status: &Status, inputs: &[Input]) -> Option<ReadTicket> {
        let asked = self.asked.as_mut().filter(|_| status.role == Role::Leader)?;
        let others = status.progress.iter().filter(|progress| !progress.is_learner);
        let voters: BTreeSet<MemberId> = others.map(|progress| progress.member).collect();
        let conf_changes_are_known = self.conf_changed <= status.applied;
        let may_end_it = |input: &&Input| match input {
            Input::Tick => true,
            Input::Applied(_) => !conf_changes_are_known,
            Input::Receive(message) => message.term > status.term,
            _ => false,
        };
        let mut has_news = false;
        for input in inputs.iter().take_while(|input| !may_end_it(input)) {
            if let Input::Receive(message) = input
                && (message.kind, message.term) == (MessageKind::HeartbeatResponse, status.term)
                && message.context == asked.context
                && voters.contains(&message.from)
            {
                asked.acknowledged.insert(message.from);
                has_news = true;
            }
        }
        // With himself, of the others and himself. Who has left does not count, and nobody counts anew because he has.
        let is_majority = (asked.acknowledged.intersection(&voters).count() + 1) * 2 > voters.len() + 1;
        (has_news && is_majority).then_some(asked.ticket)
    }

    /// Compares what came out of a turn with what was promised. `applied` is what the node knows of then.
    ///
    /// # Errors
    /// The promise that is broken.
    pub fn check(&mut self, turn: &Turn, status: &Status, outputs: &[Output]) -> Result<(), Failure> {
        let is_removed = self.removed.is_some_and(|removed| removed <= status.applied);
        let (mut has_left, mut is_lost, mut reads_answered) = (turn.was_removed, false, 0);
        self.note_lone_leader(status);
        for output in outputs {
            match output {
                Output::Persist(persist) => self.check_persist(turn, persist)?,
                Output::Apply(entries) => {
                    let last = entries.last().map_or(LogIndex(0), |entry| entry.index);
                    if last > self.durable.1 {
                        return Err(format!(
                            "entry {last} is to be applied, and the log is durable up to {}",
                            self.durable.1
                        ));
                    }
                }
                Output::Send(message) => {
                    self.check_message(message)?;
                    self.note_question(turn, message);
                    has_left |= is_removed && message.kind == MessageKind::TimeoutNow;
                }
                Output::ReadReady { tickets, .. } => {
                    tickets.iter().try_for_each(|ticket| self.read_ends(*ticket))?;
                    reads_answered += tickets.len();
                }
                Output::ReadDropped(tickets) => {
                    tickets.iter().try_for_each(|ticket| self.read_ends(*ticket))?;
                    self.asked = None;
                    self.is_doubtful = true;
                }
                Output::LeaseRenewed { ticket, ttl_seconds } => {
                    if !self.renewals.remove(ticket) {
                        return Err(format!("{ticket:?} is answered, and nobody waits"));
                    }
                    if has_left && *ttl_seconds != Err(LeaseRefusal::NotPrimary) {
                        return Err(format!("{ticket:?}: who has left says {ttl_seconds:?} of a lease"));
                    }
                }
                Output::LeaderChanged { .. } => {
                    is_lost |= turn.was_leader;
                    self.asked = None;
                }
                _ => {}
            }
        }
        if let Some(ticket) = turn.answered.filter(|ticket| self.reads.contains(ticket)) {
            return Err(format!("a majority has answered {ticket:?}, and the answer is lost"));
        }
        self.is_doubtful &= !self.reads.is_empty();
        self.turns.lost_with_answers += u64::from(is_lost && reads_answered > 0);
        let leaves = turn.was_leader && is_removed && !turn.was_removed;
        self.turns.left_with_renewals += u64::from(leaves && turn.had_renewals);
        Ok(())
    }

    fn note_lone_leader(&mut self, status: &Status) {
        let has_learners =
            !status.progress.is_empty() && status.progress.iter().all(|other| other.is_learner);
        let is_early = status.role == Role::Leader && status.term > self.durable.0.term;
        self.turns.led_before_durable += u64::from(has_learners && is_early);
    }

    /// What is written one after the other must be a log at each moment: who starts with it must find every entry that it says is
    /// committed.
    fn check_persist(&mut self, turn: &Turn, persist: &Persist) -> Result<(), Failure> {
        if let Some(snapshot) = &persist.snapshot {
            self.logged = snapshot.position.index;
        }
        self.logged = persist.entries.last().map_or(self.logged, |entry| entry.index);
        let Some(HardState { commit, .. }) = persist.hard_state else { return Ok(()) };
        if commit > self.logged {
            return Err(format!("entry {commit} is noted as committed in a log up to {}", self.logged));
        }
        let learns = persist.entries.first().is_some_and(|first| first.index <= commit);
        self.turns.learnt_with_entries += u64::from(learns && turn.has_tick);
        Ok(())
    }

    /// What leaves must be true even if the member loses everything that is not durable. Of a term that is over on the disk, too, nobody
    /// believes anything who goes on in that term.
    fn check_message(&self, message: &Message) -> Result<(), Failure> {
        let (state, last) = &self.durable;
        if message.kind.is_of_no_term() || message.term < state.term || message.term == Term(0) {
            return Ok(());
        }
        let is_durable = message.term == state.term
            && match message.kind {
                MessageKind::AppendResponse => message.is_reject || message.index <= *last,
                MessageKind::Vote => state.vote == Some(message.from) && message.index <= *last,
                MessageKind::VoteResponse => message.is_reject || state.vote == Some(message.to),
                _ => true,
            };
        if is_durable {
            return Ok(());
        }
        let Message { kind, to, term, index, .. } = message;
        Err(format!(
            "{kind:?} to m{to} of term {term} and entry {index} leaves, and durable are {state:?} and a log up to {last}"
        ))
    }

    /// A leader asks whether he leads.
    fn note_question(&mut self, turn: &Turn, message: &Message) {
        let context = &message.context;
        let is_question = message.kind == MessageKind::Heartbeat && !context.is_empty();
        if !is_question || self.asked.as_ref().is_some_and(|asked| asked.context == *context) {
            return;
        }
        let oldest = self.reads.first().copied().filter(|_| {
            self.asked.is_none()
                && !self.is_doubtful
                && !turn.had_renewals
                && !turn.lets_go
                && !self.unclear.contains(context)
        });
        match oldest {
            Some(ticket) => {
                self.asked = Some(Asked { context: context.clone(), ticket, acknowledged: BTreeSet::new() });
            }
            None => drop(self.unclear.insert(context.clone())),
        }
    }

    fn read_ends(&mut self, ticket: ReadTicket) -> Result<(), Failure> {
        if !self.reads.remove(&ticket) {
            return Err(format!("{ticket:?} is answered, and nobody waits"));
        }
        self.asked.take_if(|asked| asked.ticket == ticket);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tenure_core::node::{Node, NodeConfig, Progress, Restart};
    use tenure_core::types::{ConfState, EntryKind, LeaseId, LogEntry, Moment, RequestIds};

    const TERM: Term = Term(3);

    fn promises() -> Promises {
        let durable = HardState { term: TERM, vote: Some(MemberId(1)), commit: LogIndex(9) };
        Promises::new(durable, LogIndex(9))
    }

    /// A leader of three.
    fn leads() -> Status {
        let other = |id| {
            let member = MemberId(id);
            Progress { member, matched: LogIndex(9), is_active: true, is_learner: false }
        };
        Status {
            role: Role::Leader,
            leader: Some(MemberId(1)),
            term: TERM,
            last: LogIndex(9),
            commit: LogIndex(9),
            applied: LogIndex(9),
            is_learner: false,
            progress: vec![other(2), other(3)],
        }
    }

    fn message(kind: MessageKind, from: u64, to: u64) -> Message {
        Message { term: TERM, ..Message::new(kind, MemberId(from), MemberId(to)) }
    }

    fn heartbeats() -> Vec<Output> {
        let beat = |to| Message { context: "q".into(), ..message(MessageKind::Heartbeat, 1, to) };
        vec![Output::Send(beat(2)), Output::Send(beat(3))]
    }

    fn acknowledges(from: u64) -> Input {
        let answer = Message { context: "q".into(), ..message(MessageKind::HeartbeatResponse, from, 1) };
        Input::Receive(Box::new(answer))
    }

    fn turn(promises: &mut Promises, inputs: &[Input], outputs: &[Output]) -> Result<(), Failure> {
        let turn = promises.begin(&leads(), inputs);
        promises.check(&turn, &leads(), outputs)
    }

    #[test]
    fn a_read_that_a_majority_has_answered_must_be_answered() {
        let ticket = ReadTicket(4);
        let lost = Output::LeaderChanged { leader: None, term: TERM, unsent: Vec::new() };
        let ready = || Output::ReadReady { tickets: vec![ticket], index: LogIndex(9) };
        let asked = || {
            let mut promises = promises();
            turn(&mut promises, &[Input::ReadIndex(ticket)], &heartbeats()).expect("nothing is wrong yet");
            promises
        };
        let lost_answer = turn(&mut asked(), &[acknowledges(2)], &[lost]);
        assert!(lost_answer.is_err_and(|failure| failure.contains("the answer is lost")));
        turn(&mut asked(), &[acknowledges(2)], &[ready()]).expect("it is answered");
        // Of four two are no majority, nor do they become one when the other of them leaves.
        let mut of_four = asked();
        let mut four = leads();
        four.progress.push(Progress { member: MemberId(4), ..four.progress[0] });
        let begun = of_four.begin(&four, &[acknowledges(4)]);
        of_four.check(&begun, &four, &[]).expect("two of four");
        turn(&mut of_four, &[acknowledges(4)], &[]).expect("he has left");
        // Nobody who votes has said anything, or the leadership can have gone before.
        turn(&mut asked(), &[acknowledges(7)], &[]).expect("no majority");
        turn(&mut asked(), &[Input::Tick, acknowledges(2)], &[]).expect("it may be too late");
        assert!(turn(&mut promises(), &[], &[ready()]).is_err(), "nobody has asked");
    }

    #[test]
    fn who_has_left_knows_nothing_of_leases() {
        let ticket = LeaseTicket(4);
        let renewal = |result| Output::LeaseRenewed { ticket, ttl_seconds: result };
        let asks = || Input::RenewLease { lease: LeaseId(7), ticket };
        let hands_over = || Output::Send(message(MessageKind::TimeoutNow, 1, 2));
        let waits = || {
            let mut promises = promises();
            turn(&mut promises, &[asks()], &[]).expect("he waits");
            promises
        };
        // He is told in this turn that he is removed.
        let leaves = |outputs: &[Output]| {
            let mut promises = waits();
            let begun = promises.begin(&leads(), &[]);
            promises.note_conf_change(LogIndex(9), true);
            promises.check(&begun, &leads(), outputs).map(|()| promises)
        };
        for said in [Ok(10), Err(LeaseRefusal::NotFound)] {
            turn(&mut waits(), &[], &[hands_over(), renewal(said)]).expect("he is a member");
            leaves(&[renewal(said), hands_over()]).expect("he was one when he said so");
            assert!(leaves(&[hands_over(), renewal(said)]).is_err());
            let mut left = leaves(&[hands_over()]).expect("he goes");
            assert_eq!(left.turns.left_with_renewals, 1);
            assert!(turn(&mut left, &[], &[renewal(said)]).is_err());
        }
        leaves(&[hands_over(), renewal(Err(LeaseRefusal::NotPrimary))]).expect("he sends them on");
    }

    #[test]
    fn nothing_leaves_that_the_disk_can_forget() {
        let later = Message { term: Term(4), ..message(MessageKind::Append, 1, 2) };
        let beyond = Message { index: LogIndex(10), ..message(MessageKind::AppendResponse, 1, 2) };
        let vote = message(MessageKind::VoteResponse, 1, 2);
        for early in [later.clone(), beyond.clone(), vote.clone()] {
            assert!(turn(&mut promises(), &[], &[Output::Send(early)]).is_err());
        }
        let refusal = Message { is_reject: true, ..vote };
        let question = Message { kind: MessageKind::PreVote, ..later.clone() };
        for fine in [refusal, question, Message { index: LogIndex(9), ..beyond.clone() }] {
            turn(&mut promises(), &[], &[Output::Send(fine)]).expect("it is durable, or need not be");
        }
        let mut promises = promises();
        promises.note_durable(HardState { term: Term(4), vote: None, commit: LogIndex(9) }, LogIndex(10));
        turn(&mut promises, &[], &[Output::Send(later), Output::Send(beyond)]).expect("it is durable");
    }

    #[test]
    fn what_is_applied_is_durable_and_what_is_noted_as_committed_is_logged() {
        let entry = |index| {
            let data = bytes::Bytes::new();
            LogEntry { index: LogIndex(index), term: TERM, kind: EntryKind::Normal, data }
        };
        turn(&mut promises(), &[], &[Output::Apply(vec![entry(9)])]).expect("it is on the disk");
        assert!(turn(&mut promises(), &[], &[Output::Apply(vec![entry(9), entry(10)])]).is_err());

        let persists = |entries, commit| {
            // Only a node makes a token.
            let (ids, _) = RequestIds::pair(MemberId(1), 0);
            let conf_state = ConfState { voters: vec![MemberId(1)], ..ConfState::default() };
            let restart = Restart { conf_state, ..Restart::default() };
            let (_, outputs) =
                Node::new(Moment::ORIGIN, NodeConfig::new(MemberId(1), ids, 0), restart).expect("starts");
            let persist = outputs.into_iter().find_map(|output| match output {
                Output::Persist(persist) => Some(persist),
                _ => None,
            });
            let hard_state = Some(HardState { term: TERM, vote: None, commit: LogIndex(commit) });
            Output::Persist(Persist { entries, hard_state, ..persist.expect("something is to be written") })
        };
        let mut member = promises();
        turn(&mut member, &[Input::Tick], &[persists(vec![entry(10)], 10)]).expect("its entry comes with it");
        assert_eq!(member.turns.learnt_with_entries, 1);
        let outputs = [persists(Vec::new(), 10), persists(vec![entry(10)], 10)];
        assert!(turn(&mut promises(), &[], &outputs).is_err(), "a crash between the two would be the end");
    }
}
