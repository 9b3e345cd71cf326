//! What a panic leaves: one short file, for the user to read and to send if they want. framehost sends nothing.
//!
//! A report holds the program's version, the system, the thread, the place in the source and the panic's own words. Those
//! may repeat data ("byte index 3 is not a char boundary; it is inside 'é' of `…`"), so what stands between quotes is left
//! out, and all but the first 300 characters.

use std::{
    env, fs,
    io::{self, Write as _},
    panic::{self, PanicHookInfo},
    path::{Path, PathBuf},
    process, thread,
    time::SystemTime,
};

use httpdate::HttpDate;

use crate::user;

/// Reports that are kept; older ones go when there is another.
const MAX_REPORTS: usize = 10;

/// Characters of a panic's own words that are kept.
const MAX_WORDS_CHARS: usize = 300;

/// From now on each panic of this process leaves a report in `state_dir`, and a line in the log. `program`: what runs.
pub fn report_panics(state_dir: &Path, program: &'static str) {
    let directory = directory(state_dir);
    panic::set_hook(Box::new(move |info| {
        let place = info.location().map_or_else(|| "an unknown place".to_owned(), ToString::to_string);
        match write(&directory, &report(program, info, &place)) {
            Ok(path) => tracing::error!(place, report = %path.display(), "a panic: this is a defect of framehost"),
            Err(error) => tracing::error!(place, %error, "a panic, and no report can be written"),
        }
    }));
}

/// The reports that are there, the oldest first.
pub fn reports(state_dir: &Path) -> Vec<PathBuf> {
    reports_in(&directory(state_dir))
}

fn reports_in(directory: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(directory) else {
        return Vec::new();
    };
    let mut paths: Vec<_> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "txt"));
    // Their names begin with the time.
    paths.sort();
    paths
}

fn directory(state_dir: &Path) -> PathBuf {
    state_dir.join("crashes")
}

fn report(program: &str, info: &PanicHookInfo<'_>, place: &str) -> String {
    let payload = info.payload();
    let words =
        payload.downcast_ref::<&str>().copied().or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    let thread = thread::current();
    let (version, system, machine) = (env!("CARGO_PKG_VERSION"), env::consts::OS, env::consts::ARCH);
    format!(
        "framehost {version} ({program}), {system} on {machine}\ntime: {}\nthread: {}\nplace: {place}\nwords: {}\n",
        HttpDate::from(SystemTime::now()),
        thread.name().unwrap_or("without a name"),
        without_quotes(words.unwrap_or("none")),
    )
}

/// What a panic says, without what it may have taken from data.
fn without_quotes(words: &str) -> String {
    let mut kept = String::new();
    let mut until = None;
    let mut before = ' ';
    for letter in words.chars().take(MAX_WORDS_CHARS) {
        match until {
            Some(end) if letter == end => {
                until = None;
                kept.push(letter);
            }
            Some(_) => {}
            // Within a word it is an apostrophe.
            None if matches!(letter, '"' | '`') || (letter == '\'' && !before.is_alphanumeric()) => {
                until = Some(letter);
                kept.extend([letter, '…']);
            }
            None => kept.push(if letter.is_control() { ' ' } else { letter }),
        }
        before = letter;
    }
    kept
}

fn write(directory: &Path, report: &str) -> io::Result<PathBuf> {
    user::create_closed_folder(directory)?;
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let path = directory.join(format!("{:013}-{}.txt", since.as_millis(), process::id()));
    user::create_file(&path)?.write_all(report.as_bytes())?;
    let reports = reports_in(directory);
    for old in reports.iter().take(reports.len().saturating_sub(MAX_REPORTS)) {
        // One too many is no reason for another.
        let _ = fs::remove_file(old);
    }
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_says_where_and_keeps_data_to_itself() {
        let dir = tempfile::tempdir().unwrap();
        report_panics(dir.path(), "test");
        let secret = "a token";
        let crash = thread::Builder::new().name("crasher".to_owned()).spawn(move || panic!("not \"{secret}\" at all"));
        assert!(crash.unwrap().join().is_err());
        // Other tests of this process panic on purpose, too.
        drop(panic::take_hook());
        let texts: Vec<_> = reports(dir.path()).iter().map(|path| fs::read_to_string(path).unwrap()).collect();
        let ours: Vec<_> = texts.iter().filter(|text| text.contains("thread: crasher")).collect();
        let [text] = ours[..] else { panic!("{texts:?}") };
        assert!(text.starts_with(concat!("framehost ", env!("CARGO_PKG_VERSION"), " (test)")), "{text}");
        assert!(text.contains("crash.rs:") && text.contains("words: not \"…\" at all\n"), "{text}");
        assert!(!text.contains(secret), "{text}");
    }

    #[test]
    fn words_that_may_be_data_are_left_out() {
        assert_eq!(
            without_quotes("index 3 is not a boundary; inside 'é' of `hé\nllo`"),
            "index 3 is not a boundary; inside '…' of `…`"
        );
        assert_eq!(without_quotes("it couldn't, and \"never ends"), "it couldn't, and \"…");
        assert_eq!(without_quotes("two\nlines"), "two lines");
        assert_eq!(without_quotes(&"x".repeat(1000)).chars().count(), MAX_WORDS_CHARS);
    }

    #[test]
    fn only_the_newest_reports_are_kept() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(reports(dir.path()), Vec::<PathBuf>::new());
        let directory = directory(dir.path());
        fs::create_dir_all(&directory).unwrap();
        for number in 0..MAX_REPORTS {
            fs::write(directory.join(format!("{number:013}-1.txt")), "old").unwrap();
        }
        let newest = write(&directory, "new").unwrap();
        let left = reports(dir.path());
        assert_eq!(left.len(), MAX_REPORTS);
        assert_eq!(left.last(), Some(&newest));
        assert!(!directory.join(format!("{:013}-1.txt", 0)).exists());
    }
}
