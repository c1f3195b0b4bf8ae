//! Reading: buckets and their pairs in order.

use super::page::{HEADER_BYTES, META, META_BYTES, Meta, Page, PageHeader, PageId, malformed, u64_at};
use super::{BoltError, ReadAt};
use bytes::Bytes;

/// A tree is never deeper: a branch has two children or more, so this is enough for any file that fits a disk.
const DEPTH_MAX: usize = 40;

/// Page sizes that bbolt knows: those of all operating systems it runs on.
const PAGE_BYTES_LOG2: std::ops::RangeInclusive<u32> = 9..=16;

/// A bbolt database that is read. It is not locked: of a file that a running etcd writes to, a read may fail
/// as malformed.
#[derive(Debug)]
pub struct BoltFile<S> {
    source: S,
    bytes: u64,
    meta: Meta,
}

impl<S: ReadAt> BoltFile<S> {
    /// Opens the database in `source`, in the state of its newest valid meta page. What follows the last page (the
    /// checksum of a backup) is not looked at.
    ///
    /// # Errors
    /// [`BoltError::NotBolt`] if there is no valid meta page, [`BoltError::Io`] if the source cannot be read.
    pub fn open(source: S) -> Result<Self, BoltError> {
        let bytes = source.size()?;
        let first = read_meta(&source, bytes, 0)?;
        // The second meta page is one page in; if the first is damaged, the page size has to be found.
        let seconds = match first {
            Ok(meta) => vec![u64::from(meta.page_bytes)],
            Err(_) => PAGE_BYTES_LOG2.map(|shift| 1 << shift).collect(),
        };
        let mut newest = first;
        for offset in seconds {
            let Ok(meta) = read_meta(&source, bytes, offset)? else { continue };
            let newer = newest.map_or(true, |newest| meta.txid > newest.txid);
            if newer && u64::from(meta.page_bytes) == offset {
                newest = Ok(meta);
            }
        }
        let meta = newest.map_err(BoltError::NotBolt)?;
        Ok(Self { source, bytes, meta })
    }

    /// The size of the database in bytes: what follows in the source does not belong to it.
    #[must_use]
    pub fn database_bytes(&self) -> u64 {
        self.meta.high_water.saturating_mul(u64::from(self.meta.page_bytes))
    }

    /// The number of the transaction that made this state.
    #[must_use]
    pub fn txid(&self) -> u64 {
        self.meta.txid
    }

    /// The names of the buckets, ascending.
    ///
    /// # Errors
    /// [`BoltError::Malformed`] and [`BoltError::Io`].
    pub fn bucket_names(&self) -> Result<Vec<Bytes>, BoltError> {
        self.elements(Root::Page(self.meta.root), &[])
            .filter(|element| element.as_ref().map_or(true, |element| element.bucket))
            .map(|element| Ok(element?.key))
            .collect()
    }

    /// The bucket called `name`, if there is one.
    ///
    /// # Errors
    /// [`BoltError::Malformed`] and [`BoltError::Io`].
    pub fn bucket(&self, name: &[u8]) -> Result<Option<Bucket<'_, S>>, BoltError> {
        let first = self.elements(Root::Page(self.meta.root), name).next().transpose()?;
        let Some(element) = first.filter(|element| element.bucket && element.key == name) else {
            return Ok(None);
        };
        let short = malformed(element.page, "a bucket without a root");
        let root = match u64_at(&element.value, 0).ok_or(short)? {
            0 => Root::Inline(inline_page(&element)?),
            page => Root::Page(page),
        };
        Ok(Some(Bucket { file: self, root }))
    }

    fn elements(&self, root: Root, from: &[u8]) -> Elements<'_, S> {
        Elements {
            file: self,
            stack: Vec::new(),
            previous: None,
            pages_left: self.meta.high_water,
            state: State::Seek(root, Bytes::copy_from_slice(from)),
        }
    }

    fn page(&self, id: PageId) -> Result<Page, BoltError> {
        let page_bytes = u64::from(self.meta.page_bytes);
        let outside = || malformed(id, "it is outside the file");
        if id < 2 || id >= self.meta.high_water {
            return Err(outside());
        }
        let offset = id.checked_mul(page_bytes).ok_or_else(outside)?;
        if offset.checked_add(page_bytes).is_none_or(|end| end > self.bytes) {
            return Err(outside());
        }
        let mut bytes = vec![0; self.meta.page_bytes as usize];
        self.source.read_exact_at(&mut bytes, offset)?;
        let header = PageHeader::decode(&bytes).ok_or_else(outside)?;
        if header.id != id {
            return Err(malformed(id, "it has another page's number"));
        }
        if header.overflow > 0 {
            let whole = (u64::from(header.overflow) + 1) * page_bytes;
            if offset.checked_add(whole).is_none_or(|end| end > self.bytes) {
                return Err(outside());
            }
            let first = bytes.len();
            bytes.resize(usize::try_from(whole).map_err(|_| outside())?, 0);
            self.source.read_exact_at(&mut bytes[first..], offset + page_bytes)?;
        }
        Page::parse(id, header, bytes.into())
    }
}

/// The meta page at `offset`, or why it is none.
fn read_meta<S: ReadAt>(
    source: &S,
    bytes: u64,
    offset: u64,
) -> Result<Result<Meta, &'static str>, BoltError> {
    let mut page = [0; HEADER_BYTES + META_BYTES];
    if bytes < offset + page.len() as u64 {
        return Ok(Err("the file is too short for a meta page"));
    }
    source.read_exact_at(&mut page, offset)?;
    Ok(Meta::decode(&page[HEADER_BYTES..]).and_then(|meta| {
        let flags = PageHeader::decode(&page).map_or(0, |header| header.flags);
        let size = meta.page_bytes;
        if flags != META || !size.is_power_of_two() || !PAGE_BYTES_LOG2.contains(&size.trailing_zeros()) {
            return Err("the meta page is malformed");
        }
        Ok(meta)
    }))
}

/// A small bucket lies in its parent's value, behind root and sequence: a page without a number.
fn inline_page(element: &Element) -> Result<Page, BoltError> {
    let bytes = element.value.slice(16.min(element.value.len())..);
    let header =
        PageHeader::decode(&bytes).ok_or(malformed(element.page, "an inline bucket without a page"))?;
    let page = Page::parse(element.page, header, bytes)?;
    if !page.is_leaf() {
        return Err(malformed(element.page, "an inline bucket that is not a leaf"));
    }
    Ok(page)
}

#[derive(Clone, Debug)]
enum Root {
    Page(PageId),
    Inline(Page),
}

/// A bucket of a [`BoltFile`].
#[derive(Debug)]
pub struct Bucket<'a, S> {
    file: &'a BoltFile<S>,
    root: Root,
}

impl<'a, S: ReadAt> Bucket<'a, S> {
    /// All pairs, keys ascending.
    #[must_use]
    pub fn entries(&self) -> Entries<'a, S> {
        self.entries_from(&[])
    }

    /// The pairs whose key is `key` or above, ascending.
    #[must_use]
    pub fn entries_from(&self, key: &[u8]) -> Entries<'a, S> {
        Entries(self.file.elements(self.root.clone(), key))
    }

    /// The value of `key`, if there is one.
    ///
    /// # Errors
    /// [`BoltError::Malformed`] and [`BoltError::Io`].
    pub fn value(&self, key: &[u8]) -> Result<Option<Bytes>, BoltError> {
        let first = self.entries_from(key).next().transpose()?;
        Ok(first.filter(|(found, _)| found == key).map(|(_, value)| value))
    }

    /// The pair with the greatest key. Reads one page a level.
    ///
    /// # Errors
    /// [`BoltError::Malformed`] and [`BoltError::Io`].
    pub fn last(&self) -> Result<Option<(Bytes, Bytes)>, BoltError> {
        let mut page = self.root_page()?;
        for _ in 0..DEPTH_MAX {
            let Some(last) = page.count().checked_sub(1) else { return empty(&page) };
            if page.is_leaf() {
                return Ok(Some((page.key_shared(last), page.value(last))));
            }
            page = self.file.page(page.child(last))?;
        }
        Err(malformed(page.id(), "the tree is too deep"))
    }

    /// How many pairs there are. Reads every page of the bucket, but looks at none of its pairs.
    ///
    /// # Errors
    /// [`BoltError::Malformed`] and [`BoltError::Io`].
    pub fn count(&self) -> Result<u64, BoltError> {
        let mut pages_left = self.file.meta.high_water;
        let mut count = 0;
        let mut stack = match &self.root {
            Root::Page(id) => vec![*id],
            Root::Inline(page) => return Ok(page.count() as u64),
        };
        while let Some(id) = stack.pop() {
            let page = self.file.page(id)?;
            spend(&mut pages_left, &page)?;
            if page.is_leaf() {
                count += page.count() as u64;
            } else {
                stack.extend((0..page.count()).map(|at| page.child(at)));
            }
        }
        Ok(count)
    }

    fn root_page(&self) -> Result<Page, BoltError> {
        match &self.root {
            Root::Page(id) => self.file.page(*id),
            Root::Inline(page) => Ok(page.clone()),
        }
    }
}

fn empty<T>(page: &Page) -> Result<Option<T>, BoltError> {
    if page.is_leaf() { Ok(None) } else { Err(malformed(page.id(), "a branch without children")) }
}

/// Takes a page from the budget of a walk: one that reads more pages than the file has goes in a circle.
fn spend(pages_left: &mut u64, page: &Page) -> Result<(), BoltError> {
    let left = pages_left.checked_sub(page.pages());
    *pages_left = left.ok_or(malformed(page.id(), "it is its own descendant"))?;
    Ok(())
}

/// The pairs of a [`Bucket`], ascending. Ends behind the first error.
#[derive(Debug)]
pub struct Entries<'a, S>(Elements<'a, S>);

impl<S: ReadAt> Iterator for Entries<'_, S> {
    type Item = Result<(Bytes, Bytes), BoltError>;

    fn next(&mut self) -> Option<Self::Item> {
        Some(self.0.next()?.and_then(|element| {
            if element.bucket {
                return Err(malformed(element.page, "a bucket within a bucket, which etcd never makes"));
            }
            Ok((element.key, element.value))
        }))
    }
}

/// One element of a leaf.
#[derive(Debug)]
struct Element {
    page: PageId,
    bucket: bool,
    key: Bytes,
    value: Bytes,
}

#[derive(Debug)]
enum State {
    /// Nothing read yet: where to begin, and from which key.
    Seek(Root, Bytes),
    Walk,
    Done,
}

/// Walks the leaves of one tree.
#[derive(Debug)]
struct Elements<'a, S> {
    file: &'a BoltFile<S>,
    /// The open path, each page with the element that comes next.
    stack: Vec<(Page, usize)>,
    previous: Option<Bytes>,
    pages_left: u64,
    state: State,
}

impl<S: ReadAt> Elements<'_, S> {
    fn step(&mut self) -> Result<Option<Element>, BoltError> {
        if let State::Seek(root, from) = std::mem::replace(&mut self.state, State::Walk) {
            self.seek(root, &from)?;
        }
        while let Some((page, next)) = self.stack.last_mut() {
            if *next >= page.count() {
                self.stack.pop();
                continue;
            }
            let at = *next;
            *next += 1;
            if page.is_leaf() {
                let element = Element {
                    page: page.id(),
                    bucket: page.is_bucket(at),
                    key: page.key_shared(at),
                    value: page.value(at),
                };
                return self.ascending(element).map(Some);
            }
            let lower = page.key_shared(at);
            let child = page.child(at);
            let child = self.load(child)?;
            if child.count() == 0 || child.key(0) < &lower[..] {
                return Err(malformed(child.id(), "its keys are not those its parent names"));
            }
            self.stack.push((child, 0));
        }
        Ok(None)
    }

    /// Opens the path to the first element at `from` or above.
    fn seek(&mut self, root: Root, from: &[u8]) -> Result<(), BoltError> {
        let mut page = match root {
            Root::Page(id) => self.load(id)?,
            Root::Inline(page) => page,
        };
        while !page.is_leaf() {
            if page.count() == 0 {
                return Err(malformed(page.id(), "a branch without children"));
            }
            let bound = page.lower_bound(from);
            let exact = bound < page.count() && page.key(bound) == from;
            let at = if exact { bound } else { bound.saturating_sub(1) };
            let child = page.child(at);
            self.stack.push((page, at + 1));
            page = self.load(child)?;
        }
        let at = page.lower_bound(from);
        self.stack.push((page, at));
        Ok(())
    }

    fn load(&mut self, id: PageId) -> Result<Page, BoltError> {
        if self.stack.len() >= DEPTH_MAX {
            return Err(malformed(id, "the tree is too deep"));
        }
        let page = self.file.page(id)?;
        spend(&mut self.pages_left, &page)?;
        Ok(page)
    }

    fn ascending(&mut self, element: Element) -> Result<Element, BoltError> {
        if self.previous.as_ref().is_some_and(|previous| *previous >= element.key) {
            return Err(malformed(element.page, "the keys do not ascend"));
        }
        self.previous = Some(element.key.clone());
        Ok(element)
    }
}

impl<S: ReadAt> Iterator for Elements<'_, S> {
    type Item = Result<Element, BoltError>;

    fn next(&mut self) -> Option<Self::Item> {
        if matches!(self.state, State::Done) {
            return None;
        }
        let step = self.step();
        if !matches!(step, Ok(Some(_))) {
            self.state = State::Done;
        }
        step.transpose()
    }
}
