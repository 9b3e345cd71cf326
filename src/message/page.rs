//! Lists that could outgrow a message are answered in pages.

use serde::Serialize;
use serde_json::value::RawValue;

use super::MessageError;
use crate::framing::MAX_OUTBOUND_BODY;

/// Bytes of list items in one answer; the rest of a message is room for the envelope and for one last large item.
const PAGE_BYTES: usize = MAX_OUTBOUND_BODY / 2;

/// Part of a list.
#[derive(Debug)]
pub struct Page {
    /// The items, serialised.
    pub items: Vec<Box<RawValue>>,
    /// To be sent back as `page_token` for what follows; `None` at the end.
    pub next_page_token: Option<String>,
}

/// The items from `page_token` on (from the start without one) that fit one answer; each item is under 256 KiB.
///
/// # Errors
///
/// [`MessageError::Field`] if the token is none that this function gave.
pub fn page<T: Serialize>(items: &[T], page_token: Option<&str>) -> Result<Page, MessageError> {
    let bad_token = || MessageError::field("page_token", "no such page");
    let start = match page_token {
        Some(token) => token.parse::<usize>().map_err(|_| bad_token())?,
        None => 0,
    };
    let rest = items.get(start..).ok_or_else(bad_token)?;
    let mut page = Page { items: Vec::new(), next_page_token: None };
    let mut bytes = 0;
    for (index, item) in (start..).zip(rest) {
        if bytes > PAGE_BYTES {
            page.next_page_token = Some(index.to_string());
            break;
        }
        let item = serde_json::value::to_raw_value(item).map_err(|error| MessageError::field("page_token", error))?;
        bytes += item.get().len() + 1;
        page.items.push(item);
    }
    Ok(page)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_cover_every_item_once_and_fit_a_message() {
        let items: Vec<String> = (0..40).map(|n| format!("{n}{}", "x".repeat(60_000))).collect();
        let (mut token, mut got, mut pages) = (None, Vec::new(), 0);
        loop {
            let page = page(&items, token.as_deref()).unwrap();
            assert!(page.items.iter().map(|item| item.get().len() + 1).sum::<usize>() < MAX_OUTBOUND_BODY - 4096);
            got.extend(page.items.iter().map(|item| serde_json::from_str::<String>(item.get()).unwrap()));
            pages += 1;
            token = page.next_page_token;
            if token.is_none() {
                break;
            }
        }
        assert_eq!(got, items);
        assert!(pages > 1);
    }

    #[test]
    fn a_foreign_token_is_refused() {
        for token in ["", "x", "-1", "4"] {
            assert!(page(&[1, 2, 3], Some(token)).is_err(), "{token:?}");
        }
        assert!(page(&[1, 2, 3], Some("3")).unwrap().items.is_empty());
    }
}
