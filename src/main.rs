//! The `framehost` program.

use std::process::ExitCode;

#[cfg(unix)]
fn main() -> ExitCode {
    framehost::cli::run()
}

/// There is a library here, and no hub to run yet.
#[cfg(not(unix))]
fn main() -> ExitCode {
    use std::io::Write;

    // Without a standard error there is nobody to tell.
    let _ = writeln!(std::io::stderr(), "framehost: the program does not run on this system yet; its library does");
    ExitCode::FAILURE
}
