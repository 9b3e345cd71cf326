//! Which bytes of a file a request wants.

use std::ops::Range;

/// The answer to a `Range` header.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    /// No range, or one that may be passed over: another unit, several ranges, nonsense.
    Whole,
    Part(Range<u64>),
    /// Nothing of it exists.
    Unsatisfiable,
}

/// Reads a `Range` header for a file of `size` bytes. Source: RFC 9110, section 14.2.
pub(super) fn wanted(header: Option<&[u8]>, size: u64) -> Wanted {
    let text = header.and_then(|header| str::from_utf8(header).ok());
    let Some((first, last)) = text.and_then(|text| text.strip_prefix("bytes=")?.trim().split_once('-')) else {
        return Wanted::Whole;
    };
    let number = |text: &str| {
        let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        // More digits than fit are beyond every end.
        is_number.then(|| text.parse::<u64>().unwrap_or(u64::MAX))
    };
    match (first, number(first), last, number(last)) {
        ("", None, _, Some(0)) => Wanted::Unsatisfiable,
        ("", None, _, Some(_)) if size == 0 => Wanted::Unsatisfiable,
        ("", None, _, Some(length)) => Wanted::Part(size.saturating_sub(length)..size),
        (_, Some(first), "", None) if first >= size => Wanted::Unsatisfiable,
        (_, Some(first), "", None) => Wanted::Part(first..size),
        (_, Some(first), _, Some(last)) if last < first => Wanted::Whole,
        (_, Some(first), _, Some(_)) if first >= size => Wanted::Unsatisfiable,
        (_, Some(first), _, Some(last)) => Wanted::Part(first..last.saturating_add(1).min(size)),
        _ => Wanted::Whole,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read_as_the_standard_has_them() {
        let check = |header: &str, size: u64, expected: Wanted| {
            assert_eq!(wanted(Some(header.as_bytes()), size), expected, "{header:?} of {size}");
        };
        check("bytes=0-0", 10, Wanted::Part(0..1));
        check("bytes=0-", 10, Wanted::Part(0..10));
        check("bytes=9-9", 10, Wanted::Part(9..10));
        check("bytes=5-99", 10, Wanted::Part(5..10));
        check("bytes=-3", 10, Wanted::Part(7..10));
        check("bytes=-99", 10, Wanted::Part(0..10));
        check("bytes=0-18446744073709551615", 10, Wanted::Part(0..10));
        check("bytes=0-99999999999999999999999999", 10, Wanted::Part(0..10));
        for beyond in ["bytes=10-", "bytes=10-20", "bytes=-0", "bytes=99999999999999999999999999-"] {
            check(beyond, 10, Wanted::Unsatisfiable);
        }
        for empty in ["bytes=0-0", "bytes=0-", "bytes=-1"] {
            check(empty, 0, Wanted::Unsatisfiable);
        }
        for passed_over in
            ["", "bytes=", "bytes=-", "bytes=5-4", "bytes=a-b", "bytes=0-1,3-4", "items=0-1", "bytes=+1-2", "bytes=--1"]
        {
            check(passed_over, 10, Wanted::Whole);
        }
        assert_eq!(wanted(None, 10), Wanted::Whole);
        assert_eq!(wanted(Some(b"bytes=\xff-"), 10), Wanted::Whole);
    }
}
