//! The queue with priorities.

use super::claim::Claims;
use crate::{
    Client, Compare, Error, IntoBytes, KeyValue, Op, Result, Revision,
    concurrency::line::{self, Patience},
    kv::Get,
};
use bytes::Bytes;
use std::sync::Arc;

/// A queue with priorities over all programs of a cluster, with the layout of etcd's recipe: each value is a key
/// `PREFIX/PRIORITY/NUMBER`, and the smallest is taken first. So 0 is the most urgent priority, and values of the same one
/// are taken in the order in which they were put.
///
/// ```no_run
/// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
/// use tenure_client::concurrency::PriorityQueue;
///
/// let queue = PriorityQueue::new(&client, "jobs");
/// queue.enqueue("sweep the floor", 10).await?;
/// queue.enqueue("put out the fire", 0).await?;
/// assert_eq!(queue.dequeue().await?, "put out the fire");
/// # Ok(())
/// # }
/// ```
///
/// For each priority there is a key `__PREFIX/PRIORITY` that stays: writing it with every value makes the numbers grow.
/// Users need permissions for these keys as well.
#[derive(Clone, Debug)]
pub struct PriorityQueue {
    claims: Arc<Claims>,
    prefix: Bytes,
}

/// Where the next value of a priority goes.
struct End {
    revision: Revision,
    number: u64,
}

impl PriorityQueue {
    /// The queue of this name. Nothing is asked of the server yet.
    ///
    /// ```no_run
    /// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
    /// use tenure_client::concurrency::PriorityQueue;
    ///
    /// let queue = PriorityQueue::new(&client, "jobs");
    /// # drop(queue);
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn new(client: &Client, prefix: impl IntoBytes) -> Self {
        PriorityQueue { claims: Arc::new(Claims::new(client.clone())), prefix: line::prefix_of(prefix) }
    }

    /// Puts a value after all others of its priority; 0 is the most urgent one. If the future is dropped it may be put or not.
    ///
    /// If the answer is lost, it is found out whether the value was put, even if it has been taken meanwhile, and it is put
    /// if not.
    ///
    /// ```no_run
    /// # async fn example(queue: &tenure_client::concurrency::PriorityQueue) -> tenure_client::Result<()> {
    /// queue.enqueue("sweep the floor", 10).await?;
    /// queue.enqueue("put out the fire", 0).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Those of a transaction, and [`Error::Invalid`] if a key of this priority has no number. If the history that is
    /// needed after a lost answer is compacted, the error that [may have taken effect](Error::may_have_taken_effect) is
    /// told.
    pub async fn enqueue(&self, value: impl IntoBytes, priority: u16) -> Result<()> {
        let (client, value) = (self.claims.client(), value.into_bytes());
        let prefix = line::joined(&self.prefix, &format!("{priority:05}/"));
        let base = Bytes::from([b"__", &self.prefix[..], format!("{priority:05}").as_bytes()].concat());
        let mark = line::unique_value();
        let mut patience = Patience::bounded(client);
        // The revision before the first attempt without an answer, and why there was none.
        let mut doubt: Option<(Revision, Error)> = None;
        loop {
            let end = match end(client, &prefix).await {
                Ok(end) => end,
                Err(error) => {
                    patience.after(error).await?;
                    continue;
                }
            };
            if let Some((since, error)) = &doubt {
                // Read after the end: an earlier attempt that is not there by now makes the next one fail when it comes after all.
                let now = match client.execute(Get::new(&base)).await {
                    Ok(now) => now,
                    Err(error) => {
                        patience.after(error).await?;
                        continue;
                    }
                };
                match was_written(client, &base, &mark, *since, now.first()).await {
                    Ok(true) => return Ok(()),
                    Ok(false) => {}
                    Err(_) => return Err(error.clone()),
                }
            }
            let key = line::joined(&prefix, &format!("{:016}", end.number));
            // An attempt that arrives later than the next one finds that this does not hold.
            let txn = Op::txn()
                .when([Compare::mod_revision(&base).less(end.revision + 1)])
                .and_then([Op::put(&base, &mark), Op::put(&key, &value)]);
            match client.execute(txn).await {
                Ok(response) if response.succeeded => return Ok(()),
                Ok(_) => {}
                Err(error) => {
                    if error.may_have_taken_effect() && doubt.is_none() {
                        doubt = Some((end.revision, error.clone()));
                    }
                    patience.after(error).await?;
                }
            }
        }
    }

    /// Takes the first value of the most urgent priority; waits for one if there is none. Waiting goes on through lost
    /// connections.
    ///
    /// Dropping the future loses nothing: if it was just about to take a value, that is given to the next call on this
    /// queue or a clone of it, or put back at its place once the last clone is dropped.
    ///
    /// ```no_run
    /// # async fn example(queue: &tenure_client::concurrency::PriorityQueue) -> tenure_client::Result<()> {
    /// let most_urgent = queue.dequeue().await?;
    /// println!("{}", String::from_utf8_lossy(&most_urgent));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`Queue::dequeue`](super::Queue::dequeue).
    pub async fn dequeue(&self) -> Result<Bytes> {
        self.claims.take(&Get::new(&self.prefix).first_key(), &self.prefix).await
    }
}

async fn end(client: &Client, prefix: &Bytes) -> Result<End> {
    let last = client.execute(Get::new(prefix).last_key().keys_only()).await?;
    let number = match last.first() {
        None => 0,
        Some(last) => number_of(&last.key[prefix.len().min(last.key.len())..]).ok_or_else(|| {
            Error::invalid(format!(
                "{}: a key of a queue without a number: delete it",
                last.key.escape_ascii()
            ))
        })?,
    };
    Ok(End { revision: last.header.revision, number })
}

/// The number after that of a key.
fn number_of(name: &[u8]) -> Option<u64> {
    let number: u64 = std::str::from_utf8(name).ok()?.parse().ok()?;
    number.checked_add(1)
}

/// Whether `mark` was written to a key after a revision, by going back through its history.
async fn was_written(
    client: &Client,
    key: &Bytes,
    mark: &Bytes,
    since: Revision,
    now: Option<&KeyValue>,
) -> Result<bool> {
    let mut at = now.cloned();
    while let Some(pair) = at.filter(|pair| pair.mod_revision > since) {
        if pair.value == *mark {
            return Ok(true);
        }
        if pair.create_revision == pair.mod_revision {
            return Ok(false);
        }
        let before = client.execute(Get::new(key).revision(pair.mod_revision - 1)).await?;
        at = before.kvs.into_iter().next();
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_go_on() {
        assert_eq!(number_of(b"0000000000000000"), Some(1));
        assert_eq!(number_of(b"0000000000000041"), Some(42));
        assert_eq!(number_of(b"18446744073709551615"), None);
        assert_eq!(number_of(b"x"), None);
    }
}
