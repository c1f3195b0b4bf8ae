//! A leader that is alone, with a real state machine.

use super::super::*;

/// Applies what the node hands out and persists what it asks for, until it asks for nothing more.
fn settle(node: &mut Node, state: &mut crate::state::StateMachine, mut out: Vec<Output>) {
    while !out.is_empty() {
        let mut next = Vec::new();
        for output in out {
            match output {
                Output::Persist(persist) => {
                    next.extend(node.handle(Moment::ORIGIN, Input::Persisted(persist.token)))
                }
                Output::Apply(entries) => {
                    let mut applied = Applied::default();
                    for entry in &entries {
                        let effects = match entry.kind {
                            EntryKind::Normal => state.apply_empty(entry.index, entry.term),
                            _ => state.apply_conf_change(entry),
                        };
                        let batch = effects.expect("applies").batch;
                        applied.note(&batch);
                        state.install(&batch);
                    }
                    next.extend(node.handle(Moment::ORIGIN, Input::Applied(applied)));
                }
                _ => {}
            }
        }
        out = next;
    }
}

fn alone() -> (Node, crate::state::StateMachine, Vec<Output>) {
    let member = Member { id: MemberId(1), name: "one".into(), ..Member::default() };
    let (hard_state, entries) = bootstrap(&[member]);
    let (ids, _) = RequestIds::pair(MemberId(1), 0);
    let restart = Restart { hard_state, entries, ..Restart::default() };
    let (node, out) =
        Node::new(Moment::ORIGIN, NodeConfig::new(MemberId(1), ids, 0), restart).expect("starts");
    (node, crate::state::StateMachine::default(), out)
}

#[test]
fn leads_alone_only_with_an_entry_of_its_term_applied_and_nobody_beside_it() {
    let (mut node, mut state, out) = alone();
    assert!(!node.leads_alone(), "it does not lead yet");
    settle(&mut node, &mut state, out);
    assert!(node.leads_alone());

    let second = Member { id: MemberId(2), name: "two".into(), ..Member::default() };
    let change = ConfChange {
        id: RequestId(7),
        kind: ConfChangeKind::AddVoter,
        member: second.id,
        context: second.to_json().into(),
    };
    let out = node.handle(Moment::ORIGIN, Input::ProposeConfChange(change));
    assert!(node.leads_alone(), "the change is not applied yet");
    settle(&mut node, &mut state, out);
    assert!(!node.leads_alone(), "somebody else can be asked for a vote");
}
