//! The real binary on its pipes, in a world of its own: directories, port and model cache.

#![allow(dead_code, unreachable_pub, reason = "each test file uses a part")]

use std::{
    ffi::OsStr,
    fs,
    io::{Read, Write},
    path::PathBuf,
    process::{Child, ChildStdin, Command, ExitStatus, Stdio},
    sync::mpsc::{self, Receiver, RecvTimeoutError},
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tempfile::TempDir;

/// No answer takes this long, on any machine: who waits for longer has found a hang.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// The program.
fn framehost() -> PathBuf {
    option_env!("CARGO_BIN_EXE_framehost").map_or_else(|| beside_this("framehost"), PathBuf::from)
}

/// What browsers start.
fn relay() -> PathBuf {
    option_env!("CARGO_BIN_EXE_framehost-relay").map_or_else(|| beside_this("framehost-relay"), PathBuf::from)
}

/// Cargo tells tests where a program is; the benchmarks stand beside it.
fn beside_this(name: &str) -> PathBuf {
    let program = std::env::current_exe().unwrap().with_file_name(name);
    assert!(program.is_file(), "{} is not there: cargo build --release", program.display());
    program
}

/// Directories for one hub and its relays. Ends the hub when it is dropped.
pub struct World {
    dir: TempDir,
    idle_exit_s: &'static str,
}

impl World {
    pub fn new() -> Self {
        Self::with_idle_exit("30")
    }

    pub fn with_idle_exit(idle_exit_s: &'static str) -> Self {
        // A socket's path ends at 108 bytes, so not below a deep build directory.
        Self { dir: tempfile::Builder::new().prefix("fh-").tempdir_in("/tmp").unwrap(), idle_exit_s }
    }

    pub fn runtime_dir(&self) -> PathBuf {
        self.dir.path().join("run")
    }

    pub fn cache_dir(&self) -> PathBuf {
        self.dir.path().join("hub")
    }

    /// The program as a person calls it.
    pub fn command(&self, arguments: &[&str]) -> Command {
        self.command_of(framehost(), arguments)
    }

    /// The program as a browser starts it.
    pub fn host_command(&self, arguments: &[&str]) -> Command {
        self.command_of(relay(), arguments)
    }

    /// Any program, in this world.
    pub fn command_of(&self, program: impl AsRef<OsStr>, arguments: &[&str]) -> Command {
        let mut command = Command::new(program);
        command
            .args(arguments)
            .env("FRAMEHOST_RUNTIME_DIR", self.runtime_dir())
            .env("FRAMEHOST_CONFIG_DIR", self.dir.path().join("config"))
            .env("FRAMEHOST_PORT", "0")
            .env("FRAMEHOST_IDLE_EXIT", self.idle_exit_s)
            .env("HF_HUB_CACHE", self.cache_dir())
            .env("FRAMEHOST_UPSTREAM", "off")
            .env("HOME", self.dir.path())
            .env_remove("XDG_CONFIG_HOME");
        command
    }

    /// Runs a command to its end and gives what it printed.
    pub fn run(&self, arguments: &[&str]) -> String {
        let output = self.command(arguments).stdin(Stdio::null()).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Imports a model with these files.
    pub fn import(&self, model_id: &str, files: &[(&str, &[u8])]) {
        let source = self.dir.path().join("source");
        for (name, bytes) in files {
            let path = source.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, bytes).unwrap();
        }
        self.run(&["models", "import", source.to_str().unwrap(), model_id]);
        fs::remove_dir_all(source).unwrap();
    }

    /// A relay on pipes, as a test harness starts it.
    pub fn host(&self) -> Host {
        self.host_with(&[])
    }

    pub fn host_with(&self, arguments: &[&str]) -> Host {
        Host::start(self.host_command(arguments))
    }

    /// The running hub, by its runtime file.
    pub fn hub(&self) -> Option<Value> {
        serde_json::from_slice(&fs::read(self.runtime_dir().join("hub.json")).ok()?).ok()
    }

    pub fn hub_pid(&self) -> i32 {
        i32::try_from(self.hub().expect("a hub runs")["pid"].as_i64().unwrap()).unwrap()
    }

    pub fn signal_hub(&self, signal: rustix::process::Signal) {
        signal_process(self.hub_pid(), signal);
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if let Some(hub) = self.hub() {
            let pid = i32::try_from(hub["pid"].as_i64().unwrap_or(0)).unwrap_or(0);
            // The file may be one that a test made, or that a killed hub left: end only what is ours.
            if is_framehost(pid) {
                signal_process(pid, rustix::process::Signal::KILL);
                // Only then is the directory nobody's any more.
                eventually("the hub has ended", || !is_framehost(pid));
            }
        }
    }
}

pub fn signal_process(pid: i32, signal: rustix::process::Signal) {
    let pid = rustix::process::Pid::from_raw(pid).unwrap();
    rustix::process::kill_process(pid, signal).unwrap();
}

fn is_framehost(pid: i32) -> bool {
    fs::read_link(format!("/proc/{pid}/exe")).is_ok_and(|exe| exe == framehost())
}

/// Resident memory of a process, in bytes.
pub fn resident_bytes(pid: i32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}

/// Waits until a condition holds.
pub fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let began = Instant::now();
    while !condition() {
        assert!(began.elapsed() < PATIENCE, "still not so after {PATIENCE:?}: {what}");
        thread::yield_now();
    }
}

/// A running relay. Killed when it is dropped.
pub struct Host {
    child: Child,
    stdin: Option<ChildStdin>,
    messages: Receiver<Vec<u8>>,
    next_id: u64,
}

impl Host {
    pub fn start(mut command: Command) -> Self {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let (stdin, mut stdout) = (child.stdin.take(), child.stdout.take().unwrap());
        // A channel without room: what the test does not receive stays in the pipe, so that the pipe can fill.
        let (sender, messages) = mpsc::sync_channel(0);
        thread::spawn(move || {
            let mut prefix = [0; 4];
            while stdout.read_exact(&mut prefix).is_ok() {
                let mut body = vec![0; u32::from_ne_bytes(prefix) as usize];
                stdout.read_exact(&mut body).expect("only whole messages are written");
                if sender.send(body).is_err() {
                    return;
                }
            }
        });
        Self { child, stdin, messages, next_id: 0 }
    }

    pub fn pid(&self) -> i32 {
        i32::try_from(self.child.id()).unwrap()
    }

    pub fn stdin(&mut self) -> &mut ChildStdin {
        self.stdin.as_mut().unwrap()
    }

    /// Takes stdin away, for a thread that may block.
    pub fn take_stdin(&mut self) -> ChildStdin {
        self.stdin.take().unwrap()
    }

    /// Sends raw bytes. A relay that has left already is for the caller to notice.
    pub fn send_raw(&mut self, bytes: &[u8]) {
        let _ = self.stdin().write_all(bytes).and_then(|()| self.stdin().flush());
    }

    pub fn send_body(&mut self, body: &[u8]) {
        self.send_raw(&framed(body));
    }

    pub fn send(&mut self, message: &Value) {
        self.send_body(&serde_json::to_vec(message).unwrap());
    }

    /// The next message; a panic if none comes.
    pub fn receive(&mut self) -> Value {
        self.try_receive(PATIENCE).expect("the host sends a message")
    }

    /// The next message, or `None` at the end of its output.
    pub fn try_receive(&mut self, patience: Duration) -> Option<Value> {
        match self.messages.recv_timeout(patience) {
            Ok(body) => Some(serde_json::from_slice(&body).expect("every message is JSON")),
            Err(RecvTimeoutError::Disconnected) => None,
            Err(RecvTimeoutError::Timeout) => panic!("nothing came for {patience:?}"),
        }
    }

    /// Sends a request and gives its answer; events that come before it are dropped.
    pub fn answer(&mut self, request: &Value) -> Value {
        self.next_id += 1;
        let mut request = request.clone();
        request["id"] = json!(self.next_id);
        self.send(&request);
        loop {
            let message = self.receive();
            if message["id"] == json!(self.next_id) {
                return message;
            }
            assert!(message.get("event").is_some(), "an answer to nobody: {message}");
        }
    }

    pub fn ok(&mut self, request: &Value) -> Value {
        let answer = self.answer(request);
        assert!(answer.get("ok").is_some(), "{request}: {answer}");
        answer["ok"].clone()
    }

    pub fn error(&mut self, request: &Value) -> Value {
        let answer = self.answer(request);
        assert!(answer.get("error").is_some(), "{request}: {answer}");
        answer["error"].clone()
    }

    /// Waits for an event of this name.
    pub fn event(&mut self, name: &str) -> Value {
        loop {
            let message = self.receive();
            if message["event"] == json!(name) {
                return message;
            }
        }
    }

    pub fn hello(&mut self) -> Value {
        self.ok(&json!({"type": "hello", "protocol": 1, "client": "test"}))
    }

    /// Ends the input, gives what still comes, and the exit code.
    pub fn finish(mut self) -> (Vec<Value>, Option<i32>) {
        drop(self.stdin.take());
        let mut rest = Vec::new();
        while let Some(message) = self.try_receive(PATIENCE) {
            rest.push(message);
        }
        let code = self.wait().code();
        (rest, code)
    }

    pub fn wait(&mut self) -> ExitStatus {
        let began = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(began.elapsed() < PATIENCE, "the relay does not leave");
            thread::yield_now();
        }
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        // It may have left already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A body with its prefix.
pub fn framed(body: &[u8]) -> Vec<u8> {
    let mut bytes = u32::try_from(body.len()).unwrap().to_ne_bytes().to_vec();
    bytes.extend_from_slice(body);
    bytes
}

/// Standard base64.
pub fn base64(bytes: &[u8]) -> String {
    base64_simd::STANDARD.encode_to_string(bytes)
}
