//! What browsers check before they start a host, in their order.
//!
//! Source: chromium/chromium `native_messaging_host_manifest.cc`, `native_message_process_host.cc`; Firefox's
//! `NativeManifests.sys.mjs`. Chromium says only "Specified native messaging host not found." to most of these.

use std::{fs, path::Path};

use serde_json::{Map, Value};

use super::{Finding, system};
use crate::install::{
    ExtensionId, Family, FirefoxId, Found, HostBinary, InstallError, Scope, Target, allow_list, host_name,
};

/// Largest file that is taken for a manifest, in bytes (1 MiB: 15,000 extensions).
const MAX_MANIFEST_BYTES: u64 = 1 << 20;

/// What is right again after it.
const REPAIR: &str = "framehost install, with the ids of your extensions, writes it anew";

/// Checks the manifests of `targets`, of both scopes. `program`: what this framehost would have browsers start.
pub fn check_browsers(targets: &[Target], program: Option<&HostBinary>) -> Vec<Finding> {
    let mut findings = Vec::new();
    let is_there = |target: &&Target| *target.found() != Found::Absent;
    for target in targets.iter().filter(is_there) {
        let path = &target.place().manifest;
        let before = findings.len();
        check_file(target, program, &mut findings);
        if findings.len() == before {
            let message = format!("{} can start framehost", target.browser_names());
            findings.push(Finding::ok("manifest", path.display(), message));
        }
    }
    if !targets.iter().any(|target| is_there(&target)) {
        let advice = "framehost install --extension-id ID (Chromium's), --firefox-id ID (Firefox's)";
        findings.push(Finding::error("not_installed", "browsers", "no browser knows of framehost", advice));
        return findings;
    }
    for target in targets.iter().filter(|target| target.is_started() && *target.found() == Found::Absent) {
        let names = target.browser_names();
        // The machine's manifest does for everybody.
        let has_another = targets.iter().filter(is_there).any(|other| other.shares_reader(target));
        if !has_another && !target.is_optional() {
            let advice = match target.place().family {
                Family::Chromium => "framehost install --extension-id ID, if its extensions are to use it",
                Family::Firefox => "framehost install --firefox-id ID, if its extensions are to use it",
            };
            findings.push(Finding::warning("browser_without_manifest", names, "it does not know of framehost", advice));
        }
    }
    findings
}

fn check_file(target: &Target, program: Option<&HostBinary>, findings: &mut Vec<Finding>) {
    let (place, path) = (target.place(), target.place().manifest.as_path());
    let subject = path.display();
    let error =
        |check, message: &dyn ToString, advice: &str| Finding::error(check, &subject, message.to_string(), advice);
    let text = match read(path) {
        Ok(text) => text,
        Err(problem) => return findings.push(error("manifest_unreadable", &problem, REPAIR)),
    };
    check_permissions(path, place.scope, findings);
    let value: Value = match serde_json::from_str(text.strip_prefix('\u{feff}').unwrap_or(&text)) {
        Ok(value) => value,
        Err(problem) => return findings.push(error("manifest_json", &format!("it is not JSON: {problem}"), REPAIR)),
    };
    let empty = Map::new();
    let members = value.as_object().unwrap_or(&empty);
    let word = |name: &str| members.get(name).and_then(Value::as_str).unwrap_or_default();
    if word("name") != host_name() {
        let problem = format!("its name is {:?}, and has to be {:?}, as the file's", word("name"), host_name());
        findings.push(error("manifest_name", &problem, REPAIR));
    }
    if word("description").is_empty() {
        findings.push(error("manifest_description", &"it has no description, and browsers ask for one", REPAIR));
    }
    if word("type") != "stdio" {
        let problem = format!("its type is {:?}, and has to be \"stdio\"", word("type"));
        findings.push(error("manifest_type", &problem, REPAIR));
    }
    check_allowed(target, members, findings);
    check_program(path, Path::new(word("path")), program, findings);
}

fn read(path: &Path) -> Result<String, String> {
    let metadata = fs::metadata(path).map_err(|error| format!("it cannot be read: {error}"))?;
    if !metadata.is_file() {
        return Err("it is not a file".to_owned());
    }
    if metadata.len() > MAX_MANIFEST_BYTES {
        return Err(format!("it has {} bytes", metadata.len()));
    }
    fs::read_to_string(path).map_err(|error| format!("it cannot be read: {error}"))
}

fn check_permissions(path: &Path, scope: Scope, findings: &mut Vec<Finding>) {
    let Some(mode) = mode(path) else {
        return;
    };
    let mut wrong = |problem: &str| {
        let (message, advice) = (format!("{problem} (mode {mode:03o})"), format!("chmod 644 '{}'", path.display()));
        findings.push(Finding::error("manifest_permissions", path.display(), message, advice));
    };
    if mode & 0o002 != 0 {
        wrong("everybody on this machine could let it start something else");
    } else if scope == Scope::System && mode & 0o004 == 0 {
        wrong("it is for everybody on this machine, who cannot read it");
    }
}

/// The permission bits, where the system has some.
fn mode(path: &Path) -> Option<u32> {
    fs::metadata(path).ok().as_ref().and_then(system::mode)
}

fn check_allowed(target: &Target, members: &Map<String, Value>, findings: &mut Vec<Finding>) {
    let family = target.place().family;
    let (list, subject) = (allow_list(family), target.place().manifest.display());
    let entries = members.get(list).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    if entries.is_empty() {
        let problem = format!("its {list} names no extension, so {} starts it for none", target.browser_names());
        findings.push(Finding::error("no_extension_allowed", &subject, problem, REPAIR));
    }
    for entry in entries {
        let text = entry.as_str().unwrap_or_default();
        let (is_right, shape) = match family {
            Family::Chromium => (ExtensionId::from_origin(text).is_some(), "chrome-extension://ID/, with the slash"),
            Family::Firefox => (FirefoxId::parse(text).is_ok(), "name@example.org or a GUID in braces"),
        };
        if !is_right {
            let problem = format!("{entry} in its {list} makes the browser refuse all of it; it has to be {shape}");
            findings.push(Finding::error("extension_refused", &subject, problem, REPAIR));
        }
    }
}

/// The program that `manifest` names.
fn check_program(manifest: &Path, path: &Path, program: Option<&HostBinary>, findings: &mut Vec<Finding>) {
    let error = |check, message: String, advice: &str| Finding::error(check, manifest.display(), message, advice);
    match HostBinary::check(path) {
        Ok(_) => {}
        Err(problem) => {
            let (check, advice) = match &problem {
                InstallError::BinaryRelative { .. } => ("host_path_relative", REPAIR),
                InstallError::BinaryMissing { .. } => {
                    ("host_missing", "install framehost again, or framehost uninstall")
                }
                InstallError::BinaryNotAFile { .. } => ("host_not_a_file", REPAIR),
                InstallError::BinaryNotExecutable { .. } => ("host_not_executable", system::REPAIR_PROGRAM),
                _ => ("host_unreadable", "see that you may look into the folders on the way to it"),
            };
            findings.push(error(check, problem.to_string(), advice));
            return;
        }
    }
    if mode(path).is_some_and(|mode| mode & 0o002 != 0) {
        let problem = format!("everybody on this machine could replace the program: {}", path.display());
        findings.push(error("host_permissions", problem, system::REPAIR_PROGRAM));
    }
    let same = |one: &Path, other: &Path| fs::canonicalize(one).ok() == fs::canonicalize(other).ok();
    if let Some(own) = program.filter(|own| !same(own.path(), path)) {
        let problem = format!("it starts {}, and this framehost has {}", path.display(), own.path().display());
        findings.push(Finding::warning(
            "other_program",
            manifest.display(),
            problem,
            "framehost install, if this one is meant",
        ));
    }
}
