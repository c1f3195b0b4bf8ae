//! Queues.
//!
//! * `claim`: taking a value so that nobody else has it, and nobody loses it.
//! * `priority`: the queue with priorities.

mod claim;
mod priority;

pub use priority::PriorityQueue;

use super::line;
use crate::{Client, Compare, IntoBytes, Op, Result, kv::Get};
use bytes::Bytes;
use claim::Claims;
use std::sync::Arc;

/// A queue over all programs of a cluster, with the layout of etcd's recipe: each value is a key `PREFIX/TIME`, and the one
/// that was put first is taken first.
///
/// ```no_run
/// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
/// use tenure_client::concurrency::Queue;
///
/// let queue = Queue::new(&client, "jobs");
/// queue.enqueue("sweep the floor").await?;
/// let job = queue.dequeue().await?;
/// assert_eq!(job, "sweep the floor");
/// # Ok(())
/// # }
/// ```
///
/// Each value is taken by one; whoever has taken it and fails has lost it. Clones share what was taken for a future that was
/// dropped: see [`Queue::dequeue`].
#[derive(Clone, Debug)]
pub struct Queue {
    claims: Arc<Claims>,
    prefix: Bytes,
}

impl Queue {
    /// The queue of this name. Nothing is asked of the server yet.
    ///
    /// ```no_run
    /// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
    /// use tenure_client::concurrency::Queue;
    ///
    /// let queue = Queue::new(&client, "jobs");
    /// # drop(queue);
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn new(client: &Client, prefix: impl IntoBytes) -> Self {
        Queue { claims: Arc::new(Claims::new(client.clone())), prefix: line::prefix_of(prefix) }
    }

    /// Puts a value at the end. If the future is dropped it may be put or not.
    ///
    /// ```no_run
    /// # async fn example(queue: &tenure_client::concurrency::Queue) -> tenure_client::Result<()> {
    /// for job in ["sweep the floor", "water the plants"] {
    ///     queue.enqueue(job).await?;
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Those of a transaction. If the answer is lost, the value is looked for, and if it is there this is no error. If it
    /// is not, nobody can say whether it was never put, or has been taken already: then the error that [may have taken
    /// effect](crate::Error::may_have_taken_effect) is told.
    pub async fn enqueue(&self, value: impl IntoBytes) -> Result<()> {
        let (client, value) = (self.claims.client(), value.into_bytes());
        loop {
            let key = line::unique_key(&self.prefix);
            let txn = Op::txn().when([Compare::missing(&key)]).and_then([Op::put(&key, &value)]);
            match client.execute(txn).await {
                Ok(response) if response.succeeded => return Ok(()),
                // Another program has used the same time.
                Ok(_) => {}
                Err(error) if error.may_have_taken_effect() => {
                    let now = client.get(&key).await;
                    let is_there = now.is_ok_and(|now| now.first().is_some_and(|pair| pair.value == value));
                    return if is_there { Ok(()) } else { Err(error) };
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Takes the first value; waits for one if there is none. Waiting goes on through lost connections.
    ///
    /// Dropping the future loses nothing: if it was just about to take a value, that is given to the next call on this
    /// queue or a clone of it, or put back, at the end, once the last clone is dropped.
    ///
    /// ```no_run
    /// # async fn example(queue: &tenure_client::concurrency::Queue) -> tenure_client::Result<()> {
    /// use std::time::Duration;
    ///
    /// while let Ok(job) = tokio::time::timeout(Duration::from_secs(60), queue.dequeue()).await {
    ///     println!("{}", String::from_utf8_lossy(&job?));
    /// }
    /// println!("nothing to do for a minute");
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// What the server refuses, and [`Closed`](crate::Error::Closed). If the answer to the taking is lost, the value is looked for, and if
    /// it is still there it is taken again. If it is not, nobody can say who has it: then the error that [may have taken
    /// effect](crate::Error::may_have_taken_effect) is told, and that value is perhaps lost.
    pub async fn dequeue(&self) -> Result<Bytes> {
        self.claims.take(&Get::new(&self.prefix).first_modified(), &self.prefix).await
    }
}
