//! The `framehost` program.

use std::process::ExitCode;

fn main() -> ExitCode {
    framehost::cli::run()
}
