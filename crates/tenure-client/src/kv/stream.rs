//! Reading a large range in parts.

use super::{Get, GetResponse};
use crate::{
    Client, Error, Result,
    error::Code,
    namespace::Namespace,
    rpc::{Answers, method},
};
use futures::{Stream, stream};
use std::sync::Arc;
use tenure_api::etcdserverpb as pb;

/// Keys of a part where the server does not make the parts itself.
const PAGE_KEYS: u32 = 1000;

/// Where a read in parts is.
enum Reading {
    /// Nothing has been asked yet.
    Start(Box<Get>),
    /// The server sends the parts (etcd 3.7 and later).
    Stream(Box<Answers<pb::RangeStreamResponse>>),
    /// One request a part, all at the revision of the first.
    Pages {
        next: Box<Get>,
        keys_left: Option<u64>,
    },
    End,
}

/// See [`Client::get_stream`].
pub(crate) fn get_stream(
    client: Client,
    get: Get,
) -> impl Stream<Item = Result<GetResponse>> + Send + Unpin + 'static {
    let parts = stream::unfold((client, Reading::Start(Box::new(get))), |(client, reading)| async move {
        match next(&client, reading).await {
            Ok(Some((part, reading))) => Some((Ok(part), (client, reading))),
            Ok(None) => None,
            Err(error) => Some((Err(error), (client, Reading::End))),
        }
    });
    Box::pin(parts)
}

async fn next(client: &Client, mut reading: Reading) -> Result<Option<(GetResponse, Reading)>> {
    loop {
        reading = match reading {
            Reading::End => return Ok(None),
            Reading::Start(get) => start(client, *get).await?,
            Reading::Stream(mut answers) => {
                let Some(part) = answers.next().await? else { return Ok(None) };
                let part = part.range_response.ok_or(Error::Protocol("a part of a range without content"))?;
                let part = stripped(client.namespace_of_keys(), part.into());
                return Ok(Some((part, Reading::Stream(answers))));
            }
            Reading::Pages { next, keys_left } => return page(client, *next, keys_left).await.map(Some),
        };
    }
}

fn stripped(namespace: Option<&Arc<Namespace>>, mut part: GetResponse) -> GetResponse {
    if let Some(namespace) = namespace {
        namespace.strip_pairs(&mut part.kvs);
    }
    part
}

/// Asks for a stream. A server that knows of none is asked for pages.
async fn start(client: &Client, get: Get) -> Result<Reading> {
    let full = match client.namespace_of_keys() {
        Some(namespace) => namespace.prefix_get(get.clone()),
        None => get.clone(),
    };
    let opened = client.rpc().server_stream(&method::RANGE_STREAM, &full.request()?).await;
    let mut answers: Answers<pb::RangeStreamResponse> = match opened {
        Ok(answers) => answers,
        Err(error) => return without_stream(error, get),
    };
    // Most servers say with the first answer that they do not know the method.
    let first = match answers.next().await {
        Ok(first) => first,
        Err(error) => return without_stream(error, get),
    };
    let Some(first) = first else { return Ok(Reading::End) };
    Ok(Reading::Stream(Box::new(answers.preceded_by(first))))
}

fn without_stream(error: Error, get: Get) -> Result<Reading> {
    let is_pageable = get.sort.is_none() && !get.is_count_only;
    match error {
        Error::Rpc { code: Code::Unimplemented, .. } if is_pageable => {
            let keys_left = (get.limit > 0).then_some(u64::from(get.limit));
            Ok(Reading::Pages { next: Box::new(get), keys_left })
        }
        error => Err(error),
    }
}

async fn page(client: &Client, get: Get, keys_left: Option<u64>) -> Result<(GetResponse, Reading)> {
    let keys = keys_left.unwrap_or(u64::MAX).min(u64::from(PAGE_KEYS));
    let keys = u32::try_from(keys).unwrap_or(PAGE_KEYS);
    let page = super::Call::new(client, get.clone().limit(keys)).await?;
    let keys_left = keys_left.map(|left| left.saturating_sub(page.kvs.len() as u64));
    let last = page.kvs.last().map(|pair| pair.key.clone());
    let reading = match last {
        Some(last) if page.more && keys_left != Some(0) => {
            let mut next = get;
            if next.revision == 0 {
                next.revision = page.header.revision;
            }
            // The first key after the last one that was told.
            next.range.key = [&last[..], b"\0"].concat().into();
            Reading::Pages { next: Box::new(next), keys_left }
        }
        _ => Reading::End,
    };
    Ok((page, reading))
}
