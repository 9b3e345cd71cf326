//! Host manifests: made from the templates in `manifests/`, the one place that knows the host's name.
//!
//! Belongs here: filling in a template, reading a manifest that stands somewhere.
//! Does not belong here: where manifests stand (`browsers`), the disk (`disk`).

use std::{path::Path, sync::LazyLock};

use serde_json::{Map, Value};

use super::{ExtensionId, Family, InstallError};

/// What a file is not, if it is not a manifest of ours.
pub(super) type NotOurs = String;

static CHROMIUM: LazyLock<Map<String, Value>> = LazyLock::new(|| {
    #[expect(clippy::expect_used, reason = "the template is part of the program, and a test reads it")]
    serde_json::from_str(include_str!("../../manifests/chromium.json")).expect("the host manifest template")
});

/// The name that extensions give to `connectNative`: `com.framehost.host`.
pub fn host_name() -> &'static str {
    CHROMIUM.get("name").and_then(Value::as_str).unwrap_or_default()
}

/// What a host manifest says, beyond its template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostManifest {
    path: String,
    extension_ids: Vec<ExtensionId>,
    refused_origins: Vec<String>,
}

impl HostManifest {
    /// A manifest that lets `extension_ids` start `binary`. Repeated ids count once.
    ///
    /// # Errors
    ///
    /// [`InstallError::PathNotUtf8`], [`InstallError::NoExtensionId`].
    pub fn new(binary: &Path, extension_ids: &[ExtensionId]) -> Result<Self, InstallError> {
        let path = binary.to_str().ok_or_else(|| InstallError::PathNotUtf8 { path: binary.to_owned() })?;
        if extension_ids.is_empty() {
            return Err(InstallError::NoExtensionId);
        }
        Ok(Self { path: path.to_owned(), extension_ids: unique(extension_ids), refused_origins: Vec::new() })
    }

    /// Reads what stands in a manifest's place. An entry of `allowed_origins` that the browser would refuse (and with
    /// it the whole manifest) is not taken over; [`Self::refused_origins`] has it.
    ///
    /// # Errors
    ///
    /// Why it is not a manifest of this host, as the end of the sentence "it is not ours: …".
    pub(super) fn parse(text: &str) -> Result<Self, NotOurs> {
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
        let mut extension_ids = Vec::new();
        let mut refused_origins = Vec::new();
        match value.get("allowed_origins") {
            None => {}
            Some(Value::Array(origins)) => {
                for origin in origins {
                    match origin.as_str().and_then(ExtensionId::from_origin) {
                        Some(id) => extension_ids.push(id),
                        None => refused_origins.push(origin.as_str().map_or_else(|| origin.to_string(), str::to_owned)),
                    }
                }
            }
            Some(_) => return Err("its allowed_origins is not a list".to_owned()),
        }
        Ok(Self { path, extension_ids: unique(&extension_ids), refused_origins })
    }

    /// This manifest, which also allows what `older` allowed. Its own ids come last.
    pub(super) fn united_with(&self, older: &Self) -> Self {
        let all: Vec<ExtensionId> = older.extension_ids.iter().chain(&self.extension_ids).cloned().collect();
        Self { path: self.path.clone(), extension_ids: unique(&all), refused_origins: Vec::new() }
    }

    /// The file's content: the template of `family`, filled in, with a line break at its end.
    pub fn render(&self, family: Family) -> String {
        let mut manifest = match family {
            Family::Chromium => CHROMIUM.clone(),
        };
        let origins = self.extension_ids.iter().map(|id| Value::from(id.origin())).collect();
        manifest.insert("path".to_owned(), Value::from(self.path.as_str()));
        manifest.insert("allowed_origins".to_owned(), Value::Array(origins));
        format!("{:#}\n", Value::Object(manifest))
    }

    /// The program that the browser starts.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Who may start it.
    pub fn extension_ids(&self) -> &[ExtensionId] {
        &self.extension_ids
    }

    /// Entries of `allowed_origins` that no browser accepts.
    pub fn refused_origins(&self) -> &[String] {
        &self.refused_origins
    }
}

fn unique(ids: &[ExtensionId]) -> Vec<ExtensionId> {
    let mut unique: Vec<ExtensionId> = Vec::with_capacity(ids.len());
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

    fn check_not_ours(text: &str, expected: &str) {
        let reason = HostManifest::parse(text).unwrap_err();
        assert!(reason.contains(expected), "{text}: {reason}");
    }

    #[test]
    fn the_template_is_what_chromium_requires() {
        // Source: chromium/chromium native_messaging_host_manifest.cc: [a-z0-9._], dots separated and not at the ends;
        // a description that is not empty; stdio.
        let name = host_name();
        assert_eq!(name, "com.framehost.host");
        assert!(name.split('.').all(|part| !part.is_empty()));
        assert!(name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"._".contains(&byte)));
        assert_eq!(CHROMIUM["type"], "stdio");
        assert!(!CHROMIUM["description"].as_str().unwrap().is_empty());
        let keys: Vec<&str> = CHROMIUM.keys().map(String::as_str).collect();
        assert_eq!(keys, ["allowed_origins", "description", "name", "path", "type"]);
    }

    #[test]
    fn render_fills_in_path_and_origins_and_reads_back() {
        for path in ["/usr/bin/framehost", "/home/a b/\"q\" & 'ü'\\x/framehost", "/tab\there/new\nline"] {
            let manifest = HostManifest::new(Path::new(path), &[id('a'), id('b'), id('a')]).unwrap();
            let text = manifest.render(Family::Chromium);
            let value: Value = serde_json::from_str(&text).unwrap();
            assert_eq!(value["path"], path);
            assert_eq!(value["allowed_origins"], serde_json::json!([id('a').origin(), id('b').origin()]));
            assert_eq!(HostManifest::parse(&text).unwrap(), manifest);
            assert!(text.ends_with("}\n"));
        }
    }

    #[test]
    fn new_refuses_no_extensions_and_paths_that_json_cannot_hold() {
        use std::{ffi::OsStr, os::unix::ffi::OsStrExt};
        let error = HostManifest::new(Path::new("/bin/x"), &[]).unwrap_err();
        assert!(matches!(error, InstallError::NoExtensionId));
        let error = HostManifest::new(Path::new(OsStr::from_bytes(b"/bin/\xff")), &[id('a')]).unwrap_err();
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
        let minimal = HostManifest::parse("\u{feff}{\"name\": \"com.framehost.host\"}").unwrap();
        assert!(minimal.extension_ids().is_empty() && minimal.path().is_empty());
    }

    #[test]
    fn origins_that_the_browser_refuses_are_not_taken_over() {
        let text = serde_json::json!({
            "name": host_name(), "path": "/x",
            "allowed_origins": [id('a').origin(), "chrome-extension://*/", 7, id('a').origin().trim_end_matches('/')],
        });
        let manifest = HostManifest::parse(&text.to_string()).unwrap();
        assert_eq!(manifest.extension_ids(), [id('a')]);
        assert_eq!(manifest.refused_origins().len(), 3);
    }

    #[test]
    fn uniting_keeps_the_older_and_repeats_nothing() {
        let older = HostManifest::new(Path::new("/old"), &[id('a'), id('b')]).unwrap();
        let newer = HostManifest::new(Path::new("/new"), &[id('b'), id('c')]).unwrap();
        let united = newer.united_with(&older);
        assert_eq!(united.path(), "/new");
        assert_eq!(united.extension_ids(), [id('a'), id('b'), id('c')]);
        assert_eq!(newer.united_with(&united), united);
    }

    proptest! {
        #[test]
        fn parse_never_panics(text in any::<String>()) {
            prop_assert!(HostManifest::parse(&text).is_err());
        }
    }
}
