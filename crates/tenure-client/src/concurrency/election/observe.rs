//! Telling who leads.

use super::{LeaderResponse, leaders::Leaders};
use crate::{
    Client, Error, Result, WatchStream,
    concurrency::line::Patience,
    steps::{self, Steps, told},
};
use bytes::Bytes;
use futures::stream::BoxStream;
use std::collections::VecDeque;

/// Who leads, and who leads after him, from [`Election::observe`](super::Election::observe).
///
/// The first item is the leader of the moment, if there is one. Then comes each leader as soon as he leads, and again each time
/// that he proclaims something: every one of them, in order, and once. Lost connections leave no gaps; only if the history
/// between is compacted away meanwhile are those leaders left out that led in between.
///
/// It ends with an error when the server refuses to go on, for instance with
/// [`PermissionDenied`](crate::EtcdError::PermissionDenied), or the client is closed.
///
/// ```no_run
/// # async fn example(election: &tenure_client::concurrency::Election) -> tenure_client::Result<()> {
/// use futures::StreamExt;
///
/// // Only who leads, without what each of them proclaims.
/// let mut leaders = election.observe();
/// let mut last = None;
/// while let Some(leader) = StreamExt::next(&mut leaders).await {
///     let leader = leader?.kv;
///     if last.replace(leader.create_revision) != Some(leader.create_revision) {
///         println!("{} leads", leader.value_text());
///     }
/// }
/// # Ok(())
/// # }
/// ```
#[must_use = "dropping it ends it"]
pub struct LeaderStream {
    items: BoxStream<'static, Result<LeaderResponse>>,
}

impl LeaderStream {
    pub(super) fn new(client: Client, prefix: Bytes) -> Self {
        let (leaders, told) = (Leaders::default(), VecDeque::new());
        LeaderStream { items: steps::stream(Observer { client, prefix, leaders, changes: None, told }) }
    }
}

told! { LeaderStream: LeaderResponse,
    /// The next leader, or the next thing that the leader proclaims. Dropping the future loses nothing.
    ///
    /// ```no_run
    /// # async fn example(mut leaders: tenure_client::concurrency::LeaderStream) -> tenure_client::Result<()> {
    /// if let Some(leader) = leaders.next().await {
    ///     println!("{} leads", leader?.kv.value_text());
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Why it has ended: see [`LeaderStream`].
}

struct Observer {
    client: Client,
    prefix: Bytes,
    leaders: Leaders,
    /// What happens to the candidates; nothing if they must be read first.
    changes: Option<WatchStream>,
    /// What is still to be told. Bounded by what one response of the watch brings.
    told: VecDeque<LeaderResponse>,
}

impl Steps for Observer {
    type Item = LeaderResponse;

    async fn step(&mut self) -> Option<Result<LeaderResponse>> {
        Some(self.next().await)
    }
}

impl Observer {
    async fn next(&mut self) -> Result<LeaderResponse> {
        let mut patience = Patience::without_end(&self.client);
        loop {
            if let Some(told) = self.told.pop_front() {
                return Ok(told);
            }
            match self.advance().await {
                Ok(()) => {}
                Err(Error::Compacted { .. }) => self.changes = None,
                Err(error) => {
                    self.changes = None;
                    patience.after(error).await?;
                }
            }
        }
    }

    async fn advance(&mut self) -> Result<()> {
        let Some(changes) = &mut self.changes else {
            let now = self.client.get(&self.prefix).prefix().await?;
            let changes = self.client.watch(&self.prefix).prefix().start_revision(now.header.revision + 1);
            self.changes = Some(changes.await?);
            let led = self.leaders.known(now.header.revision, now.kvs);
            self.told.extend(led.map(|led| LeaderResponse::new(now.header, led)));
            return Ok(());
        };
        let response = changes.next().await.unwrap_or(Err(Error::Closed))?;
        let led = self.leaders.changed(response.events).into_iter();
        self.told.extend(led.map(|led| LeaderResponse::new(response.header, led)));
        Ok(())
    }
}
