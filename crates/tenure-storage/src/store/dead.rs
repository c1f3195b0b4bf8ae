//! Which records of a segment are dead: one bit a record.

/// A growing set of the places of dead records in a segment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct DeadSet {
    words: Vec<u64>,
    records: u32,
    bytes: u64,
}

impl DeadSet {
    /// Puts the record at place `at`, `record_bytes` long, into the set. Says whether it is new there.
    pub fn insert(&mut self, at: usize, record_bytes: u64) -> bool {
        let (word, bit) = (at / 64, 1u64 << (at % 64));
        if word >= self.words.len() {
            self.words.resize(word + 1, 0);
        }
        if self.words[word] & bit != 0 {
            return false;
        }
        self.words[word] |= bit;
        self.records += 1;
        self.bytes += record_bytes;
        true
    }

    /// Whether the record at place `at` is dead.
    pub fn contains(&self, at: usize) -> bool {
        self.words.get(at / 64).is_some_and(|word| word & (1 << (at % 64)) != 0)
    }

    /// How many records are dead.
    pub fn records(&self) -> u32 {
        self.records
    }

    /// How many bytes of the segment they take.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Whether no record is dead.
    pub fn is_empty(&self) -> bool {
        self.records == 0
    }

    /// The bits, from the lowest of the first byte.
    pub fn encode(&self) -> Vec<u8> {
        let mut out: Vec<u8> = self.words.iter().flat_map(|word| word.to_le_bytes()).collect();
        while out.last() == Some(&0) {
            out.pop();
        }
        out
    }

    /// The places whose bits are set in what [`DeadSet::encode`] made.
    pub fn places(bits: &[u8]) -> impl Iterator<Item = usize> + '_ {
        bits.iter().enumerate().flat_map(|(at, byte)| {
            (0..8).filter(move |bit| byte & (1 << bit) != 0).map(move |bit| at * 8 + bit)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_come_back_as_they_were_set() {
        let mut dead = DeadSet::default();
        for at in [0, 7, 8, 63, 64, 200] {
            assert!(dead.insert(at, 10));
        }
        assert!(!dead.insert(63, 10), "a record dies once");
        assert_eq!((dead.records(), dead.bytes()), (6, 60));
        assert!(dead.contains(200) && !dead.contains(199) && !dead.contains(100_000));
        let bits = dead.encode();
        assert_eq!(bits.len(), 26);
        assert_eq!(DeadSet::places(&bits).collect::<Vec<_>>(), [0, 7, 8, 63, 64, 200]);
    }
}
