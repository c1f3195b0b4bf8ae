//! Answers to the question how far all watches of a stream have come.
//!
//! The answer names no watch and no question, and a server that has to send older events first gives none at all. So an answer
//! may be of a question that was asked before a watch was created; then it says nothing of that watch, which may still lack
//! events of earlier revisions. An answer is of a watch if its revision is later than the one at which the watch was created,
//! or if there have been more answers than questions from before the watch.
//!
//! etcd before 3.4.25 and 3.5.8 answers always, and lets the answer overtake events: it says nothing of any watch.

use crate::Revision;

/// What answers of a server mean.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum AnswerOrder {
    /// Not known yet: no question is asked.
    #[default]
    Unknown,
    /// An answer comes after all events of its revision and before.
    InOrder,
    /// An answer may come before events of its revision.
    OutOfOrder,
}

impl AnswerOrder {
    /// Of this version.
    pub(super) fn of_version(version: &str) -> Self {
        let mut parts = version.split(['.', '-', '+']).map(|part| part.parse::<u32>().ok());
        let mut next = || parts.next().flatten();
        let is_in_order = match (next(), next(), next()) {
            (Some(3), Some(4), Some(patch)) => patch >= 25,
            (Some(3), Some(5), Some(patch)) => patch >= 8,
            (Some(3), Some(minor), _) => minor >= 6,
            (Some(major), _, _) => major > 3,
            (None, ..) => false,
        };
        if is_in_order { AnswerOrder::InOrder } else { AnswerOrder::OutOfOrder }
    }
}

/// Questions and answers of one stream.
#[derive(Debug, Default)]
pub(super) struct Progress {
    order: AnswerOrder,
    /// Somebody waits for an answer.
    is_awaited: bool,
    is_to_ask: bool,
    questions: u64,
    answers: u64,
}

/// When a watch was created, as far as it matters here.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Mark {
    questions_before: u64,
    revision: Revision,
}

impl Mark {
    /// The server's revision when it took the watch.
    pub(super) fn created_at(&mut self, revision: Revision) {
        self.revision = revision;
    }
}

/// An answer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Answer {
    pub order: AnswerOrder,
    number: u64,
    revision: Revision,
}

impl Answer {
    /// Whether the server had this watch when it looked.
    pub(super) fn is_of(&self, mark: &Mark) -> bool {
        self.revision > mark.revision || self.number > mark.questions_before
    }
}

impl Progress {
    pub(super) fn ask(&mut self) {
        self.is_awaited = true;
        self.is_to_ask = true;
    }

    /// For a watch that is about to be asked for.
    pub(super) fn mark(&self) -> Mark {
        Mark { questions_before: self.questions, revision: Revision::MAX }
    }

    /// Whether to send a question now.
    pub(super) fn has_request(&self) -> bool {
        self.order != AnswerOrder::Unknown && self.is_to_ask
    }

    /// The same; then it counts as sent.
    pub(super) fn take_request(&mut self) -> bool {
        let has_request = self.has_request();
        if has_request {
            self.is_to_ask = false;
            self.questions += 1;
        }
        has_request
    }

    /// An answer has come. Nothing if nobody has asked.
    pub(super) fn answered(&mut self, revision: Revision) -> Option<Answer> {
        if self.answers >= self.questions {
            return None;
        }
        self.answers += 1;
        Some(Answer { order: self.order, number: self.answers, revision })
    }

    /// Nobody waits any more.
    pub(super) fn is_answered(&mut self) {
        self.is_awaited = false;
        self.is_to_ask = false;
    }

    pub(super) fn is_awaited(&self) -> bool {
        self.is_awaited
    }

    pub(super) fn repeat(&mut self) {
        self.is_to_ask |= self.is_awaited;
    }

    pub(super) fn wants_answer_order(&self) -> bool {
        self.is_awaited && self.order == AnswerOrder::Unknown
    }

    pub(super) fn answers_come(&mut self, order: AnswerOrder) {
        self.order = order;
    }

    /// The stream is lost. Who waited waits for the next one.
    pub(super) fn start_over(&mut self) {
        *self = Progress { is_awaited: self.is_awaited, is_to_ask: self.is_awaited, ..Progress::default() };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn which_servers_answer_in_order() {
        for version in ["3.4.25", "3.4.40", "3.5.8", "3.5.21+git", "3.6.0-alpha.0", "3.7.1", "4.0.0"] {
            assert_eq!(AnswerOrder::of_version(version), AnswerOrder::InOrder, "{version}");
        }
        for version in ["3.4.23", "3.5.1", "3.5.7", "3.3.27", "2.3.8", "", "x", "3", "3.5"] {
            assert_eq!(AnswerOrder::of_version(version), AnswerOrder::OutOfOrder, "{version}");
        }
    }
}
