//! Pages: their header, the meta page, the elements of branches and leaves. All numbers are little-endian.

use super::BoltError;
use bytes::Bytes;

/// The number of a page: its offset divided by the page size.
pub type PageId = u64;

/// The size of the pages that are written, in bytes. Those of a file that is read are what its meta page says.
pub const PAGE_BYTES: usize = 4096;

pub(super) const HEADER_BYTES: usize = 16;
pub(super) const ELEMENT_BYTES: usize = 16;
pub(super) const META_BYTES: usize = 64;

pub(super) const BRANCH: u16 = 0x01;
pub(super) const LEAF: u16 = 0x02;
pub(super) const META: u16 = 0x04;

/// Marks an element of a leaf whose value is a bucket.
pub(super) const BUCKET_ELEMENT: u32 = 0x01;

/// What the meta page says instead of a page when the free pages are not stored.
pub(super) const NO_FREELIST: PageId = u64::MAX;

const MAGIC: u32 = 0xed0c_daed;
const VERSION: u32 = 2;

pub(super) fn malformed(page: PageId, what: &'static str) -> BoltError {
    BoltError::Malformed { page, what }
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

pub(super) fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?))
}

/// The first 16 bytes of a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PageHeader {
    pub id: PageId,
    pub flags: u16,
    pub count: u16,
    /// How many further pages this one goes on over.
    pub overflow: u32,
}

impl PageHeader {
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        Some(Self {
            id: u64_at(bytes, 0)?,
            flags: u16_at(bytes, 8)?,
            count: u16_at(bytes, 10)?,
            overflow: u32_at(bytes, 12)?,
        })
    }

    pub fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut out = [0; HEADER_BYTES];
        out[..8].copy_from_slice(&self.id.to_le_bytes());
        out[8..10].copy_from_slice(&self.flags.to_le_bytes());
        out[10..12].copy_from_slice(&self.count.to_le_bytes());
        out[12..].copy_from_slice(&self.overflow.to_le_bytes());
        out
    }
}

/// What one of the two meta pages says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Meta {
    pub page_bytes: u32,
    pub root: PageId,
    pub sequence: u64,
    pub freelist: PageId,
    /// The first page that has never been used: the file's pages are below it.
    pub high_water: PageId,
    pub txid: u64,
}

impl Meta {
    /// The meta after a page header, if magic, version and checksum are right.
    pub fn decode(bytes: &[u8]) -> Result<Self, &'static str> {
        const SHORT: &str = "the file is too short for a meta page";
        let bytes = bytes.get(..META_BYTES).ok_or(SHORT)?;
        if u32_at(bytes, 0) != Some(MAGIC) {
            return Err("the magic number is missing");
        }
        if u32_at(bytes, 4) != Some(VERSION) {
            return Err("the version is not 2");
        }
        if u64_at(bytes, 56) != Some(fnv1a(&bytes[..56])) {
            return Err("the meta page's checksum does not match");
        }
        Ok(Self {
            page_bytes: u32_at(bytes, 8).ok_or(SHORT)?,
            root: u64_at(bytes, 16).ok_or(SHORT)?,
            sequence: u64_at(bytes, 24).ok_or(SHORT)?,
            freelist: u64_at(bytes, 32).ok_or(SHORT)?,
            high_water: u64_at(bytes, 40).ok_or(SHORT)?,
            txid: u64_at(bytes, 48).ok_or(SHORT)?,
        })
    }

    pub fn encode(&self) -> [u8; META_BYTES] {
        let mut out = [0; META_BYTES];
        out[..4].copy_from_slice(&MAGIC.to_le_bytes());
        out[4..8].copy_from_slice(&VERSION.to_le_bytes());
        out[8..12].copy_from_slice(&self.page_bytes.to_le_bytes());
        out[16..24].copy_from_slice(&self.root.to_le_bytes());
        out[24..32].copy_from_slice(&self.sequence.to_le_bytes());
        out[32..40].copy_from_slice(&self.freelist.to_le_bytes());
        out[40..48].copy_from_slice(&self.high_water.to_le_bytes());
        out[48..56].copy_from_slice(&self.txid.to_le_bytes());
        let sum = fnv1a(&out[..56]);
        out[56..].copy_from_slice(&sum.to_le_bytes());
        out
    }
}

fn fnv1a(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

/// A branch or leaf page whose elements have been checked: they lie inside it, and the keys ascend.
#[derive(Clone, Debug)]
pub(super) struct Page {
    id: PageId,
    leaf: bool,
    count: usize,
    pages: u64,
    bytes: Bytes,
}

impl Page {
    /// Takes the bytes of a whole page, overflow included. `id` is what errors name: an inline page has no number.
    pub fn parse(id: PageId, header: PageHeader, bytes: Bytes) -> Result<Self, BoltError> {
        let leaf = match header.flags {
            LEAF => true,
            BRANCH => false,
            _ => return Err(malformed(id, "neither a branch nor a leaf")),
        };
        let pages = u64::from(header.overflow) + 1;
        let page = Self { id, leaf, count: usize::from(header.count), pages, bytes };
        if HEADER_BYTES + page.count * ELEMENT_BYTES > page.bytes.len() {
            return Err(malformed(id, "more elements than fit"));
        }
        page.check_elements()?;
        Ok(page)
    }

    fn check_elements(&self) -> Result<(), BoltError> {
        let mut previous: Option<&[u8]> = None;
        for at in 0..self.count {
            let inside = self.extent(at).filter(|(_, end)| *end <= self.bytes.len());
            inside.ok_or(malformed(self.id, "an element lies outside"))?;
            let key = self.key(at);
            if previous.is_some_and(|previous| previous >= key) {
                return Err(malformed(self.id, "the keys do not ascend"));
            }
            previous = Some(key);
        }
        Ok(())
    }

    pub fn id(&self) -> PageId {
        self.id
    }

    /// How many pages of the file it takes.
    pub fn pages(&self) -> u64 {
        self.pages
    }

    pub fn is_leaf(&self) -> bool {
        self.leaf
    }

    pub fn count(&self) -> usize {
        self.count
    }

    fn element(&self, at: usize) -> usize {
        HEADER_BYTES + at * ELEMENT_BYTES
    }

    fn field(&self, at: usize, offset: usize) -> usize {
        u32_at(&self.bytes, self.element(at) + offset).unwrap_or(0) as usize
    }

    /// Key size and value size; a branch has no values.
    fn sizes(&self, at: usize) -> (usize, usize) {
        if self.leaf { (self.field(at, 8), self.field(at, 12)) } else { (self.field(at, 4), 0) }
    }

    /// Where key and value lie together. Positions count from the element.
    fn extent(&self, at: usize) -> Option<(usize, usize)> {
        let position = self.field(at, if self.leaf { 4 } else { 0 });
        let (key_bytes, value_bytes) = self.sizes(at);
        let start = self.element(at).checked_add(position)?;
        Some((start, start.checked_add(key_bytes)?.checked_add(value_bytes)?))
    }

    fn key_extent(&self, at: usize) -> (usize, usize) {
        let start = self.extent(at).map_or(0, |(start, _)| start);
        (start, start + self.sizes(at).0)
    }

    /// The key of an element. `at` must be below [`Page::count`].
    pub fn key(&self, at: usize) -> &[u8] {
        let (start, end) = self.key_extent(at);
        &self.bytes[start..end]
    }

    /// The key of an element, sharing the page's memory.
    pub fn key_shared(&self, at: usize) -> Bytes {
        let (start, end) = self.key_extent(at);
        self.bytes.slice(start..end)
    }

    /// The value of a leaf's element, sharing the page's memory.
    pub fn value(&self, at: usize) -> Bytes {
        let start = self.key_extent(at).1;
        self.bytes.slice(start..start + self.sizes(at).1)
    }

    /// Whether the value of a leaf's element is a bucket.
    pub fn is_bucket(&self, at: usize) -> bool {
        u32_at(&self.bytes, self.element(at)).unwrap_or(0) & BUCKET_ELEMENT != 0
    }

    /// The page below a branch's element.
    pub fn child(&self, at: usize) -> PageId {
        u64_at(&self.bytes, self.element(at) + 8).unwrap_or(0)
    }

    /// The first element whose key is `key` or above.
    pub fn lower_bound(&self, key: &[u8]) -> usize {
        let (mut low, mut high) = (0, self.count);
        while low < high {
            let middle = low + (high - low) / 2;
            if self.key(middle) < key { low = middle + 1 } else { high = middle }
        }
        low
    }
}
