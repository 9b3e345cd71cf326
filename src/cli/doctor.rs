//! `framehost doctor`.

use std::{env, fs, io, path::Path, process::ExitCode};

use serde_json::{Value, json};

use super::{arguments::DoctorArguments, say, status};
use crate::{
    config::{self, Config, Paths},
    doctor::{
        self, Finding, HubFacts, HubState, Level, Wanted, check_browsers, check_cache, check_config, check_crashes,
        check_devices, check_environment, check_hub, check_policies, check_relay, check_runtime_dir, check_sandboxes,
        check_state_dir,
    },
    hub::{
        RUNTIME_FILE, RuntimeFile,
        lock::{self, LOCK_FILE},
    },
    install::{HostBinary, InstallDirs, Scope, Selection, Target, survey},
    link::SOCKET_FILE,
    source::{SourceOptions, devices},
};

/// What the program is called.
const NAME: &str = "framehost";

pub(super) fn run(arguments: &DoctorArguments) -> anyhow::Result<ExitCode> {
    let findings = examine(arguments)?;
    let count = |level| findings.iter().filter(|finding| finding.level == level).count();
    let (errors, warnings) = (count(Level::Error), count(Level::Warning));
    if arguments.json {
        let version = env!("CARGO_PKG_VERSION");
        say(json!({"version": version, "errors": errors, "warnings": warnings, "findings": findings}))?;
    } else {
        for finding in &findings {
            say(format_args!("{:<8} {}: {}", finding.level.as_str(), finding.subject, finding.message))?;
            if !finding.advice.is_empty() {
                say(format_args!("         [{}] {}", finding.check, finding.advice))?;
            }
        }
        say(format_args!("{}, {}", counted(errors, "error"), counted(warnings, "warning")))?;
    }
    Ok(if errors == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn counted(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

fn examine(arguments: &DoctorArguments) -> anyhow::Result<Vec<Finding>> {
    let paths = super::paths()?;
    let program = env::current_exe()?;
    let dirs = super::install::directories(&arguments.root)?;
    let extensions = super::install::allowed(&arguments.extension_ids, &arguments.firefox_ids)?;
    let host = HostBinary::beside(&program).ok();
    let wanted = Wanted { program: &program, host: host.as_ref(), extensions: &extensions, root: &dirs.root };
    let targets = targets(arguments, &dirs)?;
    let mut findings = check_browsers(&targets, wanted);
    findings.extend(check_policies(&dirs, &targets, wanted));
    findings.extend(check_sandboxes(&dirs));
    findings.push(check_relay(&program));
    // What is wrong with it, this says.
    findings.extend(check_config(&paths));
    let config = Config::read(&paths).unwrap_or_default();
    let config_file = paths.config_file();
    findings.extend(check_environment(&paths, super::variable));
    findings.push(check_runtime_dir(&paths));
    findings.extend(hub(&paths));
    if let Ok(cache_dir) = config::present_cache_dir(&paths, super::variable) {
        let is_configured = config.cache_dir.as_ref() == Some(&cache_dir);
        findings.extend(check_cache(&cache_dir, is_configured.then_some(config_file.as_path())));
    }
    // Where nobody may look no report is seen.
    findings.push(check_state_dir(&paths.state_dir).unwrap_or_else(|| check_crashes(&paths.state_dir)));
    let options = SourceOptions { ffmpeg: config.ffmpeg.clone(), state_dir: Some(paths.state_dir) };
    let configured = config.ffmpeg.as_deref().map(|program| (program, config_file.as_path()));
    findings.extend(check_devices(&devices::list(&options), configured));
    name_program(&program, &mut findings);
    Ok(findings)
}

/// Where `framehost` is another program for the shell, or none, what is to be done is done with this one.
fn name_program(program: &Path, findings: &mut [Finding]) {
    let folders = super::variable("PATH").unwrap_or_default();
    let found = env::split_paths(&folders).map(|folder| folder.join(NAME)).find(|path| path.is_file());
    let real = |path: &Path| fs::canonicalize(path).ok();
    if found.is_some_and(|found| real(&found) == real(program)) {
        return;
    }
    for finding in findings {
        finding.advice = with_program(&finding.advice, &doctor::quoted(program));
    }
}

/// The advice with another word for `framehost`, wherever that is one of its own: the program of a command.
fn with_program(advice: &str, program: &str) -> String {
    let mut parts = advice.split("framehost ");
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        // Not the end of a path, and not the name of something else.
        let is_word = text.is_empty() || text.ends_with(' ') || text.ends_with('(');
        text.push_str(if is_word { program } else { NAME });
        text.push(' ');
        text.push_str(part);
    }
    text
}

/// The user's places and the machine's.
fn targets(arguments: &DoctorArguments, dirs: &InstallDirs) -> anyhow::Result<Vec<Target>> {
    let user = Selection { user_data_dirs: arguments.user_data_dirs.clone(), ..Selection::default() };
    let mut targets = survey(&user, dirs)?;
    targets.extend(survey(&Selection { scope: Scope::System, ..Selection::default() }, dirs)?);
    Ok(targets)
}

fn hub(paths: &Paths) -> Vec<Finding> {
    let wanted_port = match super::port() {
        Ok(port) => port,
        Err(error) => {
            let advice = "unset FRAMEHOST_PORT; or set it to a number";
            return vec![Finding::error("port_unreadable", "FRAMEHOST_PORT", error, advice)];
        }
    };
    if let Err(error) = super::idle_exit() {
        let advice = "unset FRAMEHOST_IDLE_EXIT; or set it to a number: no hub starts with it";
        return vec![Finding::error("idle_exit_unreadable", "FRAMEHOST_IDLE_EXIT", error, advice)];
    }
    let state = state(paths);
    let is_free = matches!(state, HubState::None { .. });
    let file_problem = match &state {
        HubState::Answers { pid, .. } => file_problem(&paths.runtime_dir, *pid),
        HubState::None { .. } | HubState::Silent { .. } => None,
    };
    let (runtime_dir, version) = (paths.runtime_dir.clone(), env!("CARGO_PKG_VERSION"));
    let mut findings = check_hub(&HubFacts { state, runtime_dir, file_problem, version, wanted_port });
    if is_free {
        findings.push(doctor::check_port(wanted_port));
    }
    findings
}

fn state(paths: &Paths) -> HubState {
    // A directory of that name is no hub's, and has a finding of its own.
    let is_left = |name: &str| paths.runtime_dir.join(name).symlink_metadata().is_ok_and(|found| !found.is_dir());
    let leftover = |name: &str| is_left(name).then(|| name.to_owned());
    let leftovers: Vec<String> = [RUNTIME_FILE, SOCKET_FILE].into_iter().filter_map(leftover).collect();
    if !is_locked(&paths.runtime_dir) {
        return HubState::None { leftovers };
    }
    let process = doctor::process_of_lock(&paths.runtime_dir.join(LOCK_FILE));
    match status::overview(paths) {
        Ok(Some(status)) => answers(&status),
        Ok(None) => HubState::Silent { problem: "nobody listens at its socket".to_owned(), process },
        Err(error) => {
            // One of another version may speak otherwise, and has still told who it is.
            let told = RuntimeFile::read(&paths.runtime_dir)
                .map_or_else(String::new, |file| format!(" (framehost {}, process {})", file.version, file.pid));
            HubState::Silent { problem: format!("{}{told}", super::in_full(&error)), process }
        }
    }
}

/// What is wrong with `hub.json` while the hub is process `pid`, as the end of a sentence.
fn file_problem(runtime_dir: &Path, pid: u64) -> Option<String> {
    let metadata = match fs::metadata(runtime_dir.join(RUNTIME_FILE)) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Some("is missing".to_owned()),
        Err(error) => return Some(format!("cannot be read ({error})")),
    };
    match RuntimeFile::read(runtime_dir) {
        None => Some("cannot be read".to_owned()),
        Some(file) if u64::from(file.pid) != pid => Some(format!("names process {}, and the hub is {pid}", file.pid)),
        Some(_) => doctor::shown_to_others(&metadata).map(|how| format!("shows its token to others ({how})")),
    }
}

/// Whether a hub runs. Makes no lock where there is none.
fn is_locked(runtime_dir: &Path) -> bool {
    runtime_dir.join(LOCK_FILE).is_file() && lock::try_lock(runtime_dir).is_ok_and(|lock| lock.is_none())
}

fn answers(status: &Value) -> HubState {
    let word = |name: &str| status.get(name).and_then(Value::as_str).unwrap_or_default();
    HubState::Answers {
        version: word("version").to_owned(),
        pid: status.get("pid").and_then(Value::as_u64).unwrap_or_default(),
        port: word("grpc").rsplit_once(':').and_then(|(_, port)| port.parse().ok()),
        sessions: status.get("sessions").and_then(Value::as_array).map_or(0, Vec::len),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_of_an_advice_name_the_program_that_is_meant() {
        let check = |advice: &str| with_program(advice, "'/a b/framehost'");
        assert_eq!(check("framehost gc; or framehost logs"), "'/a b/framehost' gc; or '/a b/framehost' logs");
        assert_eq!(check("eval \"$(framehost env)\"; or"), "eval \"$('/a b/framehost' env)\"; or");
        for other in ["/x/framehost install", "sudo /x/framehost install", "framehost", "set HOME"] {
            assert_eq!(check(other), other);
        }
    }
}
