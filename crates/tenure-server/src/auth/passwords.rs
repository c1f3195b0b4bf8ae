//! Passwords and their bcrypt hashes. A hash takes tens of milliseconds on purpose, so it is made on a few threads of its own that
//! leave the others to everybody else, from a queue with a bound; and a password that was verified is known again without it.

use crate::limits;
use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bcrypt::Version;
use bytes::Bytes;
use parking_lot::Mutex;
use std::collections::{HashSet, VecDeque};
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread;
use tenure_api::error::EtcdError;
use tenure_core::types::Secret;
use tokio::sync::oneshot;

/// The longest password that bcrypt can tell from longer ones, in bytes.
pub const PASSWORD_BYTES_MAX: usize = 72;

/// As much of a password as bcrypt looks at. Thousands may wait to be verified, and a request may bring a megabyte.
pub fn shortened(password: Secret) -> Secret {
    match password.0.get(..PASSWORD_BYTES_MAX) {
        Some(looked_at) if password.0.len() > PASSWORD_BYTES_MAX => Secret(Bytes::copy_from_slice(looked_at)),
        _ => password,
    }
}

/// The threads and what they have found out.
pub struct Passwords {
    jobs: SyncSender<Job>,
    known: Arc<Known>,
    cost: u32,
}

enum Job {
    Hash { password: Secret, cost: u32, reply: oneshot::Sender<Option<Secret>> },
    Verify { attempt: Attempt, reply: oneshot::Sender<bool> },
}

/// A password that somebody gives for a user.
pub struct Attempt {
    hash: Secret,
    password: Secret,
    seal: Seal,
    auth_revision: u64,
}

/// Stands for user, hash and password, and can only be made from them.
type Seal = [u8; 32];

/// Passwords that were verified since users last changed.
struct Known {
    /// Random, and only in the memory of this process.
    key: hmac::Key,
    seals: Mutex<Seals>,
    /// Attempts that were hashed.
    #[cfg(test)]
    hashed: std::sync::atomic::AtomicUsize,
}

#[derive(Default)]
struct Seals {
    auth_revision: u64,
    seals: HashSet<Seal>,
    order: VecDeque<Seal>,
}

/// What became of an attempt.
pub(crate) enum Verified {
    /// It is right, and was so before.
    Known,
    /// A thread will tell.
    Asked(oneshot::Receiver<bool>),
}

impl Passwords {
    /// Starts the threads. They end when the value is dropped.
    ///
    /// # Errors
    /// If the system has no more threads.
    pub fn start(cost: u32) -> io::Result<Self> {
        let (jobs, queue) = sync_channel(limits::PASSWORDS_QUEUED_MAX);
        let queue = Arc::new(Mutex::new(queue));
        let key = hmac::Key::new(hmac::HMAC_SHA256, &rand::random::<[u8; 32]>());
        let known = Arc::new(Known {
            key,
            seals: Mutex::default(),
            #[cfg(test)]
            hashed: Default::default(),
        });
        for number in 0..limits::password_threads() {
            let (queue, known) = (queue.clone(), known.clone());
            thread::Builder::new().name(format!("password-{number}")).spawn(move || work(&queue, &known))?;
        }
        Ok(Self { jobs, known, cost })
    }

    /// Has the hash of a password made, in base64 as it is logged. The answer is `None` if the system has no randomness.
    ///
    /// # Errors
    /// `TooManyRequests` if too many wait.
    pub fn hash(&self, password: Secret) -> Result<oneshot::Receiver<Option<Secret>>, EtcdError> {
        let (reply, answer) = oneshot::channel();
        self.send(Job::Hash { password, cost: self.cost, reply })?;
        Ok(answer)
    }

    /// Has a password verified against the hash of a user, as both were at an auth revision.
    ///
    /// # Errors
    /// `TooManyRequests` if too many wait.
    pub fn verify(
        &self,
        user: &str,
        hash: &Secret,
        password: Secret,
        auth_revision: u64,
    ) -> Result<Verified, EtcdError> {
        let seal = self.known.seal(user, hash, &password);
        let attempt = Attempt { hash: hash.clone(), password, seal, auth_revision };
        if self.known.has(&attempt) {
            return Ok(Verified::Known);
        }
        let (reply, answer) = oneshot::channel();
        self.send(Job::Verify { attempt, reply })?;
        Ok(Verified::Asked(answer))
    }

    fn send(&self, job: Job) -> Result<(), EtcdError> {
        self.jobs.try_send(job).map_err(|refused| match refused {
            TrySendError::Full(_) => EtcdError::RequestTooManyRequests,
            TrySendError::Disconnected(_) => EtcdError::Stopped,
        })
    }
}

impl Known {
    fn seal(&self, user: &str, hash: &Secret, password: &Secret) -> Seal {
        let mut context = hmac::Context::with_key(&self.key);
        for part in [user.as_bytes(), &hash.0, &password.0] {
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part);
        }
        let mut seal = Seal::default();
        seal.copy_from_slice(context.sign().as_ref());
        seal
    }

    fn has(&self, attempt: &Attempt) -> bool {
        let mut seals = self.seals.lock();
        seals.enter(attempt.auth_revision);
        seals.auth_revision == attempt.auth_revision && seals.seals.contains(&attempt.seal)
    }

    fn is_right(&self, attempt: &Attempt) -> bool {
        #[cfg(test)]
        self.hashed.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        is_right(attempt)
    }

    fn add(&self, attempt: &Attempt) {
        let mut seals = self.seals.lock();
        seals.enter(attempt.auth_revision);
        if seals.auth_revision != attempt.auth_revision || !seals.seals.insert(attempt.seal) {
            return;
        }
        seals.order.push_back(attempt.seal);
        if seals.order.len() > limits::PASSWORDS_KNOWN_MAX
            && let Some(oldest) = seals.order.pop_front()
        {
            seals.seals.remove(&oldest);
        }
    }
}

impl Seals {
    /// Whatever was known before users changed is forgotten.
    fn enter(&mut self, auth_revision: u64) {
        if self.auth_revision < auth_revision {
            *self = Self { auth_revision, ..Self::default() };
        }
    }
}

fn work(queue: &Mutex<Receiver<Job>>, known: &Known) {
    loop {
        // Held while waiting: whoever has it takes the next job, the others wait for it.
        let Ok(job) = queue.lock().recv() else { return };
        match job {
            Job::Hash { password, cost, reply } if !reply.is_closed() => {
                // Whoever asked may be gone; so below.
                reply.send(hashed(&password, cost)).ok();
            }
            Job::Verify { attempt, reply } if !reply.is_closed() => {
                // Of many that give the same password the first has paid for all.
                let is_right = known.has(&attempt) || known.is_right(&attempt);
                if is_right {
                    known.add(&attempt);
                }
                reply.send(is_right).ok();
            }
            Job::Hash { .. } | Job::Verify { .. } => {}
        }
    }
}

fn is_right(Attempt { hash, password, .. }: &Attempt) -> bool {
    // What is no hash was never made from a password.
    std::str::from_utf8(&hash.0)
        .is_ok_and(|hash| bcrypt::verify(&password.0, hash).is_ok_and(|is_right| is_right))
}

fn hashed(password: &Secret, cost: u32) -> Option<Secret> {
    let hash = bcrypt::hash_with_result(&password.0, cost).ok()?;
    // The form that etcd writes.
    Some(STANDARD.encode(hash.format_for_version(Version::TwoA)).into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;
    use tenure_harness::PATIENCE;

    fn secret(text: &str) -> Secret {
        Secret::from(text.to_owned())
    }

    fn verified(passwords: &Passwords, hash: &Secret, password: &str, auth_revision: u64) -> (bool, bool) {
        match passwords.verify("alice", hash, secret(password), auth_revision).expect("room") {
            Verified::Known => (true, true),
            Verified::Asked(answer) => (answer.blocking_recv().expect("answered"), false),
        }
    }

    fn hash_of(passwords: &Passwords, password: &str) -> Secret {
        let logged = passwords.hash(secret(password)).expect("room").blocking_recv().expect("answered");
        Secret(STANDARD.decode(&logged.expect("hashed").0).expect("base64").into())
    }

    #[test]
    fn a8_hashes_are_those_of_etcd() {
        let passwords = Passwords::start(4).expect("threads");
        let hash = hash_of(&passwords, "secret");
        assert!(hash.0.len() == 60 && hash.0.starts_with(b"$2a$04$"), "{:?}", hash.0);
        assert_ne!(hash, hash_of(&passwords, "secret"), "with a salt");
        assert_eq!(verified(&passwords, &hash, "secret", 1), (true, false));
        assert_eq!(verified(&passwords, &hash, "Secret", 1), (false, false));
        assert_eq!(verified(&passwords, &hash_of(&passwords, ""), "", 1), (true, false));
        for no_hash in ["", "$2a$04$", "secret", &"\u{e9}".repeat(30)] {
            assert_eq!(verified(&passwords, &secret(no_hash), no_hash, 1), (false, false), "{no_hash:?}");
        }
        // Made by etcd 3.5.1.
        let cost_10 = secret("$2a$10$ZDpZ.wa07thgLZkes3dnPeFyN9ENIEUUH9g1RGptNRRMwGNJL21zq");
        assert_eq!(verified(&passwords, &cost_10, "root", 1), (true, false));
    }

    #[test]
    fn a7_of_a_long_password_bcrypt_sees_the_beginning() {
        let passwords = Passwords::start(4).expect("threads");
        let long = "x".repeat(PASSWORD_BYTES_MAX);
        let hash = hash_of(&passwords, &long);
        for end in ["", "y", &"z".repeat(1 << 20)] {
            let given = shortened(secret(&format!("{long}{end}")));
            assert_eq!(given.0.len(), PASSWORD_BYTES_MAX);
            assert!(is_right(&Attempt {
                hash: hash.clone(),
                password: given,
                seal: Seal::default(),
                auth_revision: 1
            }));
            assert!(verified(&passwords, &hash, &format!("{long}{end}"), 1).0, "and so it is without that");
        }
        assert_eq!(shortened(secret("short")), secret("short"));
    }

    #[test]
    fn a7_what_was_verified_is_known_until_users_change() {
        let passwords = Passwords::start(4).expect("threads");
        let hash = hash_of(&passwords, "secret");
        assert_eq!(verified(&passwords, &hash, "secret", 5), (true, false));
        assert_eq!(verified(&passwords, &hash, "secret", 5), (true, true));
        assert_eq!(verified(&passwords, &hash, "wrong", 5), (false, false));
        assert_eq!(verified(&passwords, &hash, "wrong", 5), (false, false), "only what is right is kept");
        assert_eq!(verified(&passwords, &hash, "secret", 6), (true, false), "users have changed");
        assert_eq!(verified(&passwords, &hash, "secret", 5), (true, false), "who comes late is not known");
        assert_eq!(verified(&passwords, &hash, "secret", 6), (true, true));
        assert!(matches!(passwords.verify("bob", &hash, secret("secret"), 6), Ok(Verified::Asked(_))));
        assert!(passwords.known.seals.lock().seals.len() <= limits::PASSWORDS_KNOWN_MAX);
    }

    #[test]
    fn what_is_known_is_bounded() {
        let passwords = Passwords::start(4).expect("threads");
        for number in 0..limits::PASSWORDS_KNOWN_MAX as u64 + 10 {
            let mut seal = Seal::default();
            seal[..8].copy_from_slice(&number.to_be_bytes());
            let attempt = Attempt { hash: secret(""), password: secret(""), seal, auth_revision: 1 };
            passwords.known.add(&attempt);
            assert!(passwords.known.has(&attempt));
        }
        assert_eq!(passwords.known.seals.lock().seals.len(), limits::PASSWORDS_KNOWN_MAX);
        assert_eq!(passwords.known.seals.lock().order.len(), limits::PASSWORDS_KNOWN_MAX);
    }

    #[test]
    fn a_thousand_at_once_with_one_password_cost_a_few_hashes() {
        let passwords = Passwords::start(10).expect("threads");
        let hash = hash_of(&passwords, "secret");
        let asked: Vec<_> = (0..1_000)
            .map(|_| passwords.verify("alice", &hash, secret("secret"), 1).expect("room"))
            .collect();
        for one in asked {
            if let Verified::Asked(answer) = one {
                assert!(answer.blocking_recv().expect("answered"));
            }
        }
        let hashed = passwords.known.hashed.load(std::sync::atomic::Ordering::Relaxed);
        assert!((1..=limits::password_threads()).contains(&hashed), "{hashed}: one for each thread at most");
    }

    #[test]
    fn a_full_queue_refuses() {
        let passwords = Passwords::start(10).expect("threads");
        let mut waiting = Vec::new();
        let refused = loop {
            match passwords.hash(secret("secret")) {
                Ok(answer) => waiting.push(answer),
                Err(error) => break error,
            }
            assert!(waiting.len() <= 2 * limits::PASSWORDS_QUEUED_MAX);
        };
        assert_eq!(refused, EtcdError::RequestTooManyRequests);
        // Nobody waits any more: what is queued is passed over.
        drop(waiting);
        let begun = Instant::now();
        while passwords.hash(secret("secret")).map(|answer| answer.blocking_recv()).is_err() {
            assert!(begun.elapsed() < PATIENCE);
            thread::yield_now();
        }
    }
}
