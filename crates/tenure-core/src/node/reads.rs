//! Linearizable reads: which wait for a leader, which for its answer.

use super::interface::ReadTicket;
use super::message::Message;
use crate::types::{MemberId, Moment};
use std::collections::BTreeMap;
use std::time::Duration;

/// An answer that is not there after this long is asked for again, as etcd does.
const RETRY: Duration = Duration::from_millis(500);

/// Reads of this member. At most one question is under way; whatever comes meanwhile shares the next one.
#[derive(Default)]
pub(super) struct Reads {
    waiting: Vec<(Moment, ReadTicket)>,
    asked: Option<Asked>,
    /// Whether a question is wanted though no read waits: its answer says that this member leads.
    wants_confirmation: bool,
    /// The last question of each other member that came before this leader had committed anything: what earlier leaders have committed
    /// he knows only then.
    too_early: BTreeMap<MemberId, Message>,
}

struct Asked {
    context: u64,
    asked_at: Moment,
    retry_at: Moment,
    tickets: Vec<(Moment, ReadTicket)>,
    confirms: bool,
}

impl Reads {
    pub(super) fn len(&self) -> usize {
        self.waiting.len() + self.asked.as_ref().map_or(0, |asked| asked.tickets.len())
    }

    pub(super) fn push(&mut self, now: Moment, ticket: ReadTicket) {
        self.waiting.push((now, ticket));
    }

    /// Keeps a question of another member, who has asked nothing else meanwhile.
    pub(super) fn keep(&mut self, question: Message) {
        self.too_early.insert(question.from, question);
    }

    /// The questions of others that were kept.
    pub(super) fn take_kept(&mut self) -> BTreeMap<MemberId, Message> {
        std::mem::take(&mut self.too_early)
    }

    /// Whether a question should be asked.
    pub(super) fn wants_to_ask(&self) -> bool {
        self.asked.is_none() && (self.wants_confirmation || !self.waiting.is_empty())
    }

    /// Lets a question be asked, if none is under way, though no read waits.
    pub(super) fn want_confirmation(&mut self) {
        self.wants_confirmation = true;
    }

    /// Everything that waits for a question goes under this one.
    pub(super) fn ask(&mut self, now: Moment, context: u64) {
        let tickets = std::mem::take(&mut self.waiting);
        let confirms = std::mem::take(&mut self.wants_confirmation);
        self.asked = Some(Asked { context, asked_at: now, retry_at: now + RETRY, tickets, confirms });
    }

    /// The question to ask again, if it is time.
    pub(super) fn retry(&mut self, now: Moment) -> Option<u64> {
        let asked = self.asked.as_mut().filter(|asked| asked.retry_at <= now)?;
        asked.retry_at = now + RETRY;
        Some(asked.context)
    }

    /// Whatever was asked must be asked again: the leader has changed.
    pub(super) fn forget_question(&mut self) {
        self.wants_confirmation = false;
        self.too_early.clear();
        if let Some(mut asked) = self.asked.take() {
            asked.tickets.append(&mut self.waiting);
            self.waiting = asked.tickets;
        }
    }

    /// When a question was asked, and the reads that it was asked for. Answers to questions of before are for nobody.
    pub(super) fn answered(&mut self, context: &[u8]) -> Option<(Moment, Vec<ReadTicket>)> {
        let asked = self.asked.take_if(|asked| context == asked.context.to_be_bytes())?;
        Some((asked.asked_at, asked.tickets.into_iter().map(|(_, ticket)| ticket).collect()))
    }

    /// Everything that waits, when the answer is known without asking.
    pub(super) fn take_waiting(&mut self) -> Vec<ReadTicket> {
        self.wants_confirmation = false;
        self.waiting.drain(..).map(|(_, ticket)| ticket).collect()
    }

    /// Those that came before `since` and are given up.
    pub(super) fn expire(&mut self, since: Moment) -> Vec<ReadTicket> {
        let mut expired = Vec::new();
        let mut expire = |tickets: &mut Vec<(Moment, ReadTicket)>| {
            expired.extend(tickets.extract_if(.., |(came, _)| *came < since).map(|(_, ticket)| ticket));
        };
        expire(&mut self.waiting);
        if let Some(asked) = &mut self.asked {
            expire(&mut asked.tickets);
        }
        self.asked.take_if(|asked| asked.tickets.is_empty() && !asked.confirms);
        expired
    }
}
