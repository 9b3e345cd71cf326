//! The standard handles on Windows. They carry bytes as they are: text modes are of C's library, which nobody here uses.

use std::{
    fs::File,
    io,
    os::windows::io::{AsHandle as _, AsRawHandle as _},
    thread,
    time::Duration,
};

use windows_sys::{
    Wdk::Storage::FileSystem::{
        FILE_PIPE_CLOSING_STATE, FILE_PIPE_LOCAL_INFORMATION, FilePipeLocalInformation, NtQueryInformationFile,
    },
    Win32::{
        Foundation::{HANDLE_FLAG_INHERIT, SetHandleInformation},
        System::{
            Console::{STD_OUTPUT_HANDLE, SetStdHandle},
            IO::IO_STATUS_BLOCK,
        },
    },
};

/// How often the browser's end is looked at: Windows tells nobody when it is closed.
const LOOK_INTERVAL: Duration = Duration::from_millis(50);

pub(super) fn set_aside() -> io::Result<(File, File)> {
    let input = File::from(io::stdin().as_handle().try_clone_to_owned()?);
    let output = File::from(io::stdout().as_handle().try_clone_to_owned()?);
    redirect_stdout()?;
    Ok((input, output))
}

/// Has what is printed go to standard error; to nowhere if there is none. The browser's own handle stays open, as it may be
/// known to others in this process, and is for nobody whom this process starts: a browser that waits for the end of our
/// output would wait for the hub's end.
#[expect(unsafe_code, reason = "calls the system")]
fn redirect_stdout() -> io::Result<()> {
    // SAFETY: the call takes no pointers.
    if unsafe { SetHandleInformation(io::stdout().as_raw_handle(), HANDLE_FLAG_INHERIT, 0) } == 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the call takes no pointers, and standard error stays open.
    let set = unsafe { SetStdHandle(STD_OUTPUT_HANDLE, io::stderr().as_raw_handle()) };
    if set == 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

pub(super) fn wait_until_closed(output: &File) {
    // Not by an empty write, which a reader may take for the end, and not by a look into the pipe, which only its reader may.
    while has_reader(output) {
        thread::sleep(LOOK_INTERVAL);
    }
}

/// Does somebody read it? Where that cannot be told, somebody does: the next write fails if not.
#[expect(unsafe_code, reason = "calls the system")]
fn has_reader(output: &File) -> bool {
    let mut status = IO_STATUS_BLOCK::default();
    let mut pipe = FILE_PIPE_LOCAL_INFORMATION::default();
    let len = u32::try_from(size_of_val(&pipe)).unwrap_or_default();
    // SAFETY: `status` and `pipe` live until the call returns, and `pipe` has `len` bytes.
    let asked = unsafe {
        NtQueryInformationFile(
            output.as_raw_handle(),
            &raw mut status,
            (&raw mut pipe).cast(),
            len,
            FilePipeLocalInformation,
        )
    };
    asked != 0 || pipe.NamedPipeState != FILE_PIPE_CLOSING_STATE
}
