//! Simple tokens (A4): sixteen random letters, a dot, and the index of the entry that made them. Every member holds them in memory
//! from the entry on; each use is the beginning of a new life.

use bytes::Bytes;
use parking_lot::Mutex;
use rand::RngExt;
use std::collections::HashMap;
use std::time::{Duration, Instant};
use tenure_core::types::{LogIndex, Secret};

const LETTERS: &[u8] = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
const RANDOM_LETTERS: usize = 16;
/// The life when none is given, as in etcd.
const TTL_DEFAULT: Duration = Duration::from_secs(300);

/// The tokens that this member knows.
pub struct SimpleTokens {
    ttl: Duration,
    /// Entries up to this one belong to earlier runs. After a restart they are applied again; the tokens that they made were lost
    /// with the memory of the member and do not come back to a life they may have ended long ago.
    log_end: LogIndex,
    held_max: usize,
    held: Mutex<Held>,
}

#[derive(Default)]
struct Held {
    tokens: HashMap<Bytes, Token>,
    /// When expired tokens are looked for next.
    sweep_at: Option<Instant>,
}

struct Token {
    user: String,
    expires: Instant,
}

/// The random part of a new token.
pub fn random_part() -> Secret {
    // The generator of this thread is cryptographic and seeded by the system.
    let mut random = rand::rng();
    let letters = (0..RANDOM_LETTERS).map(|_| LETTERS[random.random_range(0..LETTERS.len())]);
    Secret(letters.collect())
}

/// The token that the entry at `index` makes.
pub fn token(random_part: &Secret, index: LogIndex) -> Bytes {
    [&random_part.0[..], b".", index.to_string().as_bytes()].concat().into()
}

/// The entry that made a token, if it has the form of one.
pub fn made_by(token: &[u8]) -> Option<LogIndex> {
    let (_, index) = std::str::from_utf8(token).ok()?.split_once('.')?;
    index.parse().ok().map(LogIndex)
}

impl SimpleTokens {
    /// Tokens that live for `ttl` after each use; of more than `held_max` those that were used least recently are dropped.
    pub fn new(ttl: Duration, held_max: usize) -> Self {
        let ttl = if ttl.is_zero() { TTL_DEFAULT } else { ttl };
        Self { ttl, log_end: LogIndex(0), held_max, held: Mutex::default() }
    }

    /// Entries up to this one belong to earlier runs.
    pub fn resume_behind(&mut self, log_end: LogIndex) {
        self.log_end = log_end;
    }

    /// The entry at `index` gives a token to a user.
    pub fn assign(&self, index: LogIndex, random_part: &Secret, user: &str, now: Instant) {
        if index <= self.log_end {
            return;
        }
        let mut held = self.held.lock();
        if held.sweep_at.is_none_or(|at| at <= now) {
            held.sweep(now);
            held.sweep_at = Some(now + self.ttl);
        }
        if held.tokens.len() >= self.held_max {
            held.sweep(now);
            held.drop_oldest(self.held_max);
        }
        let new = Token { user: user.to_owned(), expires: now + self.ttl };
        held.tokens.insert(token(random_part, index), new);
    }

    /// The user of a token, whose life begins anew.
    pub fn user_of(&self, token: &[u8], now: Instant) -> Option<String> {
        let mut held = self.held.lock();
        let known = held.tokens.get_mut(token)?;
        if known.expires <= now {
            held.tokens.remove(token);
            return None;
        }
        known.expires = now + self.ttl;
        Some(known.user.clone())
    }

    /// The tokens of a user end.
    pub fn forget_user(&self, user: &str) {
        self.held.lock().tokens.retain(|_, token| token.user != user);
    }

    /// All tokens end.
    pub fn forget_all(&self) {
        self.held.lock().tokens.clear();
    }
}

impl Held {
    fn sweep(&mut self, now: Instant) {
        self.tokens.retain(|_, token| token.expires > now);
    }

    /// Makes room for an eighth of what may be held, so that a full table is not gone through for every token.
    fn drop_oldest(&mut self, held_max: usize) {
        let keep = held_max - held_max.div_ceil(8);
        let Some(surplus) = self.tokens.len().checked_sub(keep + 1) else { return };
        let mut expiries: Vec<Instant> = self.tokens.values().map(|token| token.expires).collect();
        let (_, last_to_go, _) = expiries.select_nth_unstable(surplus);
        let last_to_go = *last_to_go;
        self.tokens.retain(|_, token| token.expires > last_to_go);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn part(text: &'static str) -> Secret {
        Secret(Bytes::from_static(text.as_bytes()))
    }

    #[test]
    fn a4_a_token_is_letters_and_an_index_and_lives_from_use_to_use() {
        let tokens = SimpleTokens::new(10 * SECOND, 100);
        let now = Instant::now();
        let random = random_part();
        assert!(random.0.len() == 16 && random.0.iter().all(u8::is_ascii_alphabetic));
        assert_ne!(random, random_part());
        tokens.assign(LogIndex(7), &random, "alice", now);
        let held = token(&random, LogIndex(7));
        assert!(held.ends_with(b".7") && made_by(&held) == Some(LogIndex(7)));
        for seconds in [9, 18, 27] {
            assert_eq!(tokens.user_of(&held, now + seconds * SECOND).as_deref(), Some("alice"));
        }
        assert_eq!(tokens.user_of(&held, now + 37 * SECOND), None);
        assert_eq!(tokens.user_of(&held, now), None, "it is gone for good");
        for wrong in [&b""[..], b"x", b"x.", b"x.y", b"x.7.7", b"x.-1", b"\xff.1"] {
            assert_eq!(made_by(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn a4_a_token_of_an_earlier_run_does_not_come_back() {
        let mut tokens = SimpleTokens::new(10 * SECOND, 100);
        tokens.resume_behind(LogIndex(5));
        tokens.assign(LogIndex(5), &part("x"), "alice", Instant::now());
        tokens.assign(LogIndex(6), &part("x"), "alice", Instant::now());
        assert_eq!(tokens.user_of(b"x.5", Instant::now()), None);
        assert_eq!(tokens.user_of(b"x.6", Instant::now()).as_deref(), Some("alice"));
    }

    #[test]
    fn a3_tokens_end_with_their_user_and_with_authentication() {
        let tokens = SimpleTokens::new(10 * SECOND, 100);
        let now = Instant::now();
        for (index, user) in [(1, "alice"), (2, "alice"), (3, "bob")] {
            tokens.assign(LogIndex(index), &part("x"), user, now);
        }
        tokens.forget_user("alice");
        assert_eq!((tokens.user_of(b"x.1", now), tokens.user_of(b"x.2", now)), (None, None));
        assert_eq!(tokens.user_of(b"x.3", now).as_deref(), Some("bob"));
        tokens.forget_all();
        assert_eq!(tokens.user_of(b"x.3", now), None);
    }

    #[test]
    fn of_too_many_tokens_the_least_recently_used_go() {
        let tokens = SimpleTokens::new(1_000 * SECOND, 80);
        let now = Instant::now();
        for index in 1..=1_000 {
            let now = now + index as u32 * Duration::from_millis(1);
            tokens.assign(LogIndex(index), &part("x"), "alice", now);
            assert!(index == 1 || tokens.user_of(b"x.1", now).is_some(), "it is used all the time");
            assert!(tokens.held.lock().tokens.len() <= 80);
        }
        assert_eq!(tokens.user_of(b"x.1000", now).as_deref(), Some("alice"));
        assert_eq!(tokens.user_of(b"x.2", now), None);
        // What has expired makes room first.
        tokens.assign(LogIndex(2_000), &part("x"), "alice", now + 5_000 * SECOND);
        assert_eq!(tokens.held.lock().tokens.len(), 1);
    }
}
