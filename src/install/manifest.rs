//! Host manifests: made from the templates in `manifests/`, the one place that knows the host's name.
//!
//! Belongs here: filling in a template, reading a manifest that stands somewhere.
//! Does not belong here: where manifests stand (`places`), the disk (`disk`).

use std::{path::Path, sync::LazyLock};

use serde_json::{Map, Value};

use super::{ExtensionId, Family, FirefoxId, InstallError};

/// What a file is not, if it is not a manifest of ours.
pub(super) type NotOurs = String;

static CHROMIUM: LazyLock<Map<String, Value>> =
    LazyLock::new(|| template(include_str!("../../manifests/chromium.json")));
static FIREFOX: LazyLock<Map<String, Value>> = LazyLock::new(|| template(include_str!("../../manifests/firefox.json")));

fn template(text: &str) -> Map<String, Value> {
    #[expect(clippy::expect_used, reason = "the template is part of the program, and a test reads it")]
    serde_json::from_str(text).expect("the host manifest template")
}

/// The name that extensions give to `connectNative`: `com.framehost.host`.
pub fn host_name() -> &'static str {
    CHROMIUM.get("name").and_then(Value::as_str).unwrap_or_default()
}

/// Extensions that may start the host.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Allowed {
    /// In browsers made from Chromium.
    pub chromium: Vec<ExtensionId>,
    /// In browsers made from Firefox.
    pub firefox: Vec<FirefoxId>,
}

impl Allowed {
    /// Whether the family's browsers would start the host for nobody.
    pub fn is_empty(&self, family: Family) -> bool {
        match family {
            Family::Chromium => self.chromium.is_empty(),
            Family::Firefox => self.firefox.is_empty(),
        }
    }

    /// Those of one family, as people write them.
    pub fn names(&self, family: Family) -> Vec<String> {
        match family {
            Family::Chromium => self.chromium.iter().map(ToString::to_string).collect(),
            Family::Firefox => self.firefox.iter().map(ToString::to_string).collect(),
        }
    }

    /// Those of one family only, each once.
    fn of(&self, family: Family) -> Self {
        match family {
            Family::Chromium => Self { chromium: unique(&self.chromium), firefox: Vec::new() },
            Family::Firefox => Self { chromium: Vec::new(), firefox: unique(&self.firefox) },
        }
    }
}

/// The member of a family's manifests that lists who may start the host.
pub const fn allow_list(family: Family) -> &'static str {
    match family {
        Family::Chromium => "allowed_origins",
        Family::Firefox => "allowed_extensions",
    }
}

/// What a host manifest says, beyond its template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostManifest {
    family: Family,
    path: String,
    allowed: Allowed,
    refused: Vec<String>,
}

impl HostManifest {
    /// A manifest that lets those of `allowed` that are of `family` start `binary`. Repeated ids count once.
    ///
    /// # Errors
    ///
    /// [`InstallError::PathNotUtf8`], [`InstallError::NoExtensionId`].
    pub fn new(family: Family, binary: &Path, allowed: &Allowed) -> Result<Self, InstallError> {
        let path = binary.to_str().ok_or_else(|| InstallError::PathNotUtf8 { path: binary.to_owned() })?;
        if allowed.is_empty(family) {
            return Err(InstallError::NoExtensionId);
        }
        Ok(Self { family, path: path.to_owned(), allowed: allowed.of(family), refused: Vec::new() })
    }

    /// Reads what stands in the place of a manifest of `family`. An entry of its list of extensions that the browser would
    /// refuse (and with it the whole manifest) is not taken over; [`Self::refused`] has it.
    ///
    /// # Errors
    ///
    /// Why it is not a manifest of this host, as the end of the sentence "it is not ours: …".
    pub(super) fn parse(family: Family, text: &str) -> Result<Self, NotOurs> {
        // Chromium tolerates a byte order mark here.
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let value: Value = serde_json::from_str(text).map_err(|error| format!("not JSON ({error})"))?;
        let name = value.get("name").and_then(Value::as_str);
        if name != Some(host_name()) {
            return Err(match name {
                Some(name) => format!("its name is {name:?}"),
                None => "it has no name".to_owned(),
            });
        }
        let path = value.get("path").and_then(Value::as_str).unwrap_or_default().to_owned();
        let mut allowed = Allowed::default();
        let mut refused = Vec::new();
        match value.get(allow_list(family)) {
            None => {}
            Some(Value::Array(entries)) => {
                for entry in entries {
                    let text = entry.as_str().unwrap_or_default();
                    let is_taken = match family {
                        Family::Chromium => {
                            ExtensionId::from_origin(text).map(|id| allowed.chromium.push(id)).is_some()
                        }
                        Family::Firefox => FirefoxId::parse(text).map(|id| allowed.firefox.push(id)).is_ok(),
                    };
                    if !is_taken {
                        refused.push(entry.as_str().map_or_else(|| entry.to_string(), str::to_owned));
                    }
                }
            }
            Some(_) => return Err(format!("its {} is not a list", allow_list(family))),
        }
        Ok(Self { family, path, allowed: allowed.of(family), refused })
    }

    /// This manifest, which also allows what `older` allowed. Its own ids come last.
    pub(super) fn united_with(&self, older: &Self) -> Self {
        let mut all = older.allowed.clone();
        all.chromium.extend(self.allowed.chromium.iter().cloned());
        all.firefox.extend(self.allowed.firefox.iter().cloned());
        Self { family: self.family, path: self.path.clone(), allowed: all.of(self.family), refused: Vec::new() }
    }

    /// The file's content: the family's template, filled in, with a line break at its end.
    pub fn render(&self) -> String {
        let (mut manifest, allowed) = match self.family {
            Family::Chromium => (CHROMIUM.clone(), self.allowed.chromium.iter().map(ExtensionId::origin).collect()),
            Family::Firefox => (FIREFOX.clone(), self.allowed.names(Family::Firefox)),
        };
        let allowed: Vec<String> = allowed;
        manifest.insert("path".to_owned(), Value::from(self.path.as_str()));
        manifest.insert(allow_list(self.family).to_owned(), Value::from(allowed));
        format!("{:#}\n", Value::Object(manifest))
    }

    /// The program that the browser starts.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Who may start it.
    pub const fn allowed(&self) -> &Allowed {
        &self.allowed
    }

    /// Entries of its list of extensions that no browser accepts.
    pub fn refused(&self) -> &[String] {
        &self.refused
    }
}

fn unique<T: PartialEq + Clone>(ids: &[T]) -> Vec<T> {
    let mut unique: Vec<T> = Vec::with_capacity(ids.len());
    for id in ids {
        if !unique.contains(id) {
            unique.push(id.clone());
        }
    }
    unique
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn id(letter: char) -> ExtensionId {
        ExtensionId::parse(&letter.to_string().repeat(32)).unwrap()
    }

    fn chromium(letters: &str) -> Allowed {
        Allowed { chromium: letters.chars().map(id).collect(), firefox: Vec::new() }
    }

    fn firefox(ids: &[&str]) -> Allowed {
        Allowed { chromium: Vec::new(), firefox: ids.iter().map(|id| FirefoxId::parse(id).unwrap()).collect() }
    }

    fn check_not_ours(text: &str, expected: &str) {
        let reason = HostManifest::parse(Family::Chromium, text).unwrap_err();
        assert!(reason.contains(expected), "{text}: {reason}");
    }

    #[test]
    fn the_templates_are_what_browsers_require() {
        // Source: chromium/chromium native_messaging_host_manifest.cc: [a-z0-9._], dots separated and not at the ends;
        // a description that is not empty; stdio. Firefox asks for the same.
        let name = host_name();
        assert_eq!(name, "com.framehost.host");
        assert!(name.split('.').all(|part| !part.is_empty()));
        assert!(name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"._".contains(&byte)));
        for (template, list) in [(&CHROMIUM, "allowed_origins"), (&FIREFOX, "allowed_extensions")] {
            assert_eq!(template["name"], name);
            assert_eq!(template["type"], "stdio");
            assert!(!template["description"].as_str().unwrap().is_empty());
            let keys: Vec<&str> = template.keys().map(String::as_str).collect();
            assert_eq!(keys, [list, "description", "name", "path", "type"]);
        }
    }

    #[test]
    fn render_fills_in_path_and_origins_and_reads_back() {
        for path in ["/usr/bin/framehost", "/home/a b/\"q\" & 'ü'\\x/framehost", "/tab\there/new\nline"] {
            let manifest = HostManifest::new(Family::Chromium, Path::new(path), &chromium("aba")).unwrap();
            let text = manifest.render();
            let value: Value = serde_json::from_str(&text).unwrap();
            assert_eq!(value["path"], path);
            assert_eq!(value["allowed_origins"], serde_json::json!([id('a').origin(), id('b').origin()]));
            assert_eq!(HostManifest::parse(Family::Chromium, &text).unwrap(), manifest);
            assert!(text.ends_with("}\n"));
        }
    }

    #[test]
    fn firefox_is_told_ids_and_no_origins() {
        let both = Allowed { firefox: firefox(&["framehost@example.org"]).firefox, ..chromium("a") };
        let text = HostManifest::new(Family::Firefox, Path::new("/x"), &both).unwrap().render();
        let value: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value["allowed_extensions"], serde_json::json!(["framehost@example.org"]));
        assert!(value.get("allowed_origins").is_none());
        let read = HostManifest::parse(Family::Firefox, &text).unwrap();
        assert_eq!(read.allowed(), &firefox(&["framehost@example.org"]));
        let text = text.replace("framehost@example.org", "*");
        assert_eq!(HostManifest::parse(Family::Firefox, &text).unwrap().refused(), ["*"]);
    }

    #[cfg(unix)]
    #[test]
    fn new_refuses_no_extensions_and_paths_that_json_cannot_hold() {
        use std::{ffi::OsStr, os::unix::ffi::OsStrExt};
        let error = HostManifest::new(Family::Chromium, Path::new("/bin/x"), &firefox(&["a@b"])).unwrap_err();
        assert!(matches!(error, InstallError::NoExtensionId));
        let path = Path::new(OsStr::from_bytes(b"/bin/\xff"));
        let error = HostManifest::new(Family::Chromium, path, &chromium("a")).unwrap_err();
        assert!(matches!(error, InstallError::PathNotUtf8 { .. }));
    }

    #[test]
    fn parse_tells_ours_from_others() {
        check_not_ours("", "not JSON");
        check_not_ours("{", "not JSON");
        check_not_ours("[]", "no name");
        check_not_ours(r#"{"path": "/x"}"#, "no name");
        check_not_ours(r#"{"name": "org.example.other"}"#, r#"its name is "org.example.other""#);
        check_not_ours(r#"{"name": "com.framehost.host", "allowed_origins": "x"}"#, "not a list");
        let minimal = HostManifest::parse(Family::Chromium, "\u{feff}{\"name\": \"com.framehost.host\"}").unwrap();
        assert!(minimal.allowed().is_empty(Family::Chromium) && minimal.path().is_empty());
    }

    #[test]
    fn origins_that_the_browser_refuses_are_not_taken_over() {
        let text = serde_json::json!({
            "name": host_name(), "path": "/x",
            "allowed_origins": [id('a').origin(), "chrome-extension://*/", 7, id('a').origin().trim_end_matches('/')],
        });
        let manifest = HostManifest::parse(Family::Chromium, &text.to_string()).unwrap();
        assert_eq!(manifest.allowed(), &chromium("a"));
        assert_eq!(manifest.refused().len(), 3);
    }

    #[test]
    fn uniting_keeps_the_older_and_repeats_nothing() {
        let older = HostManifest::new(Family::Chromium, Path::new("/old"), &chromium("ab")).unwrap();
        let newer = HostManifest::new(Family::Chromium, Path::new("/new"), &chromium("bc")).unwrap();
        let united = newer.united_with(&older);
        assert_eq!(united.path(), "/new");
        assert_eq!(united.allowed(), &chromium("abc"));
        assert_eq!(newer.united_with(&united), united);
    }

    proptest! {
        #[test]
        fn parse_never_panics(text in any::<String>()) {
            prop_assert!(HostManifest::parse(Family::Firefox, &text).is_err());
        }
    }
}
