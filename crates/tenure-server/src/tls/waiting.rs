//! Handshakes that are under way.

use parking_lot::Mutex;
use std::collections::VecDeque;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// Handshakes that are under way, the oldest first. When there are too many the oldest gives way: whoever means it has shaken hands
/// long before he is the oldest.
#[derive(Debug)]
pub(super) struct Waiting {
    handshakes: Mutex<Handshakes>,
    handshakes_max: usize,
}

#[derive(Debug, Default)]
struct Handshakes {
    next: u64,
    waiting: VecDeque<(u64, CancellationToken)>,
}

/// The place of one handshake, given back when it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    waiting: Arc<Waiting>,
    number: u64,
    /// Cancelled when the handshake has to give way.
    pub give_way: CancellationToken,
}

impl Waiting {
    pub fn new(handshakes_max: usize) -> Arc<Self> {
        Arc::new(Self { handshakes: Mutex::default(), handshakes_max: handshakes_max.max(1) })
    }

    /// A place, at the cost of the oldest if there is none left.
    pub fn enter(self: &Arc<Self>) -> Place {
        let give_way = CancellationToken::new();
        let mut handshakes = self.handshakes.lock();
        if handshakes.waiting.len() >= self.handshakes_max
            && let Some((_, oldest)) = handshakes.waiting.pop_front()
        {
            oldest.cancel();
        }
        let number = handshakes.next;
        handshakes.next += 1;
        handshakes.waiting.push_back((number, give_way.clone()));
        Place { waiting: Arc::clone(self), number, give_way }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let waiting = &mut self.waiting.handshakes.lock().waiting;
        // Numbers ascend; one that had to give way is not there any more.
        if let Ok(at) = waiting.binary_search_by_key(&self.number, |(number, _)| *number) {
            waiting.remove(at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_gives_way_and_places_come_back() {
        let waiting = Waiting::new(2);
        let (first, second) = (waiting.enter(), waiting.enter());
        assert!(!first.give_way.is_cancelled());
        let third = waiting.enter();
        assert!(first.give_way.is_cancelled() && !second.give_way.is_cancelled());
        drop((first, second));
        let fourth = waiting.enter();
        assert!(!third.give_way.is_cancelled() && !fourth.give_way.is_cancelled());
        drop((third, fourth));
        assert!(waiting.handshakes.lock().waiting.is_empty());
    }
}
