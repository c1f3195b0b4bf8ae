//! Leases, alarms and members: what their commands do, refuse and leave alone.

use super::*;
use crate::command::{
    AlarmAction, AlarmCommand, AlarmType, ClusterVersionSet, Compact, DeleteRange, DowngradeInfoSet,
    LeaseGrant, LeaseRemaining, LeaseRevoke, MemberAttributesSet, Op, Put, RangeQuery, RequestHeader, Txn,
};
use crate::membership::Member;
use crate::node::bootstrap;
use crate::types::{
    ConfChange, ConfChangeKind, ConfState, EntryKind, Key, KeyRange, LeaseId, MemberId, RequestId, Revision,
    SourceError,
};
use bytes::Bytes;
use std::collections::BTreeMap;
use tenure_api::error::EtcdError;

#[derive(Default)]
struct Machine {
    state: StateMachine,
    records: Records,
}

#[derive(Default)]
struct Records(BTreeMap<RecordRevision, KvBytes>);

impl RecordSource for Records {
    fn record(&self, at: RecordRevision) -> Result<KvBytes, SourceError> {
        self.0.get(&at).cloned().ok_or(SourceError::Gone(at))
    }
}

impl Machine {
    fn apply(&mut self, command: Command) -> Outcome {
        let request = Request { header: RequestHeader::default(), command };
        let index = self.state.applied().next();
        let effects = self.state.apply(&self.records, index, Term(1), &request).expect("no halt");
        self.install(effects)
    }

    fn change(&mut self, kind: ConfChangeKind, id: u64, context: String) -> Outcome {
        let change =
            ConfChange { id: RequestId(1), kind, member: MemberId(id), context: Bytes::from(context) };
        let index = self.state.applied().next();
        let entry = LogEntry { index, term: Term(1), kind: EntryKind::ConfChange, data: change.encode() };
        let effects = self.state.apply_conf_change(&entry).expect("no halt");
        self.install(effects)
    }

    fn install(&mut self, effects: Effects) -> Outcome {
        if effects.outcome.is_err() {
            assert!(effects.batch.records.is_empty() && effects.batch.tables.is_empty(), "{effects:?}");
        }
        for record in &effects.batch.records {
            self.records.0.insert(record.at(), record.kv.clone());
        }
        self.state.install(&effects.batch);
        effects.outcome
    }

    fn alarm(&mut self, action: AlarmAction, member: u64, alarm: Option<AlarmType>) -> Vec<(u64, AlarmType)> {
        let command = AlarmCommand { action, member: MemberId(member), alarm };
        match self.apply(Command::Alarm(command)) {
            Ok(Response::Alarm(alarms, _)) => {
                alarms.into_iter().map(|entry| (entry.member.0, entry.alarm)).collect()
            }
            other => panic!("{other:?}"),
        }
    }
}

fn put(key: &'static str) -> Put {
    Put { key: Bytes::from_static(key.as_bytes()), value: "v".into(), ..Put::default() }
}

fn grant(id: i64, ttl_seconds: i64) -> Command {
    Command::LeaseGrant(LeaseGrant { id: LeaseId(id), ttl_seconds })
}

fn member(id: u64) -> Member {
    let peer_urls = vec![format!("http://m{id}:2380")];
    Member { id: MemberId(id), name: format!("m{id}"), peer_urls, ..Member::default() }
}

fn refused(error: EtcdError) -> Outcome {
    Err(error)
}

#[test]
fn l1_l2_a_grant_makes_one_lease_with_a_life() {
    let mut machine = Machine::default();
    let lease = LeaseEntry { id: LeaseId(-5), ttl_seconds: 10, remaining_ttl_seconds: 0 };
    let granted = Ok(Response::LeaseGrant { lease, revision: Revision(1) });
    assert_eq!(machine.apply(grant(-5, 10)), granted, "negative ids are used, no revision is made");
    assert_eq!(machine.apply(grant(-5, 10)), refused(EtcdError::LeaseExist));
    assert_eq!(machine.apply(grant(1, 9_000_000_001)), refused(EtcdError::LeaseTTLTooLarge));
    assert!(machine.apply(grant(1, 9_000_000_000)).is_ok());
    assert_eq!(machine.apply(grant(0, 10)), refused(EtcdError::LeaseNotFound));
    assert!(machine.apply(grant(2, -3)).is_ok());
    assert_eq!(machine.state.leases.lease(LeaseId(2)).map(|lease| lease.ttl_seconds), Some(1));
}

#[test]
fn l6_revoking_0_or_an_unknown_lease_is_refused() {
    let mut machine = Machine::default();
    for id in [0, 7] {
        let revoke = Command::LeaseRevoke(LeaseRevoke { id: LeaseId(id) });
        assert_eq!(machine.apply(revoke), refused(EtcdError::LeaseNotFound));
    }
}

#[test]
fn l8_a_checkpoint_passes_over_what_is_gone() {
    let mut machine = Machine::default();
    machine.apply(grant(1, 100)).expect("granted");
    let noted = |id, remaining_ttl_seconds| LeaseRemaining { id: LeaseId(id), remaining_ttl_seconds };
    let checkpoint = Command::LeaseCheckpoint(vec![noted(2, 5), noted(1, 40)]);
    assert_eq!(machine.apply(checkpoint), Ok(Response::Done(Revision(1))));
    let lease = machine.state.leases.lease(LeaseId(1)).expect("there");
    assert_eq!((lease.ttl_seconds, lease.remaining_ttl_seconds), (100, 40));
    assert!(!machine.state.leases.contains(LeaseId(2)));
}

#[test]
fn q6_alarms_are_raised_listed_and_cleared_one_by_one() {
    use AlarmAction::{Activate, Deactivate, Get};
    use AlarmType::{Corrupt, NoSpace};
    let mut machine = Machine::default();
    assert_eq!(machine.alarm(Activate, 7, None), [], "NONE raises nothing");
    assert_eq!(machine.alarm(Activate, 7, Some(NoSpace)), [(7, NoSpace)]);
    assert_eq!(machine.alarm(Activate, 7, Some(NoSpace)), [(7, NoSpace)], "once more: the same");
    assert_eq!(machine.alarm(Activate, 0, Some(Corrupt)), [(0, Corrupt)], "any member can be named");
    assert_eq!(machine.alarm(Get, 9, None), [(0, Corrupt), (7, NoSpace)], "GET ignores the member");
    assert_eq!(machine.alarm(Get, 0, Some(NoSpace)), [(7, NoSpace)]);
    assert_eq!(machine.alarm(Deactivate, 0, Some(NoSpace)), [], "0 is just an id (Q4)");
    assert_eq!(machine.alarm(Deactivate, 7, None), []);
    assert_eq!(machine.alarm(Get, 0, None).len(), 2);
    assert_eq!(machine.alarm(Deactivate, 7, Some(NoSpace)), [(7, NoSpace)]);
    assert_eq!(machine.alarm(Deactivate, 7, Some(NoSpace)), []);
    assert_eq!(machine.alarm(Get, 0, None), [(0, Corrupt)]);
}

#[test]
fn q3_nospace_refuses_what_needs_space_and_nothing_else() {
    let mut machine = Machine::default();
    machine.apply(grant(1, 100)).expect("granted");
    machine.apply(Command::Put(put("a"))).expect("put");
    machine.alarm(AlarmAction::Activate, 7, Some(AlarmType::NoSpace));
    let nested = Txn { failure: vec![Op::Put(put("a"))], ..Txn::default() };
    let not_taken = Txn { failure: vec![Op::Txn(nested)], ..Txn::default() };
    for command in [Command::Put(put("a")), grant(2, 100), Command::Txn(not_taken)] {
        assert_eq!(machine.apply(command), refused(EtcdError::NoSpace));
    }
    let range = Op::Range(RangeQuery::of(KeyRange::everything()));
    let deletion = DeleteRange::single(Key::from("a"));
    let without_put = Txn { success: vec![range, Op::DeleteRange(deletion.clone())], ..Txn::default() };
    let served = [
        Command::Txn(without_put),
        Command::DeleteRange(deletion),
        Command::Compact(Compact { revision: Revision(2), physical: false }),
        Command::LeaseRevoke(LeaseRevoke { id: LeaseId(1) }),
        Command::LeaseCheckpoint(Vec::new()),
    ];
    for command in served {
        assert!(machine.apply(command.clone()).is_ok(), "{command:?}");
    }
    machine.alarm(AlarmAction::Deactivate, 7, Some(AlarmType::NoSpace));
    assert!(machine.apply(Command::Put(put("a"))).is_ok());
}

#[test]
fn q5_corrupt_refuses_everything_that_touches_data_and_comes_before_nospace() {
    let mut machine = Machine::default();
    machine.apply(grant(1, 100)).expect("granted");
    machine.alarm(AlarmAction::Activate, 7, Some(AlarmType::NoSpace));
    machine.alarm(AlarmAction::Activate, 0, Some(AlarmType::Corrupt));
    let touching = [
        Command::Put(put("a")),
        Command::DeleteRange(DeleteRange::single(Key::from("a"))),
        Command::Txn(Txn::default()),
        Command::Compact(Compact { revision: Revision(1), physical: false }),
        grant(2, 100),
        Command::LeaseRevoke(LeaseRevoke { id: LeaseId(1) }),
    ];
    for command in touching {
        assert_eq!(machine.apply(command), refused(EtcdError::Corrupt));
    }
    let remaining = LeaseRemaining { id: LeaseId(1), remaining_ttl_seconds: 5 };
    let version = ClusterVersionSet { version: "3.7.0".into() };
    for command in [Command::LeaseCheckpoint(vec![remaining]), Command::ClusterVersionSet(version)] {
        assert!(machine.apply(command).is_ok());
    }
    assert_eq!(machine.alarm(AlarmAction::Get, 0, None).len(), 2);
}

fn cluster_of(ids: &[u64]) -> Machine {
    let mut machine = Machine::default();
    let members: Vec<Member> = ids.iter().copied().map(member).collect();
    for entry in bootstrap(&members).1 {
        let effects = machine.state.apply_conf_change(&entry).expect("no halt");
        machine.install(effects).expect("no refusal");
    }
    machine
}

fn conf_state(machine: &Machine) -> (Vec<u64>, Vec<u64>) {
    let ConfState { voters, learners, .. } = machine.state.membership.conf_state().clone();
    let numbers = |ids: Vec<MemberId>| ids.into_iter().map(|id| id.0).collect();
    (numbers(voters), numbers(learners))
}

#[test]
fn the_first_entries_of_the_log_make_the_first_members() {
    let machine = cluster_of(&[3, 1, 2]);
    assert_eq!(conf_state(&machine), (vec![1, 2, 3], vec![]));
    let names: Vec<&str> = machine.state.membership.members().map(|member| member.name.as_str()).collect();
    assert_eq!(names, ["m1", "m2", "m3"]);
}

#[test]
fn m1_m3_a_learner_joins_and_is_promoted() {
    let mut machine = cluster_of(&[1]);
    let mut added = Member { name: String::new(), ..member(2) };
    added.is_learner = true;
    let context = added.to_change_context(false);
    assert!(machine.change(ConfChangeKind::AddLearner, 2, context.clone()).is_ok());
    assert_eq!(conf_state(&machine), (vec![1], vec![2]));
    assert_eq!(machine.change(ConfChangeKind::AddLearner, 2, context), refused(EtcdError::MemberExist));
    let attributes = MemberAttributesSet {
        member: MemberId(2),
        name: "two".into(),
        client_urls: vec!["http://c:2379".into()],
    };
    machine.apply(Command::MemberAttributesSet(attributes)).expect("published (M4)");
    let promotion = added.to_change_context(true);
    assert!(machine.change(ConfChangeKind::AddVoter, 2, promotion.clone()).is_ok());
    assert_eq!(conf_state(&machine), (vec![1, 2], vec![]));
    let two = machine.state.membership.member(MemberId(2)).expect("there").clone();
    assert_eq!((two.is_learner, two.name.as_str()), (false, "two"), "what it published stays");
    let again = machine.change(ConfChangeKind::AddVoter, 2, promotion);
    assert_eq!(again, refused(EtcdError::MemberNotLearner));
}

#[test]
fn m2_m3_members_change_their_urls_and_leave_for_good() {
    let mut machine = cluster_of(&[1, 2]);
    let moved = Member { peer_urls: vec!["http://new:2380".into()], is_learner: true, ..member(2) };
    assert!(machine.change(ConfChangeKind::Update, 2, moved.to_change_context(false)).is_ok());
    let two = machine.state.membership.member(MemberId(2)).expect("there").clone();
    assert_eq!((two.peer_urls, two.is_learner, two.name), (moved.peer_urls, false, "m2".into()));
    assert!(machine.change(ConfChangeKind::Remove, 2, String::new()).is_ok());
    assert_eq!(conf_state(&machine), (vec![1], vec![]));
    let again = machine.change(ConfChangeKind::Remove, 2, String::new());
    assert_eq!(again, refused(EtcdError::MemberNotFound));
    let back = machine.change(ConfChangeKind::AddVoter, 2, member(2).to_change_context(false));
    assert_eq!(back, refused(EtcdError::MemberNotFound));
    let gone = MemberAttributesSet { member: MemberId(2), name: "x".into(), client_urls: vec![] };
    assert!(machine.apply(Command::MemberAttributesSet(gone)).is_ok());
    assert_eq!(machine.state.membership.member(MemberId(2)), None);
}

#[test]
fn a_malformed_change_stops_the_member() {
    let machine = cluster_of(&[1]);
    let halts = |kind, data: Bytes| {
        let entry = LogEntry { index: machine.state.applied().next(), term: Term(1), kind, data };
        machine.state.apply_conf_change(&entry).is_err()
    };
    let mut about_another = ConfChange {
        id: RequestId(1),
        kind: ConfChangeKind::AddVoter,
        member: MemberId(3),
        context: member(2).to_change_context(false).into(),
    };
    assert!(halts(EntryKind::ConfChange, about_another.encode()));
    about_another.context = Bytes::from_static(b"{");
    assert!(halts(EntryKind::ConfChange, about_another.encode()));
    assert!(halts(EntryKind::ConfChange, Bytes::from_static(&[255])));
    assert!(halts(EntryKind::ConfChangeV2, Bytes::new()));
}

#[test]
fn m9_the_storage_version_follows_the_cluster_version() {
    let mut machine = Machine::default();
    let set = |version: &str| Command::ClusterVersionSet(ClusterVersionSet { version: version.into() });
    machine.apply(set("3.7.0")).expect("set");
    let membership = &machine.state.membership;
    assert_eq!((membership.cluster_version(), membership.storage_version()), (Some("3.7.0"), Some("3.7.0")));
    machine.apply(set("3.6.0")).expect("set");
    assert_eq!(machine.state.membership.storage_version(), Some("3.6.0"), "down as well");
    let mut undecided = Machine::default();
    undecided.apply(set("3.0.0")).expect("set");
    let membership = &undecided.state.membership;
    assert_eq!((membership.cluster_version(), membership.storage_version()), (Some("3.0.0"), None));
}

#[test]
fn m10_a_downgrade_is_remembered_until_it_ends() {
    let mut machine = Machine::default();
    let set = |enabled, version: &str| {
        Command::DowngradeInfoSet(DowngradeInfoSet { enabled, version: version.into() })
    };
    machine.apply(set(true, "3.6.0")).expect("set");
    let downgrade = machine.state.membership.downgrade().clone();
    assert_eq!((downgrade.enabled, downgrade.target_version.as_str()), (true, "3.6.0"));
    assert_eq!(machine.state.membership.downgrade_target(), Some("3.6.0"));
    machine.apply(set(false, "3.6.0")).expect("set");
    assert_eq!(machine.state.membership.downgrade(), &Default::default());
    assert_eq!(machine.state.membership.downgrade_target(), None);
}
