//! Files as Windows has them.
//!
//! What differs from Unix, and shapes what is here:
//! - A lock keeps others from the bytes that it covers. What is being written is locked far behind its last byte.
//! - A file or folder that a program has open can be removed or replaced only if that program has allowed it, which
//!   Rust's do and most others do not; a folder with such a file in it can never be moved. Virus scanners and indexers
//!   open whatever is new for a moment, so that is tried for a while.
//! - Rights are inherited from the folder above: those of the cache, or the user's own.
//! - Paths of more than 260 characters are made verbatim (`\\?\…`) by the standard library, which all paths go through.

use std::{
    ffi::c_void,
    fs::{self, File, Metadata, OpenOptions, TryLockError},
    io,
    os::windows::{
        ffi::OsStrExt,
        fs::{FileExt, OpenOptionsExt, symlink_file},
        io::AsRawHandle,
    },
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant, UNIX_EPOCH},
};

use windows_sys::Win32::{
    Foundation::{
        ERROR_ACCESS_DENIED, ERROR_CANT_RESOLVE_FILENAME, ERROR_INVALID_FUNCTION, ERROR_IO_PENDING,
        ERROR_LOCK_VIOLATION, ERROR_NOT_A_REPARSE_POINT, ERROR_NOT_SAME_DEVICE, ERROR_NOT_SUPPORTED,
        ERROR_PRIVILEGE_NOT_HELD, ERROR_SHARING_VIOLATION, ERROR_TOO_MANY_LINKS, ERROR_USER_MAPPED_FILE,
        ERROR_WRITE_PROTECT,
    },
    Storage::FileSystem::{
        BY_HANDLE_FILE_INFORMATION, DELETE, FILE_ADD_FILE, FILE_ADD_SUBDIRECTORY, FILE_BASIC_INFO,
        FILE_FLAG_BACKUP_SEMANTICS, FILE_FLAG_OPEN_REPARSE_POINT, FILE_ID_INFO, FILE_INFO_BY_HANDLE_CLASS,
        FILE_SHARE_READ, FILE_SHARE_WRITE, FILE_STANDARD_INFO, FileBasicInfo, FileIdInfo, FileStandardInfo,
        GetDiskFreeSpaceExW, GetFileInformationByHandle, GetFileInformationByHandleEx, LOCKFILE_EXCLUSIVE_LOCK,
        LOCKFILE_FAIL_IMMEDIATELY, LockFileEx, UnlockFileEx,
    },
    System::IO::{OVERLAPPED, OVERLAPPED_0, OVERLAPPED_0_0},
};

use super::{super::digest::FileKey, Identity};

/// How often a download notes how much is there, in bytes (1 MiB): what a killed process has to fetch again, and how
/// another one sees that it goes on. A file's times are not written as long as it is open.
pub(in crate::models) const NOTE_BYTES: u64 = 1 << 20;

/// The upper half of the byte's number that a lock covers, which no file has.
const LOCKED_BYTE: u32 = 1 << 30;

/// How long it is tried to remove, replace or open what another program has open.
const HELD_PATIENCE: Duration = Duration::from_secs(1);

/// Pause between two tries.
const HELD_PAUSE: Duration = Duration::from_millis(20);

/// Windows' ticks of 100 ns in a second.
const TICKS: i64 = 10_000_000;

/// Nanoseconds of a tick.
const TICK_NS: i64 = 100;

/// What an open file is on disk.
pub(in crate::models) fn file_key(file: &File, metadata: &Metadata) -> io::Result<FileKey> {
    let Identity { volume, number } = identity_of(file)?;
    let times: FILE_BASIC_INFO = information(file, FileBasicInfo)?;
    let split = |ticks: i64| (ticks.div_euclid(TICKS), ticks.rem_euclid(TICKS) * TICK_NS);
    let ((mtime_s, mtime_ns), (ctime_s, ctime_ns)) = (split(times.LastWriteTime), split(times.ChangeTime));
    Ok(FileKey { device: volume, inode: number, size: metadata.len(), mtime_s, mtime_ns, ctime_s, ctime_ns })
}

/// The file or folder of that name, behind every link.
pub(in crate::models) fn identity(path: &Path) -> io::Result<Identity> {
    identity_of(&OpenOptions::new().access_mode(0).custom_flags(FILE_FLAG_BACKUP_SEMANTICS).open(path)?)
}

/// The same of an open file.
pub(in crate::models) fn identity_of(file: &File) -> io::Result<Identity> {
    let Ok(id) = information::<FILE_ID_INFO>(file, FileIdInfo) else {
        // FAT, and some servers.
        return short_identity_of(file);
    };
    let number = u128::from_le_bytes(id.FileId.Identifier);
    // NTFS' numbers have 64 bits; those of ReFS have more, which are folded.
    let half = |number: u128| u64::try_from(number & u128::from(u64::MAX)).unwrap_or_default();
    let (low, high) = (half(number), half(number >> 64));
    Ok(Identity { volume: id.VolumeSerialNumber, number: low ^ high.wrapping_mul(0x9e37_79b9_7f4a_7c15) })
}

#[expect(unsafe_code, reason = "the standard library does not tell it")]
fn short_identity_of(file: &File) -> io::Result<Identity> {
    let mut told = BY_HANDLE_FILE_INFORMATION::default();
    // SAFETY: the handle is open as long as `file` is borrowed, and `told` outlives the call.
    let done = unsafe { GetFileInformationByHandle(file.as_raw_handle(), &raw mut told) };
    if done == 0 {
        return Err(io::Error::last_os_error());
    }
    let number = (u64::from(told.nFileIndexHigh) << 32) | u64::from(told.nFileIndexLow);
    Ok(Identity { volume: told.dwVolumeSerialNumber.into(), number })
}

/// What a plain file is that has several names; `None` of one that has one name only. `metadata`: the file's.
pub(in crate::models) fn identity_of_many(path: &Path, _metadata: &Metadata) -> Option<Identity> {
    let file = OpenOptions::new().access_mode(0).custom_flags(FILE_FLAG_BACKUP_SEMANTICS).open(path).ok()?;
    let standard: FILE_STANDARD_INFO = information(&file, FileStandardInfo).ok()?;
    if standard.NumberOfLinks > 1 { identity_of(&file).ok() } else { None }
}

/// Has somebody removed the file that is open here?
pub(in crate::models) fn is_removed(file: &File) -> io::Result<bool> {
    let standard: FILE_STANDARD_INFO = information(file, FileStandardInfo)?;
    Ok(standard.DeletePending || standard.NumberOfLinks == 0)
}

/// Is this a file with other names? Whoever may write here may also write to the cache, by the rights that both inherit.
pub(in crate::models) fn is_somebody_elses(file: &File) -> io::Result<bool> {
    let standard: FILE_STANDARD_INFO = information(file, FileStandardInfo)?;
    Ok(standard.NumberOfLinks > 1)
}

/// A directory itself, which inherits the rights of the folder that the cache is in, too: whoever may write into it
/// could as well write into the cache.
pub(in crate::models) fn is_private(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_dir())
}

/// Makes a directory, and those above it.
pub(in crate::models) fn make_private(path: &Path) -> io::Result<()> {
    fs::create_dir_all(path)
}

/// A directory for partial files in a model's folder.
pub(in crate::models) fn partial_dir_name() -> String {
    ".framehost-partial".to_owned()
}

/// May nothing be put into that directory? What else is wrong with it is found out by writing.
pub(in crate::models) fn is_read_only(directory: &Path) -> bool {
    // To be allowed is to be able to open it for that.
    let access = FILE_ADD_FILE | FILE_ADD_SUBDIRECTORY;
    let asked = OpenOptions::new().access_mode(access).custom_flags(FILE_FLAG_BACKUP_SEMANTICS).open(directory);
    asked.is_err_and(|error| is_any(&error, &[ERROR_ACCESS_DENIED, ERROR_WRITE_PROTECT]))
}

/// Opens a file for reading. A folder is an error: there is nothing to read in it.
pub(in crate::models) fn open_file(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new().read(true).custom_flags(FILE_FLAG_BACKUP_SEMANTICS).open(path)?;
    if file.metadata()?.is_dir() { Err(io::ErrorKind::IsADirectory.into()) } else { Ok(file) }
}

/// Makes a file that is new.
pub(in crate::models) fn create_new(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create_new(true).open(path)
}

/// Opens a file for reading and writing, made if need be. A link, which somebody else may have planted, is an error.
pub(in crate::models) fn open_part(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    no_link(options.custom_flags(FILE_FLAG_OPEN_REPARSE_POINT).open(path)?)
}

/// Opens a lock that is shared with huggingface_hub, made if need be. A link would have us open what it points to.
///
/// huggingface_hub removes its lock when it has done; that fails as long as somebody else has it open who does not
/// allow that, so that two never hold locks of one name.
pub(in crate::models) fn open_lock(path: &Path, _mode: u32) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(false).share_mode(FILE_SHARE_READ | FILE_SHARE_WRITE);
    options.custom_flags(FILE_FLAG_OPEN_REPARSE_POINT);
    no_link(patiently(|| options.open(path))?)
}

/// Opens a file of this user's, made if need be.
pub(in crate::models) fn open_mark(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create(true).truncate(false).open(path)
}

/// The rights are those of the folder.
pub(in crate::models) fn set_mode(_file: &File, _mode: u32) -> io::Result<()> {
    Ok(())
}

/// Moves the file's own position, too.
pub(in crate::models) fn read_at(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    file.seek_read(buffer, offset)
}

/// Moves the file's own position, too.
pub(in crate::models) fn write_at(file: &File, bytes: &[u8], offset: u64) -> io::Result<usize> {
    file.seek_write(bytes, offset)
}

/// Locks a file that is being written, and none of its bytes: others may read them.
pub(in crate::models) fn lock(file: &File) -> io::Result<()> {
    lock_with(file, LOCKFILE_EXCLUSIVE_LOCK)
}

/// As [`lock`], without waiting.
pub(in crate::models) fn try_lock(file: &File) -> Result<(), TryLockError> {
    lock_with(file, LOCKFILE_EXCLUSIVE_LOCK | LOCKFILE_FAIL_IMMEDIATELY).map_err(|error| {
        if is_any(&error, &[ERROR_LOCK_VIOLATION, ERROR_IO_PENDING]) {
            TryLockError::WouldBlock
        } else {
            TryLockError::Error(error)
        }
    })
}

#[expect(unsafe_code, reason = "the standard library's locks cover a file's bytes")]
fn lock_with(file: &File, flags: u32) -> io::Result<()> {
    let mut place = locked_byte();
    // SAFETY: the handle is open as long as `file` is borrowed; `place` outlives the call, which is over when it
    // returns, as a `File` is not opened for overlapped work.
    let done = unsafe { LockFileEx(file.as_raw_handle(), flags, 0, 1, 0, &raw mut place) };
    if done == 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Ends either of them.
#[expect(unsafe_code, reason = "the standard library's locks cover a file's bytes")]
pub(in crate::models) fn unlock(file: &File) -> io::Result<()> {
    let mut place = locked_byte();
    // SAFETY: as in `lock_with`.
    let done = unsafe { UnlockFileEx(file.as_raw_handle(), 0, 1, 0, &raw mut place) };
    if done == 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

fn locked_byte() -> OVERLAPPED {
    let place = OVERLAPPED_0_0 { Offset: 0, OffsetHigh: LOCKED_BYTE };
    OVERLAPPED { Anonymous: OVERLAPPED_0 { Anonymous: place }, ..OVERLAPPED::default() }
}

/// Makes a link of that name to the file `target`, relative to the name's folder.
pub(in crate::models) fn make_symlink(target: &Path, path: &Path) -> io::Result<()> {
    symlink_file(target, path)?;
    // Wine says so without having done it, also where something else is in the way.
    match fs::symlink_metadata(path) {
        Ok(made) if made.is_symlink() => Ok(()),
        Ok(_) => Err(io::ErrorKind::Unsupported.into()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(io::ErrorKind::Unsupported.into()),
        Err(error) => Err(error),
    }
}

/// Does the file system, or the system, make no such links? This user may need developer mode for them.
pub(in crate::models) fn has_no_links(error: &io::Error) -> bool {
    let codes = [
        ERROR_PRIVILEGE_NOT_HELD,
        ERROR_INVALID_FUNCTION,
        ERROR_NOT_SUPPORTED,
        ERROR_NOT_SAME_DEVICE,
        ERROR_TOO_MANY_LINKS,
    ];
    error.kind() == io::ErrorKind::Unsupported || is_any(error, &codes)
}

/// Is what was read as a link none?
pub(in crate::models) fn is_no_link(error: &io::Error) -> bool {
    // Wine, and file systems without links, have their own words for it.
    let codes = [ERROR_NOT_A_REPARSE_POINT, ERROR_INVALID_FUNCTION, ERROR_NOT_SUPPORTED];
    error.kind() == io::ErrorKind::InvalidInput || is_any(error, &codes)
}

/// Is it a link that leads in a circle?
pub(in crate::models) fn is_loop(error: &io::Error) -> bool {
    is_any(error, &[ERROR_CANT_RESOLVE_FILENAME])
}

/// Does another program hold the file?
pub(in crate::models) fn is_held(error: &io::Error) -> bool {
    is_any(error, &[ERROR_SHARING_VIOLATION, ERROR_LOCK_VIOLATION, ERROR_USER_MAPPED_FILE])
}

pub(in crate::models) fn rename(from: &Path, to: &Path) -> io::Result<()> {
    patiently(|| fs::rename(from, to)).map_err(|error| named(error, &[from, to]))
}

pub(in crate::models) fn remove_file(path: &Path) -> io::Result<()> {
    if fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_dir()) {
        return Err(io::ErrorKind::IsADirectory.into());
    }
    patiently(|| fs::remove_file(path)).map_err(|error| named(error, &[path]))
}

pub(in crate::models) fn remove_dir_all(path: &Path) -> io::Result<()> {
    let removed = patiently(|| match fs::remove_dir_all(path) {
        // What is open goes when it is closed, and its folder can only then.
        Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => {
            Err(io::Error::from_raw_os_error(ERROR_SHARING_VIOLATION.cast_signed()))
        }
        other => other,
    });
    removed.map_err(|error| named(error, &[path]))
}

/// Tries again what fails as another program has something open.
fn patiently<T>(mut work: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    let began = Instant::now();
    loop {
        match work() {
            Err(error)
                if began.elapsed() < HELD_PATIENCE && (is_held(&error) || is_any(&error, &[ERROR_ACCESS_DENIED])) =>
            {
                thread::sleep(HELD_PAUSE);
            }
            other => return other,
        }
    }
}

/// "Access is denied" is also what Windows says of what somebody has open: whether this user may remove it tells which.
fn named(error: io::Error, paths: &[&Path]) -> io::Error {
    let may_remove = |path: &&Path| {
        if path.parent().is_some_and(is_read_only) {
            return false;
        }
        let mut options = OpenOptions::new();
        options.access_mode(DELETE).custom_flags(FILE_FLAG_BACKUP_SEMANTICS | FILE_FLAG_OPEN_REPARSE_POINT);
        match options.open(path) {
            Ok(_) => true,
            Err(refused) => is_held(&refused) || refused.kind() == io::ErrorKind::NotFound,
        }
    };
    if is_any(&error, &[ERROR_ACCESS_DENIED]) && paths.iter().all(may_remove) {
        return io::Error::from_raw_os_error(ERROR_SHARING_VIOLATION.cast_signed());
    }
    error
}

/// A directory cannot be synced here; the file system's journal keeps its changes in their order.
pub(in crate::models) fn sync_directory(_directory: &Path) -> io::Result<()> {
    Ok(())
}

/// Bytes of the disk that a file takes. `metadata`: the file's.
pub(in crate::models) fn bytes_on_disk(path: &Path, metadata: &Metadata) -> u64 {
    let file = OpenOptions::new().access_mode(0).custom_flags(FILE_FLAG_BACKUP_SEMANTICS).open(path);
    let standard = file.and_then(|file| information::<FILE_STANDARD_INFO>(&file, FileStandardInfo));
    standard.map_or(metadata.len(), |standard| standard.AllocationSize.unsigned_abs())
}

/// Bytes that are free where a file is; `None` if that cannot be asked. `path`: the file's.
pub(in crate::models) fn free_bytes(_file: &File, path: &Path) -> Option<u64> {
    free_bytes_in(path.parent()?)
}

/// Bytes that the user may still write in a directory; `None` if that cannot be asked.
#[expect(unsafe_code, reason = "the standard library does not ask for the room on a disk")]
pub(crate) fn free_bytes_in(directory: &Path) -> Option<u64> {
    // Verbatim, so that it may be long.
    let directory = fs::canonicalize(directory).ok()?;
    let name: Vec<u16> = directory.as_os_str().encode_wide().chain([u16::from(b'\\'), 0]).collect();
    let mut free = 0;
    // SAFETY: `name` ends with a zero and `free` is a place for the answer; both outlive the call. The others may be null.
    let done = unsafe { GetDiskFreeSpaceExW(name.as_ptr(), &raw mut free, std::ptr::null_mut(), std::ptr::null_mut()) };
    (done != 0).then_some(free)
}

/// Something that changes while somebody writes to a download's partial file: its length, and what is noted beside it.
pub(in crate::models) fn signs_of_writing(part: &Path, done: &Path) -> u64 {
    let written = fs::metadata(part).map_or(0, |metadata| {
        let since = metadata.modified().ok().and_then(|modified| modified.duration_since(UNIX_EPOCH).ok());
        metadata.len().wrapping_add(since.map_or(0, |since| since.as_secs()))
    });
    let noted = fs::read_to_string(done).ok().and_then(|text| text.parse::<u64>().ok()).unwrap_or(0);
    written.wrapping_add(noted)
}

/// A path as people write it: `C:\…` for `\\?\C:\…`, where that is as good.
pub(in crate::models) fn plain(path: PathBuf) -> PathBuf {
    let Some(text) = path.to_str() else { return path };
    match text.strip_prefix(r"\\?\") {
        Some(rest) if !rest.starts_with("UNC") && text.len() < 250 => PathBuf::from(rest),
        Some(_) | None => path,
    }
}

/// What Windows tells of an open file. `T`: the structure of that class.
#[expect(unsafe_code, reason = "the standard library does not tell it")]
fn information<T: Default>(file: &File, class: FILE_INFO_BY_HANDLE_CLASS) -> io::Result<T> {
    let mut told = T::default();
    let size = u32::try_from(size_of::<T>()).unwrap_or(u32::MAX);
    // SAFETY: the handle is open as long as `file` is borrowed; `told` is a structure of Windows', which writes only what is
    // valid for it, has `size` bytes and outlives the call.
    let done =
        unsafe { GetFileInformationByHandleEx(file.as_raw_handle(), class, (&raw mut told).cast::<c_void>(), size) };
    if done == 0 { Err(io::Error::last_os_error()) } else { Ok(told) }
}

fn no_link(file: File) -> io::Result<File> {
    if file.metadata()?.file_type().is_symlink() {
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, "it is a link"));
    }
    Ok(file)
}

fn is_any(error: &io::Error, codes: &[u32]) -> bool {
    error.raw_os_error().is_some_and(|code| codes.contains(&code.cast_unsigned()))
}

/// Sets when a file or folder was last written.
#[cfg(test)]
pub(in crate::models) fn set_modified(path: &Path, time: std::time::SystemTime) {
    use windows_sys::Win32::Storage::FileSystem::FILE_WRITE_ATTRIBUTES;

    let mut options = OpenOptions::new();
    options.access_mode(FILE_WRITE_ATTRIBUTES).custom_flags(FILE_FLAG_BACKUP_SEMANTICS);
    options.open(path).unwrap().set_modified(time).unwrap();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_keeps_others_from_the_lock_and_from_no_byte() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        let file = create_new(&path).unwrap();
        write_at(&file, b"bytes", 0).unwrap();
        lock(&file).unwrap();
        let other = open_part(&path).unwrap();
        assert!(matches!(try_lock(&other), Err(TryLockError::WouldBlock)));
        assert_eq!(fs::read(&path).unwrap(), b"bytes");
        write_at(&other, b"others", 0).unwrap();
        unlock(&file).unwrap();
        try_lock(&other).unwrap();
    }

    #[test]
    fn a_file_is_known_by_any_of_its_names_and_changes_with_each_write() {
        let dir = tempfile::tempdir().unwrap();
        let (one, two) = (dir.path().join("one"), dir.path().join("two"));
        fs::write(&one, "1").unwrap();
        let metadata = fs::metadata(&one).unwrap();
        assert_eq!(identity_of_many(&one, &metadata), None);
        fs::hard_link(&one, &two).unwrap();
        assert_eq!(identity_of_many(&one, &metadata), Some(identity(&two).unwrap()));
        assert_ne!(identity(&one).unwrap(), identity(dir.path()).unwrap());
        let file = open_file(&one).unwrap();
        let key = || FileKey::of(&file).unwrap();
        let before = key();
        assert_eq!((before, before.size), (key(), 1));
        thread::sleep(HELD_PAUSE);
        fs::write(&two, "2").unwrap();
        assert!(!key().has_same_bytes(&before));
        assert!(!is_removed(&file).unwrap());
        assert!(free_bytes(&file, &one).unwrap() > 0);
        let short = short_identity_of(&file).unwrap();
        assert_eq!(short, short_identity_of(&File::open(&two).unwrap()).unwrap());
        assert_eq!(open_file(dir.path()).unwrap_err().kind(), io::ErrorKind::IsADirectory);
        assert!(!is_read_only(dir.path()));
    }

    #[test]
    fn links_are_none_or_opened_as_none() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        fs::write(&path, "1").unwrap();
        assert!(is_no_link(&fs::read_link(&path).unwrap_err()));
        match make_symlink(Path::new("f"), &dir.path().join("link")) {
            Ok(()) => assert!(open_part(&dir.path().join("link")).is_err()),
            Err(error) => assert!(has_no_links(&error), "{error:?}"),
        }
    }

    #[test]
    fn paths_are_written_as_people_write_them() {
        for (verbatim, plain_path) in [(r"\\?\C:\a", r"C:\a"), (r"\\?\UNC\s\a", r"\\?\UNC\s\a"), (r"C:\a", r"C:\a")] {
            assert_eq!(plain(verbatim.into()), Path::new(plain_path));
        }
    }
}
