//! Reads that never go back in time, over several members.
//!
//! A serializable read is answered by one member from what it has. The next one may be answered by a member that is behind, and
//! so show an older state. [`OrderedKv`] remembers the newest revision that it has seen, and does not accept an older answer.

use crate::{
    Client, Error, Result, Revision,
    kv::{Kv, Op, OpResponse},
};
use std::{
    sync::atomic::{AtomicI64, Ordering},
    time::Duration,
};

/// How often all endpoints are asked before [`next_endpoint`] gives up.
const ROUNDS_MAX: u32 = 5;

/// The pause after the first round of endpoints; the one after round n is n times as long.
const ROUND_PAUSE: Duration = Duration::from_millis(10);

/// An answer that is older than what was seen before.
///
/// ```
/// use std::time::Duration;
/// use tenure_client::{Error, ordering::Violation};
///
/// /// A policy: waits for the member to catch up, for about a second.
/// fn patient(violation: &Violation<'_>) -> tenure_client::Result<Duration> {
///     if violation.attempts > 10 {
///         return Err(Error::NoGreaterRevision);
///     }
///     println!("revision {} after {}", violation.response.header().revision, violation.revision_seen);
///     Ok(Duration::from_millis(100))
/// }
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub struct Violation<'a> {
    /// What was asked. It reads only.
    pub op: &'a Op,
    /// The answer.
    pub response: &'a OpResponse,
    /// The newest revision that had been seen when the operation began.
    pub revision_seen: Revision,
    /// How many answers to this operation were too old, this one included.
    pub attempts: u32,
}

/// What to do about an answer that is too old: `Ok` with a pause asks again after it, an error is given to the caller.
///
/// ```
/// use std::time::Duration;
/// use tenure_client::{Error, Result, ordering::{Violation, ViolationPolicy}};
///
/// /// Fails after so many answers that are too old. A closure would do as well.
/// struct AttemptsMax(u32);
///
/// impl ViolationPolicy for AttemptsMax {
///     fn violated(&self, violation: &Violation<'_>) -> Result<Duration> {
///         if violation.attempts >= self.0 { Err(Error::NoGreaterRevision) } else { Ok(Duration::ZERO) }
///     }
/// }
/// ```
pub trait ViolationPolicy: Send + Sync {
    /// Decides.
    ///
    /// ```no_run
    /// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
    /// use std::time::Duration;
    /// use tenure_client::ordering::{OrderedKv, Violation};
    ///
    /// // Asks again after 10 ms, for as long as it takes.
    /// let ordered = OrderedKv::new(client, |_: &Violation<'_>| Ok(Duration::from_millis(10)));
    /// # drop(ordered);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// The caller gets the error instead of an answer.
    fn violated(&self, violation: &Violation<'_>) -> Result<Duration>;
}

impl<F: Fn(&Violation<'_>) -> Result<Duration> + Send + Sync> ViolationPolicy for F {
    fn violated(&self, violation: &Violation<'_>) -> Result<Duration> {
        self(violation)
    }
}

/// Asks the next endpoint, each of them five times at most, then fails with [`Error::NoGreaterRevision`]. As Go's
/// `NewOrderViolationSwitchEndpointClosure`, but counted for each operation by itself, and with a pause after each round.
///
/// ```no_run
/// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
/// use tenure_client::{Error, Kv, ordering::{OrderedKv, next_endpoint}};
///
/// let ordered = OrderedKv::new(client.clone(), next_endpoint(&client));
/// match ordered.get("mode").serializable().await {
///     Err(Error::NoGreaterRevision) => println!("all members that can be reached are behind"),
///     answer => println!("{:?}", answer?.first()),
/// }
/// # Ok(())
/// # }
/// ```
#[must_use]
pub fn next_endpoint(client: &Client) -> impl ViolationPolicy + Clone + use<> {
    let client = client.clone();
    move |violation: &Violation<'_>| {
        let endpoints = u32::try_from(client.endpoints().len().max(1)).unwrap_or(u32::MAX);
        switched(violation.attempts, endpoints)
    }
}

fn switched(attempts: u32, endpoints: u32) -> Result<Duration> {
    let rounds = attempts / endpoints;
    match attempts % endpoints {
        _ if rounds >= ROUNDS_MAX => Err(Error::NoGreaterRevision),
        0 => Ok(ROUND_PAUSE * rounds),
        _ => Ok(Duration::ZERO),
    }
}

/// A layer whose reads never show an older state than one that it has already shown, or written.
///
/// Every answer counts: of reads, writes and transactions. A write is never carried out again: its answer is passed on whatever
/// its revision is. Dropping a call gives it up; what was seen stays seen.
///
/// ```no_run
/// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
/// use tenure_client::{Kv, ordering::{OrderedKv, next_endpoint}};
///
/// let ordered = OrderedKv::new(client.clone(), next_endpoint(&client));
/// ordered.put("k", "v").await?;
/// // From the memory of one member, and yet not before the put.
/// let answer = ordered.get("k").serializable().await?;
/// assert_eq!(answer.kvs[0].value, "v");
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct OrderedKv<K, P> {
    kv: K,
    policy: P,
    revision_seen: AtomicI64,
}

impl<K: Kv, P: ViolationPolicy> OrderedKv<K, P> {
    /// A layer over `kv`. `policy` says what to do about an answer that is too old: [`next_endpoint`], or a closure.
    ///
    /// ```no_run
    /// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
    /// use tenure_client::ordering::{OrderedKv, next_endpoint};
    ///
    /// let policy = next_endpoint(&client);
    /// let ordered = OrderedKv::new(client, policy);
    /// # drop(ordered);
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn new(kv: K, policy: P) -> Self {
        OrderedKv { kv, policy, revision_seen: AtomicI64::new(0) }
    }

    /// The newest revision that was seen; 0 if there was none yet.
    ///
    /// ```no_run
    /// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
    /// use tenure_client::{Kv, ordering::{OrderedKv, next_endpoint}};
    ///
    /// let ordered = OrderedKv::new(client.clone(), next_endpoint(&client));
    /// let written = ordered.put("mode", "on").await?.header.revision;
    /// assert_eq!(ordered.revision_seen(), written);
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn revision_seen(&self) -> Revision {
        self.revision_seen.load(Ordering::Acquire)
    }

    /// Counts a revision as seen that came another way, as by a watch.
    ///
    /// ```no_run
    /// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
    /// use tenure_client::{Kv, ordering::{OrderedKv, next_endpoint}};
    ///
    /// let ordered = OrderedKv::new(client.clone(), next_endpoint(&client));
    /// let mut changes = client.watch("mode").await?;
    /// if let Some(response) = changes.next().await {
    ///     ordered.see(response?.header.revision);
    ///     // What was watched is there.
    ///     println!("{:?}", ordered.get("mode").serializable().await?.first());
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn see(&self, revision: Revision) {
        self.revision_seen.fetch_max(revision, Ordering::AcqRel);
    }
}

impl<K: Kv, P: ViolationPolicy> Kv for OrderedKv<K, P> {
    async fn execute_op(&self, op: Op) -> Result<OpResponse> {
        // What others see while this operation runs is no measure for it.
        let revision_seen = self.revision_seen();
        if !op.is_read_only() {
            let response = self.kv.execute_op(op).await?;
            self.see(revision_of(&response));
            return Ok(response);
        }
        let mut attempts = 0;
        loop {
            let response = self.kv.execute_op(op.clone()).await?;
            let revision = revision_of(&response);
            if revision >= revision_seen {
                self.see(revision);
                return Ok(response);
            }
            attempts += 1;
            let violation = Violation { op: &op, response: &response, revision_seen, attempts };
            let pause = self.policy.violated(&violation)?;
            if !pause.is_zero() {
                tokio::time::sleep(pause).await;
            }
        }
    }
}

/// The revision that an answer shows: that of its header, or of a read inside the transaction.
fn revision_of(response: &OpResponse) -> Revision {
    let nested = match response {
        OpResponse::Txn(txn) => txn.responses.iter().map(revision_of).max().unwrap_or(0),
        _ => 0,
    };
    response.header().revision.max(nested)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{GetResponse, ResponseHeader, TxnResponse};
    use parking_lot::Mutex;
    use std::{collections::VecDeque, sync::Arc};

    /// Answers with these revisions, one after the other.
    struct Script(Mutex<VecDeque<Revision>>);

    impl Script {
        fn new(revisions: impl IntoIterator<Item = Revision>) -> Self {
            Script(Mutex::new(revisions.into_iter().collect()))
        }
    }

    fn header(revision: Revision) -> ResponseHeader {
        ResponseHeader { revision, ..ResponseHeader::default() }
    }

    impl Kv for Script {
        async fn execute_op(&self, op: Op) -> Result<OpResponse> {
            let revision = self.0.lock().pop_front().expect("no more answers");
            let get = OpResponse::Get(GetResponse { header: header(revision), ..GetResponse::default() });
            Ok(match op {
                Op::Txn(_) => OpResponse::Txn(TxnResponse { responses: vec![get], ..TxnResponse::default() }),
                Op::Put(_) => OpResponse::Put(crate::PutResponse { header: header(revision), prev_kv: None }),
                _ => get,
            })
        }
    }

    fn thrice(violation: &Violation<'_>) -> Result<Duration> {
        if violation.attempts < 3 { Ok(Duration::ZERO) } else { Err(Error::NoGreaterRevision) }
    }

    #[tokio::test]
    async fn an_older_answer_is_asked_for_again() {
        let ordered = OrderedKv::new(Script::new([5, 4, 3, 6]), thrice);
        assert_eq!(ordered.get("k").await.unwrap().header.revision, 5);
        assert_eq!(ordered.get("k").await.unwrap().header.revision, 6);
        assert_eq!(ordered.revision_seen(), 6);
    }

    #[tokio::test]
    async fn a_layer_may_borrow_or_share_what_it_is_over() {
        let script = Arc::new(Script::new([5, 6, 4, 7]));
        let ordered = Arc::new(OrderedKv::new(script.clone(), thrice));
        assert_eq!(ordered.get("k").await.unwrap().header.revision, 5);
        let outer = OrderedKv::new(ordered.clone(), thrice);
        assert_eq!(outer.get("k").await.unwrap().header.revision, 6);
        assert_eq!(ordered.revision_seen(), 6);
        let borrowing = OrderedKv::new(&*script, thrice);
        assert_eq!(borrowing.get("k").await.unwrap().header.revision, 4);
    }

    #[tokio::test]
    async fn the_policy_ends_it() {
        let ordered = OrderedKv::new(Script::new([5, 4, 4, 4]), thrice);
        ordered.get("k").await.unwrap();
        assert!(matches!(ordered.get("k").await, Err(Error::NoGreaterRevision)));
        assert_eq!(ordered.revision_seen(), 5);
    }

    #[tokio::test]
    async fn reads_inside_transactions_count() {
        let ordered = OrderedKv::new(Script::new([7, 6, 8]), thrice);
        ordered.txn().and_then([Op::get("k")]).commit().await.unwrap();
        assert_eq!(ordered.revision_seen(), 7);
        ordered.txn().and_then([Op::get("k")]).commit().await.unwrap();
        assert_eq!(ordered.revision_seen(), 8);
    }

    #[tokio::test]
    async fn a_write_counts_and_is_not_repeated() {
        let ordered = OrderedKv::new(Script::new([9, 2, 3, 10]), thrice);
        ordered.put("k", "v").await.unwrap();
        assert_eq!(ordered.put("k", "v").await.unwrap().header.revision, 2);
        assert_eq!(ordered.get("k").await.unwrap().header.revision, 10);
    }

    #[test]
    fn each_endpoint_is_asked_five_times() {
        let pauses: Vec<_> = (1..=10).map(|attempts| switched(attempts, 2)).collect();
        assert!(pauses[..9].iter().all(Result::is_ok));
        assert!(matches!(pauses[9], Err(Error::NoGreaterRevision)));
        assert_eq!(pauses[0].as_ref().unwrap(), &Duration::ZERO);
        assert_eq!(pauses[1].as_ref().unwrap(), &ROUND_PAUSE);
        assert_eq!(pauses[3].as_ref().unwrap(), &(ROUND_PAUSE * 2));
    }
}
