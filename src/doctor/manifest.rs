//! What browsers check before they start a host, in their order.
//!
//! Source: chromium/chromium `native_messaging_host_manifest.cc`, `native_message_process_host.cc`; Firefox's
//! `NativeManifests.sys.mjs`. Chromium says only "Specified native messaging host not found." to most of these.

use std::{fs, io, path::Path};

use serde_json::{Map, Value};

use super::{
    Finding, OWN_HOME, closed, closed_to_all, machine::tried, open_to_all, outermost_closed, quoted, system, unlocked,
};
use crate::{
    install::{
        Allowed, ExtensionId, Family, FirefoxId, Found, HostBinary, InstallError, MAX_MANIFEST_BYTES, Scope, Target,
        allow_list, host_name,
    },
    user,
};

/// What to do where the programs are in a folder that is everybody's.
const OWN_PROGRAMS: &str = "run installer/install.sh, which puts the programs into a folder of yours";

/// What stands for an extension's id where none is known.
const SOME_ID: &str = "ID";

/// What manifests are compared with.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// The program that runs this.
    pub program: &'a Path,
    /// What it would have browsers start.
    pub host: Option<&'a HostBinary>,
    /// Extensions that are to be able to start it.
    pub extensions: &'a Allowed,
    /// Where the machine's folders are: `/` but for packages.
    pub root: &'a Path,
}

impl Wanted<'_> {
    /// `framehost install` or another command for a scope, without what it is to do.
    pub(super) fn command(&self, name: &str, scope: Scope) -> String {
        let mut command = match scope {
            Scope::User => format!("framehost {name}"),
            // It need not be where sudo looks for programs.
            Scope::System => format!("sudo {} {name} --scope system", quoted(self.program)),
        };
        if self.root.parent().is_some() {
            command.push_str(&format!(" --root {}", quoted(self.root)));
        }
        command
    }
}

/// Checks the manifests of `targets`, of both scopes.
pub fn check_browsers(targets: &[Target], wanted: Wanted<'_>) -> Vec<Finding> {
    let mut findings: Vec<Finding> = Vec::new();
    let is_there = |target: &&Target| *target.found() != Found::Absent;
    let known = known_extensions(targets);
    for target in targets.iter().filter(is_there) {
        let mut found = Vec::new();
        check_file(target, wanted, &known, &mut found);
        if found.is_empty() {
            let message = format!("{} can start framehost{}", target.browser_names(), for_whom(target));
            found.push(Finding::ok("manifest", target.place().manifest.display(), message));
        }
        // A folder that may not be looked into keeps the manifests of all browsers below it out of sight, once.
        found.retain(|finding| !findings.contains(finding));
        findings.extend(found);
    }
    for target in targets.iter().filter(|target| target.is_custom() && *target.found() == Found::Absent) {
        let place = &target.place().data;
        let problem = if place.is_dir() { "its browser does not know of framehost" } else { "there is no such folder" };
        let advice = install_command(target, wanted, &known);
        findings.push(Finding::error("browser_without_manifest", place.display(), problem, advice));
    }
    let is_known = !findings.is_empty();
    // Where `framehost install` would put one, and what browser's folder cannot be seen.
    let is_any_started = targets.iter().any(Target::is_started);
    let is_meant = |target: &&Target| {
        target.place().scope == Scope::User
            && (target.is_started()
                || target.is_custom()
                || (target.is_fallback() && !is_any_started)
                || user::leads_nowhere(&target.place().manifest).is_some())
    };
    for target in targets.iter().filter(|target| *target.found() == Found::Absent).filter(is_meant) {
        findings.extend(check_folder(target).filter(|finding| !findings.contains(finding)));
    }
    if !is_known {
        let install = wanted.command("install", Scope::User);
        let advice = format!(
            "{install} --extension-id ID; for Firefox: {install} --firefox-id ID; chrome://extensions and \
             about:debugging show the ids"
        );
        findings.push(Finding::error("not_installed", "browsers", "no browser knows of framehost", advice));
        return findings;
    }
    findings.extend(check_families(targets, wanted));
    for target in targets.iter().filter(|target| target.is_started() && *target.found() == Found::Absent) {
        // The machine's manifest does for everybody.
        let has_another = targets.iter().filter(is_there).any(|other| other.shares_reader(target));
        if !has_another && !target.is_optional() && !target.is_custom() {
            let advice = format!("{}; if its extensions are to use it", install_command(target, wanted, &known));
            let (names, problem) = (target.browser_names(), "it does not know of framehost");
            findings.push(Finding::warning("browser_without_manifest", names, problem, advice));
        }
    }
    findings
}

/// Extensions that are asked for, and that no browser there is could start framehost for.
fn check_families(targets: &[Target], wanted: Wanted<'_>) -> Vec<Finding> {
    let is_there = |target: &&Target| *target.found() != Found::Absent;
    let is_without = |family| !targets.iter().filter(is_there).any(|target| target.place().family == family);
    let without = [Family::Chromium, Family::Firefox].into_iter().filter(|family| is_without(*family));
    let mut findings = Vec::new();
    for family in without {
        let options = options_for_extensions(family, &Found::Absent, wanted.extensions, &Allowed::default());
        for id in wanted.extensions.names(family) {
            let problem = format!("no browser of {}'s family knows of framehost", family.as_str());
            let advice = format!("{}{options}", wanted.command("install", Scope::User));
            findings.push(Finding::error("extension_not_allowed", id, problem, advice));
        }
    }
    findings
}

/// The extensions that any manifest names: those of a browser whose manifest names none are likely to be the same.
fn known_extensions(targets: &[Target]) -> Allowed {
    let mut known = Allowed::default();
    for target in targets {
        if let Found::Ours(manifest, _) = target.found() {
            known.chromium.extend_from_slice(&manifest.allowed().chromium);
            known.firefox.extend_from_slice(&manifest.allowed().firefox);
        }
    }
    known
}

/// The command that writes the manifest of `target` anew, for the extensions that it names and those that are wanted; if
/// there are none, for those that are `known`.
fn install_command(target: &Target, wanted: Wanted<'_>, known: &Allowed) -> String {
    let place = target.place();
    let mut command = wanted.command("install", place.scope);
    command.push_str(&options_for_extensions(place.family, target.found(), wanted.extensions, known));
    match target.first_reader() {
        _ if target.is_custom() => command.push_str(&format!(" --user-data-dir {}", quoted(&place.data))),
        Some(browser) if place.scope == Scope::System || !target.is_started() => {
            command.push_str(&format!(" --browser {}", browser.id()));
        }
        Some(_) | None => {}
    }
    command
}

/// `--extension-id …` for those that `found` names and those that are `wanted`; if there are none, for those that are
/// `known`.
pub(super) fn options_for_extensions(family: Family, found: &Found, wanted: &Allowed, known: &Allowed) -> String {
    let option = match family {
        Family::Chromium => "--extension-id",
        Family::Firefox => "--firefox-id",
    };
    let mut names = match found {
        Found::Ours(manifest, _) => manifest.allowed().names(family),
        Found::Absent | Found::Other { .. } => Vec::new(),
    };
    let mut add = |more: &Allowed| {
        for name in more.names(family) {
            if !names.contains(&name) {
                names.push(name);
            }
        }
        names.is_empty()
    };
    if add(wanted) && add(known) {
        names.push(SOME_ID.to_owned());
    }
    names.iter().map(|name| format!(" {option} {}", quoted(Path::new(name)))).collect()
}

/// ` for ID, ID`: whoever looks for one that is not among them sees it.
fn for_whom(target: &Target) -> String {
    match target.found() {
        Found::Ours(manifest, _) => format!(" for {}", manifest.allowed().names(target.place().family).join(", ")),
        Found::Absent | Found::Other { .. } => String::new(),
    }
}

fn check_file(target: &Target, wanted: Wanted<'_>, known: &Allowed, findings: &mut Vec<Finding>) {
    let path = target.place().manifest.as_path();
    let subject = path.display();
    let repair = install_command(target, wanted, known);
    let error = |check, message: String| Finding::error(check, &subject, message, &repair);
    let text = match read(path) {
        Ok(text) => text,
        Err(Unreadable::Denied) => return findings.push(denied(target)),
        Err(Unreadable::Other(problem)) => return findings.push(error("manifest_unreadable", problem)),
    };
    check_permissions(target, &repair, findings);
    let value: Value = match serde_json::from_str(text.strip_prefix('\u{feff}').unwrap_or(&text)) {
        Ok(value) => value,
        Err(problem) => return findings.push(error("manifest_json", format!("it is not JSON: {problem}"))),
    };
    let Some(members) = value.as_object() else {
        return findings.push(error("manifest_json", "it is JSON, but not an object: {…}".to_owned()));
    };
    let word = |name: &str| members.get(name).and_then(Value::as_str).unwrap_or_default();
    if word("name") != host_name() {
        let problem = format!("its name is {:?}, and has to be {:?}, as the file's", word("name"), host_name());
        findings.push(error("manifest_name", problem));
    }
    if word("description").is_empty() {
        let problem = "it has no description, and browsers ask for one".to_owned();
        findings.push(error("manifest_description", problem));
    }
    if word("type") != "stdio" {
        let problem = format!("its type is {:?}, and has to be \"stdio\"", word("type"));
        findings.push(error("manifest_type", problem));
    }
    check_allowed(target, members, wanted, &repair, findings);
    check_program(target, Path::new(word("path")), wanted, &repair, findings);
}

/// Why a manifest cannot be read.
enum Unreadable {
    /// This user may not.
    Denied,
    /// The end of a sentence about it.
    Other(String),
}

impl From<io::Error> for Unreadable {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::PermissionDenied => Self::Denied,
            _ => Self::Other(format!("it cannot be read: {error}")),
        }
    }
}

fn read(path: &Path) -> Result<String, Unreadable> {
    let metadata = fs::metadata(path)?;
    if !metadata.is_file() {
        return Err(Unreadable::Other("it is not a file".to_owned()));
    }
    if metadata.len() > MAX_MANIFEST_BYTES {
        return Err(Unreadable::Other(format!("it has {} bytes", metadata.len())));
    }
    Ok(fs::read_to_string(path)?)
}

/// What on the way to `manifest` is closed: the outermost folder, or the file itself.
fn denied(target: &Target) -> Finding {
    let manifest = target.place().manifest.as_path();
    let closed = outermost_closed(manifest);
    let what = if closed == manifest { "it cannot be read" } else { "no manifest below it can be read" };
    let advice = match target.place().scope {
        Scope::System => system::chmod_as_root("a+rX", closed),
        Scope::User => unlocked(closed, "u+rwX", &io::ErrorKind::PermissionDenied.into(), elsewhere(target)),
    };
    let owner = system::other_owner(closed).map_or_else(String::new, |owner| format!(": {owner}"));
    Finding::error("manifest_unreadable", closed.display(), format!("{what}{owner}"), advice)
}

/// What to do where the folders of `target` are not the user's.
fn elsewhere(target: &Target) -> &'static str {
    if target.is_custom() {
        "start the browser with a --user-data-dir of yours"
    } else if cfg!(target_os = "linux") && target.place().family == Family::Chromium {
        "name a folder of yours by XDG_CONFIG_HOME, or unset it"
    } else {
        OWN_HOME
    }
}

fn check_permissions(target: &Target, repair: &str, findings: &mut Vec<Finding>) {
    let (path, scope) = (target.place().manifest.as_path(), target.place().scope);
    let Ok(metadata) = fs::metadata(path) else {
        return;
    };
    for (message, advice) in system::wrong_manifest(path, &metadata, scope == Scope::System, repair) {
        findings.push(Finding::error("manifest_permissions", path.display(), message, advice));
    }
    if let Some(folder) = open_to_all(path) {
        let problem = "everybody on this machine could put another manifest there, which starts something else";
        let advice = match scope {
            Scope::System => system::chmod_as_root("o-w", folder),
            Scope::User => closed_to_all(folder, elsewhere(target)),
        };
        findings.push(Finding::error("manifest_permissions", folder.display(), problem, advice));
    }
    if scope == Scope::User {
        findings.extend(check_folder(target));
    }
}

/// What another user's folder holds, `framehost install` and `uninstall` cannot change: that of a sudo, as a rule.
fn check_folder(target: &Target) -> Option<Finding> {
    let (folder, error) = closed(target.place().manifest.parent()?)?;
    let why = match error.kind() {
        io::ErrorKind::NotADirectory => "it has to be a folder".to_owned(),
        _ => system::other_owner(folder).unwrap_or_else(|| error.to_string()),
    };
    let advice = unlocked(folder, "u+rwx", &error, elsewhere(target));
    let problem = format!("{why}, so framehost install and uninstall can change nothing in it");
    Some(Finding::warning("manifest_folder_unwritable", folder.display(), problem, advice))
}

fn check_allowed(
    target: &Target,
    members: &Map<String, Value>,
    wanted: Wanted<'_>,
    repair: &str,
    findings: &mut Vec<Finding>,
) {
    let (family, subject) = (target.place().family, target.place().manifest.display());
    let list = allow_list(family);
    let mut error = |check, problem: String| findings.push(Finding::error(check, &subject, problem, repair));
    let entries = members.get(list).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    if entries.is_empty() {
        let problem = format!("its {list} names no extension, so it is started for none");
        error("no_extension_allowed", problem);
    }
    for entry in entries {
        let text = entry.as_str().unwrap_or_default();
        let (is_right, shape) = match family {
            Family::Chromium => (ExtensionId::from_origin(text).is_some(), "chrome-extension://ID/, with the slash"),
            Family::Firefox => (FirefoxId::parse(text).is_ok(), "name@example.org or a GUID in braces"),
        };
        if !is_right {
            let problem = format!("{entry} in its {list} makes the browser refuse all of it; it has to be {shape}");
            error("extension_refused", problem);
        }
    }
    let named = match target.found() {
        Found::Ours(manifest, _) => manifest.allowed().names(family),
        Found::Absent | Found::Other { .. } => Vec::new(),
    };
    for id in wanted.extensions.names(family).iter().filter(|id| !named.contains(id)) {
        error("extension_not_allowed", format!("{id} is not in its {list}, so it is started for others only"));
    }
}

/// The program that the manifest of `target` names.
fn check_program(target: &Target, path: &Path, wanted: Wanted<'_>, repair: &str, findings: &mut Vec<Finding>) {
    let manifest = &target.place().manifest;
    let mut error = |check, message: String, advice: &str| {
        findings.push(Finding::error(check, manifest.display(), message, advice));
    };
    if let Err(problem) = HostBinary::check(path) {
        let (check, advice) = match &problem {
            InstallError::BinaryRelative { .. } => ("host_path_relative", repair.to_owned()),
            InstallError::BinaryMissing { .. } => {
                let uninstall = wanted.command("uninstall", target.place().scope);
                ("host_missing", format!("{repair}; or {uninstall}, if no browser is to know of it any more"))
            }
            InstallError::BinaryNotAFile { .. } => ("host_not_a_file", repair.to_owned()),
            InstallError::BinaryNotExecutable { .. } => ("host_not_executable", executable(path)),
            _ => ("host_unreadable", format!("{repair}; or see that you may look into the folders on the way to it")),
        };
        return error(check, problem.to_string(), &advice);
    }
    let hub = HostBinary::hub_of(path);
    let folders = [Some(path), hub.as_deref()].into_iter().flatten().filter_map(Path::parent);
    let programs = [Some(path), hub.as_deref()].into_iter().flatten();
    if let Some(open) = programs.chain(folders).find(|open| system::is_open_to_all(open)) {
        let problem = format!("everybody on this machine could replace the program: {}", open.display());
        let advice = if open.is_dir() { closed_to_all(open, OWN_PROGRAMS) } else { executable(open) };
        error("host_permissions", problem, &advice);
    }
    // The relay does nothing by itself: it starts the hub from beside it, where it really is.
    if let Some(hub) = hub
        && let Err(problem) = HostBinary::check(&hub)
    {
        let advice = match &problem {
            InstallError::BinaryNotExecutable { .. } => executable(&hub),
            _ => format!("{repair}; or run installer/install.sh, or install the package, once more"),
        };
        let message = format!("{} starts a hub from beside it, and {problem}", path.display());
        return error("hub_program_missing", message, &advice);
    }
    let same = |one: &Path, other: &Path| fs::canonicalize(one).ok() == fs::canonicalize(other).ok();
    if let Err(problem) = HostBinary::check(path).and_then(|program| tried(&program)) {
        let is_own = wanted.host.is_some_and(|own| same(own.path(), path));
        let again = "run installer/install.sh, or install the package, once more";
        let advice = if is_own { again.to_owned() } else { format!("{repair}; or {again}") };
        return error("host_broken", problem.to_string(), &advice);
    }
    if let Some(own) = wanted.host.filter(|own| !same(own.path(), path)) {
        let problem = format!("it starts {}, and this framehost has {}", path.display(), own.path().display());
        let advice = format!("{repair}; if this one is meant");
        findings.push(Finding::warning("other_program", manifest.display(), problem, advice));
    }
}

/// The command that lets everybody start the program, and its owner alone replace it.
pub(super) fn executable(path: &Path) -> String {
    if system::other_owner(path).is_some() { system::chmod_as_root("755", path) } else { system::chmod("755", path) }
}
