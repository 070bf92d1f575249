//! Whom a disk asks before it does something, where somebody guards it: so that a testbed may slow it down or let it fail. The
//! usual disk has no guard and asks nobody.

use std::fmt::Debug;
use std::fs::File;
use std::io;
use std::path::Path;

/// What a disk is about to do, or has done. The path of an open file is that by which it was opened; it may have another by now.
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs, reason = "plain")]
pub enum Act<'a> {
    /// So many bytes are to be read.
    Read { path: &'a Path, file: &'a File, offset: u64, bytes: u64 },
    /// So many bytes are to be written.
    Write { path: &'a Path, file: &'a File, offset: u64, bytes: u64 },
    /// A file is to be cut or grown.
    SetLen { path: &'a Path, file: &'a File, bytes: u64 },
    /// Room is to be reserved.
    Allocate { path: &'a Path, file: &'a File, bytes: u64 },
    /// What was written is to be made durable.
    Sync { path: &'a Path, file: &'a File },
    /// It is durable.
    Synced { path: &'a Path, file: &'a File },
    /// A file is to be made.
    Create { path: &'a Path },
    /// A file is to get another name.
    Rename { from: &'a Path, to: &'a Path },
    /// A file is to be removed.
    Remove { path: &'a Path },
    /// The names in a folder are to be made durable.
    SyncDir { path: &'a Path },
    /// They are.
    DirSynced { path: &'a Path },
}

/// Guards a disk.
pub trait Guard: Debug + Send + Sync + 'static {
    /// Called on the thread that works on the disk, which it may hold up.
    ///
    /// # Errors
    /// Becomes the disk's own, and the act is not carried out.
    fn before(&self, act: Act<'_>) -> io::Result<()>;
}
