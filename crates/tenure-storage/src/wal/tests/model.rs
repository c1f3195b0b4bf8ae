//! Random work against a model: a vector of entries and the last hard state.

use super::*;
use proptest::prelude::*;

#[derive(Clone, Debug)]
enum Step {
    /// Entries of these sizes, from some place in the uncommitted end on, then perhaps a higher commit index.
    Save {
        back: u64,
        sizes: Vec<usize>,
        new_term: bool,
        commit: u64,
        sync: bool,
    },
    Snapshot,
    Release,
    Reopen,
}

fn step() -> impl Strategy<Value = Step> {
    let sizes = prop::collection::vec(prop_oneof![0..40usize, 400..700usize], 0..5);
    prop_oneof![
        6 => (0..3u64, sizes, any::<bool>(), 0..5u64, any::<bool>())
            .prop_map(|(back, sizes, new_term, commit, sync)| Step::Save { back, sizes, new_term, commit, sync }),
        1 => Just(Step::Snapshot),
        1 => Just(Step::Release),
        2 => Just(Step::Reopen),
    ]
}

#[derive(Default)]
struct Model {
    entries: Vec<LogEntry>,
    hard_state: HardState,
    snapshots: Vec<LogIndex>,
    released: LogIndex,
    seed: u64,
}

impl Model {
    fn save(&mut self, wal: &mut Wal, step: &Step) {
        let Step::Save { back, sizes, new_term, commit, sync } = step else { return };
        let mut state = self.hard_state;
        state.term = Term(state.term.0.max(1) + u64::from(*new_term));
        state.vote = new_term.then_some(METADATA.member).or(state.vote);
        let kept = (self.entries.len() as u64 - back.min(&(self.entries.len() as u64))).max(state.commit.0);
        if !sizes.is_empty() {
            self.entries.truncate(kept as usize);
        }
        let entries: Vec<_> = sizes
            .iter()
            .zip(kept + 1..)
            .map(|(len, index)| {
                self.seed += 1;
                normal(index, state.term.0, filler(self.seed, *len))
            })
            .collect();
        self.entries.extend(entries.iter().cloned());
        state.commit = LogIndex((state.commit.0 + commit).min(self.entries.len() as u64));
        self.hard_state = state;
        wal.save(Some(state), &entries, *sync).unwrap();
    }

    fn check(&self, replay: &Replay) {
        assert_eq!(replay.hard_state, self.hard_state);
        assert_eq!(replay.entries, self.entries[self.released.0 as usize..]);
        assert_eq!(replay.last_index.0, self.entries.len() as u64);
        let found: Vec<_> = replay.snapshots.iter().map(|snapshot| snapshot.index).collect();
        assert!(
            found.ends_with(&self.snapshots[self.snapshots.partition_point(|s| *s < self.released)..]),
            "{found:?}"
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn what_is_saved_is_replayed(steps in prop::collection::vec(step(), 1..40), segment_bytes in 300..5000u64) {
        let options = WalOptions { segment_bytes };
        let disk = MemoryDisk::new();
        let mut wal = Some(create(&disk, options));
        let mut model = Model::default();
        for step in &steps {
            let log = wal.as_mut().expect("there is always one");
            match step {
                Step::Save { .. } => model.save(log, step),
                Step::Snapshot => {
                    let index = model.hard_state.commit;
                    let term = model.entries[..index.0 as usize].last().map_or(Term(0), |entry| entry.term);
                    log.save_snapshot(index, term, &ConfState::default()).unwrap();
                    model.snapshots.push(index);
                }
                Step::Release => {
                    model.released = model.hard_state.commit;
                    log.release_to(model.released).unwrap();
                }
                Step::Reopen => {
                    drop(wal.take());
                    let (log, replay) = Wal::open(Arc::new(disk.clone()), dir(), model.released, options).unwrap();
                    model.check(&replay);
                    wal = Some(log);
                }
            }
        }
        drop(wal);
        let replay = read(&disk, dir(), model.released).unwrap();
        model.check(&replay);
    }
}
