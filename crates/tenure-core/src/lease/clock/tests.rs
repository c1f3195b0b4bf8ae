use super::*;
use proptest::collection::vec;
use proptest::prelude::*;

const INTERVAL: Duration = Duration::from_secs(300);

fn entry(id: i64, ttl_seconds: i64, remaining_ttl_seconds: i64) -> LeaseEntry {
    LeaseEntry { id: LeaseId(id), ttl_seconds, remaining_ttl_seconds }
}

fn at(milliseconds: u64) -> Moment {
    Moment(Duration::from_millis(milliseconds))
}

fn running(leases: &[LeaseEntry]) -> LeaseClock {
    let mut clock = LeaseClock::new(INTERVAL, leases.iter().copied());
    clock.promote(at(0), Duration::ZERO);
    clock
}

fn ids(numbers: impl IntoIterator<Item = i64>) -> Vec<LeaseId> {
    numbers.into_iter().map(LeaseId).collect()
}

#[test]
fn l4_only_the_primary_ends_and_renews_leases() {
    let mut clock = LeaseClock::new(INTERVAL, [entry(1, 2, 0)]);
    assert_eq!(clock.expired(at(9_000), 10), []);
    assert_eq!(clock.renew(at(9_000), LeaseId(1)), Renewal::NotPrimary);
    assert_eq!(clock.life(at(9_000), LeaseId(1)), None);
    clock.promote(at(9_000), Duration::ZERO);
    assert_eq!(clock.expired(at(10_999), 10), []);
    assert_eq!(clock.expired(at(11_000), 10), ids([1]));
    clock.demote();
    assert_eq!(clock.expired(at(99_000), 10), []);
}

#[test]
fn a_renewal_gives_the_whole_life_again() {
    let mut clock = running(&[entry(1, 10, 0)]);
    let renewed = Renewal::Renewed { ttl_seconds: 10, clears_checkpoint: false };
    assert_eq!(clock.renew(at(9_999), LeaseId(1)), renewed);
    assert_eq!(clock.life(at(10_500), LeaseId(1)), Some((10, 9)));
    assert_eq!(clock.expired(at(19_998), 10), []);
    assert_eq!(clock.expired(at(19_999), 10), ids([1]));
    assert_eq!(clock.renew(at(19_999), LeaseId(2)), Renewal::NotFound);
}

#[test]
fn l4_an_expired_lease_cannot_be_renewed_even_before_it_is_offered() {
    let mut clock = running(&[entry(1, 10, 0)]);
    assert_eq!(clock.renew(at(10_000), LeaseId(1)), Renewal::Expiring);
    assert_eq!(clock.life(at(10_000), LeaseId(1)), Some((10, 0)));
    assert_eq!(clock.expired(at(10_000), 10), ids([1]));
    assert_eq!(clock.renew(at(10_000), LeaseId(1)), Renewal::Expiring);
    clock.note(at(10_001), LeaseEvent::Revoked(LeaseId(1)));
    assert_eq!(clock.renew(at(10_001), LeaseId(1)), Renewal::NotFound);
}

#[test]
fn l5_expiry_is_paced_and_no_revocation_is_proposed_twice() {
    let leases: Vec<_> = (1..=5).map(|id| entry(id, id, 0)).collect();
    let mut clock = running(&leases);
    assert_eq!(clock.expired(at(6_000), 3), ids([1, 2, 3]), "those that ended first, first");
    assert_eq!(clock.expired(at(6_000), 3), ids([4, 5]));
    assert_eq!(clock.expired(at(8_999), 9), []);
    assert_eq!(clock.expired(at(9_000), 9), ids([1, 2, 3, 4, 5]), "lost proposals are made again");
    for id in 1..=5 {
        clock.note(at(9_000), LeaseEvent::Revoked(LeaseId(id)));
    }
    assert_eq!(clock.expired(at(99_000), 9), []);
    assert!(clock.is_empty());
}

#[test]
fn l7_a_new_leader_gives_what_was_left_and_the_extension() {
    let mut clock = LeaseClock::new(INTERVAL, [entry(1, 100, 7), entry(2, 100, 0)]);
    clock.promote(at(5_000), Duration::from_secs(1));
    assert_eq!(clock.life(at(5_000), LeaseId(1)), Some((100, 8)));
    assert_eq!(clock.life(at(5_000), LeaseId(2)), Some((100, 101)));
    let renewed = Renewal::Renewed { ttl_seconds: 100, clears_checkpoint: true };
    assert_eq!(clock.renew(at(5_000), LeaseId(1)), renewed);
    clock.note(at(5_000), LeaseEvent::Granted(entry(1, 100, 0)));
    let renewed = Renewal::Renewed { ttl_seconds: 100, clears_checkpoint: false };
    assert_eq!(clock.renew(at(6_000), LeaseId(1)), renewed);
}

#[test]
fn l7_leases_that_would_end_together_are_spread() {
    let leases: Vec<_> = (1..=2_000).map(|id| entry(id, 10, 0)).collect();
    let mut clock = running(&leases);
    for second in 0..4 {
        let end = 10_000 + second * 1_000;
        assert_eq!(clock.expired(at(end - 1), 2_000).len(), 0);
        let expired = clock.expired(at(end), 2_000);
        assert_eq!(expired.len(), LEASE_EXPIRIES_PER_SECOND_MAX);
        expired.into_iter().for_each(|id| clock.note(at(end), LeaseEvent::Revoked(id)));
    }
}

#[test]
fn l8_a_long_life_is_noted_every_interval_and_a_short_one_never() {
    let mut clock = running(&[entry(1, 1_000, 0), entry(2, 300, 0), entry(3, 1_000, 0)]);
    assert_eq!(clock.checkpoints_due(at(299_999), 10), []);
    assert!(matches!(clock.renew(at(100_000), LeaseId(3)), Renewal::Renewed { .. }));
    let noted = |id, remaining_ttl_seconds| LeaseRemaining { id: LeaseId(id), remaining_ttl_seconds };
    assert_eq!(clock.checkpoints_due(at(300_500), 10), [noted(1, 700)], "699.5 s, counted up");
    assert_eq!(clock.checkpoints_due(at(300_500), 10), []);
    assert_eq!(clock.checkpoints_due(at(400_000), 10), [noted(3, 700)]);
    clock.note(at(400_000), LeaseEvent::Granted(entry(1, 1_000, 700)));
    assert_eq!(clock.checkpoints_due(at(600_500), 10), [noted(1, 400)]);
    assert_eq!(clock.checkpoints_due(at(950_000), 10), [noted(3, 150), noted(1, 50)]);
    assert_eq!(clock.checkpoints_due(at(9_000_000), 10), [], "nothing is left to note");
}

#[test]
fn l8_checkpoints_come_in_batches() {
    let leases: Vec<_> = (1..=5).map(|id| entry(id, 1_000, 0)).collect();
    let mut clock = running(&leases);
    let sizes: Vec<_> = (0..4).map(|_| clock.checkpoints_due(at(300_000), 2).len()).collect();
    assert_eq!(sizes, [2, 2, 1, 0]);
}

#[test]
fn l8_a_stop_notes_every_life_that_the_state_does_not_know() {
    let mut clock = running(&[entry(1, 10, 0), entry(2, 10, 7), entry(3, 10, 5), entry(4, 2, 0)]);
    assert!(matches!(clock.renew(at(3_000), LeaseId(2)), Renewal::Renewed { .. }));
    let noted = |id, remaining_ttl_seconds| LeaseRemaining { id: LeaseId(id), remaining_ttl_seconds };
    let all = [noted(1, 7), noted(2, 0), noted(3, 2), noted(4, 1)];
    assert_eq!(clock.checkpoint_all(at(3_000)), all);
    clock.demote();
    assert_eq!(clock.checkpoint_all(at(3_000)), []);
}

#[test]
fn l10_the_list_is_sorted_by_expiry() {
    let mut clock = running(&[entry(1, 30, 0), entry(2, 10, 0), entry(3, 20, 0)]);
    assert_eq!(clock.by_expiry(), ids([2, 3, 1]));
    assert!(matches!(clock.renew(at(5_000), LeaseId(3)), Renewal::Renewed { .. }));
    clock.note(at(6_000), LeaseEvent::Granted(entry(4, 1, 0)));
    assert_eq!(clock.by_expiry(), ids([4, 2, 3, 1]));
    clock.demote();
    assert_eq!(clock.by_expiry(), ids([1, 2, 3, 4]));
}

#[test]
fn an_id_that_is_granted_again_has_one_deadline() {
    let mut clock = running(&[entry(1, 10, 0)]);
    clock.note(at(1_000), LeaseEvent::Revoked(LeaseId(1)));
    clock.note(at(2_000), LeaseEvent::Granted(entry(1, 20, 0)));
    assert_eq!(clock.expired(at(21_999), 9), []);
    assert_eq!(clock.expired(at(22_000), 9), ids([1]));
}

#[test]
fn the_longest_life_is_no_overflow() {
    let mut clock = running(&[entry(1, 9_000_000_000, 0), entry(2, i64::MAX, 0)]);
    assert_eq!(clock.life(at(0), LeaseId(1)), Some((9_000_000_000, 9_000_000_000)));
    assert_eq!(clock.expired(at(1), 9), []);
    assert!(matches!(clock.renew(at(1), LeaseId(2)), Renewal::Renewed { .. }));
}

/// The same rules without a queue: everything is looked at every time.
#[derive(Default)]
struct Model {
    leases: BTreeMap<i64, ModelLease>,
    is_primary: bool,
}

struct ModelLease {
    ttl: u64,
    remaining: u64,
    deadline: u64,
    retry: Option<u64>,
}

impl Model {
    fn expired(&mut self, now: u64) -> Vec<i64> {
        if !self.is_primary {
            return Vec::new();
        }
        let mut due: Vec<(u64, i64)> = Vec::new();
        for (id, lease) in &mut self.leases {
            let looked_at = lease.retry.unwrap_or(lease.deadline);
            if looked_at <= now {
                due.push((looked_at, *id));
                lease.retry = Some(now + 3_000);
            }
        }
        due.sort_unstable();
        due.into_iter().map(|(_, id)| id).collect()
    }
}

#[derive(Clone, Debug)]
enum Step {
    Wait(u64),
    Grant(i64, u64),
    Revoke(i64),
    Checkpoint(i64, u64),
    Renew(i64),
    Promote,
    Demote,
    Expire,
}

fn some_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (1..4_000u64).prop_map(Step::Wait),
        3 => (1..6i64, 1..8u64).prop_map(|(id, ttl)| Step::Grant(id, ttl)),
        1 => (1..6i64).prop_map(Step::Revoke),
        1 => (1..6i64, 0..4u64).prop_map(|(id, remaining)| Step::Checkpoint(id, remaining)),
        3 => (1..6i64).prop_map(Step::Renew),
        1 => Just(Step::Promote),
        1 => Just(Step::Demote),
        3 => Just(Step::Expire),
    ]
}

proptest! {
    #[test]
    fn the_queue_does_what_looking_at_everything_does(steps in vec(some_step(), 1..80)) {
        let mut clock = LeaseClock::new(INTERVAL, []);
        let mut model = Model::default();
        let mut now = 0;
        for step in steps {
            match step {
                Step::Wait(milliseconds) => now += milliseconds,
                Step::Grant(id, ttl) => {
                    clock.note(at(now), LeaseEvent::Granted(entry(id, ttl as i64, 0)));
                    let fresh = ModelLease { ttl, remaining: 0, deadline: now + ttl * 1_000, retry: None };
                    let lease = model.leases.entry(id).or_insert(fresh);
                    (lease.ttl, lease.remaining) = (ttl, 0);
                }
                Step::Revoke(id) => {
                    clock.note(at(now), LeaseEvent::Revoked(LeaseId(id)));
                    model.leases.remove(&id);
                }
                Step::Checkpoint(id, remaining) => {
                    if let Some(lease) = model.leases.get_mut(&id) {
                        lease.remaining = remaining;
                        let event = LeaseEvent::Granted(entry(id, lease.ttl as i64, remaining as i64));
                        clock.note(at(now), event);
                    }
                }
                Step::Renew(id) => {
                    let expected = match model.leases.get_mut(&id) {
                        _ if !model.is_primary => Renewal::NotPrimary,
                        None => Renewal::NotFound,
                        Some(lease) if lease.retry.is_some() || lease.deadline <= now => Renewal::Expiring,
                        Some(lease) => {
                            lease.deadline = lease.deadline.max(now + lease.ttl * 1_000);
                            let clears_checkpoint = lease.remaining > 0;
                            Renewal::Renewed { ttl_seconds: lease.ttl as i64, clears_checkpoint }
                        }
                    };
                    prop_assert_eq!(clock.renew(at(now), LeaseId(id)), expected);
                }
                Step::Promote => {
                    clock.promote(at(now), Duration::from_secs(1));
                    model.is_primary = true;
                    for lease in model.leases.values_mut() {
                        let life = if lease.remaining > 0 { lease.remaining } else { lease.ttl };
                        (lease.deadline, lease.retry) = (now + life * 1_000 + 1_000, None);
                    }
                }
                Step::Demote => {
                    clock.demote();
                    model.is_primary = false;
                    model.leases.values_mut().for_each(|lease| lease.retry = None);
                }
                Step::Expire => {
                    prop_assert_eq!(clock.expired(at(now), usize::MAX), ids(model.expired(now)));
                }
            }
            prop_assert!(clock.deadlines.len() <= 80, "the queue grows only with grants");
        }
    }
}
