//! Watches: streams of changes that survive whatever happens to connections and servers.
//!
//! * `options`: what to watch, and how: [`Watch`].
//! * `stream`: what the user reads: [`WatchStream`].
//! * `response`: what is told: [`WatchResponse`], [`Event`].
//! * `watcher`: what concerns all watches of a client: [`Watcher`].
//! * `cursor`: how far one watch has come. Drops what it was told before, merges fragments.
//! * `queue`: what one watch was told and its user has not read. Bounded.
//! * `machine`: all watches of one gRPC stream, as a state machine without time, tasks and connections.
//! * `progress`: what answers to the question for progress are worth.
//! * `hub`: the machine, and the task that connects it to servers.

mod cursor;
mod hub;
mod machine;
mod options;
mod progress;
mod queue;
mod reason;
mod response;
mod stream;
mod watcher;

pub(crate) use hub::Watches;
pub use options::Watch;
pub use response::{Event, EventKind, WatchResponse};
pub use stream::WatchStream;
pub use watcher::Watcher;

/// Responses that wait for the user of one watch.
const QUEUED_RESPONSES_MAX: usize = 8_192;

/// Bytes that wait for the user of one watch. One response may be larger: then it waits alone.
const QUEUED_BYTES_MAX: usize = 8 << 20;

/// Bytes of fragments that are put together. Of longer series, whole revisions are told before the end has come.
const MERGED_BYTES_MAX: usize = 16 << 20;

/// Requests for watches that a stream carries before the first of them is answered.
const CREATES_IN_FLIGHT_MAX: usize = 256;
