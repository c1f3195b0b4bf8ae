//! What is on its way to the disk, and what waits for it.

use super::interface::PersistToken;
use super::message::{Message, MessageKind};
use crate::state::Halt;
use crate::types::HardState;
use std::collections::VecDeque;

/// What has been handed out to be persisted, in order. The engine numbers its batches; the tokens are numbered for
/// themselves, because not every batch of the engine has something for the disk.
#[derive(Default)]
pub(super) struct Persistence {
    /// The last batch of the engine.
    last_batch: u64,
    last_token: u64,
    outstanding: VecDeque<Outstanding>,
}

struct Outstanding {
    token: u64,
    batch: u64,
    /// The hard state that is synced with it, if one is.
    synced: Option<HardState>,
    /// What may be sent once this is on disk.
    messages: Vec<Message>,
}

/// What became true when something reached the disk.
pub(super) struct Persisted {
    /// Up to which batch of the engine everything is on disk.
    pub(super) batch: u64,
    /// What is known for ever of term and commit index, if that is new.
    pub(super) synced: Option<HardState>,
    /// What may be sent now.
    pub(super) messages: Vec<Message>,
}

impl Persistence {
    /// Whether nothing is on its way.
    pub(super) fn is_idle(&self) -> bool {
        self.outstanding.is_empty()
    }

    /// A batch of the engine, or what was left over from earlier ones, goes to the disk; `messages` wait for it.
    pub(super) fn hand_out(
        &mut self,
        batch: u64,
        messages: Vec<Message>,
        synced: Option<HardState>,
    ) -> PersistToken {
        self.last_batch = self.last_batch.max(batch);
        self.last_token += 1;
        let token = self.last_token;
        self.outstanding.push_back(Outstanding { token, batch: self.last_batch, synced, messages });
        PersistToken(token)
    }

    /// A batch of the engine has nothing for the disk. Its messages still wait for what is before them.
    pub(super) fn pass(&mut self, batch: u64, mut messages: Vec<Message>) -> Option<Persisted> {
        self.last_batch = self.last_batch.max(batch);
        match self.outstanding.back_mut() {
            Some(last) => {
                last.messages.append(&mut messages);
                None
            }
            None => Some(Persisted { batch: self.last_batch, synced: None, messages }),
        }
    }

    /// The last batch that was handed out or passed.
    pub(super) fn last_batch(&self) -> u64 {
        self.last_batch
    }

    /// Everything up to `token` is on disk.
    pub(super) fn confirm(&mut self, token: &PersistToken) -> Result<Option<Persisted>, Halt> {
        if token.0 > self.last_token {
            return Err(Halt("a persist token of another node came back".into()));
        }
        let mut persisted: Option<Persisted> = None;
        while let Some(mut next) = self.outstanding.pop_front_if(|next| next.token <= token.0) {
            let nothing = Persisted { batch: 0, synced: None, messages: Vec::new() };
            let all = persisted.get_or_insert(nothing);
            all.batch = next.batch;
            all.synced = next.synced.or(all.synced);
            all.messages.append(&mut next.messages);
        }
        if let Some(all) = &mut persisted {
            leave_last_answers(&mut all.messages);
            if self.outstanding.is_empty() {
                all.batch = self.last_batch;
            }
        }
        Ok(persisted)
    }
}

/// Of answers to appends that leave together the last one says everything: the log agrees up to there.
fn leave_last_answers(messages: &mut Vec<Message>) {
    let mut at = 0;
    while at < messages.len() {
        let is_said_later = messages[at + 1..].iter().any(|later| says_it_too(later, &messages[at]));
        if is_said_later {
            messages.remove(at);
        } else {
            at += 1;
        }
    }
}

fn says_it_too(later: &Message, earlier: &Message) -> bool {
    let accepts = |message: &Message| message.kind == MessageKind::AppendResponse && !message.is_reject;
    accepts(later)
        && accepts(earlier)
        && (later.to, later.term) == (earlier.to, earlier.term)
        && later.index >= earlier.index
        && later.commit >= earlier.commit
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{LogIndex, MemberId, Term};

    fn answer(index: u64) -> Message {
        let message = Message::new(MessageKind::AppendResponse, MemberId(1), MemberId(2));
        Message { term: Term(5), index: LogIndex(index), commit: LogIndex(3), ..message }
    }

    /// What leaves of messages that wait for three writes, once all three are on disk.
    fn left(messages: [Message; 3]) -> Vec<Message> {
        let mut persistence = Persistence::default();
        let mut last = None;
        for (batch, message) in (1..).zip(messages) {
            last = Some(persistence.hand_out(batch, vec![message], None));
        }
        let token = last.expect("three were handed out");
        persistence.confirm(&token).expect("it was handed out").expect("nobody has said so").messages
    }

    #[test]
    fn of_answers_that_agree_the_last_is_enough() {
        assert_eq!(left([answer(7), answer(8), answer(8)]), [answer(8)]);
    }

    #[test]
    fn an_answer_that_says_something_else_is_not_left_out() {
        let refused = |index| Message { is_reject: true, reject_hint: LogIndex(2), ..answer(index) };
        let heartbeat = |context: &'static str| Message {
            kind: MessageKind::HeartbeatResponse,
            context: context.into(),
            ..answer(0)
        };
        let kept = [
            // A refusal, whatever comes before it or after.
            [answer(7), refused(8), refused(8)],
            [refused(6), refused(7), answer(8)],
            // A smaller index or commit index.
            [answer(8), answer(7), answer(6)],
            [
                answer(7),
                Message { commit: LogIndex(2), ..answer(8) },
                Message { commit: LogIndex(1), ..answer(9) },
            ],
            // Another term or member.
            [answer(7), Message { term: Term(6), ..answer(8) }, Message { term: Term(7), ..answer(8) }],
            [answer(7), Message { to: MemberId(3), ..answer(8) }, Message { to: MemberId(4), ..answer(8) }],
            // What is said of heartbeats and votes.
            [heartbeat("a"), heartbeat("a"), heartbeat("b")],
            [Message { kind: MessageKind::VoteResponse, ..answer(0) }, heartbeat(""), answer(8)],
        ];
        for messages in kept {
            assert_eq!(left(messages.clone()), messages);
        }
    }

    #[test]
    fn what_is_between_answers_stays_in_its_order() {
        let refused = Message { is_reject: true, ..answer(8) };
        assert_eq!(left([answer(7), refused.clone(), answer(9)]), [refused, answer(9)]);
    }

    /// What a batch has to say waits for the writes that are before it, though it has nothing to write itself.
    #[test]
    fn nothing_overtakes_what_is_on_its_way_to_the_disk() {
        let mut persistence = Persistence::default();
        let first = persistence.hand_out(1, vec![answer(7)], None);
        let second = persistence.hand_out(2, Vec::new(), None);
        assert!(persistence.pass(3, vec![answer(9)]).is_none());
        let confirmed = persistence.confirm(&first).expect("it was handed out").expect("news");
        assert_eq!((confirmed.batch, confirmed.messages), (1, vec![answer(7)]));
        let confirmed = persistence.confirm(&second).expect("it was handed out").expect("news");
        assert_eq!((confirmed.batch, confirmed.messages), (3, vec![answer(9)]));
        assert!(persistence.confirm(&first).expect("it was handed out").is_none());
        let passed = persistence.pass(4, vec![answer(9)]).expect("nothing is on its way");
        assert_eq!((passed.batch, passed.messages), (4, vec![answer(9)]));
    }
}
