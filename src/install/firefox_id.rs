//! The id of a Firefox extension.
//!
//! Belongs here: the shape of ids. Does not belong here: who is allowed what (`access`, `manifest`).

use std::{fmt, str::FromStr};

use super::InstallError;

/// Longest id, in characters. Source: MDN, "browser_specific_settings".
pub const MAX_FIREFOX_ID: usize = 80;

/// What a Firefox extension's manifest calls it (`browser_specific_settings.gecko.id`): `name@example.org`, or a GUID in
/// braces. An extension's origin (`moz-extension://UUID`) is another one in every profile, and says nothing of who it is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FirefoxId(String);

impl FirefoxId {
    /// Reads an id as `about:debugging` shows it.
    ///
    /// # Errors
    ///
    /// [`InstallError::FirefoxId`].
    pub fn parse(text: &str) -> Result<Self, InstallError> {
        // Source: mozilla-central toolkit/components/extensions/schemas/manifest.json, ExtensionID.
        let is_plain = |part: &str| part.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_'));
        let is_address = text.split_once('@').is_some_and(|(name, domain)| is_plain(name) && is_plain(domain));
        let is_guid = text.strip_prefix('{').and_then(|text| text.strip_suffix('}')).is_some_and(|text| {
            let parts: Vec<&str> = text.split('-').collect();
            let is_hex = parts.iter().all(|part| part.bytes().all(|byte| byte.is_ascii_hexdigit()));
            is_hex && parts.iter().map(|part| part.len()).eq([8, 4, 4, 4, 12])
        });
        if (is_address || is_guid) && text.len() <= MAX_FIREFOX_ID {
            Ok(Self(text.to_owned()))
        } else {
            Err(InstallError::FirefoxId { given: text.to_owned() })
        }
    }

    /// The id.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for FirefoxId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl FromStr for FirefoxId {
    type Err = InstallError;

    fn from_str(text: &str) -> Result<Self, InstallError> {
        Self::parse(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_guids_are_ids_and_nothing_else_is() {
        let long = |len: usize| format!("{}@x", "a".repeat(len - 2));
        for id in ["framehost@example.org", "@x", "{b9db16a4-6edc-47ec-a1f4-b86292ed211d}", &long(MAX_FIREFOX_ID)] {
            assert_eq!(FirefoxId::parse(id).unwrap().as_str(), id);
        }
        for wrong in [
            "",
            "framehost",
            "a@b@c",
            "a b@c",
            "ü@x",
            "*",
            "b9db16a4-6edc-47ec-a1f4-b86292ed211d",
            "{b9db16a4}",
            "{b9db16a4-6edc-47ec-a1f4-b86292ed211g}",
            "moz-extension://b9db16a4-6edc-47ec-a1f4-b86292ed211d",
            &long(MAX_FIREFOX_ID + 1),
        ] {
            let error = FirefoxId::parse(wrong).unwrap_err().to_string();
            assert!(error.contains("name@example.org"), "{wrong:?}: {error}");
        }
    }
}
