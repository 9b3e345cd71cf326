//! Proxies that the shell names: what is meant for this machine's hub is for none of them to see.

use std::ffi::OsString;

/// How the hub's addresses are named.
const HERE: [&str; 3] = ["127.0.0.1", "localhost", "::1"];

/// What `NO_PROXY` has to be for requests to the hub to go straight to it; `None` where they do.
///
/// Source: curl(1), "ENVIRONMENT"; Python's `urllib.request`, where names in lower case come first.
pub fn no_proxy(lookup: impl Fn(&str) -> Option<OsString>) -> Option<String> {
    let text =
        |name: &str| lookup(name).map(|value| value.to_string_lossy().into_owned()).filter(|value| !value.is_empty());
    let is_there = ["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"].iter().any(|name| text(name).is_some());
    let named = text("no_proxy").or_else(|| text("NO_PROXY")).unwrap_or_default();
    let mut passed_by: Vec<&str> = named.split(',').map(str::trim).filter(|host| !host.is_empty()).collect();
    let missing: Vec<&str> = HERE.into_iter().filter(|host| !passed_by.contains(host)).collect();
    if !is_there || passed_by.contains(&"*") || missing.is_empty() {
        return None;
    }
    passed_by.extend(missing);
    Some(passed_by.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_is_named_where_a_proxy_would_see_it() {
        for (set, expected) in [
            (&[][..], None),
            (&[("http_proxy", "")], None),
            (&[("https_proxy", "http://proxy")], None),
            (&[("http_proxy", "http://proxy")], Some("127.0.0.1,localhost,::1")),
            (
                &[("ALL_PROXY", "http://proxy"), ("NO_PROXY", "a.example, ::1")],
                Some("a.example,::1,127.0.0.1,localhost"),
            ),
            (&[("HTTP_PROXY", "p"), ("no_proxy", "a"), ("NO_PROXY", "*")], Some("a,127.0.0.1,localhost,::1")),
            (&[("http_proxy", "p"), ("no_proxy", "*")], None),
            (&[("http_proxy", "p"), ("NO_PROXY", "localhost,127.0.0.1,::1")], None),
        ] {
            let lookup = |name: &str| set.iter().find(|(set, _)| *set == name).map(|(_, value)| OsString::from(value));
            assert_eq!(no_proxy(lookup).as_deref(), expected, "{set:?}");
        }
    }
}
