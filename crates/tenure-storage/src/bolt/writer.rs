//! Writing: sorted pairs in, pages out from the leaves up, in one pass.

use super::BoltError;
use super::page::{
    BRANCH, BUCKET_ELEMENT, ELEMENT_BYTES, HEADER_BYTES, LEAF, META, Meta, NO_FREELIST, PAGE_BYTES,
    PageHeader, PageId,
};
use std::io::{self, Seek, SeekFrom, Write};

/// The longest key, in bytes.
pub const KEY_BYTES_MAX: usize = 32_768;

/// The longest value, in bytes.
pub const VALUE_BYTES_MAX: usize = (1 << 31) - 2;

/// A bucket up to this size lies in its parent, as bbolt itself does it.
const INLINE_BYTES_MAX: usize = PAGE_BYTES / 4;

/// How much is gathered before it is written.
const BUFFER_BYTES: usize = 256 * 1024;

/// Makes a bbolt database. Nothing is one until [`BoltWriter::finish`] has written the meta pages: a file whose making
/// was cut short is refused by every reader.
///
/// The free pages are not stored (as etcd's own files), and there are none. Memory is a page a level of the
/// tree, the longest pair, and a buffer.
#[derive(Debug)]
pub struct BoltWriter<W> {
    pages: Pages<W>,
    root: Tree,
}

impl<W: Write + Seek> BoltWriter<W> {
    /// Begins a database at the start of `sink`, which must be empty.
    ///
    /// # Errors
    /// [`BoltError::Io`].
    pub fn new(sink: W) -> Result<Self, BoltError> {
        let mut pages = Pages { sink, buffer: Vec::with_capacity(BUFFER_BYTES), next: 2, failed: false };
        pages.buffer.resize(2 * PAGE_BYTES, 0);
        Ok(Self { pages, root: Tree::default() })
    }

    /// Adds the bucket `name`, whose pairs `fill` writes. Names must ascend.
    ///
    /// # Errors
    /// [`BoltError::Unordered`], [`BoltError::KeySize`], [`BoltError::Io`], and whatever `fill` says.
    pub fn bucket<E: From<BoltError>>(
        &mut self,
        name: &[u8],
        fill: impl FnOnce(&mut BucketWriter<'_, W>) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut bucket = BucketWriter { pages: &mut self.pages, tree: Tree::default() };
        fill(&mut bucket)?;
        let tree = bucket.tree;
        let value = match tree.inline() {
            Some(page) => bucket_header(0, &page),
            None => bucket_header(tree.finish(&mut self.pages)?, &[]),
        };
        Ok(self.root.put(&mut self.pages, BUCKET_ELEMENT, name, &value)?)
    }

    /// Writes what is left, then the meta pages. Gives back the sink and the size of the database in bytes. The sink is
    /// flushed, not synced.
    ///
    /// # Errors
    /// [`BoltError::Io`].
    pub fn finish(self) -> Result<(W, u64), BoltError> {
        let Self { mut pages, root } = self;
        let root = root.finish(&mut pages)?;
        let high_water = pages.next;
        pages.write_out()?;
        let mut sink = pages.sink;
        sink.seek(SeekFrom::Start(0))?;
        // A transaction's meta page is that of its parity: the next one, 2, overwrites the older state.
        for txid in 0..2 {
            let header = PageHeader { id: txid, flags: META, count: 0, overflow: 0 };
            let meta = Meta {
                page_bytes: PAGE_BYTES as u32,
                root,
                sequence: 0,
                freelist: NO_FREELIST,
                high_water,
                txid,
            };
            let mut page = header.encode().to_vec();
            page.extend_from_slice(&meta.encode());
            page.resize(PAGE_BYTES, 0);
            sink.write_all(&page)?;
        }
        sink.flush()?;
        Ok((sink, high_water * PAGE_BYTES as u64))
    }
}

/// Root page and sequence, which a bucket's value begins with; behind them an inline page, if the root is 0.
fn bucket_header(root: PageId, inline: &[u8]) -> Vec<u8> {
    let mut value = Vec::with_capacity(16 + inline.len());
    value.extend_from_slice(&root.to_le_bytes());
    value.extend_from_slice(&0u64.to_le_bytes());
    value.extend_from_slice(inline);
    value
}

/// Takes the pairs of one bucket.
#[derive(Debug)]
pub struct BucketWriter<'a, W> {
    pages: &'a mut Pages<W>,
    tree: Tree,
}

impl<W: Write> BucketWriter<'_, W> {
    /// Adds a pair. Keys must ascend.
    ///
    /// # Errors
    /// [`BoltError::Unordered`], [`BoltError::KeySize`], [`BoltError::ValueSize`], [`BoltError::Io`].
    pub fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), BoltError> {
        self.tree.put(self.pages, 0, key, value)
    }
}

/// Where finished pages go, one behind the other.
#[derive(Debug)]
struct Pages<W> {
    sink: W,
    buffer: Vec<u8>,
    next: PageId,
    /// A write has failed: what the sink holds is not known.
    failed: bool,
}

impl<W: Write> Pages<W> {
    /// Writes a page of these parts, over as many pages of the file as it needs.
    fn append(&mut self, flags: u16, elements: &[Element], data: &[u8]) -> Result<PageId, BoltError> {
        let id = self.next;
        let bytes = page_bytes(elements.len(), data.len());
        let pages = bytes.div_ceil(PAGE_BYTES);
        encode_page(&mut self.buffer, id, pages - 1, flags, elements, data);
        self.buffer.resize(self.buffer.len() + pages * PAGE_BYTES - bytes, 0);
        self.next += pages as u64;
        if self.buffer.len() >= BUFFER_BYTES {
            self.write_out()?;
        }
        Ok(id)
    }

    fn write_out(&mut self) -> Result<(), BoltError> {
        if self.failed {
            return Err(io::Error::other("an earlier write failed").into());
        }
        self.failed = true;
        self.sink.write_all(&self.buffer)?;
        self.failed = false;
        self.buffer.clear();
        self.buffer.shrink_to(BUFFER_BYTES);
        Ok(())
    }
}

fn page_bytes(elements: usize, data: usize) -> usize {
    HEADER_BYTES + elements * ELEMENT_BYTES + data
}

fn encode_page(
    out: &mut Vec<u8>,
    id: PageId,
    overflow: usize,
    flags: u16,
    elements: &[Element],
    data: &[u8],
) {
    let header = PageHeader { id, flags, count: elements.len() as u16, overflow: overflow as u32 };
    out.extend_from_slice(&header.encode());
    let mut data_at = 0;
    for (at, element) in elements.iter().enumerate() {
        let position = (elements.len() - at) * ELEMENT_BYTES + data_at;
        data_at += element.encode(out, position as u32);
    }
    out.extend_from_slice(data);
}

/// An element whose key (and value) are in the data of its page.
#[derive(Clone, Copy, Debug)]
enum Element {
    Leaf { flags: u32, key_bytes: u32, value_bytes: u32 },
    Branch { key_bytes: u32, child: PageId },
}

impl Element {
    /// Writes the element, whose data begins `position` bytes behind its own start. Gives the size of that data.
    fn encode(&self, out: &mut Vec<u8>, position: u32) -> usize {
        match *self {
            Element::Leaf { flags, key_bytes, value_bytes } => {
                for number in [flags, position, key_bytes, value_bytes] {
                    out.extend_from_slice(&number.to_le_bytes());
                }
            }
            Element::Branch { key_bytes, child } => {
                out.extend_from_slice(&position.to_le_bytes());
                out.extend_from_slice(&key_bytes.to_le_bytes());
                out.extend_from_slice(&child.to_le_bytes());
            }
        }
        self.data_bytes()
    }

    fn data_bytes(&self) -> usize {
        match *self {
            Element::Leaf { key_bytes, value_bytes, .. } => key_bytes as usize + value_bytes as usize,
            Element::Branch { key_bytes, .. } => key_bytes as usize,
        }
    }

    fn key_bytes(&self) -> usize {
        match *self {
            Element::Leaf { key_bytes, .. } | Element::Branch { key_bytes, .. } => key_bytes as usize,
        }
    }
}

/// A page that is being filled.
#[derive(Debug, Default)]
struct OpenPage {
    elements: Vec<Element>,
    data: Vec<u8>,
}

impl OpenPage {
    fn fits(&self, data: usize) -> bool {
        page_bytes(self.elements.len() + 1, self.data.len() + data) <= PAGE_BYTES
    }

    fn first_key(&self) -> Vec<u8> {
        let key_bytes = self.elements.first().map_or(0, Element::key_bytes);
        self.data[..key_bytes].to_vec()
    }

    fn clear(&mut self) {
        self.elements.clear();
        self.data.clear();
        self.data.shrink_to(4 * PAGE_BYTES);
    }
}

/// A tree that is being made: the open leaf, and above it the open branch of every level.
#[derive(Debug, Default)]
struct Tree {
    leaf: OpenPage,
    branches: Vec<OpenPage>,
    last_key: Vec<u8>,
}

impl Tree {
    fn put<W: Write>(
        &mut self,
        pages: &mut Pages<W>,
        flags: u32,
        key: &[u8],
        value: &[u8],
    ) -> Result<(), BoltError> {
        if key.is_empty() || key.len() > KEY_BYTES_MAX {
            return Err(BoltError::KeySize(key.len()));
        }
        if value.len() > VALUE_BYTES_MAX {
            return Err(BoltError::ValueSize(value.len()));
        }
        // The empty key before the first pair is below every key.
        if key <= &self.last_key[..] {
            return Err(BoltError::Unordered);
        }
        self.last_key.clear();
        self.last_key.extend_from_slice(key);
        if !self.leaf.elements.is_empty() && !self.leaf.fits(key.len() + value.len()) {
            self.close_leaf(pages)?;
        }
        let element = Element::Leaf { flags, key_bytes: key.len() as u32, value_bytes: value.len() as u32 };
        self.leaf.elements.push(element);
        self.leaf.data.extend_from_slice(key);
        self.leaf.data.extend_from_slice(value);
        Ok(())
    }

    fn close_leaf<W: Write>(&mut self, pages: &mut Pages<W>) -> Result<(), BoltError> {
        let id = pages.append(LEAF, &self.leaf.elements, &self.leaf.data)?;
        let first_key = self.leaf.first_key();
        self.leaf.clear();
        self.add_child(pages, 0, first_key, id)
    }

    /// Adds a finished page to the branch at `level` above the leaves. A branch that is full is written without its
    /// last child, which begins the next one: so none has a single child.
    fn add_child<W: Write>(
        &mut self,
        pages: &mut Pages<W>,
        level: usize,
        key: Vec<u8>,
        child: PageId,
    ) -> Result<(), BoltError> {
        if level == self.branches.len() {
            self.branches.push(OpenPage::default());
        }
        let branch = &mut self.branches[level];
        let mut full = None;
        if branch.elements.len() > 2 && !branch.fits(key.len()) {
            let last = branch.elements.split_off(branch.elements.len() - 1);
            let last_key = branch.data.split_off(branch.data.len() - last[0].key_bytes());
            let id = pages.append(BRANCH, &branch.elements, &branch.data)?;
            full = Some((branch.first_key(), id));
            *branch = OpenPage { elements: last, data: last_key };
        }
        branch.elements.push(Element::Branch { key_bytes: key.len() as u32, child });
        branch.data.extend_from_slice(&key);
        match full {
            Some((first_key, id)) => self.add_child(pages, level + 1, first_key, id),
            None => Ok(()),
        }
    }

    /// The whole tree as a page without a number, if it is small enough to lie in its parent.
    fn inline(&self) -> Option<Vec<u8>> {
        let bytes = page_bytes(self.leaf.elements.len(), self.leaf.data.len());
        if !self.branches.is_empty() || bytes > INLINE_BYTES_MAX {
            return None;
        }
        let mut page = Vec::with_capacity(bytes);
        encode_page(&mut page, 0, 0, LEAF, &self.leaf.elements, &self.leaf.data);
        Some(page)
    }

    /// Writes the open pages. Gives the root.
    fn finish<W: Write>(mut self, pages: &mut Pages<W>) -> Result<PageId, BoltError> {
        if self.branches.is_empty() {
            return pages.append(LEAF, &self.leaf.elements, &self.leaf.data);
        }
        self.close_leaf(pages)?;
        let mut level = 0;
        loop {
            let branch = std::mem::take(&mut self.branches[level]);
            let id = pages.append(BRANCH, &branch.elements, &branch.data)?;
            level += 1;
            if level == self.branches.len() {
                return Ok(id);
            }
            self.add_child(pages, level, branch.first_key(), id)?;
        }
    }
}
