//! What an administrator has decided about native messaging.
//!
//! Source: Chrome Enterprise policy list: NativeMessagingUserLevelHosts, NativeMessagingBlocklist,
//! NativeMessagingAllowlist. Linux keeps policies in JSON files; elsewhere they are not looked at.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde_json::Value;

use super::Finding;
use crate::install::{Browser, InstallDirs, browsers, host_name};

/// Checks the policies of every browser that has some. `has_user_manifest`: whether a user's manifest stands for one.
pub fn check_policies(dirs: &InstallDirs, has_user_manifest: impl Fn(&Browser) -> bool) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut seen: Vec<PathBuf> = Vec::new();
    for browser in browsers() {
        for folder in browser.policy_folders() {
            let folder = dirs.root.join(folder);
            for file in policy_files(&folder) {
                // One file may be for several channels of a browser.
                if !seen.contains(&file) || has_user_manifest(browser) {
                    check_file(&file, has_user_manifest(browser), &mut findings);
                }
                seen.push(file);
            }
        }
    }
    let mut unique: Vec<Finding> = Vec::new();
    for finding in findings {
        if !unique.contains(&finding) {
            unique.push(finding);
        }
    }
    unique
}

fn policy_files(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else {
        return Vec::new();
    };
    let mut files: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "json"));
    files.sort();
    files
}

fn check_file(file: &Path, has_user_manifest: bool, findings: &mut Vec<Finding>) {
    let policies: Value = match fs::read(file)
        .map_err(|error| error.to_string())
        .and_then(|text| serde_json::from_slice(&text).map_err(|error| error.to_string()))
    {
        Ok(policies) => policies,
        Err(problem) => {
            let problem = format!("this policy cannot be read, so what it says is not known: {problem}");
            findings.push(Finding::warning(
                "policy_unreadable",
                file.display(),
                problem,
                "ask who looks after this machine",
            ));
            return;
        }
    };
    if policies.get("NativeMessagingUserLevelHosts") == Some(&Value::Bool(false)) && has_user_manifest {
        let problem = "NativeMessagingUserLevelHosts is false: hosts that a user has installed are not started";
        let advice = "install it for the machine: sudo framehost install --scope system --extension-id ID";
        findings.push(Finding::error("policy_user_hosts", file.display(), problem, advice));
    }
    let lists = |name: &str, words: &[&str]| {
        let list = policies.get(name).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        list.iter().filter_map(Value::as_str).any(|word| words.contains(&word))
    };
    let is_blocked = lists("NativeMessagingBlocklist", &["*", host_name()]);
    if is_blocked && !lists("NativeMessagingAllowlist", &[host_name()]) {
        let problem = format!("NativeMessagingBlocklist keeps the browser from starting {}", host_name());
        let advice = format!("have {} put into NativeMessagingAllowlist", host_name());
        findings.push(Finding::error("policy_blocklist", file.display(), problem, advice));
    }
}
