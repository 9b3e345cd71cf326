//! The benchmarks, in one program: all of them, each in a process of its own, or those that are named. The released
//! programs that some of them start stand beside it: `cargo build --release` first.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    clippy::print_stdout,
    missing_docs,
    unreachable_pub,
    reason = "a benchmark prints its figures, and has nobody to hand an error to"
)]

mod convert;
mod decode;
mod file;
mod grpc;
#[cfg(feature = "screen")]
mod screen;
mod startup;
mod stdin;
#[cfg(feature = "screen")]
mod streams;
mod support;

use std::{env, process::Command};

/// What the command line calls them, in the order in which they run.
const BENCHMARKS: &[(&str, fn())] = &[
    ("decode", decode::run),
    ("stdin", stdin::run),
    ("grpc", grpc::run),
    ("startup", startup::run),
    ("convert", convert::run),
    #[cfg(feature = "screen")]
    ("screen", screen::run),
    ("file", file::run),
    #[cfg(feature = "screen")]
    ("streams", streams::run),
];

fn main() {
    let words: Vec<String> = env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words[..] {
        ["pump-relay", socket] => stdin::pump_relay(socket),
        ["pump-reader", socket] => stdin::pump_reader(socket),
        [name] => named(name)(),
        [] => BENCHMARKS.iter().for_each(|(name, _)| run_apart(name)),
        _ => words.iter().for_each(|name| run_apart(name)),
    }
}

fn named(name: &str) -> fn() {
    let found = BENCHMARKS.iter().find(|(known, _)| *known == name);
    let known = || BENCHMARKS.iter().map(|(known, _)| *known).collect::<Vec<_>>().join(", ");
    found.unwrap_or_else(|| panic!("no benchmark is called {name}; there are {}", known())).1
}

/// None finds what another has left in memory.
fn run_apart(name: &str) {
    println!("\n== {name}\n");
    let status = Command::new(env::current_exe().unwrap()).arg(name).status().unwrap();
    assert!(status.success(), "{name} has failed: {status}");
}
