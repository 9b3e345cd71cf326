//! Memory that nobody uses, given back to the system: glibc keeps what pictures have left, tens of megabytes, for pictures
//! to come.

/// Gives back what is free now; takes some milliseconds, and what is needed again has to be had again.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
pub fn give_back() {
    #[expect(unsafe_code, reason = "glibc's own word for it, which no crate of ours has")]
    // SAFETY: glibc has this function since 2.8, with this signature; `safe`, as it takes its own locks.
    unsafe extern "C" {
        safe fn malloc_trim(pad: usize) -> std::ffi::c_int;
    }
    // Whether there was any does not matter.
    let _ = malloc_trim(0);
}

/// Other systems' allocators give back by themselves.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub fn give_back() {}
