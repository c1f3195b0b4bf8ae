//! What keeps the copy up to date: a read of everything, and the watch after it.

use super::{Shared, replica::OutOfOrder};
use crate::{Error, KeyRange, Result, WatchResponse, WatchStream, mirror::Syncer};
use backon::{BackoffBuilder, ExponentialBuilder};
use futures::{StreamExt, pin_mut};
use std::sync::Arc;
use tokio::time::{Instant, sleep, sleep_until, timeout};

/// Why following has ended.
enum Ended {
    /// Something is in the way: what there is stays good.
    Failed(Error),
    /// What there is cannot be brought up to date.
    Useless(Error),
    /// The client is closed.
    Closed,
}

impl From<Error> for Ended {
    fn from(error: Error) -> Self {
        match error {
            Error::Closed => Ended::Closed,
            Error::Compacted { .. } => Ended::Useless(error),
            error => Ended::Failed(error),
        }
    }
}

impl From<OutOfOrder> for Ended {
    fn from(error: OutOfOrder) -> Self {
        tracing::warn!(%error, "the cache is filled anew");
        Ended::Useless(Error::Protocol("a watch that goes back in time"))
    }
}

/// Copies and follows until the cache is closed.
pub(super) async fn follow(shared: Arc<Shared>) {
    tokio::select! {
        () = follow_on(&shared) => shared.progress.close(),
        () = shared.progress.closed() => {}
    }
}

async fn follow_on(shared: &Shared) {
    let pauses = || {
        let (min, max) = (shared.config.backoff_min, shared.config.backoff_max);
        let builder = ExponentialBuilder::default().with_min_delay(min).with_max_delay(max).with_factor(2.0);
        builder.with_jitter().without_max_times().build()
    };
    let mut pause = pauses();
    let mut is_useful = false;
    loop {
        let ended = attempt(shared, &mut is_useful).await;
        if shared.progress.is_ready() {
            pause = pauses();
        }
        match ended {
            Ended::Closed => return,
            Ended::Useless(error) => {
                is_useful = false;
                shared.progress.failed(&error);
            }
            Ended::Failed(error) => shared.progress.failed(&error),
        }
        tracing::debug!(reason = %shared.progress.reason(), "the cache does not follow the server");
        sleep(pause.next().unwrap_or(shared.config.backoff_max)).await;
    }
}

/// Copies everything unless what there is can be brought up to date, and follows.
async fn attempt(shared: &Shared, is_useful: &mut bool) -> Ended {
    if !*is_useful {
        if let Err(ended) = copy(shared).await {
            return ended;
        }
        *is_useful = true;
    }
    let KeyRange { key, end } = shared.range.clone();
    let next = shared.replica.read().revision() + 1;
    let watch = shared.client.watch(key).range_end(end).start_revision(next).progress_notify();
    match watch.await {
        Ok(changes) => {
            shared.progress.is_following();
            follow_changes(shared, changes).await
        }
        Err(error) => error.into(),
    }
}

async fn copy(shared: &Shared) -> Result<(), Ended> {
    let syncer = Syncer::of(&shared.client, shared.range.clone());
    let pages = syncer.sync_base();
    pin_mut!(pages);
    let (mut pairs, mut header) = (Vec::new(), None);
    let waited = shared.config.page_timeout;
    while let Some(page) = timeout(waited, pages.next()).await.unwrap_or(Some(Err(Error::Timeout { waited })))
    {
        // A compaction between two pages: the next attempt begins with a newer revision.
        let page = page.map_err(Ended::from)?;
        pairs.extend(page.kvs);
        header.get_or_insert(page.header);
    }
    let header = header.ok_or(Ended::Failed(Error::Protocol("a read without an answer")))?;
    shared.replica.write().restore(pairs, header);
    shared.progress.moved(header.revision, false);
    Ok(())
}

async fn follow_changes(shared: &Shared, mut changes: WatchStream) -> Ended {
    let mut asked: Option<Instant> = None;
    let interval = shared.config.progress_request_interval;
    loop {
        let again = sleep_until(asked.unwrap_or_else(Instant::now) + interval);
        let response = tokio::select! {
            response = changes.next() => response,
            () = shared.progress.wanted(), if asked.is_none() => {
                asked = Some(Instant::now());
                changes.request_progress().await;
                continue;
            }
            () = again, if asked.is_some() => {
                asked = Some(Instant::now());
                changes.request_progress().await;
                continue;
            }
        };
        let ended = match response {
            None => Ended::Closed,
            Some(Err(error)) => error.into(),
            Some(Ok(response)) => match take(shared, response, &mut asked) {
                Ok(()) => continue,
                Err(out_of_order) => out_of_order.into(),
            },
        };
        return ended;
    }
}

fn take(shared: &Shared, response: WatchResponse, asked: &mut Option<Instant>) -> Result<(), OutOfOrder> {
    let is_answer = response.is_progress_notify() && asked.take().is_some();
    let revision = {
        let mut replica = shared.replica.write();
        replica.apply(response)?;
        replica.revision()
    };
    shared.progress.moved(revision, is_answer);
    Ok(())
}
