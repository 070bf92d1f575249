//! Disks. What a power loss does is the simulated disk's own affair and tested there.

use super::Env;
use crate::{Disk, DiskFile, OpenMode, World};
use std::io::ErrorKind;

fn kind<T>(result: std::io::Result<T>) -> ErrorKind {
    result.err().expect("this had to fail").kind()
}

fn read<F: DiskFile>(file: &F, offset: u64, len: usize) -> Vec<u8> {
    let mut bytes = vec![0xee; len];
    file.read_at(offset, &mut bytes).expect("read");
    bytes
}

/// [`Disk::open`], [`Disk::remove`], [`Disk::rename`], [`Disk::list`] of what is not there.
pub async fn a_missing_file_is_not_found<W: World>(env: Env<W>) {
    let disk = env.server.disk(&env.root).expect("disk");
    let error = disk.open("absent", OpenMode::Existing).err().expect("absent");
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(error.to_string().contains("absent"), "the message {error:?} does not name the path");
    assert_eq!(kind(disk.remove("absent")), ErrorKind::NotFound);
    assert_eq!(kind(disk.rename("absent", "present")), ErrorKind::NotFound);
    assert_eq!(kind(disk.list("absent")), ErrorKind::NotFound);
    assert_eq!(kind(disk.sync_dir("absent")), ErrorKind::NotFound);
    assert_eq!(kind(disk.open("absent/file", OpenMode::Create)), ErrorKind::NotFound);
}

/// [`OpenMode`].
pub async fn creating_respects_the_mode<W: World>(env: Env<W>) {
    let disk = env.server.disk(&env.root).expect("disk");
    let file = disk.open("log", OpenMode::CreateNew).expect("new");
    file.write_at(0, b"kept").expect("write");
    assert_eq!(kind(disk.open("log", OpenMode::CreateNew)), ErrorKind::AlreadyExists);
    let again = disk.open("log", OpenMode::Create).expect("create leaves what is there");
    assert_eq!(read(&again, 0, 4), b"kept");
    let existing = disk.open("log", OpenMode::Existing).expect("it exists");
    existing.write_at(1, b"..").expect("every file is writable");
    assert_eq!(read(&file, 0, 4), b"k..t", "two handles see one file");
}

/// [`DiskFile::read_at`].
pub async fn reading_past_the_end_is_an_error<W: World>(env: Env<W>) {
    let disk = env.server.disk(&env.root).expect("disk");
    let file = disk.open("short", OpenMode::Create).expect("create");
    assert!(file.is_empty().expect("len"));
    file.write_at(0, b"12345").expect("write");
    assert_eq!(kind(file.read_at(3, &mut [0; 3])), ErrorKind::UnexpectedEof);
    assert_eq!(kind(file.read_at(5, &mut [0; 1])), ErrorKind::UnexpectedEof);
    file.read_at(5, &mut []).expect("nothing can be read anywhere");
    assert_eq!(read(&file, 2, 3), b"345");
}

/// [`DiskFile::write_at`] beyond the end.
pub async fn a_gap_reads_as_zeros<W: World>(env: Env<W>) {
    let disk = env.server.disk(&env.root).expect("disk");
    let file = disk.open("sparse", OpenMode::Create).expect("create");
    file.write_at(0, b"ab").expect("write");
    file.write_at(10_000, b"yz").expect("write");
    assert_eq!(file.len().expect("len"), 10_002);
    let bytes = read(&file, 0, 10_002);
    assert_eq!((&bytes[..2], &bytes[10_000..]), (&b"ab"[..], &b"yz"[..]));
    assert!(bytes[2..10_000].iter().all(|&byte| byte == 0), "the gap is not zero");
    file.sync().expect("sync");
}

/// [`DiskFile::set_len`], [`DiskFile::allocate`].
pub async fn a_file_can_be_cut_grown_and_allocated<W: World>(env: Env<W>) {
    let disk = env.server.disk(&env.root).expect("disk");
    let file = disk.open("sized", OpenMode::Create).expect("create");
    file.write_at(0, &[7; 5000]).expect("write");
    file.set_len(1000).expect("cut");
    assert_eq!(file.len().expect("len"), 1000);
    file.set_len(6000).expect("grow");
    assert_eq!(read(&file, 999, 3), [7, 0, 0], "what was cut came back");
    file.allocate(1 << 20).expect("allocate");
    assert_eq!(file.len().expect("len"), 1 << 20);
    assert_eq!(read(&file, (1 << 20) - 4, 4), [0; 4]);
    file.allocate(10).expect("allocating never shrinks");
    assert_eq!(file.len().expect("len"), 1 << 20);
}

/// [`Disk::rename`], [`Disk::remove`].
pub async fn renaming_replaces_and_removing_removes<W: World>(env: Env<W>) {
    let disk = env.server.disk(&env.root).expect("disk");
    disk.open("old", OpenMode::Create).and_then(|file| file.write_at(0, b"old")).expect("write");
    let new = disk.open("new.tmp", OpenMode::Create).expect("create");
    new.write_at(0, b"new").expect("write");
    new.sync().expect("sync");
    disk.rename("new.tmp", "old").expect("rename");
    disk.sync_dir("").expect("sync the folder");
    assert_eq!(disk.list("").expect("list"), ["old"]);
    let file = disk.open("old", OpenMode::Existing).expect("open");
    assert_eq!(read(&file, 0, 3), b"new");
    assert_eq!(read(&new, 0, 3), b"new", "a handle follows its file");
    disk.remove("old").expect("remove");
    assert_eq!(disk.list("").expect("list"), [""; 0]);
}

/// [`Disk::create_dir`], [`Disk::list`].
pub async fn folders_list_their_names_sorted<W: World>(env: Env<W>) {
    let disk = env.server.disk(&env.root).expect("disk");
    disk.create_dir("wal/old").expect("parents too");
    disk.create_dir("wal").expect("an existing folder is fine");
    for name in ["wal/c", "wal/a", "wal/old/b", "top"] {
        disk.open(name, OpenMode::CreateNew).expect(name);
    }
    assert_eq!(disk.list("").expect("list"), ["top", "wal"]);
    assert_eq!(disk.list("wal").expect("list"), ["a", "c", "old"]);
    assert_eq!(disk.list("wal/old").expect("list"), ["b"]);
    disk.rename("wal/a", "wal/old/z").expect("across folders");
    assert_eq!(disk.list("wal/old").expect("list"), ["b", "z"]);
    for folder in ["", "wal", "wal/old"] {
        disk.sync_dir(folder).expect(folder);
    }
}

/// [`World::disk`]: a root is a world of names of its own.
pub async fn two_disks_do_not_share_names<W: World>(env: Env<W>) {
    let one = env.server.disk(&format!("{}/one", env.root)).expect("disk");
    let two = env.server.disk(&format!("{}/two/deep", env.root)).expect("disk with parents");
    one.open("file", OpenMode::CreateNew).expect("create");
    assert_eq!(kind(two.open("file", OpenMode::Existing)), ErrorKind::NotFound);
    let again = env.server.disk(&format!("{}/one", env.root)).expect("disk");
    again.open("file", OpenMode::Existing).expect("the same root is the same disk");
}

/// [`DiskFile::lock`].
pub async fn a_locked_file_cannot_be_locked_twice<W: World>(env: Env<W>) {
    let disk = env.server.disk(&env.root).expect("disk");
    let first = disk.open("lock", OpenMode::Create).expect("create");
    first.lock().expect("lock");
    let second = disk.open("lock", OpenMode::Create).expect("open");
    assert_eq!(kind(second.lock()), ErrorKind::WouldBlock);
    drop(first);
    second.lock().expect("closing a file frees its lock");
}

/// A file without a name lives until its last handle is closed.
pub async fn an_open_file_survives_its_removal<W: World>(env: Env<W>) {
    let disk = env.server.disk(&env.root).expect("disk");
    let file = disk.open("gone", OpenMode::Create).expect("create");
    file.write_at(0, b"still here").expect("write");
    disk.remove("gone").expect("remove");
    let other = disk.open("gone", OpenMode::CreateNew).expect("the name is free");
    other.write_at(0, b"other").expect("write");
    assert_eq!(read(&file, 0, 10), b"still here");
    file.sync().expect("sync");
}
