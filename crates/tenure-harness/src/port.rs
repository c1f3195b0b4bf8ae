//! Loopback ports for servers of tests.
//!
//! Many test processes run at once, each with servers of its own, and a server binds its ports a while after they were chosen. So a
//! port that is handed out stays taken until the process that asked for it ends: a lock on a file of its number says so.

use anyhow::{Context, Result};
use std::{
    collections::BTreeMap,
    fs::{self, File},
    net::{SocketAddr, TcpListener},
    ops::RangeInclusive,
    path::Path,
    sync::{Mutex, PoisonError},
};

/// What is chosen from, without what the kernel gives to outgoing connections: those take any port of theirs at any moment.
const PORTS: RangeInclusive<u16> = 10_000..=31_999;

/// Where Linux says which ports it gives to outgoing connections.
const OUTGOING: &str = "/proc/sys/net/ipv4/ip_local_port_range";

/// The ports of this process, each with its lock.
static TAKEN: Mutex<BTreeMap<u16, File>> = Mutex::new(BTreeMap::new());

/// A loopback port on which nobody listens, and which nobody else who asks here gets as long as this process lives.
///
/// # Errors
/// None was free in a thousand tries, or the directory of the locks cannot be made.
pub fn free_port() -> Result<u16> {
    let locks = std::env::temp_dir().join("tenure-ports");
    fs::create_dir_all(&locks).with_context(|| format!("make {}", locks.display()))?;
    let outgoing = fs::read_to_string(OUTGOING).ok().and_then(|text| outgoing(&text));
    (0..1000)
        .map(|_| rand::random_range(PORTS))
        .filter(|port| !outgoing.as_ref().is_some_and(|outgoing| outgoing.contains(port)))
        .find(|&port| take(&locks, port))
        .context("no free port in a thousand tries")
}

/// The kernel's two numbers as a range; nothing if it leaves us none.
fn outgoing(text: &str) -> Option<RangeInclusive<u16>> {
    let mut numbers = text.split_whitespace().map(str::parse);
    let (Some(Ok(first)), Some(Ok(last))) = (numbers.next(), numbers.next()) else { return None };
    let all = first <= *PORTS.start() && last >= *PORTS.end();
    (!all).then_some(first..=last)
}

/// Takes a port for this process, if nobody has it.
fn take(locks: &Path, port: u16) -> bool {
    // Another user's file cannot be opened: then the port is theirs.
    let Ok(lock) = File::options().create(true).append(true).open(locks.join(port.to_string())) else {
        return false;
    };
    if lock.try_lock().is_err() || TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], port))).is_err() {
        return false;
    }
    TAKEN.lock().unwrap_or_else(PoisonError::into_inner).insert(port, lock);
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_port_is_handed_out_twice() {
        let ports: std::collections::BTreeSet<u16> = (0..200).map(|_| free_port().unwrap()).collect();
        assert_eq!(ports.len(), 200);
    }

    #[test]
    fn what_another_has_locked_or_listens_on_is_left_alone() {
        let locks = tempfile::tempdir().unwrap();
        let port = free_port().unwrap();
        let theirs = File::create(locks.path().join(port.to_string())).unwrap();
        theirs.lock().unwrap();
        assert!(!take(locks.path(), port), "locked");
        drop(theirs);
        let listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
        assert!(!take(locks.path(), port), "listened on");
        drop(listener);
        assert!(take(locks.path(), port));
    }

    #[test]
    fn the_kernels_range_is_left_out_if_it_leaves_any() {
        assert_eq!(outgoing("32768\t60999\n"), Some(32_768..=60_999));
        assert_eq!(outgoing("16000\t65535\n"), Some(16_000..=65_535));
        assert_eq!(outgoing("1024 65535"), None);
        assert_eq!(outgoing("nonsense"), None);
    }
}
