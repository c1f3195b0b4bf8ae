//! What the driver and the threads beside it do for those who wait, in which order, and what they tell them when it comes to nothing.

mod bench;

use super::driver::{Event, LeaseQuestion};
use super::{apply, halting, wal_thread};
use bench::{Bench, empty_entry, put};
use std::time::{Duration, Instant};
use tenure_api::error::EtcdError;
use tenure_core::command::{Command, Identity, LeaseGrant, Request, RequestHeader};
use tenure_core::node::{LeaseRefusal, Message, MessageKind, Proposal};
use tenure_core::types::{LeaseId, LogEntry, LogIndex, LogPosition, Revision, Term};
use tokio::sync::oneshot;

/// What was passed on in these messages, to be proposed.
fn passed_on(messages: Vec<Message>) -> Vec<LogEntry> {
    let proposals = messages.into_iter().filter(|message| message.kind == MessageKind::Propose);
    proposals.flat_map(|message| message.entries).collect()
}

#[test]
fn a_put_is_durable_then_applied_then_visible_then_told() {
    let mut bench = Bench::new(1);
    assert!(bench.member.is_leader(), "who is alone leads at once");
    let before = (bench.member.revision(), bench.shared.applied.load());
    let now = |bench: &Bench| (bench.member.revision(), bench.shared.applied.load());
    let mut asked = bench.put("k");

    assert!(bench.turn());
    assert!(!bench.apply() && now(&bench) == before, "nothing is applied before it is written");
    assert!(bench.write());
    assert!(!bench.apply() && now(&bench) == before, "the driver has not heard that it is");
    assert!(bench.turn());
    assert!(now(&bench) == before && bench.told(&mut asked).is_none(), "it is not applied");
    assert!(bench.apply());
    let after = (Revision(before.0.0 + 1), before.1.next());
    assert_eq!(now(&bench), after);
    assert_eq!(asked.saw(), Some(after), "whoever is told can read it");
    assert!(matches!(bench.told(&mut asked), Some(Ok(_))));
}

#[test]
fn a_put_of_several_members_is_told_when_a_majority_has_it() {
    let mut bench = Bench::leader_of_three();
    let mut asked = bench.put("k");
    bench.settle();
    assert!(bench.told(&mut asked).is_none(), "this member alone has it");
    assert!(bench.agree());
    assert!(bench.turn());
    assert!(bench.told(&mut asked).is_none(), "it is committed, and not applied");
    assert!(bench.apply());
    assert!(matches!(bench.told(&mut asked), Some(Ok(_))));
}

#[test]
fn a_read_is_told_when_all_is_applied_that_it_must_see() {
    let mut bench = Bench::leader_of_three();
    let _put = bench.put("k");
    bench.settle();
    bench.agree();
    // It is committed by now.
    bench.turn();
    let mut read = bench.read();
    bench.turn();
    bench.agree();
    bench.turn();
    assert!(bench.told(&mut read).is_none(), "the put is not applied");
    let applied = bench.shared.applied.load();
    assert!(bench.apply());
    assert_eq!(bench.told(&mut read), Some(&Ok(())));
    let (revision, saw) = read.saw().expect("he was told");
    assert!(saw > applied && revision == bench.member.revision(), "the put is there when he is told");
}

/// A write and a change of the members that came together with the loss of a leader were taken for lost with him.
#[test]
fn what_a_lost_leader_was_given_is_lost_and_what_comes_with_his_loss_is_not() {
    let mut bench = Bench::leader_of_three();
    let (next, term) = (bench.others()[0], Term(bench.term().0 + 1));
    let common = bench.log_end;
    let mut lost = bench.put("lost");
    bench.turn();
    bench.write();
    bench.heard_by(next);

    // He hears of another leader, and is asked for more, all at once.
    bench.append_as(next, term, common, &[empty_entry()]);
    let mut kept = bench.put("kept");
    let member = bench.member.clone();
    let (id, urls) = (bench.others()[1], vec!["http://127.0.0.1:9".to_owned()]);
    let mut change = bench.ask(async move { member.member_update(id, urls).await });
    let mut read = bench.read();
    bench.turn();
    assert!(bench.told(&mut lost).is_none(), "nothing of the new leader's is applied");
    bench.settle();
    assert_eq!(bench.told(&mut lost), Some(&Err(EtcdError::TimeoutDueToLeaderFail)));
    assert!(bench.told(&mut kept).is_none(), "the new leader was given it");
    assert!(bench.told(&mut change).is_none() && bench.told(&mut read).is_none());

    let heard = bench.heard_by(next);
    let question = heard.iter().find(|message| message.kind == MessageKind::ReadIndex);
    let question = question.expect("the new leader is asked").clone();
    let answer = Message::new(MessageKind::ReadIndexResponse, next, bench.member.id());
    let (index, entries) = (LogIndex(common.index.0 + 1), question.entries);
    bench.receive(Message { term, index, entries, ..answer });
    bench.settle();
    assert_eq!(bench.told(&mut read), Some(&Ok(())));

    let entries = passed_on(heard);
    assert_eq!(entries.len(), 2, "{entries:?}");
    bench.append_as(next, term, LogPosition { index, term }, &entries);
    bench.settle();
    assert!(matches!(bench.told(&mut kept), Some(Ok(_))));
    let members = bench.told(&mut change).expect("it is applied").as_ref().expect("it fits");
    assert!(members.iter().any(|member| member.peer_urls == ["http://127.0.0.1:9"]));
}

#[test]
fn what_a_lost_leader_was_given_and_his_successor_has_is_answered() {
    let mut bench = Bench::leader_of_three();
    let (next, term) = (bench.others()[0], Term(bench.term().0 + 1));
    let mut kept = bench.put("kept");
    bench.turn();
    bench.write();
    bench.append_as(next, term, bench.log_end, &[empty_entry()]);
    bench.settle();
    assert!(matches!(bench.told(&mut kept), Some(Ok(_))));
}

/// Who got his id first was taken for handed in once somebody with a later one was.
#[test]
fn who_comes_after_the_loss_of_a_leader_was_not_given_to_him() {
    let mut bench = Bench::leader_of_three();
    let (next, term) = (bench.others()[0], Term(bench.term().0 + 1));
    let common = bench.log_end;
    let id = bench.member.request_ids.lock().next_id();
    let permit = bench.shared.admission.admit(1).expect("room");
    let mut late = bench.shared.pending.wait(id, permit).expect("he waits");
    let mut lost = bench.put("lost");
    bench.turn();
    bench.write();
    bench.append_as(next, term, common, &[empty_entry()]);
    bench.turn();
    let header = RequestHeader { id, identity: Identity::of_cluster() };
    let data = Request { header, command: put("late") }.encode();
    bench.shared.inbox.propose(Proposal { id, data }).expect("room");
    bench.settle();
    assert_eq!(bench.told(&mut lost), Some(&Err(EtcdError::TimeoutDueToLeaderFail)));
    assert!(late.try_recv().is_err(), "the new leader was given it");
    let entries = passed_on(bench.heard_by(next));
    bench.append_as(next, term, LogPosition { index: common.index.next(), term }, &entries);
    bench.settle();
    assert!(matches!(late.try_recv(), Ok(Ok(_))));
}

#[test]
fn who_asked_a_lost_leader_of_a_lease_is_sent_to_the_next() {
    let mut bench = Bench::leader_of_three();
    let (next, term) = (bench.others()[0], Term(bench.term().0 + 1));
    let (reply, mut renewed) = oneshot::channel();
    bench.shared.inbox.send(Event::Lease(LeaseQuestion::Renew(LeaseId(7), reply)));
    bench.turn();
    assert!(renewed.try_recv().is_err(), "nobody has said that he leads");
    bench.append_as(next, term, bench.log_end, &[empty_entry()]);
    bench.turn();
    assert_eq!(renewed.try_recv(), Ok(Err(LeaseRefusal::NotPrimary)));
    let (reply, mut listed) = oneshot::channel();
    bench.shared.inbox.send(Event::Lease(LeaseQuestion::List(reply)));
    bench.turn();
    assert_eq!(listed.try_recv(), Ok(Vec::new()));
}

#[test]
fn who_waits_for_too_long_is_told_so() {
    let mut bench = Bench::new(3);
    let (mut put, mut read) = (bench.put("k"), bench.read());
    bench.settle();
    let ticks = 70;
    for _ in 1..ticks {
        bench.tick();
    }
    assert!(bench.told(&mut put).is_none() && bench.told(&mut read).is_none(), "the time is not over");
    bench.tick();
    assert_eq!(bench.told(&mut put), Some(&Err(EtcdError::Timeout)));
    assert_eq!(bench.shared.pending.len(), 0);
    // The node gives up by its own clock.
    let mut second = bench.put("k");
    bench.settle();
    bench.driver.advance_clock(Duration::from_secs(8));
    bench.tick();
    assert_eq!(bench.told(&mut second), Some(&Err(EtcdError::Timeout)));
    assert_eq!(bench.told(&mut read), Some(&Err(EtcdError::Timeout)));
}

#[test]
fn who_waits_when_the_member_stops_is_told_so() {
    let mut bench = Bench::new(3);
    let (mut put, mut read) = (bench.put("k"), bench.read());
    bench.settle();
    let (mut new_put, mut new_read) = (bench.put("k"), bench.read());
    let member = bench.member.clone();
    let hour = Instant::now() + Duration::from_secs(3_600);
    let mut renewal = bench.ask(async move { member.leader_by(hour).await });
    let member = bench.member.clone();
    let mut compaction = bench.ask(async move { member.compacted(Revision(5)).await });
    let member = bench.member.clone();
    let mut version = bench.ask(async move { member.cluster_version_decided().await });
    for told in [bench.told(&mut put).is_some(), bench.told(&mut read).is_some()] {
        assert!(!told, "nobody leads");
    }
    bench.member.stop();
    bench.turn();
    assert!(bench.driver.is_done(), "nobody has to be asked");
    bench.shared.stop_waiting();

    assert_eq!(bench.told(&mut put), Some(&Err(EtcdError::Stopped)));
    assert_eq!(bench.told(&mut read), Some(&Err(EtcdError::Stopped)));
    assert_eq!(bench.told(&mut new_put), Some(&Err(EtcdError::Stopped)));
    assert_eq!(bench.told(&mut new_read), Some(&Err(EtcdError::Stopped)));
    assert_eq!(bench.told(&mut renewal), Some(&Err(EtcdError::Stopped)));
    assert_eq!(bench.told(&mut compaction), Some(&Err(EtcdError::Stopped)));
    assert_eq!(bench.told(&mut version), Some(&Err(EtcdError::Stopped)));
    let (mut put, mut read) = (bench.put("k"), bench.read());
    assert_eq!(bench.told(&mut put), Some(&Err(EtcdError::Stopped)), "nor does anybody begin to wait");
    assert_eq!(bench.told(&mut read), Some(&Err(EtcdError::Stopped)));
    assert_eq!(bench.halted(), None, "it has stopped because it was asked to");
}

#[test]
fn who_waits_for_another_to_lead_when_the_member_stops_is_told_so() {
    let mut bench = Bench::leader_of_three();
    let (member, to) = (bench.member.clone(), bench.others()[0]);
    let mut moved = bench.ask(async move { member.move_leader(to).await });
    bench.settle();
    assert!(bench.told(&mut moved).is_none(), "he does not lead yet");
    bench.shared.stop_waiting();
    assert_eq!(bench.told(&mut moved), Some(&Err(EtcdError::Stopped.into())));
}

/// Who stops first notes how much life the leases have left.
#[test]
fn a_leader_stops_when_the_lives_of_leases_are_noted() {
    let mut bench = Bench::new(1);
    let grant = Command::LeaseGrant(LeaseGrant { id: LeaseId(7), ttl_seconds: 600 });
    let mut granted = bench.propose(grant);
    bench.settle();
    assert!(matches!(bench.told(&mut granted), Some(Ok(_))));
    bench.driver.advance_clock(Duration::from_secs(10));
    bench.member.stop();
    bench.turn();
    assert!(!bench.driver.is_done(), "it is not durable");
    bench.write();
    bench.turn();
    assert!(!bench.driver.is_done(), "nor applied");
    bench.apply();
    bench.turn();
    assert!(bench.driver.is_done());
    let noted: Vec<_> = bench.shared.state.read().leases.iter().collect();
    assert!((580..=590).contains(&noted[0].remaining_ttl_seconds), "{noted:?}");
}

#[test]
fn when_the_log_cannot_be_written_nothing_is_applied_and_whoever_waits_is_told() {
    let mut bench = Bench::new(1);
    let before = (bench.member.revision(), bench.shared.applied.load());
    let mut put = bench.put("k");
    bench.turn();
    bench.disk.fail();
    let Bench { shared, wal, jobs, .. } = &mut bench;
    let failed = wal_thread::turn(shared, wal, jobs.try_iter());
    let halt = failed.expect_err("the disk has failed");
    bench.shared.halt("write-ahead log", &halt);

    assert!(bench.halted().is_some_and(|halt| halt.0.contains("the disk has failed")));
    assert!(bench.driver.is_done());
    assert!(!bench.turn(), "nobody says that it is durable");
    assert!(!bench.apply());
    assert_eq!((bench.member.revision(), bench.shared.applied.load()), before);
    assert_eq!(bench.told(&mut put), Some(&Err(EtcdError::Stopped)));
    let (mut put, mut read) = (bench.put("k"), bench.read());
    assert_eq!(bench.told(&mut put), Some(&Err(EtcdError::Stopped)));
    assert_eq!(bench.told(&mut read), Some(&Err(EtcdError::Stopped)), "though it leads alone");
}

#[test]
fn when_an_entry_cannot_be_applied_nobody_sees_it_and_whoever_waits_is_told() {
    let mut bench = Bench::new(1);
    let before = (bench.member.revision(), bench.shared.applied.load());
    let mut put = bench.put("k");
    bench.turn();
    bench.write();
    bench.turn();
    let mut entries: Vec<LogEntry> = bench.committed.try_iter().flatten().collect();
    assert_eq!(entries.len(), 1);
    entries[0].data = "no request".into();
    let shared = bench.shared.clone();
    halting(&shared, "apply", || apply::apply_group(&shared, entries));
    assert!(bench.halted().is_some());
    assert_eq!((bench.member.revision(), bench.shared.applied.load()), before);
    assert_eq!(bench.told(&mut put), Some(&Err(EtcdError::Stopped)));
}

/// The others went on, and what was proposed waited for ever, where a panic does not end the process.
#[test]
fn a_thread_that_panics_stops_the_member() {
    let mut bench = Bench::new(3);
    let mut put = bench.put("k");
    bench.settle();
    let shared = bench.shared.clone();
    let driver =
        std::thread::spawn(move || halting(&shared, "the driver loop", || panic!("entry 7 is gone")));
    driver.join().expect("it says so and ends");
    assert_eq!(bench.halted().map(|halt| halt.0), Some("it panicked: entry 7 is gone".to_owned()));
    assert_eq!(bench.told(&mut put), Some(&Err(EtcdError::Stopped)));
}
