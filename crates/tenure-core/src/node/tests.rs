mod simulation;
mod world;

use super::*;
use world::World;

macro_rules! scripts {
    ($($name:ident),* $(,)?) => {
        $(
            #[test]
            fn $name() {
                let path = concat!("src/node/testscripts/", stringify!($name));
                goldenscript::run(&mut World::default(), path).expect("goldenscript");
            }
        )*
    };
}

scripts! {
    one_member,
    reads,
    restart,
    lease_expiry,
    lease_restart,
    lease_checkpoint,
    lease_lost,
    no_leader,
    three_members,
    leader_lost,
    membership,
    transfer,
}

#[test]
fn a_member_that_is_alone_leads_at_once() {
    let member = Member { id: MemberId(1), name: "one".into(), ..Member::default() };
    let (hard_state, entries) = bootstrap(&[member]);
    let (ids, _) = RequestIds::pair(MemberId(1), 0);
    let restart = Restart { hard_state, entries, ..Restart::default() };
    let (mut node, out) =
        Node::new(Moment::ORIGIN, NodeConfig::new(MemberId(1), ids, 0), restart).expect("starts");
    let state = crate::state::StateMachine::default();
    let Output::Apply(entries) = &out[0] else { panic!("{out:?}") };
    let effects = state.apply_conf_change(&entries[0]).expect("applies");
    let mut applied = Applied::default();
    applied.note(&effects.batch);
    let out = node.handle(Moment::ORIGIN, Input::Applied(applied));
    assert_eq!(node.status().role, Role::Leader);
    for output in out {
        if let Output::Persist(persist) = output {
            let out = node.handle(Moment::ORIGIN, Input::Persisted(persist.token));
            assert!(matches!(&out[0], Output::Apply(entries) if entries[0].index == LogIndex(2)), "{out:?}");
        }
    }
}
