//! How far one watch has come.

use super::{Event, MERGED_BYTES_MAX, WatchResponse};
use crate::{Error, ResponseHeader, Result, Revision, types::header};
use tenure_api::etcdserverpb as pb;

/// What is known of one watch whatever happens to its stream: which revision it needs next. And the fragments that wait for
/// their rest, which are lost with the stream.
#[derive(Debug, Default)]
pub(super) struct Cursor {
    /// The first revision that has not been told. Nothing as long as the watch starts at "now" and nobody knows when that is.
    next: Option<Revision>,
    fragments: Vec<Event>,
    fragment_bytes: usize,
}

/// A response for the user.
#[derive(Debug, PartialEq)]
pub(super) struct Told {
    pub response: WatchResponse,
    /// What it takes in memory, roughly.
    pub bytes: usize,
    /// What the watch needs next once it is told.
    pub next: Revision,
}

impl Cursor {
    /// Of a watch that starts at this revision, or at "now" if it is 0.
    pub(super) fn starting_at(revision: Revision) -> Self {
        Cursor { next: (revision > 0).then_some(revision), ..Cursor::default() }
    }

    /// What to ask the server for.
    pub(super) fn start_revision(&self) -> Revision {
        self.next.unwrap_or(0)
    }

    /// The last revision up to which everything is told; 0 if that is not known yet.
    pub(super) fn told(&self) -> Revision {
        self.next.map_or(0, |next| next - 1)
    }

    /// Fragments wait for their rest.
    pub(super) fn is_in_series(&self) -> bool {
        !self.fragments.is_empty()
    }

    /// The server has taken the watch when its store was at `revision`.
    pub(super) fn created_at(&mut self, revision: Revision) {
        self.next.get_or_insert(after(revision));
    }

    /// Everything before `next` is told.
    pub(super) fn advance(&mut self, next: Revision) {
        self.next = Some(self.next.map_or(next, |known| known.max(next)));
    }

    /// The stream is gone, or the watch was cancelled on it: the rest of a series will not come.
    pub(super) fn interrupt(&mut self) {
        self.fragments = Vec::new();
        self.fragment_bytes = 0;
    }

    /// Takes events from the server. What it returns counts as told only when [`Cursor::advance`] says so.
    ///
    /// Events that were told before, or are out of order, are left out.
    ///
    /// # Errors
    /// The events make no sense, or those of one revision are more than can be held.
    pub(super) fn take(
        &mut self,
        response: pb::WatchResponse,
        revision_bytes_max: usize,
    ) -> Result<Option<Told>> {
        let header = header(response.header);
        let mut floor = self.fragments.last().map_or(self.start_revision(), |event| event.kv.mod_revision);
        for event in response.events {
            let event = Event::from_wire(event)
                .ok_or(Error::Protocol("an event without a pair, or of a kind that is not known"))?;
            if event.kv.mod_revision >= floor {
                floor = event.kv.mod_revision;
                self.fragment_bytes += event.bytes();
                self.fragments.push(event);
            }
        }
        if !response.fragment {
            let events = std::mem::take(&mut self.fragments);
            let bytes = std::mem::take(&mut self.fragment_bytes);
            return Ok(told(header, events, bytes));
        }
        if self.fragment_bytes <= MERGED_BYTES_MAX {
            return Ok(None);
        }
        self.take_whole_revisions(header, revision_bytes_max)
    }

    /// The series is long: what is whole of it. Its last revision may go on in the next fragment.
    fn take_whole_revisions(
        &mut self,
        header: ResponseHeader,
        revision_bytes_max: usize,
    ) -> Result<Option<Told>> {
        let last = self.fragments.last().map_or(0, |event| event.kv.mod_revision);
        let whole = self.fragments.partition_point(|event| event.kv.mod_revision < last);
        let rest = self.fragments.split_off(whole);
        let events = std::mem::replace(&mut self.fragments, rest);
        let bytes = events.iter().map(Event::bytes).sum();
        self.fragment_bytes -= bytes;
        if self.fragment_bytes > revision_bytes_max {
            return Err(Error::Rpc {
                code: crate::Code::ResourceExhausted,
                message: format!(
                    "the events of revision {last} have more than {revision_bytes_max} bytes: raise response_bytes_max, \
                     or watch without prev_kv or a smaller range"
                ),
            });
        }
        Ok(told(header, events, bytes))
    }
}

fn told(header: ResponseHeader, events: Vec<Event>, bytes: usize) -> Option<Told> {
    let next = after(events.last()?.kv.mod_revision);
    let bytes = bytes + size_of::<WatchResponse>();
    Some(Told { response: WatchResponse { header, events, created: false }, bytes, next })
}

/// The revision after this one.
pub(super) fn after(revision: Revision) -> Revision {
    revision.max(0).saturating_add(1)
}
