//! Proxies that the shell names: what is meant for this machine's hub is for none of them to see.

use std::ffi::OsString;

use crate::config;

/// The variables that tell whom to ask directly: some programs look for one first, some for the other. Windows does not tell
/// them apart.
const NAMES: &[&str] = if cfg!(windows) { &["NO_PROXY"] } else { &["no_proxy", "NO_PROXY"] };

/// How the hub's addresses are named.
const HERE: [&str; 3] = ["127.0.0.1", "localhost", "::1"];

/// The variables that have to be another for requests to the hub to go straight to it, and what they have to be.
///
/// Source: curl(1), "ENVIRONMENT"; Python's `urllib.request`, where names in lower case come first.
pub fn no_proxy(lookup: impl Fn(&str) -> Option<OsString>) -> Vec<(&'static str, String)> {
    let text = |name: &str| config::text(&lookup, name);
    let is_there = ["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"].iter().any(|name| text(name).is_some());
    let set = |name: &&'static str| {
        // Where one is missing, the other counts.
        let named = text(name).or_else(|| NAMES.iter().find_map(|name| text(name))).unwrap_or_default();
        with_this_machine(&named).map(|hosts| (*name, hosts))
    };
    NAMES.iter().filter(|_| is_there).filter_map(set).collect()
}

/// `None`: it is named already.
fn with_this_machine(named: &str) -> Option<String> {
    let mut hosts: Vec<&str> = named.split(',').map(str::trim).filter(|host| !host.is_empty()).collect();
    let missing: Vec<&str> = HERE.into_iter().filter(|host| !hosts.contains(host)).collect();
    if hosts.contains(&"*") || missing.is_empty() {
        return None;
    }
    hosts.extend(missing);
    Some(hosts.join(","))
}

// Windows has one name for both.
#[cfg(unix)]
#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_is_named_where_a_proxy_would_see_it() {
        let check = |set: &[(&str, &str)], expected: &[(&str, &str)]| {
            let lookup = |name: &str| set.iter().find(|(set, _)| *set == name).map(|(_, value)| OsString::from(value));
            let found = no_proxy(lookup);
            let found: Vec<_> = found.iter().map(|(name, hosts)| (*name, hosts.as_str())).collect();
            assert_eq!(found, expected, "{set:?}");
        };
        check(&[], &[]);
        check(&[("http_proxy", "")], &[]);
        check(&[("https_proxy", "http://proxy")], &[]);
        let alone = "127.0.0.1,localhost,::1";
        check(&[("http_proxy", "http://proxy")], &[("no_proxy", alone), ("NO_PROXY", alone)]);
        let others = "a.example,::1,127.0.0.1,localhost";
        check(
            &[("ALL_PROXY", "http://proxy"), ("NO_PROXY", "a.example, ::1")],
            &[("no_proxy", others), ("NO_PROXY", others)],
        );
        // What the other one has is not lost.
        let set = [("HTTP_PROXY", "http://proxy"), ("no_proxy", "a"), ("NO_PROXY", "*")];
        check(&set, &[("no_proxy", "a,127.0.0.1,localhost,::1")]);
        check(&[("http_proxy", "http://proxy"), ("no_proxy", "*")], &[]);
        check(&[("http_proxy", "http://proxy"), ("NO_PROXY", "localhost,127.0.0.1,::1")], &[]);
    }
}
