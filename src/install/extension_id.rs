//! The id that Chromium gives an extension, and the origin that follows from it.
//!
//! Belongs here: the shape of ids and origins. Does not belong here: who is allowed what (`access`, `manifest`).

use std::{fmt, str::FromStr};

use super::InstallError;

/// Letters in an extension id: 128 bits of a SHA-256, 4 in each.
///
/// Source: chromium/chromium `components/crx_file/id_util.cc`.
pub const EXTENSION_ID_LETTERS: usize = 32;

/// What stands before the id in an extension's origin.
const ORIGIN_SCHEME: &str = "chrome-extension://";

/// The id of a Chromium extension: 32 letters from a to p.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ExtensionId(String);

impl ExtensionId {
    /// Reads an id as `chrome://extensions` shows it.
    ///
    /// # Errors
    ///
    /// [`InstallError::ExtensionIdLength`], [`InstallError::ExtensionIdLetter`].
    pub fn parse(text: &str) -> Result<Self, InstallError> {
        let length = text.chars().count();
        if length != EXTENSION_ID_LETTERS {
            return Err(InstallError::ExtensionIdLength { given: text.to_owned(), length });
        }
        match text.chars().enumerate().find(|(_, letter)| !matches!(letter, 'a'..='p')) {
            Some((index, letter)) => {
                Err(InstallError::ExtensionIdLetter { given: text.to_owned(), letter, position: index + 1 })
            }
            None => Ok(Self(text.to_owned())),
        }
    }

    /// Reads an origin as a manifest and the browser's command line carry it: `chrome-extension://ID/`, the slash
    /// included. `None` for anything else.
    pub fn from_origin(origin: &str) -> Option<Self> {
        let id = origin.strip_prefix(ORIGIN_SCHEME)?.strip_suffix('/')?;
        Self::parse(id).ok()
    }

    /// The 32 letters.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// `chrome-extension://ID/`. Chromium does not find a host whose manifest lacks the trailing slash.
    pub fn origin(&self) -> String {
        format!("{ORIGIN_SCHEME}{}/", self.0)
    }
}

impl fmt::Display for ExtensionId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl FromStr for ExtensionId {
    type Err = InstallError;

    fn from_str(text: &str) -> Result<Self, InstallError> {
        Self::parse(text)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ID: &str = "abcdefghijklmnopabcdefghijklmnop";

    fn check_refused(text: &str, expected: &str) {
        let error = ExtensionId::parse(text).unwrap_err();
        assert!(error.to_string().contains(expected), "{text:?}: {error}");
        assert_eq!(error.kind(), crate::error::ErrorKind::InvalidArgument);
    }

    #[test]
    fn parse_accepts_what_the_browser_shows() {
        assert_eq!(ExtensionId::parse(ID).unwrap().as_str(), ID);
        assert_eq!(ID.parse::<ExtensionId>().unwrap().to_string(), ID);
    }

    #[test]
    fn parse_says_what_is_wrong() {
        check_refused("", "got 0 characters");
        check_refused(&ID[1..], "got 31 characters");
        check_refused(&format!("{ID}a"), "got 33 characters");
        check_refused("abcdefghijklmnopabcdefghijklmnoq", "character 32 is 'q'");
        check_refused("Abcdefghijklmnopabcdefghijklmnop", "character 1 is 'A'");
        check_refused("abcdefghijklmnop abcdefghijklmno", "character 17 is ' '");
        // 32 characters but more bytes.
        check_refused("übcdefghijklmnopabcdefghijklmnop", "character 1 is 'ü'");
        check_refused(&format!("chrome-extension://{ID}/"), "as chrome://extensions shows it");
    }

    #[test]
    fn origin_ends_with_a_slash_and_reads_back() {
        let id = ExtensionId::parse(ID).unwrap();
        assert_eq!(id.origin(), format!("chrome-extension://{ID}/"));
        assert_eq!(ExtensionId::from_origin(&id.origin()), Some(id));
    }

    #[test]
    fn from_origin_refuses_what_the_browser_refuses() {
        for origin in [
            format!("chrome-extension://{ID}"),
            format!("chrome-extension://{ID}//"),
            format!("chrome-extension://{ID}/page.html"),
            format!("https://{ID}/"),
            "chrome-extension://*/".to_owned(),
            String::new(),
        ] {
            assert_eq!(ExtensionId::from_origin(&origin), None, "{origin}");
        }
    }

    proptest! {
        #[test]
        fn every_32_letters_from_a_to_p_are_an_id(text in "[a-p]{32}") {
            let id = ExtensionId::parse(&text).unwrap();
            prop_assert_eq!(id.as_str(), text.as_str());
            prop_assert_eq!(ExtensionId::from_origin(&id.origin()), Some(id));
        }

        #[test]
        fn nothing_else_is_an_id(text in any::<String>()) {
            let is_id = text.len() == 32 && text.bytes().all(|byte| (b'a'..=b'p').contains(&byte));
            prop_assert_eq!(ExtensionId::parse(&text).is_ok(), is_id);
        }

        #[test]
        fn one_wrong_letter_is_found(text in "[a-p]{32}", position in 0usize..32, letter in "[^a-p]") {
            let mut letters: Vec<char> = text.chars().collect();
            letters[position] = letter.chars().next().unwrap();
            let given: String = letters.into_iter().collect();
            match ExtensionId::parse(&given) {
                Err(InstallError::ExtensionIdLetter { position: found, .. }) => prop_assert_eq!(found, position + 1),
                other => prop_assert!(false, "{:?}", other),
            }
        }
    }
}
