//! Reports that panics have left.

use std::path::Path;

use super::Finding;
use crate::telemetry::crash;

/// Whether framehost has crashed. `state_dir`: where it would have left a report.
pub fn check_crashes(state_dir: &Path) -> Finding {
    let reports = crash::reports(state_dir);
    let Some(newest) = reports.last() else {
        return Finding::ok("crash", state_dir.display(), "framehost has left no report of a crash");
    };
    let problem = match reports.len() {
        1 => "framehost has met a defect of its own, and left a report".to_owned(),
        many => format!("framehost has met defects of its own; this is the newest of {many} reports"),
    };
    let advice = "read it, and send it to those who write framehost if you like: nobody else has it; then remove it. \
                  framehost logs shows what came before";
    Finding::warning("crash_report", newest.display(), problem, advice)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::doctor::Level;

    #[test]
    fn the_newest_report_is_named() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(check_crashes(dir.path()).level, Level::Ok);
        fs::create_dir(dir.path().join("crashes")).unwrap();
        for name in ["0000000000001-7.txt", "0000000000002-6.txt"] {
            fs::write(dir.path().join("crashes").join(name), "").unwrap();
        }
        let finding = check_crashes(dir.path());
        assert_eq!((finding.check, finding.level), ("crash_report", Level::Warning));
        assert!(finding.subject.ends_with("2-6.txt") && finding.message.contains("of 2"), "{finding:?}");
    }
}
