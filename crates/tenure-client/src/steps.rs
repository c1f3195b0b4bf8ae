//! Streams that are made by taking one step after the other.

use crate::Result;
use futures::{StreamExt, stream::BoxStream, stream::unfold};
use std::future::Future;

/// What tells one thing after the other.
pub(crate) trait Steps: Send + 'static {
    type Item: 'static;

    /// The next thing; nothing at the end.
    fn step(&mut self) -> impl Future<Output = Option<Result<Self::Item>>> + Send;
}

/// What is told, as a stream. It ends after an error. A step that was begun goes on with the next poll, so whoever waits for
/// an item may stop waiting and lose nothing.
pub(crate) fn stream<S: Steps>(steps: S) -> BoxStream<'static, Result<S::Item>> {
    let told = unfold(Some(steps), |steps| async {
        let mut steps = steps?;
        match steps.step().await? {
            Ok(item) => Some((Ok(item), Some(steps))),
            Err(error) => Some((Err(error), None)),
        }
    });
    told.boxed()
}

/// Gives a type whose field `items` is such a stream the methods of a stream, with an inherent `next`.
macro_rules! told {
    ($name:ident: $item:ty, $(#[$doc:meta])*) => {
        impl $name {
            $(#[$doc])*
            pub async fn next(&mut self) -> Option<$crate::Result<$item>> {
                futures::StreamExt::next(&mut self.items).await
            }
        }

        impl futures::Stream for $name {
            type Item = $crate::Result<$item>;

            fn poll_next(
                mut self: std::pin::Pin<&mut Self>,
                cx: &mut std::task::Context<'_>,
            ) -> std::task::Poll<Option<Self::Item>> {
                futures::StreamExt::poll_next_unpin(&mut self.items, cx)
            }
        }

        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.debug_struct(stringify!($name)).finish_non_exhaustive()
            }
        }
    };
}

pub(crate) use told;
