//! What a browser starts for each port: see `framehost::cli::run_relay`.

use std::process::ExitCode;

#[cfg(unix)]
fn main() -> ExitCode {
    framehost::cli::run_relay()
}

/// As in the program itself.
#[cfg(not(unix))]
fn main() -> ExitCode {
    use std::io::Write;

    // Without a standard error there is nobody to tell.
    let _ = writeln!(std::io::stderr(), "framehost: the program does not run on this system yet; its library does");
    ExitCode::FAILURE
}
