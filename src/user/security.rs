//! Windows' users and access lists, as far as framehost needs them.
//!
//! Belongs here: whose a process, a file or a pipe is; descriptors that let in the user alone.
//! Does not belong here: what they are put on (`user`, `local`), who may connect (`access`).
//!
//! Users are told apart by the text of their SID: `S-1-5-21-…`.

use std::{
    ffi::{OsString, c_void},
    io,
    os::windows::{
        ffi::OsStringExt as _,
        io::{AsRawHandle as _, BorrowedHandle, FromRawHandle as _, OwnedHandle},
    },
    path::PathBuf,
    ptr,
    sync::OnceLock,
};

use windows_sys::Win32::{
    Foundation::{ERROR_SUCCESS, GENERIC_ALL, GENERIC_WRITE, HANDLE, LocalFree},
    Security::{
        ACCESS_ALLOWED_ACE, ACE_HEADER, ACL,
        Authorization::{
            ConvertSidToStringSidW, ConvertStringSecurityDescriptorToSecurityDescriptorW, GetNamedSecurityInfoW,
            GetSecurityInfo, SDDL_REVISION_1, SE_FILE_OBJECT, SE_KERNEL_OBJECT,
        },
        DACL_SECURITY_INFORMATION, GetAce, GetTokenInformation, INHERIT_ONLY_ACE, OWNER_SECURITY_INFORMATION,
        PSECURITY_DESCRIPTOR, PSID, SECURITY_ATTRIBUTES, TOKEN_QUERY, TOKEN_USER, TokenUser,
    },
    Storage::FileSystem::{DELETE, FILE_ADD_FILE, FILE_ADD_SUBDIRECTORY, FILE_DELETE_CHILD, WRITE_DAC, WRITE_OWNER},
    System::{
        SystemServices::{ACCESS_ALLOWED_ACE_TYPE, ACCESS_DENIED_ACE_TYPE},
        Threading::{
            GetCurrentProcess, OpenProcess, OpenProcessToken, PROCESS_NAME_WIN32, PROCESS_QUERY_LIMITED_INFORMATION,
            QueryFullProcessImageNameW,
        },
    },
};

/// The system itself, its administrators, and whoever owns the object: who can do everything anyway.
/// Source: Microsoft, "Well-known SIDs".
const TRUSTED: [&str; 4] = ["S-1-5-18", "S-1-5-32-544", "S-1-3-4", "S-1-3-0"];

/// What lets somebody put something into a folder, or take it over.
const WRITING: u32 = GENERIC_ALL
    | GENERIC_WRITE
    | FILE_ADD_FILE
    | FILE_ADD_SUBDIRECTORY
    | FILE_DELETE_CHILD
    | DELETE
    | WRITE_DAC
    | WRITE_OWNER;

/// UTF-16 units of the longest path, with the zero behind it.
/// Source: Microsoft, "Maximum Path Length Limitation".
const MAX_PATH_UNITS: usize = 32_768;

/// Who runs this process.
///
/// # Errors
///
/// What the system says.
pub(crate) fn current_user() -> io::Result<&'static str> {
    static USER: OnceLock<String> = OnceLock::new();
    if let Some(user) = USER.get() {
        return Ok(user);
    }
    let user = user_of_current_process()?;
    Ok(USER.get_or_init(|| user))
}

#[expect(unsafe_code, reason = "calls the system")]
fn user_of_current_process() -> io::Result<String> {
    // SAFETY: it is a constant that stands for this process, and need not be closed.
    user_of(unsafe { GetCurrentProcess() })
}

/// Who runs the process with this id.
///
/// # Errors
///
/// What the system says: there is none any more, or it is none of ours to ask.
pub(crate) fn user_of_process(pid: u32) -> io::Result<String> {
    user_of(process(pid)?.as_raw_handle())
}

/// The program's file of the process with this id.
///
/// # Errors
///
/// As [`user_of_process`].
#[expect(unsafe_code, reason = "calls the system")]
pub(crate) fn program_of_process(pid: u32) -> io::Result<PathBuf> {
    let process = process(pid)?;
    let mut room = vec![0_u16; MAX_PATH_UNITS];
    let mut units = u32::try_from(room.len()).unwrap_or_default();
    // SAFETY: `room` takes `units` units.
    let told = unsafe {
        QueryFullProcessImageNameW(process.as_raw_handle(), PROCESS_NAME_WIN32, room.as_mut_ptr(), &raw mut units)
    };
    if told == 0 {
        return Err(io::Error::last_os_error());
    }
    room.truncate(usize::try_from(units).unwrap_or_default());
    Ok(OsString::from_wide(&room).into())
}

#[expect(unsafe_code, reason = "calls the system")]
fn process(pid: u32) -> io::Result<OwnedHandle> {
    // SAFETY: the call takes no pointers.
    let process = unsafe { OpenProcess(PROCESS_QUERY_LIMITED_INFORMATION, 0, pid) };
    if process.is_null() {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the call has made this handle, and nobody else has it.
    Ok(unsafe { OwnedHandle::from_raw_handle(process) })
}

#[expect(unsafe_code, reason = "calls the system")]
fn user_of(process: HANDLE) -> io::Result<String> {
    let mut token: HANDLE = ptr::null_mut();
    // SAFETY: `token` takes one handle.
    if unsafe { OpenProcessToken(process, TOKEN_QUERY, &raw mut token) } == 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the call has made this handle, and nobody else has it.
    let token = unsafe { OwnedHandle::from_raw_handle(token) };
    // A `TOKEN_USER` and the SID behind it, which has 68 bytes at most. Of u64, so that it is aligned for pointers.
    let mut room = [0_u64; 32];
    let room_bytes = u32::try_from(size_of_val(&room)).unwrap_or_default();
    let mut needed = 0;
    // SAFETY: `room` takes as many bytes as is said.
    let asked = unsafe {
        GetTokenInformation(
            token.as_raw_handle(),
            TokenUser,
            room.as_mut_ptr().cast::<c_void>(),
            room_bytes,
            &raw mut needed,
        )
    };
    if asked == 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the call has written a `TOKEN_USER` to the beginning of `room`, which is aligned for it.
    let user = unsafe { &*room.as_ptr().cast::<TOKEN_USER>() };
    // SAFETY: its SID is in `room`, too.
    unsafe { text_of(user.User.Sid) }
}

/// # Safety
///
/// `sid` has to point to a SID.
#[expect(unsafe_code, reason = "calls the system")]
unsafe fn text_of(sid: PSID) -> io::Result<String> {
    let mut text: *mut u16 = ptr::null_mut();
    // SAFETY: by this function's contract; `text` takes one pointer.
    if unsafe { ConvertSidToStringSidW(sid, &raw mut text) } == 0 {
        return Err(io::Error::last_os_error());
    }
    let text = Local(text.cast::<c_void>());
    let start = text.0.cast::<u16>();
    let mut len = 0;
    // SAFETY: the call has made a text that ends with a zero, and this looks at nothing behind that.
    while unsafe { *start.add(len) } != 0 {
        len += 1;
    }
    // SAFETY: as many are there.
    Ok(String::from_utf16_lossy(unsafe { std::slice::from_raw_parts(start, len) }))
}

/// Whose the pipe is: who has made its first end says so.
///
/// # Errors
///
/// What the system says.
#[expect(unsafe_code, reason = "calls the system")]
pub(crate) fn owner_of_pipe(pipe: BorrowedHandle<'_>) -> io::Result<String> {
    let mut owner: PSID = ptr::null_mut();
    let mut descriptor: PSECURITY_DESCRIPTOR = ptr::null_mut();
    // SAFETY: `owner` and `descriptor` take one pointer each; nothing else is asked for.
    let error = unsafe {
        GetSecurityInfo(
            pipe.as_raw_handle(),
            SE_KERNEL_OBJECT,
            OWNER_SECURITY_INFORMATION,
            &raw mut owner,
            ptr::null_mut(),
            ptr::null_mut(),
            ptr::null_mut(),
            &raw mut descriptor,
        )
    };
    let _descriptor = Local(descriptor);
    if error != ERROR_SUCCESS {
        return Err(io::Error::from_raw_os_error(error.cast_signed()));
    }
    if owner.is_null() {
        return Err(io::ErrorKind::NotFound.into());
    }
    // SAFETY: it points into the descriptor, which is there until the end of this function.
    unsafe { text_of(owner) }
}

/// Does the folder belong to the user (or to the administrators, as what an administrator makes does), and does its list
/// let nobody else write? `name` ends with a zero.
///
/// # Errors
///
/// What the system says.
#[expect(unsafe_code, reason = "calls the system")]
pub(crate) fn is_only_written_by_user(name: &[u16]) -> io::Result<bool> {
    if name.last() != Some(&0) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let mut owner: PSID = ptr::null_mut();
    let mut list: *mut ACL = ptr::null_mut();
    let mut descriptor: PSECURITY_DESCRIPTOR = ptr::null_mut();
    // SAFETY: `name` ends with a zero; `owner`, `list` and `descriptor` take one pointer each.
    let error = unsafe {
        GetNamedSecurityInfoW(
            name.as_ptr(),
            SE_FILE_OBJECT,
            OWNER_SECURITY_INFORMATION | DACL_SECURITY_INFORMATION,
            &raw mut owner,
            ptr::null_mut(),
            &raw mut list,
            ptr::null_mut(),
            &raw mut descriptor,
        )
    };
    let _descriptor = Local(descriptor);
    if error != ERROR_SUCCESS {
        return Err(io::Error::from_raw_os_error(error.cast_signed()));
    }
    // Without a list everybody may do everything.
    if owner.is_null() || list.is_null() {
        return Ok(false);
    }
    let user = current_user()?;
    let is_trusted = |sid: &str| sid == user || TRUSTED.contains(&sid);
    // SAFETY: it points into the descriptor, which is there until the end of this function.
    if !is_trusted(&unsafe { text_of(owner) }?) {
        return Ok(false);
    }
    // SAFETY: as `owner`.
    let entries = unsafe { (*list).AceCount };
    for index in 0..u32::from(entries) {
        let mut entry: *mut c_void = ptr::null_mut();
        // SAFETY: `list` is a list, and `entry` takes one pointer.
        if unsafe { GetAce(list, index, &raw mut entry) } == 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: every entry begins with this header.
        let header = unsafe { &*entry.cast::<ACE_HEADER>() };
        let is_inherited_only = u32::from(header.AceFlags) & INHERIT_ONLY_ACE != 0;
        match u32::from(header.AceType) {
            ACCESS_DENIED_ACE_TYPE => {}
            _ if is_inherited_only => {}
            ACCESS_ALLOWED_ACE_TYPE => {
                // SAFETY: by its type it is one of these.
                let allowed = unsafe { &*entry.cast::<ACCESS_ALLOWED_ACE>() };
                let sid = ptr::from_ref(&allowed.SidStart).cast_mut().cast::<c_void>();
                // SAFETY: the SID of such an entry begins at this field.
                if allowed.Mask & WRITING != 0 && !is_trusted(&unsafe { text_of(sid) }?) {
                    return Ok(false);
                }
            }
            // One of the kinds with conditions: whom it lets in is not known.
            _ => return Ok(false),
        }
    }
    Ok(true)
}

/// Who may do what with something that is about to be made.
pub(crate) struct Descriptor(Local);

impl Descriptor {
    /// A file that is the user's alone.
    ///
    /// # Errors
    ///
    /// What the system says.
    pub(crate) fn private_file() -> io::Result<Self> {
        Self::of_user("(A;;FA;;;", ")")
    }

    /// A folder that is the user's alone, with all that will be in it.
    ///
    /// # Errors
    ///
    /// What the system says.
    pub(crate) fn private_folder() -> io::Result<Self> {
        Self::of_user("(A;OICI;FA;;;", ")")
    }

    /// A pipe that the user alone can connect to, or serve with.
    ///
    /// # Errors
    ///
    /// What the system says.
    pub(crate) fn private_pipe() -> io::Result<Self> {
        Self::of_user("(A;;GA;;;", ")")
    }

    /// Owned by the user, with one entry, and with nothing that the folder above says (`P`).
    /// Source: Microsoft, "Security Descriptor String Format".
    #[expect(unsafe_code, reason = "calls the system")]
    fn of_user(before: &str, after: &str) -> io::Result<Self> {
        let user = current_user()?;
        let text: Vec<u16> = format!("O:{user}D:P{before}{user}{after}\0").encode_utf16().collect();
        let mut descriptor: PSECURITY_DESCRIPTOR = ptr::null_mut();
        // SAFETY: `text` ends with a zero, and `descriptor` takes one pointer.
        let made = unsafe {
            ConvertStringSecurityDescriptorToSecurityDescriptorW(
                text.as_ptr(),
                SDDL_REVISION_1,
                &raw mut descriptor,
                ptr::null_mut(),
            )
        };
        if made == 0 { Err(io::Error::last_os_error()) } else { Ok(Self(Local(descriptor))) }
    }

    /// As functions take it that make something. It points into this descriptor.
    pub(crate) fn attributes(&self) -> SECURITY_ATTRIBUTES {
        SECURITY_ATTRIBUTES {
            nLength: u32::try_from(size_of::<SECURITY_ATTRIBUTES>()).unwrap_or_default(),
            lpSecurityDescriptor: self.0.0,
            bInheritHandle: 0,
        }
    }
}

/// Memory that the system has given, and gets back.
struct Local(*mut c_void);

impl Drop for Local {
    #[expect(unsafe_code, reason = "calls the system")]
    fn drop(&mut self) {
        // SAFETY: it is from a function that gives memory to be freed so, and nobody else frees it. Null is allowed.
        unsafe { LocalFree(self.0) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_the_users() {
        let user = current_user().unwrap();
        assert!(user.starts_with("S-1-"), "{user}");
        assert_eq!(user_of_process(std::process::id()).unwrap(), user);
        assert!(user_of_process(0).is_err());
    }

    #[test]
    fn descriptors_can_be_made() {
        for made in [Descriptor::private_file(), Descriptor::private_folder(), Descriptor::private_pipe()] {
            assert!(!made.unwrap().attributes().lpSecurityDescriptor.is_null());
        }
    }
}
