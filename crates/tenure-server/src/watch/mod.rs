//! Watching: a watcher is a cursor.
//!
//! * `event`: an event, encoded once for everybody.
//! * `index`: which watchers an event touches.
//! * `hub`: the cursor that follows the newest revisions and delivers to mailboxes.
//! * `mailbox`: what waits for one stream, bounded.
//! * `catch_up`: how a watcher that is behind reads history.
//!
//! The gRPC side is `rpc/watch.rs`.

pub mod catch_up;
pub mod event;
pub mod hub;
pub mod index;
pub mod mailbox;

#[cfg(test)]
mod tests;
