//! Searching a node without following a pointer for every key that is compared.
//!
//! The keys of a node lie anywhere on the heap, and keys of one store begin alike. So beside the keys a node holds, in
//! one array, the eight bytes of each key that follow what all of them have in common. Only keys that are equal in
//! these are compared in full.

use std::cmp::Ordering;

/// The arrays grow by this many, so that a node of average fill wastes little.
pub(super) const GROWTH: usize = 8;

/// The heads of a node's keys, in the order of the keys.
#[derive(Debug, Default)]
pub(super) struct Heads {
    /// How many bytes all keys have in common, at least.
    common: usize,
    heads: Vec<u64>,
}

/// The keys of a node, in ascending order.
pub(super) trait Keys {
    /// How many.
    fn len(&self) -> usize;
    /// The key at `at`.
    fn key(&self, at: usize) -> &[u8];
}

impl Keys for [Box<[u8]>] {
    fn len(&self) -> usize {
        <[Box<[u8]>]>::len(self)
    }

    fn key(&self, at: usize) -> &[u8] {
        &self[at]
    }
}

impl Heads {
    /// The heads of `keys`.
    pub(super) fn of(keys: &(impl Keys + ?Sized)) -> Self {
        let mut heads = Self::default();
        heads.renew(keys);
        heads
    }

    /// Makes all heads anew, for the longest common prefix that there is.
    pub(super) fn renew(&mut self, keys: &(impl Keys + ?Sized)) {
        self.common = match keys.len() {
            0 => 0,
            len => common_prefix(keys.key(0), keys.key(len - 1)),
        };
        self.heads.clear();
        self.heads.reserve_exact(keys.len().next_multiple_of(GROWTH));
        self.heads.extend((0..keys.len()).map(|at| head(&keys.key(at)[self.common..])));
        self.heads.shrink_to(keys.len().next_multiple_of(GROWTH));
    }

    /// Takes up that `keys` now has another one at `at`.
    pub(super) fn inserted(&mut self, keys: &(impl Keys + ?Sized), at: usize) {
        let key = keys.key(at);
        let neighbour = keys.key(if at == 0 { keys.len() - 1 } else { 0 });
        if self.heads.is_empty() || common_prefix(key, neighbour) < self.common {
            return self.renew(keys);
        }
        if self.heads.len() == self.heads.capacity() {
            self.heads.reserve_exact(GROWTH);
        }
        self.heads.insert(at, head(&key[self.common..]));
    }

    /// How many of `keys` are below `key`.
    pub(super) fn count_below(&self, keys: &(impl Keys + ?Sized), key: &[u8]) -> usize {
        self.partition(keys, key, |other| other < key)
    }

    /// How many of `keys` are below `key` or equal to it.
    pub(super) fn count_upto(&self, keys: &(impl Keys + ?Sized), key: &[u8]) -> usize {
        self.partition(keys, key, |other| other <= key)
    }

    /// Where `key` is among `keys`, if it is there.
    pub(super) fn find(&self, keys: &(impl Keys + ?Sized), key: &[u8]) -> Option<usize> {
        let head = head(key.get(self.common..)?);
        let mut at = self.heads.partition_point(|other| *other < head);
        // A key that does not begin as all others do can meet an equal head, but no equal key.
        if self.heads.get(at + 1) == Some(&head) {
            at = self.partition(keys, key, |other| other < key);
        }
        (self.heads.get(at) == Some(&head) && keys.key(at) == key).then_some(at)
    }

    /// Whether the key at `at` can be `key`; without a look at it.
    pub(super) fn may_be(&self, at: usize, key: &[u8]) -> bool {
        key.get(self.common..).is_some_and(|rest| self.heads.get(at) == Some(&head(rest)))
    }

    fn partition(&self, keys: &(impl Keys + ?Sized), key: &[u8], before: impl Fn(&[u8]) -> bool) -> usize {
        if self.heads.is_empty() {
            return 0;
        }
        let begins = &key[..key.len().min(self.common)];
        match begins.cmp(&keys.key(0)[..self.common]) {
            Ordering::Less => return 0,
            Ordering::Greater => return self.heads.len(),
            Ordering::Equal => {}
        }
        let head = head(&key[self.common..]);
        let mut from = self.heads.partition_point(|other| *other < head);
        let equal = self.heads[from..].iter().take_while(|other| **other == head).count();
        let mut upto = from + equal;
        while from < upto {
            let middle = from.midpoint(upto);
            if before(keys.key(middle)) { from = middle + 1 } else { upto = middle }
        }
        from
    }

    /// Panics if these are not the heads of `keys`.
    #[cfg(test)]
    pub(super) fn check(&self, keys: &(impl Keys + ?Sized)) {
        assert_eq!(self.heads.len(), keys.len());
        for at in 0..keys.len() {
            assert_eq!(keys.key(at)[..self.common], keys.key(0)[..self.common], "no common prefix");
            assert_eq!(self.heads[at], head(&keys.key(at)[self.common..]), "a wrong head");
        }
    }

    /// The heap it holds.
    pub(super) fn heap_bytes(&self) -> usize {
        self.heads.capacity() * size_of::<u64>()
    }
}

/// The first eight bytes as a number that orders as they do; a shorter key ends in zeros.
fn head(key: &[u8]) -> u64 {
    match key.first_chunk::<8>() {
        Some(first) => u64::from_be_bytes(*first),
        None => {
            let mut bytes = [0; 8];
            bytes[..key.len()].copy_from_slice(key);
            u64::from_be_bytes(bytes)
        }
    }
}

/// How many bytes two keys have in common at their beginning.
pub(super) fn common_prefix(a: &[u8], b: &[u8]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}
