use super::*;
use bytes::Bytes;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::io::Cursor;

type Pairs = BTreeMap<Vec<u8>, Vec<u8>>;

fn write(buckets: &BTreeMap<Vec<u8>, Pairs>) -> Vec<u8> {
    let mut writer = BoltWriter::new(Cursor::new(Vec::new())).unwrap();
    for (name, pairs) in buckets {
        writer
            .bucket(name, |bucket| pairs.iter().try_for_each(|(key, value)| bucket.put(key, value)))
            .unwrap();
    }
    let (sink, bytes) = writer.finish().unwrap();
    assert_eq!(sink.get_ref().len() as u64, bytes);
    sink.into_inner()
}

fn read(file: &[u8]) -> Result<BTreeMap<Vec<u8>, Pairs>, BoltError> {
    let file = BoltFile::open(file)?;
    let mut buckets = BTreeMap::new();
    for name in file.bucket_names()? {
        let bucket = file.bucket(&name)?.expect("a bucket that was listed");
        let pairs: Result<Pairs, BoltError> =
            bucket.entries().map(|pair| pair.map(|(key, value)| (key.to_vec(), value.to_vec()))).collect();
        buckets.insert(name.to_vec(), pairs?);
    }
    Ok(buckets)
}

fn one_bucket(pairs: Pairs) -> BTreeMap<Vec<u8>, Pairs> {
    BTreeMap::from([(b"key".to_vec(), pairs)])
}

fn numbered(count: u64, value: &[u8]) -> Pairs {
    (0..count).map(|number| (number.to_be_bytes().to_vec(), value.to_vec())).collect()
}

#[test]
fn a_file_without_buckets() {
    let file = write(&BTreeMap::new());
    assert_eq!(file.len(), 3 * PAGE_BYTES);
    assert_eq!(read(&file).unwrap(), BTreeMap::new());
    assert!(BoltFile::open(&file[..]).unwrap().bucket(b"key").unwrap().is_none());
}

/// Byte by byte what `docs/format/bolt.md` says.
#[test]
fn a_tiny_file_byte_by_byte() {
    let file = write(&BTreeMap::from([
        (b"a".to_vec(), Pairs::from([(b"k".to_vec(), b"v".to_vec()), (b"l".to_vec(), b"".to_vec())])),
        (b"big".to_vec(), Pairs::from([(b"n".to_vec(), vec![b'.'; 1000])])),
    ]));
    let mut dump = String::new();
    for (at, line) in file.chunks(16).enumerate() {
        if line.iter().any(|byte| *byte != 0) && line != [b'.'; 16] {
            let hex: Vec<String> =
                line.chunks(4).map(|word| word.iter().map(|byte| format!("{byte:02x}")).collect()).collect();
            dump += &format!("{:04x} {}\n", at * 16, hex.join(" "));
        }
    }
    assert_eq!(dump, include_str!("testdata/tiny.hex"));
}

#[test]
fn a_database_of_a_real_etcd() {
    let file = BoltFile::open(&include_bytes!("testdata/etcd-3.5.1.db")[..]).unwrap();
    let names = "alarm auth authRoles authUsers cluster key lease members members_removed meta";
    assert_eq!(file.bucket_names().unwrap(), names.split(' ').collect::<Vec<_>>());
    let keys = file.bucket(b"key").unwrap().unwrap();
    let kvs: Vec<(Bytes, Bytes)> = keys.entries().map(Result::unwrap).collect();
    assert_eq!(kvs.len(), 3);
    assert_eq!(kvs[0].0, &b"\0\0\0\0\0\0\0\x02_\0\0\0\0\0\0\0\0"[..]);
    assert_eq!(kvs[0].1, &b"\x0a\x01a\x10\x02\x18\x02\x20\x01\x2a\x011"[..]);
    assert_eq!(kvs[2].0, &b"\0\0\0\0\0\0\0\x04_\0\0\0\0\0\0\0\0t"[..]);
    assert_eq!(keys.last().unwrap().unwrap(), kvs[2]);
    assert_eq!(keys.count().unwrap(), 3);
    let meta = file.bucket(b"meta").unwrap().unwrap();
    assert_eq!(meta.value(b"consistent_index").unwrap().unwrap(), &8u64.to_be_bytes()[..]);
    assert_eq!(meta.value(b"storageVersion").unwrap(), None);
    assert_eq!(file.bucket(b"alarm").unwrap().unwrap().count().unwrap(), 0);
}

#[test]
fn three_levels() {
    let pairs = numbered(40_000, b"0123456789abcdef");
    let file = write(&one_bucket(pairs.clone()));
    assert_eq!(read(&file).unwrap(), one_bucket(pairs));
    let file = BoltFile::open(file).unwrap();
    let bucket = file.bucket(b"key").unwrap().unwrap();
    assert_eq!(bucket.count().unwrap(), 40_000);
    assert_eq!(bucket.last().unwrap().unwrap().0, &39_999u64.to_be_bytes()[..]);
    for number in [0, 1, 101, 102, 12_345, 39_999] {
        let first = bucket.entries_from(&u64::to_be_bytes(number)).next().unwrap().unwrap();
        assert_eq!(first.0, &number.to_be_bytes()[..]);
    }
    assert!(bucket.entries_from(&40_000u64.to_be_bytes()).next().is_none());
}

#[test]
fn keys_too_long_for_two_in_a_page() {
    let pairs: Pairs = (0..40u8).map(|at| (vec![at; 3000], vec![at])).collect();
    assert_eq!(read(&write(&one_bucket(pairs.clone()))).unwrap(), one_bucket(pairs));
}

#[test]
fn values_longer_than_pages() {
    let sizes = [0, 1, 4063, 4064, 4065, 100_000, 3, 1_572_864, 5];
    let pairs: Pairs = sizes.iter().zip(0u8..).map(|(size, at)| (vec![at + 1], vec![at; *size])).collect();
    assert_eq!(read(&write(&one_bucket(pairs.clone()))).unwrap(), one_bucket(pairs));
}

#[test]
fn what_a_writer_refuses() {
    let mut writer = BoltWriter::new(Cursor::new(Vec::new())).unwrap();
    let result = writer.bucket(b"b", |bucket| {
        bucket.put(b"b", b"")?;
        assert!(matches!(bucket.put(b"b", b""), Err(BoltError::Unordered)));
        assert!(matches!(bucket.put(b"a", b""), Err(BoltError::Unordered)));
        assert!(matches!(bucket.put(b"", b""), Err(BoltError::KeySize(0))));
        let long = vec![b'x'; KEY_BYTES_MAX + 1];
        assert!(matches!(bucket.put(&long, b""), Err(BoltError::KeySize(_))));
        bucket.put(&long[1..], b"")
    });
    result.unwrap();
    let again = writer.bucket(b"b", |_| Ok::<(), BoltError>(()));
    assert!(matches!(again, Err(BoltError::Unordered)));
}

#[test]
fn a_writer_whose_disk_failed_does_not_finish() {
    let mut small = [0; 10 * PAGE_BYTES];
    let mut writer = BoltWriter::new(Cursor::new(&mut small[..])).unwrap();
    let result = writer.bucket(b"key", |bucket| {
        (0..1000u64).try_for_each(|number| bucket.put(&number.to_be_bytes(), &[1; 4000]))
    });
    assert!(matches!(result, Err(BoltError::Io(_))));
    assert!(matches!(writer.finish(), Err(BoltError::Io(_))));
    assert!(matches!(BoltFile::open(&small[..]), Err(BoltError::NotBolt(_))));
}

#[test]
fn a_damaged_meta_page_leaves_the_other() {
    let buckets = one_bucket(numbered(500, b"value"));
    let whole = write(&buckets);
    for meta in [0, PAGE_BYTES] {
        let mut file = whole.clone();
        file[meta + 50] ^= 1;
        assert_eq!(read(&file).unwrap(), buckets, "meta page at {meta}");
        assert_eq!(BoltFile::open(file).unwrap().txid(), if meta == 0 { 1 } else { 0 });
    }
    let mut file = whole;
    file[50] ^= 1;
    file[PAGE_BYTES + 50] ^= 1;
    let error = BoltFile::open(&file[..]).unwrap_err();
    assert_eq!(error.to_string(), "not a bbolt database: the meta page's checksum does not match");
}

#[test]
fn what_is_no_database() {
    for bytes in [&b""[..], b"short", &[0; 100_000]] {
        assert!(matches!(BoltFile::open(bytes), Err(BoltError::NotBolt(_))));
    }
}

#[test]
fn a_cut_file_is_an_error() {
    let file = write(&one_bucket(numbered(5000, b"value")));
    for pages in 2..file.len() / PAGE_BYTES {
        assert!(
            matches!(read(&file[..pages * PAGE_BYTES]), Err(BoltError::Malformed { .. })),
            "{pages} pages"
        );
    }
}

/// A branch that names itself, or one leaf again and again, ends in an error and soon.
#[test]
fn a_circle_is_an_error() {
    let whole = write(&one_bucket(numbered(40_000, b"0123456789abcdef")));
    let root = whole.len() / PAGE_BYTES - 2;
    assert_eq!(whole[root * PAGE_BYTES + 8], 1, "the page before the last is the bucket's root, a branch");
    for target in [root as u64, 2] {
        let mut file = whole.clone();
        let count = usize::from(file[root * PAGE_BYTES + 10]);
        for element in 0..count {
            let child = root * PAGE_BYTES + 16 + element * 16 + 8;
            file[child..child + 8].copy_from_slice(&target.to_le_bytes());
        }
        assert!(matches!(read(&file), Err(BoltError::Malformed { .. })));
        let file = BoltFile::open(file).unwrap();
        let bucket = file.bucket(b"key").unwrap().unwrap();
        assert!(bucket.entries_from(&20_000u64.to_be_bytes()).count() < 40_000);
        if target == root as u64 {
            assert!(bucket.count().is_err());
            assert!(bucket.last().is_err());
        }
    }
}

fn name() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(any::<u8>(), 1..40)
}

fn value() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        4 => prop::collection::vec(any::<u8>(), 0..60),
        1 => (any::<u8>(), 0usize..20_000).prop_map(|(byte, size)| vec![byte; size]),
    ]
}

fn buckets() -> impl Strategy<Value = BTreeMap<Vec<u8>, Pairs>> {
    let pairs = prop_oneof![
        prop::collection::btree_map(name(), value(), 0..8),
        prop::collection::btree_map(name(), value(), 0..400),
    ];
    prop::collection::btree_map(name(), pairs, 0..6)
}

/// Reads all there is, in every way there is. What it gives does not matter, only that it ends.
fn read_everything(file: &[u8]) {
    let Ok(file) = BoltFile::open(file) else { return };
    for name in file.bucket_names().unwrap_or_default() {
        let Ok(Some(bucket)) = file.bucket(&name) else { continue };
        let keys: Vec<Bytes> = bucket.entries().map_while(|pair| Some(pair.ok()?.0)).collect();
        if let Some(key) = keys.get(keys.len() / 2) {
            drop((bucket.value(key), bucket.entries_from(key).count()));
        }
        drop((bucket.last(), bucket.count()));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    #[test]
    fn what_is_written_is_read(buckets in buckets(), from in name()) {
        let file = write(&buckets);
        prop_assert_eq!(&read(&file).unwrap(), &buckets);
        let file = BoltFile::open(file).unwrap();
        for (name, pairs) in &buckets {
            let bucket = file.bucket(name).unwrap().unwrap();
            prop_assert_eq!(bucket.count().unwrap(), pairs.len() as u64);
            let last = bucket.last().unwrap().map(|(key, _)| key.to_vec());
            prop_assert_eq!(last.as_ref(), pairs.keys().last());
            let found = bucket.entries_from(&from).next().map(|pair| pair.unwrap().0.to_vec());
            prop_assert_eq!(found.as_ref(), pairs.range(from.clone()..).next().map(|(key, _)| key));
            for (key, value) in pairs {
                prop_assert_eq!(&bucket.value(key).unwrap().unwrap(), value);
            }
        }
    }

    #[test]
    fn damage_is_never_a_panic(
        buckets in buckets(),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..20),
    ) {
        let mut file = write(&buckets);
        for (at, byte) in damage {
            // Mostly headers and element tables: the first bytes of a page.
            let at = at.index(file.len());
            let at = if byte % 4 == 0 { at } else { at / PAGE_BYTES * PAGE_BYTES + at % 200 };
            if at >= 2 * PAGE_BYTES {
                file[at] ^= byte;
            }
        }
        read_everything(&file);
    }

    #[test]
    fn damage_of_a_real_database_is_never_a_panic(
        damage in prop::collection::vec((2 * PAGE_BYTES..2 * PAGE_BYTES + 1600, 1u8..), 1..8),
    ) {
        let mut file = include_bytes!("testdata/etcd-3.5.1.db").to_vec();
        damage.into_iter().for_each(|(at, byte)| file[at] ^= byte);
        read_everything(&file);
    }
}
