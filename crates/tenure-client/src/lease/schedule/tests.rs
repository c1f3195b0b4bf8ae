use super::*;
use rand::{RngExt, SeedableRng, rngs::StdRng, seq::IndexedRandom};
use std::collections::BTreeMap;

const A: LeaseId = LeaseId(1);
const B: LeaseId = LeaseId(2);
const WITHIN: Duration = Duration::from_secs(6);

/// A schedule and its clock.
struct Case {
    schedule: Schedule,
    start: Instant,
    now: Instant,
}

impl Case {
    fn new() -> Self {
        let start = Instant::now();
        Case { schedule: Schedule::default(), start, now: start }
    }

    fn open() -> Self {
        let mut case = Case::new();
        case.schedule.opened(case.now);
        case
    }

    fn at(&mut self, millis: u64) -> &mut Self {
        self.now = self.start + Duration::from_millis(millis);
        self
    }

    fn add(&mut self, id: LeaseId) -> &mut Self {
        self.schedule.add(self.now, id, WITHIN);
        self
    }

    /// A lease that is known to live so many seconds from now on.
    fn add_alive(&mut self, id: LeaseId, ttl_seconds: i64) -> &mut Self {
        self.schedule.add_alive(id, Life::new(self.now, ttl_seconds));
        self
    }

    fn tick(&mut self) -> Vec<Step> {
        let steps = self.schedule.tick(self.now);
        self.schedule.check();
        steps
    }

    fn answered(&mut self, id: LeaseId, ttl_seconds: i64) -> Heard {
        let heard = self.schedule.answered(self.now, id, ttl_seconds);
        self.schedule.check();
        heard
    }

    /// A lease that was renewed just now.
    fn renewed(&mut self, id: LeaseId, ttl_seconds: i64) -> &mut Self {
        self.add(id);
        assert!(self.tick().contains(&Step::Send(id)));
        assert!(matches!(self.answered(id, ttl_seconds), Heard::Alive(..)));
        self
    }

    fn broken(&mut self, blame: Blame) -> Vec<LeaseId> {
        let lost = self.schedule.broken(self.now, blame);
        self.schedule.check();
        lost
    }

    fn next_millis(&self) -> Option<u128> {
        self.schedule.next_tick().map(|next| (next - self.start).as_millis())
    }
}

impl Schedule {
    /// The parts agree with each other.
    fn check(&self) {
        assert_eq!(self.deadlines.len(), self.kept.len());
        let mut due = 0;
        for (&id, kept) in &self.kept {
            assert!(self.deadlines.contains(&(kept.deadline, id)));
            match kept.due {
                Some(at) => {
                    due += 1;
                    assert!(self.due.contains(&(at, kept.deadline, id)));
                }
                None => {
                    let open = self.open.as_ref().expect("who waits for an answer waits on a stream");
                    let mine =
                        open.in_flight.iter().filter(|sent| (sent.id, sent.number) == (id, kept.number));
                    assert_eq!(mine.count(), 1);
                }
            }
        }
        assert_eq!(self.due.len(), due);
        assert!(self.open.as_ref().is_none_or(|open| open.in_flight.len() <= IN_FLIGHT_MAX));
    }
}

const LOST: fn(LeaseId, bool) -> Step = |id, was_alive| Step::Lost { id, was_alive };

#[test]
fn a_lease_is_renewed_at_once_and_then_after_a_third_of_its_life() {
    let mut case = Case::open();
    case.add(A);
    assert_eq!(case.tick(), [Step::Send(A)]);
    assert_eq!(case.at(100).tick(), [], "it waits for the answer");
    let life = Life { ttl: Duration::from_secs(30), deadline: case.start + Duration::from_secs(30) };
    assert_eq!(case.answered(A, 30), Heard::Alive(A, life), "it lives from when the renewal was sent");
    assert_eq!(case.next_millis(), Some(10_000));
    assert_eq!(case.at(9_999).tick(), []);
    assert_eq!(case.at(10_000).tick(), [Step::Send(A)]);
}

#[test]
fn a_lease_whose_life_is_known_is_renewed_after_a_third_of_it() {
    let mut case = Case::open();
    case.add_alive(A, 30);
    assert_eq!(case.tick(), []);
    assert_eq!(case.schedule.life(A).map(|life| life.ttl), Some(Duration::from_secs(30)));
    assert_eq!(case.at(10_000).tick(), [Step::Send(A)]);
}

#[test]
fn a_lease_is_lost_at_its_end_and_not_before() {
    let mut case = Case::open();
    case.renewed(A, 3).broken(Blame::Nobody);
    assert_eq!(case.at(2_999).tick(), []);
    assert_eq!(case.next_millis(), Some(3_000));
    assert_eq!(case.at(3_000).tick(), [LOST(A, true)]);
    assert!(case.schedule.is_empty());
    assert_eq!(case.schedule.next_tick(), None);
}

#[test]
fn an_answer_that_comes_after_the_end_saves_nothing() {
    let mut case = Case::open();
    case.renewed(A, 9);
    case.at(3_000).tick();
    // The server has renewed it, but what it answers was true nine seconds ago.
    case.at(12_000).answered(A, 9);
    assert_eq!(case.tick(), [LOST(A, true)]);
}

#[test]
fn a_lease_that_was_never_answered_is_given_up_in_time() {
    let mut case = Case::new();
    case.add(A);
    assert_eq!(case.at(5_999).tick(), []);
    assert_eq!(case.at(6_000).tick(), [LOST(A, false)]);
}

#[test]
fn a_lease_that_the_server_does_not_know_is_gone() {
    for ttl in [0, -1, i64::MIN] {
        let mut case = Case::open();
        case.add(A).add(B).tick();
        assert_eq!(case.answered(A, ttl), Heard::Gone(A));
        assert!(matches!(case.answered(B, 10), Heard::Alive(..)));
        assert_eq!(case.schedule.number(A), None);
    }
}

#[test]
fn answers_that_nobody_waits_for_mean_nothing() {
    let mut case = Case::new();
    case.add(A);
    assert_eq!(case.answered(A, 10), Heard::Nothing, "there is no stream");
    case.schedule.opened(case.now);
    assert_eq!(case.answered(A, 10), Heard::Nothing, "it was not asked");
    case.tick();
    assert_eq!(case.answered(B, 0), Heard::Nothing);
    assert!(matches!(case.answered(A, 10), Heard::Alive(..)));
    assert_eq!(case.answered(A, 0), Heard::Nothing, "it was answered already");
    // A member that says such things and no others is as good as silent.
    case.at(4_000).tick();
    case.at(6_499).answered(B, 10);
    assert_eq!(case.at(6_500).tick(), [Step::Leave]);
}

#[test]
fn a_request_that_is_passed_over_is_sent_again() {
    let mut case = Case::open();
    case.add(A).add(B).tick();
    assert!(matches!(case.answered(B, 10), Heard::Alive(..)));
    assert_eq!(case.at(1).tick(), [Step::Send(A)]);
}

#[test]
fn an_answer_to_an_earlier_keeping_says_nothing_of_the_later_one() {
    let mut case = Case::open();
    case.add(A).tick();
    let before = case.schedule.number(A);
    assert!(case.schedule.remove(A));
    assert!(!case.schedule.remove(A));
    case.add(A);
    assert_ne!(case.schedule.number(A), before);
    assert_eq!(case.at(5).tick(), [Step::Send(A)]);
    assert_eq!(case.answered(A, 0), Heard::Nothing, "that was the lease of this id before");
    assert!(matches!(case.answered(A, 10), Heard::Alive(..)));
}

#[test]
fn after_a_break_all_are_renewed_those_first_that_end_first() {
    let mut case = Case::open();
    for (number, ttl) in [(1, 30), (2, 10), (3, 60), (4, 20)] {
        case.renewed(LeaseId(number), ttl);
    }
    case.broken(Blame::Nobody);
    assert_eq!(case.at(50).tick(), [], "there is no stream");
    assert_eq!(case.schedule.first_due(), Some(case.start));
    case.schedule.opened(case.now);
    assert_eq!(case.tick(), [2, 4, 1, 3].map(|number| Step::Send(LeaseId(number))));
}

#[test]
fn who_is_to_blame_is_lost() {
    let case = || {
        let mut case = Case::open();
        case.renewed(A, 3).at(1_000).add(B).tick();
        case
    };
    assert_eq!(case().broken(Blame::Nobody), []);
    assert_eq!(case().broken(Blame::First), [A]);
    assert_eq!(case().broken(Blame::Client), [B], "A may be lucky again before its end");
    let mut answered = case();
    answered.answered(A, 3);
    assert_eq!(answered.broken(Blame::First), [B]);
    // The lease that was refused has been given up meanwhile, and taken up again.
    let mut again = case();
    again.schedule.remove(A);
    again.add_alive(A, 3);
    assert_eq!(again.broken(Blame::First), []);
    let mut idle = Case::open();
    assert_eq!(idle.add(A).broken(Blame::First), []);
}

#[test]
fn what_is_in_flight_is_bounded_and_goes_on_with_each_answer() {
    let leases = i64::try_from(IN_FLIGHT_MAX * 2).unwrap();
    let mut case = Case::open();
    for number in 0..leases {
        case.schedule.add(case.now, LeaseId(number), WITHIN);
    }
    let first = case.tick();
    assert_eq!(first.len(), IN_FLIGHT_MAX);
    assert_eq!(case.next_millis(), Some(1_500), "what is due waits for room, not for the clock");
    let mut sent: Vec<Step> = first.clone();
    for step in first {
        let Step::Send(id) = step else { panic!("{step:?}") };
        assert!(matches!(case.schedule.answered(case.now, id, 10), Heard::Alive(..)));
        sent.extend(case.schedule.tick(case.now));
    }
    case.schedule.check();
    sent.sort_by_key(|step| format!("{step:?}"));
    sent.dedup();
    assert_eq!(sent.len(), IN_FLIGHT_MAX * 2);
}

#[test]
fn a_silent_stream_is_left_while_there_is_time() {
    // The patience is a quarter of the life, and 5 s at most.
    for (ttl, renewed_at, left_at) in [(2, 667, 1_167), (12, 4_000, 7_000), (60, 20_000, 25_000)] {
        let mut case = Case::open();
        case.renewed(A, ttl);
        assert_eq!(case.at(renewed_at).tick(), [Step::Send(A)]);
        assert_eq!(case.at(left_at - 1).tick(), [], "{ttl}");
        assert_eq!(case.at(left_at).tick(), [Step::Leave], "{ttl}");
    }
}

#[test]
fn the_shortest_life_in_flight_counts_and_every_answer() {
    let mut case = Case::open();
    case.renewed(A, 60).renewed(B, 6);
    case.broken(Blame::Nobody);
    case.schedule.opened(case.now);
    assert_eq!(case.tick(), [Step::Send(B), Step::Send(A)]);
    assert_eq!(case.next_millis(), Some(1_500));
    case.at(1_000).answered(B, 6);
    assert_eq!(case.at(2_499).tick(), [Step::Send(B)]);
    assert_eq!(case.at(2_500).tick(), [Step::Leave]);
    // With nothing in flight there is nothing to wait for.
    let mut idle = Case::open();
    idle.renewed(A, 60);
    assert_eq!(idle.at(19_999).tick(), []);
}

#[test]
fn lives_without_end_are_taken_for_long_ones() {
    let mut case = Case::open();
    case.add(A).tick();
    let Heard::Alive(_, life) = case.answered(A, i64::MAX) else { panic!("it lives") };
    assert_eq!(life.ttl, Duration::from_secs(TTL_SECONDS_MAX));
}

#[test]
fn nothing_is_left_of_what_is_cleared() {
    let mut case = Case::open();
    case.renewed(A, 3).add(B).tick();
    case.schedule.clear();
    case.schedule.check();
    assert!(case.schedule.is_empty());
    // The stream is still there, and its answers.
    assert_eq!(case.answered(B, 3), Heard::Nothing);
    case.add(A);
    assert_eq!(case.tick(), [Step::Send(A)]);
}

/// What the model knows of a lease.
#[derive(Clone, Debug)]
struct Known {
    keeping: u64,
    ttl: Option<Duration>,
    deadline: Instant,
    due: Instant,
}

/// The same rules without any haste: it looks at everything each time.
struct Model {
    leases: BTreeMap<LeaseId, Known>,
    /// Requests on the stream, if there is one.
    sent: Option<Vec<(LeaseId, u64, Instant)>>,
    heard: Instant,
    keepings: u64,
}

impl Model {
    fn add(&mut self, id: LeaseId, ttl: Option<Duration>, deadline: Instant, due: Instant) {
        self.keepings += 1;
        self.leases.insert(id, Known { keeping: self.keepings, ttl, deadline, due });
    }

    fn is_in_flight(&self, id: LeaseId) -> bool {
        let Some(known) = self.leases.get(&id) else { return false };
        self.sent.iter().flatten().any(|sent| (sent.0, sent.1) == (id, known.keeping))
    }

    fn ticked(&mut self, now: Instant, steps: &[Step]) {
        let over: Vec<LeaseId> =
            self.leases.iter().filter(|(_, known)| known.deadline <= now).map(|(id, _)| *id).collect();
        let mut lost = Vec::new();
        for step in steps {
            match *step {
                Step::Lost { id, was_alive } => {
                    let known = self.leases.remove(&id).expect("it was kept");
                    assert_eq!(was_alive, known.ttl.is_some());
                    lost.push(id);
                }
                Step::Send(id) => {
                    assert!(!self.is_in_flight(id), "{id} is sent twice");
                    let known = &self.leases[&id];
                    assert!(known.due <= now, "{id} is sent too early");
                    let sent = self.sent.as_mut().expect("there is a stream");
                    sent.push((id, known.keeping, now));
                    assert!(sent.len() <= IN_FLIGHT_MAX);
                }
                Step::Leave => {
                    let sent = self.sent.as_ref().expect("there is a stream");
                    let silent = now - sent[0].2.max(self.heard);
                    assert!(silent >= Duration::from_millis(250), "left after {silent:?}");
                }
            }
        }
        lost.sort();
        assert_eq!(lost, over, "exactly those whose time is over");
        let has_room = self.sent.as_ref().is_some_and(|sent| sent.len() < IN_FLIGHT_MAX);
        if has_room && !steps.contains(&Step::Leave) {
            let late = self.leases.iter().find(|(id, known)| known.due <= now && !self.is_in_flight(**id));
            assert!(late.is_none(), "not sent: {late:?}");
        }
        if let Some(first) = self.sent.iter().flatten().next() {
            let silent = now - first.2.max(self.heard);
            assert!(silent < PATIENCE_MAX || steps.contains(&Step::Leave), "stays for {silent:?}");
        }
    }

    fn answered(&mut self, now: Instant, id: LeaseId, ttl_seconds: i64, heard: Heard) {
        let place = self.sent.iter().flatten().position(|sent| sent.0 == id);
        let (Some(place), Some(sent)) = (place, &mut self.sent) else {
            return assert_eq!(heard, Heard::Nothing);
        };
        self.heard = now;
        let mut passed: Vec<_> = sent.drain(..=place).collect();
        let (_, keeping, at) = passed.pop().expect("one at least");
        for (id, keeping, _) in passed {
            if let Some(known) = self.leases.get_mut(&id).filter(|known| known.keeping == keeping) {
                known.due = now;
            }
        }
        let Some(known) = self.leases.get_mut(&id).filter(|known| known.keeping == keeping) else {
            return assert_eq!(heard, Heard::Nothing);
        };
        if ttl_seconds <= 0 {
            self.leases.remove(&id);
            return assert_eq!(heard, Heard::Gone(id));
        }
        let ttl = Duration::from_secs(u64::try_from(ttl_seconds).unwrap());
        known.ttl = Some(ttl);
        known.deadline = at + ttl;
        known.due = at + ttl / 3;
        assert_eq!(heard, Heard::Alive(id, Life { ttl, deadline: at + ttl }));
    }

    fn broken(&mut self, now: Instant, blame: Blame, lost: &[LeaseId]) {
        let first = self.sent.take().unwrap_or_default().first().copied();
        let mut expected: Vec<LeaseId> = match blame {
            Blame::Nobody => Vec::new(),
            Blame::First => {
                let known = first.and_then(|first| Some((first, self.leases.get(&first.0)?)));
                known.filter(|(first, known)| first.1 == known.keeping).map(|(first, _)| first.0)
            }
            .into_iter()
            .collect(),
            Blame::Client => {
                self.leases.iter().filter(|(_, known)| known.ttl.is_none()).map(|(id, _)| *id).collect()
            }
        };
        let mut lost = lost.to_vec();
        lost.sort();
        expected.sort();
        assert_eq!(lost, expected);
        self.leases.retain(|id, _| !lost.contains(id));
        self.leases.values_mut().for_each(|known| known.due = now);
    }
}

/// A seed, from the environment to look at a failure again; it is printed when the test fails.
fn seed() -> u64 {
    let seed = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(rand::random);
    println!("SEED={seed}");
    seed
}

#[test]
fn whatever_happens_it_does_as_the_model() {
    let mut random = StdRng::seed_from_u64(seed());
    for _ in 0..100 {
        let (mut case, leases) = (Case::new(), random.random_range(1..=12));
        let mut model = Model { leases: BTreeMap::new(), sent: None, heard: case.now, keepings: 0 };
        for _ in 0..300 {
            one_event(&mut random, &mut case, &mut model, leases);
            case.schedule.check();
            assert_eq!(case.schedule.is_empty(), model.leases.is_empty());
        }
    }
}

fn one_event(random: &mut StdRng, case: &mut Case, model: &mut Model, leases: i64) {
    let id = LeaseId(random.random_range(1..=leases));
    let ttl_seconds = *[1, 2, 3, 10, 60].choose(random).unwrap();
    let (now, schedule) = (case.now, &mut case.schedule);
    match random.random_range(0..20) {
        0 => {
            schedule.add(now, id, WITHIN);
            model.add(id, None, now + WITHIN, now);
        }
        1 => {
            let life = Life::new(now, ttl_seconds);
            schedule.add_alive(id, life);
            model.add(id, Some(life.ttl), life.deadline, now + life.ttl / 3);
        }
        2 => assert_eq!(schedule.remove(id), model.leases.remove(&id).is_some()),
        3 => {
            let blame = *[Blame::Nobody, Blame::First, Blame::Client].choose(random).unwrap();
            let lost = schedule.broken(now, blame);
            model.broken(now, blame, &lost);
        }
        4..=6 => {
            schedule.opened(now);
            model.broken(now, Blame::Nobody, &[]);
            (model.sent, model.heard) = (Some(Vec::new()), now);
        }
        7..=12 => {
            // Most answers are to the first request, some to another or to none.
            let first = model.sent.iter().flatten().next().map(|sent| sent.0);
            let id = first.filter(|_| random.random_ratio(9, 10)).unwrap_or(id);
            let ttl = if random.random_ratio(1, 20) { 0 } else { ttl_seconds };
            let heard = schedule.answered(now, id, ttl);
            model.answered(now, id, ttl, heard);
        }
        _ => {
            // Nothing is missed by sleeping until the next tick.
            if let Some(next) = schedule.next_tick().filter(|_| random.random_ratio(2, 3)) {
                let before = next.max(now + Duration::from_millis(1)) - Duration::from_millis(1);
                if before < next {
                    assert_eq!(schedule.tick(before), [], "there was something to do before the next tick");
                }
                case.now = next.max(now);
            } else {
                case.now += Duration::from_millis(random.random_range(0..3_000));
            }
        }
    }
    let steps = case.schedule.tick(case.now);
    model.ticked(case.now, &steps);
    if steps.contains(&Step::Leave) {
        let lost = case.schedule.broken(case.now, Blame::Nobody);
        model.broken(case.now, Blame::Nobody, &lost);
    }
}

/// Members that answer within a tenth of the shortest life, and break off or fall silent once in such a life at most.
#[test]
fn no_lease_is_lost_while_some_member_answers() {
    let mut random = StdRng::seed_from_u64(seed());
    let mut breaks_of_all = 0;
    for _ in 0..5 {
        let ttl_min = *[1, 2, 10].choose(&mut random).unwrap();
        let mut case = Case::open();
        let mut ttls = BTreeMap::new();
        for number in 0..random.random_range(1..1_000) {
            let ttl = random.random_range(ttl_min..=ttl_min * 5);
            ttls.insert(LeaseId(number), ttl);
            case.schedule.add_alive(LeaseId(number), Life::new(case.now, ttl));
        }
        let latency = Duration::from_millis(u64::try_from(ttl_min).unwrap() * 100);
        let mut answers: VecDeque<(Instant, LeaseId)> = VecDeque::new();
        let (mut is_silent, mut last_break, mut breaks, mut renewals) = (false, case.now, 0, 0);
        let end = case.now + Duration::from_secs(ttl_min.unsigned_abs() * 10);
        while case.now < end {
            let next = answers.front().map(|answer| answer.0).filter(|_| !is_silent);
            case.now = next.into_iter().chain(case.schedule.next_tick()).min().unwrap().max(case.now);
            if next.is_some_and(|next| next <= case.now)
                && let Some((_, id)) = answers.pop_front()
            {
                assert!(matches!(case.schedule.answered(case.now, id, ttls[&id]), Heard::Alive(..)));
                renewals += 1;
            }
            let is_break_fair = case.now - last_break > Duration::from_secs(ttl_min.unsigned_abs());
            let mut is_broken = is_break_fair && random.random_ratio(1, 10);
            for step in case.schedule.tick(case.now) {
                match step {
                    Step::Send(id) => {
                        let took = latency.mul_f64(random.random_range(0.0..1.0));
                        let at = answers.back().map_or(case.now, |last| last.0).max(case.now + took);
                        answers.push_back((at, id));
                    }
                    Step::Leave => is_broken = true,
                    Step::Lost { .. } => panic!("{step:?} after {:?}", case.now - case.start),
                }
            }
            if is_broken {
                last_break = case.now;
                breaks += 1;
                answers.clear();
                case.schedule.broken(case.now, Blame::Nobody);
                case.schedule.opened(case.now);
                // Only one after the other is silent: the next endpoint answers.
                is_silent = !is_silent && random.random_ratio(1, 3);
            }
        }
        assert!(renewals >= ttls.len() * 5, "{renewals} renewals of {} leases, {breaks} breaks", ttls.len());
        breaks_of_all += breaks;
    }
    assert!(breaks_of_all > 0);
}
