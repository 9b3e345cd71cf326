//! Other programs, which answer each line that they are sent with a line of numbers. They are built and installed by
//! `benches/peers/install.sh`.

use std::{
    io::{BufRead, BufReader, Write},
    path::PathBuf,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

/// Where `install.sh` puts them, whatever folder the benchmarks are built in.
const PEERS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/peers");

/// A running peer. Ended when it is dropped.
pub struct Peer {
    child: Child,
    questions: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Peer {
    /// `benches/peers/SCRIPT`; `None`, and a word about it, where the Python packages are not installed.
    pub fn python(script: &str) -> Option<Self> {
        let python = installed(script, "python/bin/python", "python")?;
        let mut command = Command::new(python);
        command.arg(format!("{}/peers/{script}", env!("CARGO_MANIFEST_DIR")));
        Some(Self::start(command))
    }

    /// The program of `benches/peers/xcap`; `None`, and a word about it, where it is not built.
    pub fn xcap() -> Option<Self> {
        Some(Self::start(Command::new(installed("xcap", "xcap/release/xcap-peer", "xcap")?)))
    }

    fn start(mut command: Command) -> Self {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let questions = child.stdin.take().unwrap();
        let answers = BufReader::new(child.stdout.take().unwrap());
        Self { child, questions, answers }
    }

    /// Sends a line and gives the numbers of the answer.
    pub fn ask<const N: usize>(&mut self, question: &str) -> [f64; N] {
        writeln!(self.questions, "{question}").unwrap();
        let mut answer = String::new();
        self.answers.read_line(&mut answer).unwrap();
        let numbers: Vec<f64> = answer.split_whitespace().map(|word| word.parse().unwrap()).collect();
        numbers.try_into().expect("the peer answers; what failed is above")
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // It may have left already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn installed(what: &str, path: &str, part: &str) -> Option<PathBuf> {
    let path = PathBuf::from(PEERS).join(path);
    if path.exists() {
        return Some(path);
    }
    println!("left out: {what}, which `benches/peers/install.sh {part}` installs\n");
    None
}
