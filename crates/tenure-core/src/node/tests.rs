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

fn alone(seed: u64) -> (Node, Vec<Output>) {
    let member = Member { id: MemberId(1), name: "one".into(), ..Member::default() };
    let (hard_state, entries) = bootstrap(&[member]);
    let (ids, _) = RequestIds::pair(MemberId(1), 0);
    let restart = Restart { hard_state, entries, ..Restart::default() };
    Node::new(Moment::ORIGIN, NodeConfig::new(MemberId(1), ids, seed), restart).expect("starts")
}

/// What a batch of proposals costs the driver. Run it with optimisation:
/// `cargo test -p tenure-core --lib --config profile.dev.package.tenure-core.opt-level=3 cost_of -- --ignored --nocapture`.
#[test]
#[ignore = "a measurement"]
fn cost_of_a_batch() {
    const BATCH: u64 = 256;
    const ROUNDS: u64 = 2_000;
    let (mut node, out) = alone(0);
    let mut todo: VecDeque<Output> = out.into();
    let mut spent = Duration::ZERO;
    let data = bytes::Bytes::from(vec![7; 300]);
    for round in 0..ROUNDS {
        let proposals =
            (0..BATCH).map(|id| Proposal { id: RequestId(round * BATCH + id), data: data.clone() });
        let mut input = Some(Input::Propose(proposals.collect()));
        while let Some(next) = input.take() {
            let before = std::time::Instant::now();
            let out = node.handle(Moment::ORIGIN, next);
            spent += before.elapsed();
            todo.extend(out);
            input = loop {
                match todo.pop_front() {
                    Some(Output::Persist(persist)) => break Some(Input::Persisted(persist.token)),
                    Some(Output::Apply(entries)) => {
                        let index = entries.last().expect("some").index;
                        let conf_states = match entries[0].kind {
                            EntryKind::ConfChange => {
                                let state = crate::types::ConfState {
                                    voters: vec![MemberId(1)],
                                    ..Default::default()
                                };
                                vec![(entries[0].index, Ok(state))]
                            }
                            _ => Vec::new(),
                        };
                        break Some(Input::Applied(Applied { index, conf_states, ..Applied::default() }));
                    }
                    Some(_) => {}
                    None => break None,
                }
            };
        }
    }
    assert!(node.status().applied.0 > ROUNDS * BATCH / 2, "{:?}", node.status());
    println!("{:.0} ns a proposal", spent.as_nanos() as f64 / (ROUNDS * BATCH) as f64);
}
