//! What an administrator has decided about native messaging.
//!
//! Source: Chrome Enterprise policy list: NativeMessagingUserLevelHosts, NativeMessagingBlocklist,
//! NativeMessagingAllowlist. Linux keeps policies in JSON files; elsewhere they are not looked at.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde_json::{Map, Value};

use super::{
    Finding,
    manifest::{Wanted, options_for_extensions},
};
use crate::install::{Allowed, Browser, Found, InstallDirs, Scope, Target, browsers, host_name};

/// Checks the policies of every browser that a manifest stands for: those of others keep nobody from anything.
pub fn check_policies(dirs: &InstallDirs, targets: &[Target], wanted: Wanted<'_>) -> Vec<Finding> {
    let mut findings: Vec<Finding> = Vec::new();
    for browser in browsers() {
        let manifest = |scope| {
            let stands = |target: &&Target| target.place().scope == scope && *target.found() != Found::Absent;
            targets.iter().filter(stands).find(|target| target.is_read_by(browser))
        };
        let (user, system) = (manifest(Scope::User), manifest(Scope::System));
        if user.is_none() && system.is_none() {
            continue;
        }
        for folder in browser.policy_folders() {
            let policies = Policies::read(&dirs.root.join(folder), &mut findings);
            // The machine's manifest is found where the user's is passed over.
            if let (Some(user), None) = (user, system) {
                findings.extend(policies.user_hosts(browser, user, wanted));
            }
            findings.extend(policies.blocklist());
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

/// What the files of one folder say together.
///
/// Source: chromium/chromium `components/policy/core/common/config_dir_policy_loader.cc`, and Chromium 156 as it runs: every
/// file is read, whatever its name, in the order of names; of two that set one policy the last one counts; one that cannot
/// be read is passed over.
#[derive(Debug, Default)]
struct Policies {
    by_name: Map<String, Value>,
    /// Which file has set what.
    files: Map<String, Value>,
}

impl Policies {
    fn read(folder: &Path, findings: &mut Vec<Finding>) -> Self {
        let mut policies = Self::default();
        for file in policy_files(folder) {
            match parse(&file) {
                Ok(Value::Object(members)) => {
                    for (name, value) in members {
                        policies.files.insert(name.clone(), file.display().to_string().into());
                        policies.by_name.insert(name, value);
                    }
                }
                Ok(_) => findings.push(unreadable(&file, "it is not an object: {…}")),
                Err(problem) => findings.push(unreadable(&file, &problem)),
            }
        }
        policies
    }

    fn user_hosts(&self, browser: &Browser, user: &Target, wanted: Wanted<'_>) -> Option<Finding> {
        if self.by_name.get("NativeMessagingUserLevelHosts") != Some(&Value::Bool(false)) {
            return None;
        }
        let problem = "NativeMessagingUserLevelHosts is false: hosts that a user has installed are not started";
        let advice = format!(
            "{} --browser {}{}",
            wanted.command("install", Scope::System),
            browser.id(),
            options_for_extensions(browser.family(), user.found(), wanted.extensions, &Allowed::default())
        );
        Some(Finding::error("policy_user_hosts", self.file_of("NativeMessagingUserLevelHosts"), problem, advice))
    }

    fn blocklist(&self) -> Option<Finding> {
        let lists = |name: &str, words: &[&str]| {
            let list = self.by_name.get(name).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
            list.iter().filter_map(Value::as_str).any(|word| words.contains(&word))
        };
        let is_blocked = lists("NativeMessagingBlocklist", &["*", host_name()]);
        if !is_blocked || lists("NativeMessagingAllowlist", &[host_name()]) {
            return None;
        }
        let problem = format!("NativeMessagingBlocklist keeps the browser from starting {}", host_name());
        let advice = format!(
            "ask who looks after this machine to put \"{}\" into NativeMessagingAllowlist, or do it there",
            host_name()
        );
        Some(Finding::error("policy_blocklist", self.file_of("NativeMessagingBlocklist"), problem, advice))
    }

    fn file_of(&self, policy: &str) -> &str {
        self.files.get(policy).and_then(Value::as_str).unwrap_or_default()
    }
}

fn policy_files(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else {
        return Vec::new();
    };
    let mut files: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    files.retain(|path| path.is_file());
    files.sort();
    files
}

fn unreadable(file: &Path, problem: &str) -> Finding {
    let problem = format!("this policy cannot be read, and Chromium passes it over: {problem}");
    Finding::warning(
        "policy_unreadable",
        file.display(),
        problem,
        "ask who looks after this machine what it was to say",
    )
}

fn parse(file: &Path) -> Result<Value, String> {
    let text = fs::read_to_string(file).map_err(|error| error.to_string())?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    serde_json::from_str(text).or_else(|_| serde_json::from_str(&plain(text))).map_err(|error| error.to_string())
}

/// `text` without what Chromium tolerates in policies and JSON has not: comments, and commas after the last member.
fn plain(text: &str) -> String {
    let without_comments = outside_strings(text, |rest| {
        if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            rest.find("*/").map_or(rest.len(), |end| end + "*/".len())
        } else {
            0
        }
    });
    outside_strings(&without_comments, |rest| {
        let is_last = rest.strip_prefix(',').is_some_and(|after| after.trim_start().starts_with(['}', ']']));
        usize::from(is_last)
    })
}

/// `text` without as many bytes as `skip` says of what is left, wherever that is not in a string.
fn outside_strings(text: &str, skip: impl Fn(&str) -> usize) -> String {
    let mut plain = String::with_capacity(text.len());
    let (mut rest, mut is_in_string, mut is_escaped) = (text, false, false);
    while let Some(letter) = rest.chars().next() {
        let skipped = if is_in_string { 0 } else { skip(rest) };
        if skipped > 0 {
            rest = rest.get(skipped..).unwrap_or_default();
            continue;
        }
        if letter == '"' && !is_escaped {
            is_in_string = !is_in_string;
        }
        is_escaped = is_in_string && letter == '\\' && !is_escaped;
        plain.push(letter);
        rest = rest.get(letter.len_utf8()..).unwrap_or_default();
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_last_commas_are_passed_over_as_chromium_does() {
        let text = r#"{ // why, "so"
            "a": ["x//y", "/* z */", ",]",], /* and
            this */ "b": "\"//", "ü": false,
        } // end"#;
        let value: Value = serde_json::from_str(&plain(text)).unwrap();
        assert_eq!(value, serde_json::json!({"a": ["x//y", "/* z */", ",]"], "b": "\"//", "ü": false}));
        for broken in ["{", "{\"a\": }", "/*", "// {}", "\"", ""] {
            assert!(serde_json::from_str::<Value>(&plain(broken)).is_err(), "{broken}");
        }
    }
}
