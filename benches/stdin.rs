//! Through the real binary by its stdin, relay and hub included; beside two others that get the same bytes.
//!
//! ```text
//! framehost   feeder -> pipe -> relay -> Unix socket -> hub: JSON, base64, publish, acknowledge
//! pump        feeder -> pipe -> a relay that only copies -> Unix socket -> a reader that only counts
//! python      feeder -> pipe -> python_host.py: struct, json, base64, acknowledge
//! ```
//!
//! All take turns, so that what else the machine does meets all. The pump's ends are this program, started again.

use std::{
    env,
    fs::File,
    io::{self, Read, Write},
    os::fd::AsFd,
    os::unix::net::{UnixListener, UnixStream},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    sync::mpsc,
    thread,
    time::Instant,
};

use crate::support::{
    Bound, Samples,
    common::{World, framed},
    gigabytes_per_second, is_quick, jpeg_message, judge, milliseconds, open_request, thorough_or_quick,
};
use framehost::link::{self, Frame, HubPreamble, RelayPreamble};
use serde_json::{Value, json};

const SIZES: [(&str, usize); 3] = [("100 KiB", 100 << 10), ("1 MiB", 1 << 20), ("8 MiB", 8 << 20)];

/// What both ends of the pump carry at once: as much as a pipe holds, which is also what the usual relay would take.
const PUMP_BYTES: usize = 64 << 10;

pub fn run() {
    throughput();
    latency();
}

fn throughput() {
    let rounds = thorough_or_quick(11, 2);
    let bytes_per_round = thorough_or_quick(512 << 20, 64 << 20);
    // Python takes its time.
    let python_bytes = thorough_or_quick(64 << 20, 16 << 20);
    let world = World::new();
    let mut keeper = world.host();
    keeper.hello();
    println!("GB/s of framed bytes by stdin, median (best) of {rounds} rounds\n");
    println!(
        "{:<8} {:>16} {:>16} {:>16} {:>14} {:>14}",
        "message", "framehost", "pump", "python", "of the pump", "of python"
    );
    let mut verdicts = Vec::new();
    for (name, len) in SIZES {
        let message = jpeg_message("cam", len);
        let [mut framehost, mut pump, mut python, mut of_pump] = [const { Samples(Vec::new()) }; 4];
        for _ in 0..rounds {
            pump.push(pump_rate(&message, bytes_per_round / len));
            framehost.push(host_rate(world.command(&[]), &message, bytes_per_round / len));
            of_pump.push(framehost.0[framehost.0.len() - 1] / pump.0[pump.0.len() - 1]);
            if let Some(host) = python_host() {
                python.push(host_rate(host, &message, python_bytes / len));
            }
        }
        let of_python = if python.0.is_empty() { f64::NAN } else { framehost.median() / python.median() };
        let column = |samples: &Samples| match samples.0.is_empty() {
            true => "-".to_owned(),
            false => format!("{:.2} ({:.2})", samples.median(), samples.max()),
        };
        println!(
            "{name:<8} {:>16} {:>16} {:>16} {:>14.2} {of_python:>14.1}",
            column(&framehost),
            column(&pump),
            column(&python),
            of_pump.median(),
        );
        verdicts.push((name, of_pump.median(), of_python));
    }
    println!();
    for (name, of_pump, of_python) in verdicts {
        judge(&format!("framehost to pump, {name} messages"), of_pump, "times", Bound::AtLeast(0.7));
        judge(&format!("framehost to Python, {name} messages"), of_python, "times", Bound::AtLeast(4.0));
    }
}

/// Sends a message again and again, as far as the credits go, until the last is acknowledged.
fn host_rate(command: Command, message: &[u8], count: usize) -> f64 {
    let mut host = Port::start(command);
    host.send(&json!({"id": 1, "type": "hello", "protocol": 1}));
    host.receive();
    host.send(&open_request("cam"));
    let Port { part, mut stdin, mut stdout } = host;
    let (give, credits) = mpsc::channel();
    for _ in 0..framehost::session::FRAME_CREDITS {
        give.send(()).unwrap();
    }
    let began = Instant::now();
    let elapsed = thread::scope(|scope| {
        scope.spawn(move || {
            for _ in 0..count {
                credits.recv().unwrap();
                stdin.write_all(message).unwrap();
            }
        });
        let mut published = 0;
        while published < count {
            let event: Value = serde_json::from_slice(&receive(&mut stdout)).unwrap();
            for _ in 0..event["credits"].as_u64().expect("nothing but acknowledgements comes") {
                published += 1;
                // The feeder is gone once it has sent everything.
                let _ = give.send(());
            }
        }
        began.elapsed()
    });
    drop(part);
    gigabytes_per_second(message.len() * count, elapsed)
}

/// The Python baseline; `None` where there is no Python.
fn python_host() -> Option<Command> {
    let mut command = Command::new("python3");
    let exists = command.arg("--version").stdout(Stdio::null()).status().is_ok_and(|status| status.success());
    let mut command = Command::new("python3");
    command.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/python_host.py"));
    exists.then_some(command)
}

fn pump_rate(message: &[u8], count: usize) -> f64 {
    let dir = tempfile::Builder::new().prefix("fh-").tempdir_in("/tmp").unwrap();
    let socket = dir.path().join("pump.sock");
    let part = |part: &str, stdin, stdout| {
        let mut command = Command::new(env::current_exe().unwrap());
        command.args([part, socket.to_str().unwrap()]).stdin(stdin).stdout(stdout);
        Part(command.spawn().unwrap())
    };
    let mut reader = part("pump-reader", Stdio::null(), Stdio::piped());
    let mut told = reader.0.stdout.take().unwrap();
    let mut byte = [0];
    // It listens.
    told.read_exact(&mut byte).unwrap();
    let mut relay = part("pump-relay", Stdio::piped(), Stdio::null());
    let mut stdin = relay.0.stdin.take().unwrap();
    // It is connected.
    told.read_exact(&mut byte).unwrap();
    let began = Instant::now();
    for _ in 0..count {
        stdin.write_all(message).unwrap();
    }
    drop(stdin);
    let mut total = [0; 8];
    told.read_exact(&mut total).unwrap();
    let elapsed = began.elapsed();
    assert_eq!(u64::from_ne_bytes(total), (message.len() * count) as u64);
    gigabytes_per_second(message.len() * count, elapsed)
}

/// Half of the pump. Ended when it is dropped.
struct Part(Child);

impl Drop for Part {
    fn drop(&mut self) {
        // It may have left already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub fn pump_relay(socket: &str) {
    let mut socket = UnixStream::connect(socket).unwrap();
    // Not `io::copy`, which leaves the bytes to the kernel, and without the standard library's own buffer.
    let mut input = File::from(io::stdin().as_fd().try_clone_to_owned().unwrap());
    let mut buffer = vec![0; PUMP_BYTES];
    loop {
        match input.read(&mut buffer).unwrap() {
            0 => return,
            read => socket.write_all(&buffer[..read]).unwrap(),
        }
    }
}

pub fn pump_reader(socket: &str) {
    let listener = UnixListener::bind(socket).unwrap();
    let mut stdout = io::stdout();
    let mut tell = |bytes: &[u8]| stdout.write_all(bytes).and_then(|()| stdout.flush()).unwrap();
    tell(b"l");
    let (mut from, _) = listener.accept().unwrap();
    tell(b"c");
    let mut buffer = vec![0; 4 * PUMP_BYTES];
    let mut total = 0_u64;
    loop {
        match from.read(&mut buffer).unwrap() {
            0 => break,
            read => total += read as u64,
        }
    }
    tell(&total.to_ne_bytes());
}

fn latency() {
    let count = thorough_or_quick(5000, 500);
    let world = World::new();
    let mut host = world.host();
    host.hello();
    let mut hub = UnixStream::connect(world.runtime_dir().join("hub.sock")).unwrap();
    let preamble = RelayPreamble { version: "bench".to_owned(), argv: Vec::new(), pid: std::process::id() };
    hub.write_all(&link::encode_preamble(&preamble).unwrap()).unwrap();
    let _: HubPreamble = link::read_preamble(&mut hub).unwrap();
    let mut relayed = Port::start(world.command(&[]));
    let [mut through, mut direct] = [const { Samples(Vec::new()) }; 2];
    let ping = framed(&serde_json::to_vec(&json!({"id": 1, "type": "ping"})).unwrap());
    for _ in 0..count {
        let began = Instant::now();
        relayed.stdin.write_all(&ping).unwrap();
        relayed.receive();
        through.push(milliseconds(began.elapsed()));
        let began = Instant::now();
        hub.write_all(&ping).unwrap();
        assert!(matches!(link::read_frame(&mut hub), Ok(Frame::Message(_))));
        direct.push(milliseconds(began.elapsed()));
    }
    println!("\nping there and back, ms, {count} times\n");
    println!("{:<22} {:>8} {:>8}", "", "p50", "p99");
    for (name, samples) in [("through the relay", &through), ("on the hub's socket", &direct)] {
        println!("{name:<22} {:>8.3} {:>8.3}", samples.median(), samples.quantile(0.99));
    }
    println!();
    judge("added by the relay, median", through.median() - direct.median(), "ms", Bound::Under(1.0));
    judge("added by the relay, p99", through.quantile(0.99) - direct.quantile(0.99), "ms", Bound::Under(1.0));
    if is_quick() {
        println!("\nquick: the figures above are not measurements");
    }
}

/// A host on its pipes, which are read and written here: no thread of ours adds to its time.
struct Port {
    part: Part,
    stdin: ChildStdin,
    stdout: ChildStdout,
}

impl Port {
    fn start(mut command: Command) -> Self {
        let mut part = Part(command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap());
        let (stdin, stdout) = (part.0.stdin.take().unwrap(), part.0.stdout.take().unwrap());
        Self { part, stdin, stdout }
    }

    fn send(&mut self, message: &Value) {
        self.stdin.write_all(&framed(&serde_json::to_vec(message).unwrap())).unwrap();
    }

    fn receive(&mut self) -> Vec<u8> {
        receive(&mut self.stdout)
    }
}

fn receive(from: &mut impl Read) -> Vec<u8> {
    let mut prefix = [0; 4];
    from.read_exact(&mut prefix).unwrap();
    let mut body = vec![0; u32::from_ne_bytes(prefix) as usize];
    from.read_exact(&mut body).unwrap();
    body
}
