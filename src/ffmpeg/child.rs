//! A running ffmpeg or ffprobe.

use std::{
    collections::VecDeque,
    ffi::OsStr,
    io::{self, BufRead, BufReader},
    path::Path,
    process::{self, ChildStderr, Command, ExitStatus, Stdio},
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{self, Receiver, RecvTimeoutError},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use super::{FfmpegError, pictures::SKIPPED, pipes};

/// Lines of its standard error that are kept for a message.
const KEPT_LINES: usize = 8;

/// Longest line of its standard error that is read whole, in bytes.
const MAX_LINE_BYTES: u64 = 4096;

/// How long it may take to end by itself when it has closed its output.
const EXIT_TIMEOUT: Duration = Duration::from_secs(2);

/// How long its standard error may stay open when it has ended: a script that it was may have left others behind.
const WORDS_TIMEOUT: Duration = Duration::from_millis(500);

/// A running program. Dropping it kills and reaps it.
#[derive(Debug)]
pub struct Child {
    process: Process,
    output: pipes::Output,
    input: Option<pipes::Input>,
    words: Words,
    stderr: Option<Listener>,
}

/// The last lines of a program's standard error.
type Words = Arc<Mutex<VecDeque<String>>>;

/// What a program reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Input {
    /// Nothing.
    Nothing,
    /// What is given to [`Child::write`].
    Pipe,
}

/// What a read brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Read {
    /// So many bytes.
    Bytes(usize),
    /// Nothing in time.
    Nothing,
    /// The program has closed its output.
    End,
}

impl Child {
    /// Starts a program with its output in a pipe.
    ///
    /// `on_line`: called with each line of its standard error, on a thread of its own.
    ///
    /// # Errors
    ///
    /// [`FfmpegError::Start`].
    pub fn start(
        program: &Path,
        arguments: &[&OsStr],
        input: Input,
        mut on_line: impl FnMut(&str) + Send + 'static,
    ) -> Result<Self, FfmpegError> {
        let name = program.file_name().unwrap_or(program.as_os_str()).to_string_lossy().into_owned();
        let failed = |source| FfmpegError::Start { program: program.display().to_string(), source };
        let mut command = Command::new(program);
        pipes::prepare(&mut command);
        let mut process = command
            .args(arguments)
            .stdin(if input == Input::Pipe { Stdio::piped() } else { Stdio::null() })
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(failed)?;
        let (Some(output), Some(stderr)) = (process.stdout.take(), process.stderr.take()) else {
            return Err(failed(io::ErrorKind::BrokenPipe.into()));
        };
        let words = Words::default();
        let kept = Arc::clone(&words);
        let input = process.stdin.take();
        // From here on the process has an owner that ends it.
        let process = Process { name, child: process };
        let output = pipes::Output::new(output).map_err(failed)?;
        let input = input.map(pipes::Input::new).transpose().map_err(failed)?;
        let mut child = Self { process, output, input, words, stderr: None };
        child.stderr = Some(Listener::start(move || read_lines(stderr, &kept, &mut on_line)).map_err(failed)?);
        Ok(child)
    }

    /// Writes as much as the program takes now; 0 if it takes nothing before `timeout`.
    ///
    /// # Errors
    ///
    /// [`FfmpegError::Failed`] if it does not read any more.
    pub fn write(&mut self, bytes: &[u8], timeout: Duration) -> Result<usize, FfmpegError> {
        let Some(input) = &mut self.input else {
            return Err(self.failed("its input is closed"));
        };
        input.write(bytes, timeout).map_err(|error| self.failed(&error.to_string()))
    }

    /// Tells the program that nothing more will be written.
    pub fn close_input(&mut self) {
        self.input = None;
    }

    /// Reads what is there, waiting for at most `timeout`.
    ///
    /// # Errors
    ///
    /// [`FfmpegError::Failed`] if the pipe breaks.
    pub fn read(&mut self, into: &mut [u8], timeout: Duration) -> Result<Read, FfmpegError> {
        self.output.read(into, timeout).map_err(|error| self.failed(&error.to_string()))
    }

    /// Waits for the end of a program that has closed its output, and ends what it has left behind. Answers with its last
    /// words: also one that ends well may have complained.
    ///
    /// # Errors
    ///
    /// [`FfmpegError::Failed`] with its last words, [`FfmpegError::Hangs`].
    pub fn finish(mut self) -> Result<String, FfmpegError> {
        let due = Instant::now() + EXIT_TIMEOUT;
        loop {
            match pipes::has_ended(&mut self.process.child) {
                Ok(true) => break,
                Ok(false) if Instant::now() < due => thread::sleep(Duration::from_millis(2)),
                Ok(false) => return Err(self.hangs(EXIT_TIMEOUT)),
                Err(error) => return Err(self.failed(&error.to_string())),
            }
        }
        // Its words are complete when its standard error is closed, which its end has done, or that of all it has started.
        self.hear_out();
        let ended = self.process.end();
        self.hear_out();
        match ended {
            Ok(status) if status.success() => Ok(self.words()),
            Ok(status) => Err(self.failed(&status.to_string())),
            Err(error) => Err(self.failed(&error.to_string())),
        }
    }

    /// Waits until its standard error is closed, but not for long.
    fn hear_out(&mut self) {
        self.stderr.take_if(|listener| listener.has_ended(WORDS_TIMEOUT));
    }

    /// It has been silent for too long.
    pub fn hangs(&self, waited: Duration) -> FfmpegError {
        let waited_ms = u64::try_from(waited.as_millis()).unwrap_or(u64::MAX);
        FfmpegError::Hangs { program: self.process.name.clone(), waited_ms }
    }

    /// What it has said on its standard error.
    fn words(&self) -> String {
        let words = self.words.lock().unwrap_or_else(PoisonError::into_inner);
        words.iter().map(String::as_str).collect::<Vec<_>>().join("; ")
    }

    /// It has failed, by its own last words, too.
    pub(super) fn failed(&self, problem: &str) -> FfmpegError {
        let words = self.words();
        let problem = if words.is_empty() { problem.to_owned() } else { format!("{problem}: {words}") };
        FfmpegError::Failed { program: self.process.name.clone(), problem }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // A failure has been said.
        drop(self.process.end());
        self.hear_out();
        if self.stderr.is_some() {
            let program = &self.process.name;
            tracing::warn!(program, "somebody keeps a program's standard error open");
        }
    }
}

/// The thread that reads a program's standard error. It ends when that is closed, which may be beyond the program's end;
/// nobody has to wait for it.
#[derive(Debug)]
struct Listener {
    thread: JoinHandle<()>,
    ended: Receiver<()>,
}

impl Listener {
    fn start(listen: impl FnOnce() + Send + 'static) -> io::Result<Self> {
        let (tell, ended) = mpsc::sync_channel(1);
        let run = move || {
            listen();
            // After a panic the other end hears that this one is gone.
            let _ = tell.send(());
        };
        Ok(Self { thread: thread::Builder::new().name("ffmpeg-stderr".to_owned()).spawn(run)?, ended })
    }

    fn has_ended(&self, timeout: Duration) -> bool {
        self.thread.is_finished() || self.ended.recv_timeout(timeout) != Err(RecvTimeoutError::Timeout)
    }
}

/// A process that ends with its owner, at the latest.
#[derive(Debug)]
struct Process {
    name: String,
    child: process::Child,
}

impl Process {
    /// Kills what is left of it. Its own end, where it has ended by itself.
    fn end(&mut self) -> io::Result<ExitStatus> {
        pipes::kill(&mut self.child).and_then(|()| self.child.wait()).inspect_err(|error| {
            tracing::error!(%error, program = self.name, "a process could not be ended");
        })
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // A failure has been said.
        drop(self.end());
    }
}

fn read_lines(stderr: ChildStderr, kept: &Words, on_line: &mut impl FnMut(&str)) {
    let mut reader = BufReader::new(stderr);
    let mut line = Vec::new();
    let mut goes_on = false;
    loop {
        line.clear();
        match io::Read::take(&mut reader, MAX_LINE_BYTES).read_until(b'\n', &mut line) {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
        // The rest of a line that is too long is no line.
        if std::mem::replace(&mut goes_on, !line.ends_with(b"\n")) {
            continue;
        }
        let line = String::from_utf8_lossy(&line);
        let text = line.trim();
        // Its own reports are no last words.
        if !text.is_empty() && !text.contains("Parsed_showinfo") && !text.contains(SKIPPED) {
            let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
            if kept.len() == KEPT_LINES {
                kept.pop_front();
            }
            kept.push_back(text.to_owned());
        }
        on_line(line.trim_end());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs a script for the system's own shell.
    fn shell(input: Input, unix: &str, windows: &str) -> Child {
        let (shell, word, script) =
            if cfg!(windows) { ("C:\\windows\\system32\\cmd.exe", "/c", windows) } else { ("/bin/sh", "-c", unix) };
        Child::start(Path::new(shell), &[OsStr::new(word), OsStr::new(script)], input, |_| {}).unwrap()
    }

    /// Where the system shows what runs.
    fn is_gone(pid: u32) -> bool {
        !cfg!(target_os = "linux") || !Path::new(&format!("/proc/{pid}")).exists()
    }

    fn read_all(child: &mut Child) -> Vec<u8> {
        let mut all = Vec::new();
        let mut buffer = [0; 64];
        loop {
            match child.read(&mut buffer, Duration::from_secs(10)).unwrap() {
                Read::Bytes(count) => all.extend_from_slice(&buffer[..count]),
                Read::Nothing => panic!("nothing came"),
                Read::End => return all,
            }
        }
    }

    #[test]
    fn output_is_read_to_its_end() {
        let mut child = shell(Input::Nothing, "echo one; echo two", "echo one&echo two");
        let pid = child.process.child.id();
        let said = String::from_utf8(read_all(&mut child)).unwrap();
        assert_eq!(said.split_whitespace().collect::<Vec<_>>(), ["one", "two"]);
        child.finish().unwrap();
        assert!(is_gone(pid));
    }

    #[test]
    fn a_failure_comes_with_the_last_words() {
        let unix = "echo first >&2; echo Invalid data >&2; exit 3";
        let mut child = shell(Input::Nothing, unix, "echo first>&2&echo Invalid data>&2&exit 3");
        assert_eq!(read_all(&mut child), b"");
        let error = child.finish().unwrap_err();
        assert!(error.to_string().contains("first; Invalid data"), "{error}");
    }

    /// A script around the real program may leave others behind, which have its pipes.
    #[cfg(unix)]
    #[test]
    fn who_is_left_behind_holds_nobody_up_and_ends() {
        for status in [0, 3] {
            let script = format!("sleep 1000 >/dev/null & echo $! first >&2; exit {status}");
            let mut child = shell(Input::Nothing, &script, "");
            let words = Arc::clone(&child.words);
            assert_eq!(read_all(&mut child), b"");
            let begun = Instant::now();
            assert_eq!(child.finish().is_ok(), status == 0);
            assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
            let words = words.lock().unwrap().iter().cloned().collect::<String>();
            let pid = words.strip_suffix(" first").unwrap();
            // Whoever takes over orphans reaps it when it likes.
            let stat = || std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            while !stat().is_empty() && !stat().contains(") Z ") {
                assert!(begun.elapsed() < Duration::from_secs(10), "{}", stat());
                thread::yield_now();
            }
        }
    }

    #[test]
    fn what_is_written_is_read_by_the_program() {
        let mut child = shell(Input::Pipe, "read x; exit 3", "set /p x=&exit 3");
        assert_eq!(child.read(&mut [0; 8], Duration::from_millis(1)).unwrap(), Read::Nothing);
        assert_eq!(child.write(b"a line\r\n", Duration::from_secs(10)).unwrap(), 8);
        assert_eq!(read_all(&mut child), b"");
        assert!(child.finish().unwrap_err().to_string().contains('3'));
    }

    #[test]
    fn a_silent_program_is_waited_for_no_longer_than_said_and_ends_with_its_owner() {
        let mut child = shell(Input::Pipe, "read x", "set /p x=");
        let pid = child.process.child.id();
        assert_eq!(child.read(&mut [0; 8], Duration::from_millis(1)).unwrap(), Read::Nothing);
        drop(child);
        assert!(is_gone(pid));
    }
}
