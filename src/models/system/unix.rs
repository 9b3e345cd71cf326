//! Files as Unix has them.

use std::{
    fs::{self, DirBuilder, File, Metadata, OpenOptions, Permissions, TryLockError},
    io,
    os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt, PermissionsExt, symlink},
    path::{Path, PathBuf},
};

use rustix::{
    fs::{Access, AtFlags},
    io::Errno,
};

use super::{super::digest::FileKey, Identity};

/// How often a download notes how much is there, in bytes (8 MiB): what a killed process has to fetch again.
pub(in crate::models) const NOTE_BYTES: u64 = 8 << 20;

/// What an open file is on disk.
pub(in crate::models) fn file_key(_file: &File, metadata: &Metadata) -> io::Result<FileKey> {
    Ok(FileKey {
        device: metadata.dev(),
        inode: metadata.ino(),
        size: metadata.len(),
        mtime_s: metadata.mtime(),
        mtime_ns: metadata.mtime_nsec(),
        ctime_s: metadata.ctime(),
        ctime_ns: metadata.ctime_nsec(),
    })
}

/// The file or folder of that name, behind every link.
pub(in crate::models) fn identity(path: &Path) -> io::Result<Identity> {
    fs::metadata(path).map(|metadata| Identity { volume: metadata.dev(), number: metadata.ino() })
}

/// The same of an open file.
pub(in crate::models) fn identity_of(file: &File) -> io::Result<Identity> {
    file.metadata().map(|metadata| Identity { volume: metadata.dev(), number: metadata.ino() })
}

/// What a plain file is that has several names; `None` of one that has one name only. `metadata`: the file's.
pub(in crate::models) fn identity_of_many(_path: &Path, metadata: &Metadata) -> Option<Identity> {
    (metadata.nlink() > 1).then(|| Identity { volume: metadata.dev(), number: metadata.ino() })
}

/// Has somebody removed the file that is open here?
pub(in crate::models) fn is_removed(file: &File) -> io::Result<bool> {
    Ok(file.metadata()?.nlink() == 0)
}

/// Is this another user's file, or one with other names?
pub(in crate::models) fn is_somebody_elses(file: &File) -> io::Result<bool> {
    let own = file.metadata()?;
    Ok(own.uid() != rustix::process::geteuid().as_raw() || own.nlink() > 1)
}

/// A directory of this user's, which nobody else may write to.
pub(in crate::models) fn is_private(path: &Path) -> bool {
    let is_own = |metadata: &Metadata| {
        metadata.is_dir() && metadata.uid() == rustix::process::geteuid().as_raw() && metadata.mode() & 0o022 == 0
    };
    fs::symlink_metadata(path).is_ok_and(|metadata| is_own(&metadata))
}

/// Makes a directory, and those above it, that is this user's only.
pub(in crate::models) fn make_private(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Each user has a directory of his own for partial files in a model's folder.
pub(in crate::models) fn partial_dir_name() -> String {
    format!(".framehost-partial-{}", rustix::process::geteuid().as_raw())
}

/// May nothing be put into that directory? What else is wrong with it is found out by writing.
pub(in crate::models) fn is_read_only(directory: &Path) -> bool {
    let access = Access::WRITE_OK | Access::EXEC_OK;
    let asked = rustix::fs::accessat(rustix::fs::CWD, directory, access, AtFlags::EACCESS);
    matches!(asked, Err(Errno::ACCESS | Errno::PERM | Errno::ROFS))
}

/// Opens a file for reading; what turns out to be a pipe or a device does not keep the caller waiting.
pub(in crate::models) fn open_file(path: &Path) -> io::Result<File> {
    let no_wait = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
    OpenOptions::new().read(true).custom_flags(no_wait).open(path)
}

/// Makes a file that is new, for others to read.
pub(in crate::models) fn create_new(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create_new(true).mode(0o644).open(path)
}

/// Opens a file for reading and writing, made if need be. A link, which somebody else may have planted, is an error.
pub(in crate::models) fn open_part(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(0o644);
    options.custom_flags(rustix::fs::OFlags::NOFOLLOW.bits().cast_signed()).open(path)
}

/// Opens a lock that is shared with huggingface_hub, made if need be. A link would have us open what it points to.
pub(in crate::models) fn open_lock(path: &Path, mode: u32) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(false).mode(mode);
    options.custom_flags(rustix::fs::OFlags::NOFOLLOW.bits().cast_signed()).open(path)
}

/// Opens a file of this user's only, made if need be.
pub(in crate::models) fn open_mark(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path)
}

/// Lets others open it, whatever the umask is.
pub(in crate::models) fn set_mode(file: &File, mode: u32) -> io::Result<()> {
    file.set_permissions(Permissions::from_mode(mode))
}

pub(in crate::models) fn read_at(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    file.read_at(buffer, offset)
}

pub(in crate::models) fn write_at(file: &File, bytes: &[u8], offset: u64) -> io::Result<usize> {
    file.write_at(bytes, offset)
}

/// Locks a file that is being written, and none of its bytes: others may read them.
pub(in crate::models) fn lock(file: &File) -> io::Result<()> {
    file.lock()
}

/// As [`lock`], without waiting.
pub(in crate::models) fn try_lock(file: &File) -> Result<(), TryLockError> {
    file.try_lock()
}

/// Ends either of them.
pub(in crate::models) fn unlock(file: &File) -> io::Result<()> {
    file.unlock()
}

/// Makes a link of that name to `target`, relative to the name's folder.
pub(in crate::models) fn make_symlink(target: &Path, path: &Path) -> io::Result<()> {
    symlink(target, path)
}

/// Does the file system, or the system, make no such links?
pub(in crate::models) fn has_no_links(error: &io::Error) -> bool {
    let code = error.raw_os_error().map(Errno::from_raw_os_error);
    matches!(code, Some(Errno::PERM | Errno::OPNOTSUPP | Errno::NOSYS | Errno::XDEV | Errno::MLINK))
}

/// Is what was read as a link none?
pub(in crate::models) fn is_no_link(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::InvalidInput
}

/// Is it a link that leads in a circle?
pub(in crate::models) fn is_loop(error: &io::Error) -> bool {
    error.raw_os_error() == Some(Errno::LOOP.raw_os_error())
}

/// Does another program hold the file? Here that keeps nobody from anything.
pub(in crate::models) fn is_held(_error: &io::Error) -> bool {
    false
}

pub(in crate::models) fn rename(from: &Path, to: &Path) -> io::Result<()> {
    fs::rename(from, to)
}

pub(in crate::models) fn remove_file(path: &Path) -> io::Result<()> {
    fs::remove_file(path)
}

pub(in crate::models) fn remove_dir_all(path: &Path) -> io::Result<()> {
    fs::remove_dir_all(path)
}

/// Makes sure that what a directory holds is on the disk.
pub(in crate::models) fn sync_directory(directory: &Path) -> io::Result<()> {
    File::open(directory).and_then(|directory| directory.sync_all())
}

/// Bytes of the disk that a file takes: a partial file has holes. `metadata`: the file's.
pub(in crate::models) fn bytes_on_disk(_path: &Path, metadata: &Metadata) -> u64 {
    metadata.blocks() * 512
}

/// Bytes that are free where a file is; `None` if that cannot be asked.
pub(in crate::models) fn free_bytes(file: &File, _path: &Path) -> Option<u64> {
    let disk = rustix::fs::fstatvfs(file).ok()?;
    Some(disk.f_bavail.saturating_mul(disk.f_frsize))
}

/// Bytes that the user may still write in a directory; `None` if that cannot be asked.
pub(crate) fn free_bytes_in(directory: &Path) -> Option<u64> {
    let disk = rustix::fs::statvfs(directory).ok()?;
    Some(disk.f_bavail.saturating_mul(disk.f_frsize))
}

/// Something that changes while somebody writes to a download's partial file.
pub(in crate::models) fn signs_of_writing(part: &Path, _done: &Path) -> u64 {
    fs::metadata(part).map_or(0, |metadata| metadata.blocks().wrapping_add(metadata.mtime().unsigned_abs()))
}

/// A path as people write it.
pub(in crate::models) fn plain(path: PathBuf) -> PathBuf {
    path
}

/// Sets when a file or folder was last written.
#[cfg(test)]
pub(in crate::models) fn set_modified(path: &Path, time: std::time::SystemTime) {
    File::open(path).unwrap().set_modified(time).unwrap();
}
