//! An X server without a screen, and the benchmark run again with it as its display.

use std::{
    env,
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use super::common::{eventually, signal_process};

/// Set for the program that runs inside.
const INSIDE: &str = "FRAMEHOST_BENCH_DISPLAY";

/// Does this program run on a display that a benchmark has started?
pub fn is_inside() -> bool {
    env::var_os(INSIDE).is_some()
}

/// Runs this program again on a display of 1920 x 1080 pixels that shows something, and ends both.
pub fn run_inside() {
    let display = Display::start();
    let mut command = Command::new(env::current_exe().unwrap());
    let status = display.show_to(&mut command).args(env::args_os().skip(1)).env(INSIDE, "1").status().unwrap();
    assert!(status.success(), "the benchmark has failed: {status}");
}

/// A running Xvfb, with a window over all of it. Ended when it is dropped.
pub struct Display {
    name: String,
    server: Child,
    window: Child,
}

impl Display {
    pub fn start() -> Self {
        // Without -noreset it forgets everything when its last client leaves.
        let mut server = Command::new("Xvfb")
            .args(["-displayfd", "1", "-screen", "0", "1920x1080x24", "-noreset", "-nolisten", "tcp"])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("Xvfb is installed (Debian: xvfb)");
        let mut number = String::new();
        BufReader::new(server.stdout.take().unwrap()).read_line(&mut number).unwrap();
        let name = format!(":{}", number.trim());
        let window = on(Command::new("xlogo").args(["-geometry", "1920x1080+0+0"]), &name)
            .spawn()
            .expect("xlogo is installed (Debian: x11-apps)");
        Self { name, server, window }
    }

    /// Makes it the display of a program.
    pub fn show_to<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        on(command, &self.name)
    }
}

impl Drop for Display {
    fn drop(&mut self) {
        // It may have left already.
        let _ = self.window.kill();
        let _ = self.window.wait();
        // Told, not killed, so that it removes its socket and its lock; told again, as it overlooks what comes between its
        // look for signals and its wait for clients.
        let pid = i32::try_from(self.server.id()).unwrap();
        eventually("the X server has ended", || {
            let ended = self.server.try_wait().unwrap().is_some();
            if !ended {
                signal_process(pid, rustix::process::Signal::TERM);
                thread::sleep(Duration::from_millis(50));
            }
            ended
        });
    }
}

fn on<'a>(command: &'a mut Command, display: &str) -> &'a mut Command {
    command.env("DISPLAY", display).env_remove("WAYLAND_DISPLAY").env_remove("XAUTHORITY")
}
