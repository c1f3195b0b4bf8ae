//! What every disk must do, shown on both.

use super::*;
use std::io::ErrorKind;

fn kind<T: fmt::Debug>(result: io::Result<T>) -> ErrorKind {
    result.expect_err("must fail").kind()
}

/// Runs `check` on a directory and on a disk in memory.
fn on_each(check: impl Fn(&dyn Disk)) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    check(&OsDisk::new(dir.path()));
    check(&MemoryDisk::new());
}

#[test]
fn files_are_created_once_and_opened_often() {
    on_each(|disk| {
        let path = Path::new("a");
        assert_eq!(kind(disk.open(path)), ErrorKind::NotFound);
        let file = disk.create(path).unwrap();
        assert_eq!(kind(disk.create(path)), ErrorKind::AlreadyExists);
        file.write_all_at(b"hello", 3).unwrap();
        let again = disk.open(path).unwrap();
        let mut buffer = [9; 8];
        again.read_exact_at(&mut buffer, 0).unwrap();
        assert_eq!(&buffer, b"\0\0\0hello");
        assert_eq!(again.read_at(&mut buffer, 6).unwrap(), 2);
        assert_eq!(again.read_at(&mut buffer, 8).unwrap(), 0);
        assert_eq!(again.read_at(&mut buffer, 80).unwrap(), 0);
        assert_eq!(kind(again.read_exact_at(&mut buffer, 1)), ErrorKind::UnexpectedEof);
        assert_eq!(kind(disk.create(Path::new("no/a"))), ErrorKind::NotFound);
    });
}

#[test]
fn lengths_grow_with_zeros_and_shrink() {
    on_each(|disk| {
        let file = disk.create(Path::new("a")).unwrap();
        assert!(file.is_empty().unwrap());
        file.allocate(200_000).unwrap();
        assert_eq!(file.len().unwrap(), 200_000);
        file.allocate(10).unwrap();
        assert_eq!(file.len().unwrap(), 200_000, "room is never taken back");
        file.write_all_at(&[7; 100_000], 50_000).unwrap();
        file.sync_data().unwrap();
        file.set_len(60_000).unwrap();
        file.set_len(140_000).unwrap();
        let mut buffer = vec![1; 140_000];
        file.read_exact_at(&mut buffer, 0).unwrap();
        assert!(buffer[..50_000].iter().all(|b| *b == 0));
        assert!(buffer[50_000..60_000].iter().all(|b| *b == 7));
        assert!(buffer[60_000..].iter().all(|b| *b == 0), "what was cut does not come back");
    });
}

#[test]
fn directories_list_in_order_and_move_with_their_content() {
    on_each(|disk| {
        let dir = Path::new("wal.tmp");
        assert_eq!(kind(disk.list(dir)), ErrorKind::NotFound);
        disk.create_dir_all(&dir.join("deep")).unwrap();
        disk.create_dir_all(dir).unwrap();
        disk.create_dir_all(Path::new("")).unwrap();
        disk.create(Path::new("file")).unwrap();
        let refused = kind(disk.create_dir_all(Path::new("file/deep")));
        assert!(matches!(refused, ErrorKind::NotADirectory | ErrorKind::AlreadyExists), "{refused}");
        disk.remove(Path::new("file")).unwrap();
        for name in ["c", "a", "b"] {
            disk.create(&dir.join(name)).unwrap();
        }
        assert_eq!(disk.list(dir).unwrap(), ["a", "b", "c", "deep"]);
        assert_eq!(disk.list(Path::new("")).unwrap(), ["wal.tmp"]);
        let held = disk.open(&dir.join("a")).unwrap();
        disk.create_dir_all(Path::new("wal")).unwrap();
        disk.rename(dir, Path::new("wal")).unwrap();
        disk.sync_dir(Path::new("")).unwrap();
        assert!(!disk.exists(dir).unwrap());
        held.write_all_at(b"x", 0).unwrap();
        assert_eq!(disk.open(Path::new("wal/a")).unwrap().len().unwrap(), 1);
        disk.create_dir_all(Path::new("other")).unwrap();
        assert_eq!(kind(disk.rename(Path::new("other"), Path::new("wal"))), ErrorKind::DirectoryNotEmpty);
        disk.remove_dir_all(Path::new("wal")).unwrap();
        assert_eq!(disk.list(Path::new("")).unwrap(), ["other"]);
        assert_eq!(kind(disk.remove_dir_all(Path::new("wal"))), ErrorKind::NotFound);
    });
}

#[test]
fn renames_replace_and_removed_files_stay_readable_through_handles() {
    on_each(|disk| {
        let (a, b) = (Path::new("a"), Path::new("b"));
        disk.create(a).unwrap().write_all_at(b"a", 0).unwrap();
        let old = disk.create(b).unwrap();
        old.write_all_at(b"old b", 0).unwrap();
        disk.rename(a, b).unwrap();
        assert_eq!(disk.list(Path::new("")).unwrap(), ["b"]);
        assert_eq!(disk.open(b).unwrap().len().unwrap(), 1);
        assert_eq!(old.len().unwrap(), 5);
        disk.remove(b).unwrap();
        assert_eq!(kind(disk.remove(b)), ErrorKind::NotFound);
        assert_eq!(kind(disk.rename(a, b)), ErrorKind::NotFound);
    });
}

#[test]
fn a_lock_excludes_others_and_follows_the_file() {
    on_each(|disk| {
        let (a, b) = (Path::new("a"), Path::new("b"));
        assert_eq!(kind(disk.lock(a)), ErrorKind::NotFound);
        disk.create(a).unwrap();
        let guard = disk.lock(a).unwrap();
        disk.rename(a, b).unwrap();
        assert_eq!(kind(disk.lock(b)), ErrorKind::WouldBlock);
        disk.open(b).unwrap().write_all_at(b"x", 0).unwrap();
        drop(guard);
        let _again = disk.lock(b).unwrap();
    });
}

#[test]
fn the_operating_systems_disk_keeps_others_out_and_names_the_path() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let disk = OsDisk::new(dir.path().join("member"));
    disk.create_dir_all(Path::new("wal")).unwrap();
    disk.create(Path::new("wal/a")).unwrap();
    let mode = |path: &str| std::fs::metadata(dir.path().join(path)).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode("member"), 0o700);
    assert_eq!(mode("member/wal"), 0o700);
    assert_eq!(mode("member/wal/a"), 0o600);
    let error = disk.open(Path::new("wal/b")).unwrap_err();
    assert!(error.to_string().contains("member/wal/b"), "{error}");
}

#[test]
fn the_root_is_made_with_what_is_above_it() {
    let dir = tempfile::tempdir().unwrap();
    let disk = OsDisk::new(dir.path().join("a/b/c"));
    for _ in 0..2 {
        disk.create_dir_all(Path::new("")).unwrap();
        assert_eq!(disk.list(Path::new("")).unwrap(), [""; 0]);
    }
    std::fs::write(dir.path().join("file"), "").unwrap();
    let below_a_file = OsDisk::new(dir.path().join("file/root"));
    let refused = kind(below_a_file.create_dir_all(Path::new("member")));
    assert!(matches!(refused, ErrorKind::NotADirectory | ErrorKind::AlreadyExists), "{refused}");
}
