//! Windows: owner and access list.

use std::{
    ffi::c_void,
    fs::{self, File, Metadata, OpenOptions},
    io,
    os::windows::{
        ffi::OsStrExt as _,
        fs::OpenOptionsExt as _,
        io::{FromRawHandle as _, OwnedHandle},
    },
    path::{Path, PathBuf},
    ptr,
};

use windows_sys::Win32::{
    Foundation::{ERROR_ALREADY_EXISTS, GENERIC_WRITE, INVALID_HANDLE_VALUE},
    Storage::FileSystem::{
        CREATE_NEW, CreateDirectoryW, CreateFileW, FILE_ATTRIBUTE_NORMAL, FILE_SHARE_READ, FILE_SHARE_WRITE,
    },
};

use super::security::{self, Descriptor};

/// A file to write to; what was in it is gone. Only the user can read it.
///
/// # Errors
///
/// What the file system says.
pub fn create_file(path: &Path) -> io::Result<File> {
    // One that is there would keep the access list that it has.
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    create_new(path)
}

#[expect(unsafe_code, reason = "the standard library makes no file with an access list")]
fn create_new(path: &Path) -> io::Result<File> {
    let descriptor = Descriptor::private_file()?;
    let mut attributes = descriptor.attributes();
    let name = wide(path)?;
    // SAFETY: `name` ends with a zero, and both it and `attributes`, which points into `descriptor`, live until the call
    // returns.
    let handle = unsafe {
        CreateFileW(
            name.as_ptr(),
            GENERIC_WRITE,
            FILE_SHARE_READ,
            ptr::from_mut(&mut attributes),
            CREATE_NEW,
            FILE_ATTRIBUTE_NORMAL,
            ptr::null_mut(),
        )
    };
    if handle == INVALID_HANDLE_VALUE {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the call has made this handle, and nobody else has it.
    Ok(File::from(unsafe { OwnedHandle::from_raw_handle(handle.cast::<c_void>()) }))
}

/// A file to add to. What may be done with it the folder says.
///
/// # Errors
///
/// What the file system says.
pub fn append_to(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).open(path)
}

/// A file that stands for a lock, made where it is missing. While it is open nobody can rename or remove it.
///
/// # Errors
///
/// What the file system says.
pub fn open_lock_file(path: &Path) -> io::Result<File> {
    let sharing = FILE_SHARE_READ | FILE_SHARE_WRITE;
    OpenOptions::new().create(true).truncate(false).write(true).share_mode(sharing).open(path)
}

/// A folder, and what is missing above it; one that is there is left as it is. What is made in it later is the user's
/// alone, too.
///
/// # Errors
///
/// What the file system says.
#[expect(unsafe_code, reason = "the standard library makes no folder with an access list")]
pub fn create_folder(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    let descriptor = Descriptor::private_folder()?;
    let attributes = descriptor.attributes();
    let name = wide(path)?;
    // SAFETY: `name` ends with a zero, and both it and `attributes`, which points into `descriptor`, live until the call
    // returns.
    let made = unsafe { CreateDirectoryW(name.as_ptr(), ptr::from_ref(&attributes)) };
    if made != 0 {
        return Ok(());
    }
    let error = io::Error::last_os_error();
    let is_there = error.raw_os_error() == Some(ERROR_ALREADY_EXISTS.cast_signed());
    if is_there { Ok(()) } else { Err(error) }
}

/// A user's folders are closed to others.
#[expect(clippy::unnecessary_wraps, reason = "other systems have to")]
pub(super) fn close_folder(_path: &Path) -> io::Result<()> {
    Ok(())
}

/// Is it a folder of the user's own, in which nobody else but the system and its administrators can put anything? Not
/// through a link: in a directory that others may write to, one could be planted.
///
/// # Errors
///
/// If it cannot be looked at.
pub fn is_private(path: &Path) -> io::Result<bool> {
    if !fs::symlink_metadata(path)?.is_dir() {
        return Ok(false);
    }
    security::is_only_written_by_user(&wide(path)?)
}

/// A user's folders are closed to others.
pub const fn is_strangers(_metadata: &Metadata) -> bool {
    false
}

/// Where the runtime directory is, where nothing says so. `local_data`: of this program, in the user's own folder.
pub fn runtime_dir(local_data: &Path) -> PathBuf {
    local_data.with_file_name("run")
}

/// Text as the system's functions want it.
fn wide(path: &Path) -> io::Result<Vec<u16>> {
    // It makes long paths fit.
    let absolute = std::path::absolute(path)?;
    let mut wide: Vec<u16> = absolute.as_os_str().encode_wide().collect();
    if wide.contains(&0) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    wide.push(0);
    Ok(wide)
}
