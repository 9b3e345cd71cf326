//! `framehost doctor`.

use std::{env, path::Path, process::ExitCode};

use serde_json::{Value, json};

use super::{arguments::DoctorArguments, say, status};
use crate::{
    config::{self, Config, Paths},
    doctor::{
        self, Finding, HubFacts, HubState, Level, check_browsers, check_cache, check_config, check_crashes,
        check_devices, check_hub, check_policies, check_relay, check_runtime_dir, check_sandboxes,
    },
    hub::{RuntimeFile, lock},
    install::{Browser, Found, HostBinary, InstallDirs, Scope, Selection, Target, survey},
    link::SOCKET_FILE,
    source::{SourceOptions, devices},
};

/// The file in which a hub tells where it is.
const RUNTIME_FILE: &str = "hub.json";

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
        say(format_args!("{errors} errors, {warnings} warnings"))?;
    }
    Ok(if errors == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn examine(arguments: &DoctorArguments) -> anyhow::Result<Vec<Finding>> {
    let paths = super::paths()?;
    let program = env::current_exe()?;
    let dirs = super::install::directories(&arguments.root)?;
    let targets = targets(arguments, &dirs)?;
    let mut findings = check_browsers(&targets, HostBinary::beside(&program).ok().as_ref());
    findings.extend(check_policies(&dirs, |browser| has_user_manifest(&targets, browser)));
    findings.extend(check_sandboxes(&dirs));
    findings.push(check_relay(&program));
    findings.push(check_config(&paths));
    findings.push(check_runtime_dir(&paths));
    findings.extend(hub(&paths)?);
    if let Ok(cache_dir) = config::present_cache_dir(&paths, super::variable) {
        findings.push(check_cache(&cache_dir));
    }
    findings.push(check_crashes(&paths.state_dir));
    let ffmpeg = Config::read(&paths).unwrap_or_default().ffmpeg;
    let options = SourceOptions { ffmpeg, state_dir: Some(paths.state_dir) };
    findings.extend(check_devices(&devices::list(&options)));
    Ok(findings)
}

/// The user's places and the machine's.
fn targets(arguments: &DoctorArguments, dirs: &InstallDirs) -> anyhow::Result<Vec<Target>> {
    let user = Selection { user_data_dirs: arguments.user_data_dirs.clone(), ..Selection::default() };
    let mut targets = survey(&user, dirs)?;
    targets.extend(survey(&Selection { scope: Scope::System, ..Selection::default() }, dirs)?);
    Ok(targets)
}

fn has_user_manifest(targets: &[Target], browser: &Browser) -> bool {
    let is_users = |target: &&Target| target.place().scope == Scope::User && *target.found() != Found::Absent;
    targets.iter().filter(is_users).any(|target| target.is_read_by(browser))
}

fn hub(paths: &Paths) -> anyhow::Result<Vec<Finding>> {
    let wanted_port = match super::port() {
        Ok(port) => port,
        Err(error) => {
            return Ok(vec![Finding::error(
                "port_unreadable",
                "FRAMEHOST_PORT",
                error,
                "set it to a number, or not at all",
            )]);
        }
    };
    let state = state(paths);
    let is_free = matches!(state, HubState::None { .. });
    let runtime_dir = paths.runtime_dir.display().to_string();
    let version = env!("CARGO_PKG_VERSION");
    let mut findings = check_hub(&HubFacts { state, runtime_dir, version, wanted_port });
    if is_free {
        findings.push(doctor::check_port(wanted_port));
    }
    Ok(findings)
}

fn state(paths: &Paths) -> HubState {
    let leftover = |name: &str| paths.runtime_dir.join(name).symlink_metadata().is_ok().then(|| name.to_owned());
    let leftovers: Vec<String> = [RUNTIME_FILE, SOCKET_FILE].into_iter().filter_map(leftover).collect();
    if !is_locked(&paths.runtime_dir) {
        return HubState::None { leftovers };
    }
    match status::overview(paths) {
        Ok(Some(status)) => answers(&status),
        Ok(None) => HubState::Silent { problem: "nobody listens at its socket".to_owned() },
        Err(error) => {
            // One of another version may speak otherwise, and has still told who it is.
            let told = RuntimeFile::read(&paths.runtime_dir)
                .map_or_else(String::new, |file| format!(" (framehost {}, process {})", file.version, file.pid));
            HubState::Silent { problem: format!("{}{told}", super::in_full(&error)) }
        }
    }
}

/// Whether a hub runs. Makes no lock where there is none.
fn is_locked(runtime_dir: &Path) -> bool {
    runtime_dir.join("hub.lock").is_file() && lock::try_lock(runtime_dir).is_ok_and(|lock| lock.is_none())
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
