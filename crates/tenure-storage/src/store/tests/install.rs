//! Another member's content takes the place of a store's: whole, durable, in one step.

use super::crash_disk::{CrashDisk, Random, after_crash};
use super::*;
use tenure_core::state::{AlarmEntry, AuthRole, AuthUser, StateMachine};
use tenure_core::types::LogPosition;

/// Records of many segments, and the tables that go with them.
fn foreign(revisions: i64) -> (Vec<StoredRecord>, Vec<TableChange>) {
    let records = (2..=revisions).map(|main| stored(&put(at(main, 0), &format!("k{}", main % 7), &[7; 100])));
    let tables = vec![TableChange::CompactRevision(Revision(2)), TableChange::ClusterVersion("3.6.0".into())];
    (records.collect(), tables)
}

fn position(index: u64, term: u64) -> LogPosition {
    LogPosition { index: LogIndex(index), term: Term(term) }
}

fn install(store: &Store, records: &[StoredRecord], tables: &[TableChange]) -> Result<Restored, StoreError> {
    let mut installation = store.install_begin();
    records.iter().try_for_each(|record| installation.push(record))?;
    installation.finish(position(900, 5), tables.to_vec())
}

/// A row of every table.
fn rows() -> Vec<TableChange> {
    let member = tenure_core::types::MemberId(8);
    let alarm = tenure_core::command::AlarmType::NoSpace;
    let user = AuthUser {
        name: "old".into(),
        password_hash: Default::default(),
        roles: vec!["old".into()],
        no_password: false,
    };
    vec![
        TableChange::AlarmPut(AlarmEntry { member, alarm }),
        TableChange::MemberPut(member, "{}".into()),
        TableChange::MemberRemove(tenure_core::types::MemberId(9)),
        TableChange::StorageVersion("3.5.0".into()),
        TableChange::AuthEnabled(true),
        TableChange::AuthRevision(7),
        TableChange::AuthRolePut(AuthRole { name: "old".into(), permissions: Vec::new() }),
        TableChange::AuthUserPut(user),
    ]
}

/// A store with something in it, half of it in a checkpoint.
fn used(disk: Arc<dyn Disk>) -> Result<Store, StoreError> {
    let (store, _) = try_open(disk, small())?;
    for index in 1..40 {
        let lease = tenure_core::state::LeaseEntry {
            id: tenure_core::types::LeaseId(index as i64),
            ttl_seconds: 9,
            remaining_ttl_seconds: 0,
        };
        let records = vec![put(at(index as i64 + 1, 0), &format!("old{index}"), &[1; 80])];
        let mut tables = vec![TableChange::LeasePut(lease)];
        tables.extend(rows().into_iter().filter(|_| index == 10));
        store.append(&batch(index, records, tables))?;
        if index == 20 {
            store.checkpoint_begin().run()?;
        }
    }
    Ok(store)
}

/// Users that had been deleted were there again after a restart, once their tables were replaced by those of another member.
#[test]
fn everything_is_replaced_and_appends_go_on() {
    let disk = MemoryDisk::new();
    let store = used(Arc::new(disk.clone())).expect("it is used");
    let (records, tables) = foreign(60);
    let begun = store.checkpoint_begin();
    let mut dropped = store.install_begin();
    dropped.push(&records[0]).expect("memory does not fail");
    let reader = store.scan(RecordRevision::default(), Revision(i64::MAX));
    let restored = install(&store, &records, &tables).expect("it is installed");
    drop(dropped);

    assert_eq!(everything(&store), records);
    assert_eq!(reader.count(), 39, "a scan that had begun reads on in what was there");
    assert_eq!((restored.applied, restored.term, restored.is_installed), (LogIndex(900), Term(5), true));
    let mut state = StateMachine::default();
    crate::store::restore(&store, &restored, &mut state).expect("it is taken up");
    assert_eq!((state.applied(), state.mvcc.revision()), (LogIndex(900), Revision(60)));

    assert_eq!(begun.run().expect("has nothing to do"), LogIndex(900));
    assert!(matches!(
        install(&store, &records, &tables),
        Err(StoreError::BatchOutOfOrder { applied: LogIndex(900), last: LogIndex(900) })
    ));
    let next = put(at(61, 0), "next", b"n");
    store.append(&batch(901, vec![next.clone()], vec![])).expect("appends go on");
    drop(store);

    let (reopened, restored) = open(&disk, small());
    assert_eq!(restored.tables, tables, "nothing is left of the tables that were there");
    assert_eq!((restored.applied, restored.is_installed), (LogIndex(900), true));
    assert_eq!(everything(&reopened), records);
    let files = disk.list(Path::new(DIR)).expect("lists");
    assert!(files.len() < 15, "the files of what was there and of what was dropped are gone: {files:?}");
    reopened.append(&batch(901, vec![next], vec![])).expect("appends go on");
    checkpoint(&reopened);
    drop(reopened);
    let (_, restored) = open(&disk, small());
    assert_eq!((restored.applied, restored.is_installed), (LogIndex(901), false));
}

#[test]
fn records_come_in_order_and_a_failed_installation_changes_nothing() {
    let disk = MemoryDisk::new();
    let store = used(Arc::new(disk)).expect("it is used");
    let before = everything(&store);
    let (records, _) = foreign(5);
    let mut installation = store.install_begin();
    installation.push(&records[1]).expect("the first");
    assert!(matches!(installation.push(&records[0]), Err(StoreError::RecordOutOfOrder { .. })));
    drop(installation);
    assert_eq!(everything(&store), before);
    store.append(&batch(40, vec![put(at(41, 0), "on", b"v")], vec![])).expect("the store goes on");
}

/// Wherever power fails, the store is what it was or what was installed.
#[test]
fn a_crash_leaves_one_or_the_other() {
    let (records, tables) = foreign(60);
    let disk = CrashDisk::new();
    let store = used(Arc::new(disk.clone())).expect("it is used");
    let begun = disk.position();
    install(&store, &records, &tables).expect("it is installed");
    let finished = disk.position();
    let journal = disk.journal();
    let (mut old, mut new) = (0, 0);
    for cut in begun..=finished {
        for seed in 0..4 {
            let disk = after_crash(&journal[..cut], Path::new(DIR), &mut Random::new(seed));
            let (store, restored) = try_open(Arc::new(disk), small()).expect("it opens");
            match restored.applied {
                LogIndex(20) => {
                    old += 1;
                    assert!(cut < finished && !restored.is_installed, "cut {cut}, seed {seed}");
                    assert_eq!(everything(&store).len(), 20);
                }
                LogIndex(900) => {
                    new += 1;
                    assert_eq!(everything(&store), records, "cut {cut}, seed {seed}");
                    assert_eq!((restored.tables, restored.is_installed), (tables.clone(), true));
                }
                other => panic!("cut {cut}, seed {seed}: it is at {other}"),
            }
        }
    }
    assert!(old > 0 && new > 0);
}
