//! Waiting for one.

use super::line::{self, Patience};
use crate::{Client, Compare, Error, IntoBytes, Op, Result, kv::Get};
use bytes::Bytes;

/// A barrier that one holds and releases, and any number wait for, with the layout of etcd's recipe: the barrier is held as
/// long as its key exists. Anybody may release it.
///
/// ```no_run
/// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
/// use tenure_client::concurrency::Barrier;
///
/// let barrier = Barrier::new(&client, "migration");
/// barrier.hold().await?;
/// let waits = Barrier::new(&client, "migration");
/// let waiting = tokio::spawn(async move { waits.wait().await });
/// barrier.release().await?;
/// # drop(waiting);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Barrier {
    client: Client,
    key: Bytes,
}

impl Barrier {
    /// The barrier with this key. Nothing is asked of the server yet.
    ///
    /// ```no_run
    /// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
    /// use tenure_client::concurrency::Barrier;
    ///
    /// let barrier = Barrier::new(&client, "migration");
    /// # drop(barrier);
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn new(client: &Client, key: impl IntoBytes) -> Self {
        Barrier { client: client.clone(), key: key.into_bytes() }
    }

    /// Raises the barrier. It stays until it is released: it has no lease. If the answer is lost, it is found out whether the
    /// barrier was raised. If the future is dropped it may be raised or not.
    ///
    /// ```no_run
    /// # async fn example(barrier: &tenure_client::concurrency::Barrier) -> tenure_client::Result<()> {
    /// use tenure_client::Error;
    ///
    /// match barrier.hold().await {
    ///     Err(Error::KeyExists) => println!("somebody else holds it"),
    ///     held => held?,
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::KeyExists`] if it is held already; and those of a transaction.
    pub async fn hold(&self) -> Result<()> {
        let value = line::unique_value();
        let mut patience = Patience::bounded(&self.client);
        let mut is_in_doubt = false;
        loop {
            let txn = Op::txn()
                .when([Compare::missing(&self.key)])
                .and_then([Op::put(&self.key, &value)])
                .or_else([Op::get(&self.key)]);
            let response = match self.client.execute(txn).await {
                Ok(response) => response,
                Err(error) => {
                    is_in_doubt |= error.may_have_taken_effect();
                    patience.after(error).await?;
                    continue;
                }
            };
            let found = response.responses.first().and_then(|response| response.as_get());
            let is_ours =
                is_in_doubt && found.and_then(|found| found.first()).is_some_and(|pair| pair.value == value);
            return if response.succeeded || is_ours { Ok(()) } else { Err(Error::KeyExists) };
        }
    }

    /// Lets everybody pass. That it is not held is no error. If the answer is lost, the barrier is released all the same,
    /// but not one that was raised later. If the future is dropped it may be released or not.
    ///
    /// ```no_run
    /// # async fn example(barrier: &tenure_client::concurrency::Barrier) -> tenure_client::Result<()> {
    /// barrier.hold().await?;
    /// // What nobody may see half done.
    /// barrier.release().await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Those of a transaction.
    pub async fn release(&self) -> Result<()> {
        let now = self.client.get(&self.key).keys_only().await?;
        let Some(pair) = now.first() else { return Ok(()) };
        let mut patience = Patience::bounded(&self.client);
        loop {
            let txn = Op::txn()
                .when([Compare::create_revision(&self.key).equal(pair.create_revision)])
                .and_then([Op::delete(&self.key)]);
            match self.client.execute(txn).await {
                Ok(_) => return Ok(()),
                Err(error) => patience.after(error).await?,
            }
        }
    }

    /// Waits until the barrier is not held. Goes on through lost connections; dropping the future has no effect.
    ///
    /// ```no_run
    /// # async fn example(barrier: &tenure_client::concurrency::Barrier) -> tenure_client::Result<()> {
    /// use std::time::Duration;
    ///
    /// match tokio::time::timeout(Duration::from_secs(60), barrier.wait()).await {
    ///     Ok(passed) => passed?,
    ///     Err(_) => println!("it is still held"),
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// What the server refuses, and [`Error::Closed`].
    pub async fn wait(&self) -> Result<()> {
        let mut patience = Patience::without_end(&self.client);
        loop {
            match self.wait_once().await {
                Ok(true) => return Ok(()),
                Ok(false) => {}
                Err(error) => patience.after(error).await?,
            }
        }
    }

    /// Whether it was seen not to be held.
    async fn wait_once(&self) -> Result<bool> {
        let now = self.client.execute(Get::new(&self.key).keys_only()).await?;
        if now.first().is_none() {
            return Ok(true);
        }
        line::deleted(&self.client, &self.key, now.header.revision + 1).await
    }
}
