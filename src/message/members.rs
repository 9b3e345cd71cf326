//! A JSON object cut into its members, values unread.
//!
//! A picture is one string of megabytes. `serde_json` looks at each of its bytes twice before anybody has asked for it
//! (8 at a time for the end of the string, then for UTF-8), which was half of the time that a picture took. So a string
//! of plain characters is passed over here, in one quick go; whatever else there is, and every error, is serde_json's.

use std::{borrow::Cow, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{Error as _, MapAccess, Visitor},
};
use serde_json::value::RawValue;

/// Members that are kept, one more than a request may have: enough to be refused for it.
const MAX_KEPT: usize = super::request::MAX_FIELDS + 1;

/// Bytes looked at for one thing and then for another: they stay in the nearest cache meanwhile.
const BLOCK_BYTES: usize = 4 << 10;

/// Names and values in their order, each value one whole JSON value.
pub(super) type Members<'a> = Vec<(Cow<'a, str>, &'a [u8])>;

/// Reads an object. Of more than [`MAX_KEPT`] members the last ones are left out.
pub(super) fn members(body: &[u8]) -> serde_json::Result<Members<'_>> {
    if let Some(members) = plain_members(body) {
        return Ok(members);
    }
    serde_json::from_slice::<Unread<'_>>(body).map(|Unread(members)| members)
}

/// The members, if they are as a program writes them; otherwise it is serde_json's to say what they are.
fn plain_members(body: &[u8]) -> Option<Members<'_>> {
    let mut members = Members::new();
    let mut rest = after(body, b'{')?;
    loop {
        let (name, behind) = plain_string(trimmed(rest))?;
        let name = name.get(1..name.len() - 1).and_then(|name| str::from_utf8(name).ok())?;
        let (value, behind) = value(trimmed(after(behind, b':')?))?;
        if members.len() == MAX_KEPT {
            return None;
        }
        members.push((Cow::Borrowed(name), value));
        match after(behind, b',') {
            Some(behind) => rest = behind,
            None => return trimmed(after(behind, b'}')?).is_empty().then_some(members),
        }
    }
}

/// What follows a punctuation mark.
fn after(text: &[u8], mark: u8) -> Option<&[u8]> {
    trimmed(text).split_first().filter(|(first, _)| **first == mark).map(|(_, rest)| rest)
}

/// The text without the white space at its beginning: JSON's, which is less than ASCII's.
fn trimmed(text: &[u8]) -> &[u8] {
    let begin = text.iter().position(|byte| !b" \t\n\r".contains(byte)).unwrap_or(text.len());
    text.get(begin..).unwrap_or_default()
}

/// The value that a text begins with, and what follows it.
fn value(text: &[u8]) -> Option<(&[u8], &[u8])> {
    if let Some(string) = plain_string(text) {
        return Some(string);
    }
    let mut values = serde_json::Deserializer::from_slice(text).into_iter::<&RawValue>();
    let value = values.next()?.ok()?;
    Some((value.get().as_bytes(), text.get(values.byte_offset()..)?))
}

/// The string that a text begins with, quotes included, and what follows it; `None` if it is not all printable ASCII
/// without escapes, which is valid JSON whatever it says.
fn plain_string(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let (b'"', inner) = text.split_first()? else {
        return None;
    };
    let mut len = 1;
    for block in inner.chunks(BLOCK_BYTES) {
        let end = memchr::memchr2(b'"', b'\\', block);
        let part = block.get(..end.unwrap_or(block.len()))?;
        // Without a branch for each byte, so that the compiler makes it a few bytes at a time.
        if part.iter().fold(false, |found, byte| found | !matches!(byte, 0x20..=0x7f)) {
            return None;
        }
        len += part.len();
        if let Some(end) = end {
            return (block.get(end) == Some(&b'"')).then(|| text.split_at_checked(len + 1)).flatten();
        }
    }
    None
}

/// The members as serde_json reads them.
struct Unread<'a>(Members<'a>);

impl<'de> Deserialize<'de> for Unread<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(UnreadVisitor)
    }
}

struct UnreadVisitor;

impl<'de> Visitor<'de> for UnreadVisitor {
    type Value = Unread<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members = Members::new();
        while let Some(Key(name)) = map.next_key()? {
            let value = map.next_value::<&RawValue>().map_err(A::Error::custom)?;
            if members.len() < MAX_KEPT {
                members.push((name, value.get().as_bytes()));
            }
        }
        Ok(Unread(members))
    }
}

/// A member's name, borrowed where JSON allows.
#[derive(Deserialize)]
struct Key<'a>(#[serde(borrow)] Cow<'a, str>);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Both ways agree, or the quick one has no opinion.
    fn check_agreement(body: &[u8]) {
        if let Some(members) = plain_members(body) {
            let Unread(expected) = serde_json::from_slice(body).unwrap();
            assert_eq!(members, expected);
        }
    }

    #[test]
    fn what_programs_write_is_read_quickly() {
        let long = "QUJD".repeat(BLOCK_BYTES);
        for body in [
            r#"{"a":1}"#,
            r#" { "a" : [1, {"b": "}"}] , "b" : "x" , "c":null,"d":-1.5e3, "e":{"f":true}, "" : "\u0041é" } "#,
            &format!(r#"{{"type":"frame","data":"{long}"}}"#),
            &format!(r#"{{"data":"{long}é"}}"#),
        ] {
            assert!(plain_members(body.as_bytes()).is_some(), "{body}");
            check_agreement(body.as_bytes());
        }
    }

    #[test]
    fn what_is_no_json_is_never_read_quickly() {
        for body in [
            "",
            "{",
            "}",
            "[]",
            "{,}",
            r#"{"a"}"#,
            r#"{"a":}"#,
            r#"{"a":1,}"#,
            r#"{"a":1 "b":2}"#,
            r#"{"a":1}}"#,
            r#"{"a":1}x"#,
            r#"{"a":"x}"#,
            r#"{"a":"\x"}"#,
            "{\"a\":\"\n\"}",
            r#"{"a":01}"#,
            r#"{"a":1.}"#,
            r#"{"a":tru}"#,
            r#"{"a":1"b":2}"#,
            "{\"a\":\"\u{b}\"}",
            "{\u{c}\"a\":1}",
            "{\"a\":\u{c}1}",
            "{\"a\":1}\u{c}",
        ] {
            assert_eq!(plain_members(body.as_bytes()), None, "{body:?}");
        }
        for byte in (0..0x20).chain(0x80..=0xff) {
            assert_eq!(plain_members(&[b"{\"a\":\"", &[byte][..], b"\"}"].concat()), None, "{byte:#x}");
        }
    }

    #[test]
    fn a_string_may_end_at_any_place_in_a_block() {
        for len in (0..4).chain(BLOCK_BYTES - 3..BLOCK_BYTES + 3).chain(2 * BLOCK_BYTES - 2..2 * BLOCK_BYTES + 2) {
            let text = format!("\"{}\"", "x".repeat(len));
            let (string, rest) = plain_string(text.as_bytes()).unwrap();
            assert_eq!((string, rest), (text.as_bytes(), &b""[..]));
            assert_eq!(plain_string(&text.as_bytes()[..len + 1]), None);
        }
    }

    proptest! {
        #[test]
        fn both_ways_agree(body in r#"[ {]?(["a-c\\ \n\x0b]{0,4}[:,{}\[\]0-9tn.-]){0,8}[} x]{0,2}"#) {
            check_agreement(body.as_bytes());
        }

        #[test]
        fn both_ways_agree_on_broken_objects(at in 0usize..60, byte: u8) {
            let mut body = br#"{"id": 7,"type":"frame", "x":[1,{"a":"b"}],"data":"QUJD"  }"#.to_vec();
            if let Some(place) = body.get_mut(at) {
                *place = byte;
            }
            check_agreement(&body);
        }
    }
}
