//! Reading a large range in parts.

use super::{Get, GetResponse};
use crate::{
    Client, Error, ResponseHeader, Result,
    error::Code,
    namespace::Namespace,
    rpc::{Answers, method},
    steps::{self, Steps},
};
use futures::stream::BoxStream;
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
    Pages(Box<Pages>),
    End,
}

/// What is still to be asked for, page by page.
struct Pages {
    next: Get,
    keys_left: Option<u64>,
    /// Header and count of the first page, which are those of the whole.
    whole: Option<(ResponseHeader, u64)>,
}

/// The parts of a range, all of one revision; from [`Client::get_stream`]. It ends after an error.
///
/// ```no_run
/// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
/// use tenure_client::Op;
///
/// let mut parts = client.get_stream(Op::get("logs/").prefix());
/// let mut bytes = 0;
/// while let Some(part) = parts.next().await {
///     bytes += part?.kvs.iter().map(|pair| pair.value.len()).sum::<usize>();
/// }
/// println!("{bytes} bytes of logs");
/// # Ok(())
/// # }
/// ```
#[must_use = "nothing is read until it is asked for"]
pub struct GetStream {
    items: BoxStream<'static, Result<GetResponse>>,
}

impl GetStream {
    pub(crate) fn new(client: Client, get: Get) -> Self {
        GetStream { items: steps::stream(Parts { client, reading: Reading::Start(Box::new(get)) }) }
    }
}

steps::told! {
    GetStream: GetResponse,
    /// The next part; nothing after the last one. Dropping the future loses nothing.
    ///
    /// ```no_run
    /// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
    /// use tenure_client::Op;
    ///
    /// let mut parts = client.get_stream(Op::get("logs/").prefix());
    /// if let Some(first) = parts.next().await {
    ///     println!("{} pairs, and there may be more", first?.kvs.len());
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`Client::get`].
}

struct Parts {
    client: Client,
    reading: Reading,
}

impl Steps for Parts {
    type Item = GetResponse;

    async fn step(&mut self) -> Option<Result<GetResponse>> {
        let reading = std::mem::replace(&mut self.reading, Reading::End);
        let (part, reading) = next(&self.client, reading)
            .await
            .transpose()?
            .map_or_else(|error| (Err(error), Reading::End), |(part, reading)| (Ok(part), reading));
        self.reading = reading;
        Some(part)
    }
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
            Reading::Pages(pages) => return page(client, *pages).await.map(Some),
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
            Ok(Reading::Pages(Box::new(Pages { next: get, keys_left, whole: None })))
        }
        error => Err(error),
    }
}

/// Asks for a page. The last one gets the header and the count of the first: the store may have gone on meanwhile, and whoever
/// watches from there must miss nothing.
async fn page(client: &Client, pages: Pages) -> Result<(GetResponse, Reading)> {
    let Pages { mut next, keys_left, whole } = pages;
    let keys = keys_left.unwrap_or(u64::MAX).min(u64::from(PAGE_KEYS));
    let keys = u32::try_from(keys).unwrap_or(PAGE_KEYS);
    let mut page = super::Call::new(client, next.clone().limit(keys)).await?;
    let keys_left = keys_left.map(|left| left.saturating_sub(page.kvs.len() as u64));
    let (header, count) = whole.unwrap_or((page.header, page.count));
    match page.kvs.last() {
        Some(last) if page.more && keys_left != Some(0) => {
            if next.revision == 0 {
                next.revision = header.revision;
            }
            next.range = next.range.after(&last.key);
            let part = GetResponse { kvs: page.kvs, ..GetResponse::default() };
            let pages = Pages { next, keys_left, whole: Some((header, count)) };
            Ok((part, Reading::Pages(Box::new(pages))))
        }
        _ => {
            (page.header, page.count) = (header, count);
            Ok((page, Reading::End))
        }
    }
}
