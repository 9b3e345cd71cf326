//! What a browser starts for each port: see `framehost::cli::run_relay`.

use std::process::ExitCode;

fn main() -> ExitCode {
    framehost::cli::run_relay()
}
