//! Queues.

use super::{line, places, stand_in_line};
use crate::support::{Progress, Proxy, TestServer, config, soon};
use rand::{RngExt, SeedableRng, rngs::SmallRng};
use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};
use tenure_client::{
    Client, Op,
    concurrency::{PriorityQueue, Queue},
};
use tokio::task::JoinSet;

#[tokio::test]
async fn values_come_in_the_order_in_which_they_were_put() {
    let server = TestServer::start().await;
    let client = server.client().await;
    let queue = Queue::new(&client, "q");
    for number in 0..20 {
        queue.enqueue(number.to_string()).await.unwrap();
    }
    // Another queue, though its name begins alike; and one that a program of etcd's has filled.
    Queue::new(&client, "q2").enqueue("other").await.unwrap();
    client.put("q/0", "by hand").await.unwrap();
    for number in 0..20 {
        assert_eq!(queue.dequeue().await.unwrap(), number.to_string());
    }
    assert_eq!(queue.dequeue().await.unwrap(), "by hand");
    assert!(line(&client, "q/").await.is_empty());
    let waiting = tokio::spawn({
        let queue = queue.clone();
        async move { queue.dequeue().await.unwrap() }
    });
    Queue::new(&client, "q").enqueue("late").await.unwrap();
    assert_eq!(soon(waiting).await.unwrap(), "late");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_value_is_taken_once_by_many_and_in_order_of_each_who_puts() {
    const PRODUCERS: usize = 4;
    const CONSUMERS: usize = 5;
    const VALUES: usize = 25;
    let server = TestServer::start().await;
    let client = server.client().await;
    let (queue, progress) = (Queue::new(&client, "q"), Progress::default());
    let taken = Arc::new(AtomicUsize::new(0));
    let mut consumers = JoinSet::new();
    for _ in 0..CONSUMERS {
        let queue = Queue::new(&server.client().await, "q");
        let (taken, progress) = (taken.clone(), progress.clone());
        consumers.spawn(async move {
            let mut values = Vec::new();
            loop {
                let value = queue.dequeue().await.unwrap();
                progress.step();
                if value == "end" {
                    return values;
                }
                taken.fetch_add(1, Ordering::SeqCst);
                let (producer, number) = std::str::from_utf8(&value).unwrap().split_once(' ').unwrap();
                values.push((producer.parse::<usize>().unwrap(), number.parse::<usize>().unwrap()));
            }
        });
    }
    let mut producers = JoinSet::new();
    for producer in 0..PRODUCERS {
        let queue = queue.clone();
        producers.spawn(async move {
            for number in 0..VALUES {
                queue.enqueue(format!("{producer} {number}")).await.unwrap();
            }
        });
    }
    progress.of(&client, producers.join_all()).await;
    for _ in 0..CONSUMERS {
        queue.enqueue("end").await.unwrap();
    }
    let all = progress.of(&client, consumers.join_all()).await;
    assert_eq!(taken.load(Ordering::SeqCst), PRODUCERS * VALUES);
    let distinct: BTreeSet<_> = all.iter().flatten().collect();
    assert_eq!(distinct.len(), PRODUCERS * VALUES, "each once");
    for values in &all {
        for producer in 0..PRODUCERS {
            assert!(values.iter().filter(|value| value.0 == producer).is_sorted(), "{values:?}");
        }
    }
}

#[tokio::test]
async fn what_is_urgent_comes_first_and_the_rest_in_order() {
    let seed = rand::random();
    println!("seed {seed}");
    let mut random = SmallRng::seed_from_u64(seed);
    let server = TestServer::start().await;
    let client = server.client().await;
    let queue = PriorityQueue::new(&client, "q");
    let mut expected = Vec::new();
    for number in 0..30 {
        let priority = [0, 1, 9, 10, 300, u16::MAX][random.random_range(0..6)];
        queue.enqueue(format!("{priority} {number}"), priority).await.unwrap();
        expected.push((priority, number));
    }
    let first = line(&client, "q/").await.remove(0);
    assert_eq!(first.key, format!("q/{:05}/{:016}", expected[0].0, 0));
    expected.sort_unstable();
    for (priority, number) in expected {
        assert_eq!(queue.dequeue().await.unwrap(), format!("{priority} {number}"));
    }
    assert!(line(&client, "q/").await.is_empty());
    let waiting = tokio::spawn({
        let queue = queue.clone();
        async move { queue.dequeue().await.unwrap() }
    });
    PriorityQueue::new(&client, "q").enqueue("late", 7).await.unwrap();
    assert_eq!(soon(waiting).await.unwrap(), "late");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_put_into_a_queue_with_priorities_at_once() {
    let server = TestServer::start().await;
    let client = server.client().await;
    let (mut tasks, progress) = (JoinSet::new(), Progress::default());
    for task in 0..8 {
        let (queue, progress) = (PriorityQueue::new(&client, "q"), progress.clone());
        tasks.spawn(async move {
            for number in 0..5 {
                queue.enqueue(format!("{task} {number}"), task % 2).await.unwrap();
                progress.step();
            }
        });
    }
    progress.of(&client, tasks.join_all()).await;
    let queue = PriorityQueue::new(&client, "q");
    let mut values = Vec::new();
    for _ in 0..40 {
        let value = queue.dequeue().await.unwrap();
        let (task, number) = std::str::from_utf8(&value).unwrap().split_once(' ').unwrap();
        values.push((task.parse::<u16>().unwrap(), number.parse::<u16>().unwrap()));
    }
    assert!(values.iter().map(|value| value.0 % 2).is_sorted(), "{values:?}");
    for task in 0..8 {
        let numbers: Vec<_> = values.iter().filter(|value| value.0 == task).map(|value| value.1).collect();
        assert_eq!(numbers, [0, 1, 2, 3, 4]);
    }
}

#[tokio::test]
async fn a_value_whose_answer_is_lost_is_there_once() {
    let server = TestServer::start().await;
    let direct = server.client().await;
    let proxy = Proxy::to(server.endpoint()).await;
    let client = Client::connect(config(proxy.endpoint())).await.unwrap();
    let queue = Queue::new(&client, "q");
    let lose = proxy.lose_answer(async || places(&direct, "q/").await == 1);
    let resume = async {
        lose.await;
        proxy.resume();
    };
    soon(async { tokio::join!(queue.enqueue("one"), resume) }).await.0.unwrap();
    // Taken before it could be looked for: nobody knows.
    let take = async {
        proxy.lose_answer(async || places(&direct, "q/").await == 2).await;
        direct.delete("q/").prefix().await.unwrap();
        proxy.resume();
    };
    let error = soon(async { tokio::join!(queue.enqueue("two"), take) }).await.0.unwrap_err();
    assert!(error.may_have_taken_effect(), "{error}");
    assert_eq!(places(&direct, "q/").await, 0);
}

#[tokio::test]
async fn a_value_with_priority_whose_answer_is_lost_is_put_once() {
    let server = TestServer::start().await;
    let direct = server.client().await;
    let others = PriorityQueue::new(&direct, "q");
    let proxy = Proxy::to(server.endpoint()).await;
    let client = Client::connect(config(proxy.endpoint())).await.unwrap();
    let queue = PriorityQueue::new(&client, "q");
    for others_put in [0, 1, 5] {
        let take = async {
            proxy.lose_answer(async || places(&direct, "q/").await == 1).await;
            // It is taken, and others have put more, before it is known here that it was put.
            assert_eq!(others.dequeue().await.unwrap(), "ours");
            for _ in 0..others_put {
                others.enqueue("theirs", 3).await.unwrap();
            }
            proxy.resume();
        };
        soon(async { tokio::join!(queue.enqueue("ours", 3), take) }).await.0.unwrap();
        assert_eq!(places(&direct, "q/").await, others_put);
        for _ in 0..others_put {
            assert_eq!(others.dequeue().await.unwrap(), "theirs");
        }
    }
    // Nobody can say it if the history is gone.
    let compact = async {
        proxy.lose_answer(async || places(&direct, "q/").await == 1).await;
        others.enqueue("theirs", 3).await.unwrap();
        let newest = others.enqueue("theirs", 3).await;
        newest.unwrap();
        let revision = direct.get("x").await.unwrap().header.revision;
        direct.compact(revision).physical().await.unwrap();
        proxy.resume();
    };
    let error = soon(async { tokio::join!(queue.enqueue("ours", 3), compact) }).await.0.unwrap_err();
    assert!(error.may_have_taken_effect(), "{error}");
    assert_eq!(places(&direct, "q/").await, 3);
}

#[tokio::test]
async fn taking_over_cut_connections_loses_nothing_silently() {
    let server = TestServer::start().await;
    let direct = server.client().await;
    let proxy = Proxy::to(server.endpoint()).await;
    let client = Client::connect(config(proxy.endpoint())).await.unwrap();
    let queue = Queue::new(&client, "q");
    // Cut while it waits: it goes on.
    let waiting = tokio::spawn({
        let queue = queue.clone();
        async move { queue.dequeue().await.unwrap() }
    });
    proxy.cut();
    soon(client.get("x")).await.unwrap();
    Queue::new(&direct, "q").enqueue("one").await.unwrap();
    assert_eq!(soon(waiting).await.unwrap(), "one");
    // The answer to the taking is lost: the value is gone, and who has it is not known.
    direct.put("q/1", "two").await.unwrap();
    let lose = async {
        proxy.lose_answer(async || places(&direct, "q/").await == 0).await;
        proxy.resume();
    };
    let error = soon(async { tokio::join!(queue.dequeue(), lose) }).await.0.unwrap_err();
    assert!(error.may_have_taken_effect(), "{error}");
}

#[tokio::test]
async fn a_value_that_is_taken_for_nobody_goes_to_the_next() {
    let server = TestServer::start().await;
    let direct = server.client().await;
    let proxy = Proxy::to(server.endpoint()).await;
    let client = Client::connect(config(proxy.endpoint())).await.unwrap();
    let give_up = async |queue: Queue| {
        direct.txn().and_then([Op::put("q/1", "one"), Op::put("q/2", "two")]).commit().await.unwrap();
        let taking = tokio::spawn(async move { queue.dequeue().await });
        proxy.hold_answer(async || places(&direct, "q/").await == 1).await;
        taking.abort();
        assert!(taking.await.unwrap_err().is_cancelled());
        proxy.resume();
    };
    let queue = Queue::new(&client, "q");
    give_up(queue.clone()).await;
    let mut values = [soon(queue.dequeue()).await.unwrap(), soon(queue.dequeue()).await.unwrap()];
    values.sort();
    assert_eq!(values, ["one", "two"]);
    // Nobody is left to give it to: it goes back.
    drop(queue);
    give_up(Queue::new(&client, "q")).await;
    let pairs = stand_in_line(&direct, "q/", 2).await;
    assert_eq!(
        (&pairs[0].key, &pairs[1].key, &pairs[1].value),
        (&"q/2".into(), &"q/1".into(), &"one".into())
    );
}
