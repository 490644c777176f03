//! Where a page begins and ends: a cursor is opaque to clients, exclusive, and bound to its route.

use super::answer::{self, Page};
use super::query::page_rows;
use crate::problem::{Code, Problem};
use axum::http::HeaderMap;
use axum::response::Response;
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Bytes of a cursor, as text.
const CURSOR_BYTES_MAX: usize = 2_048;

/// The part of a list that is asked for: the step that all lists have, before their question and after it.
#[derive(Debug)]
pub(super) struct Portion<P> {
    route: &'static str,
    /// The place behind which it begins.
    pub(super) after: P,
    limit: u32,
}

impl<P: Serialize + DeserializeOwned> Portion<P> {
    /// Of that route, as `cursor` and `limit` of the request say; from `start` where there is no cursor.
    ///
    /// # Errors
    /// A limit beyond its bounds, or a cursor that is none of the route's.
    pub(super) fn asked(
        route: &'static str,
        (cursor, limit): (Option<String>, Option<u32>),
        start: P,
    ) -> Result<Portion<P>, Problem> {
        let limit = page_rows(limit)?;
        let after = cursor.map_or(Ok(start), |text| read(route, &text))?;
        Ok(Portion { route, after, limit })
    }

    /// How many rows to ask for: one more than are shown, which says whether there are more.
    pub(super) fn rows(&self) -> u32 {
        self.limit + 1
    }

    /// Cuts the page; `place` says where a row stands in the list.
    pub(super) fn cut<T>(&self, rows: Vec<T>, place: impl FnOnce(&T) -> P) -> Page<T> {
        Page::cut(rows, self.limit, |row| write(self.route, &place(row)))
    }

    /// Answers with the page, in the form that the request likes.
    ///
    /// # Errors
    /// Where it likes none of those that there are.
    pub(super) fn answer<T: Serialize>(
        &self,
        headers: &HeaderMap,
        rows: Vec<T>,
        place: impl FnOnce(&T) -> P,
    ) -> Result<Response, Problem> {
        answer::page(headers, &self.cut(rows, place))
    }
}

/// The cursor after the row that `place` names, for that route.
fn write(route: &str, place: &impl Serialize) -> String {
    let text = serde_json::to_vec(&(route, place)).unwrap_or_default();
    BASE64_URL_SAFE_NO_PAD.encode(text)
}

/// The place that a cursor of that route names.
fn read<T: DeserializeOwned>(route: &str, cursor: &str) -> Result<T, Problem> {
    let wrong = || Problem::new(Code::InvalidCursor);
    if cursor.len() > CURSOR_BYTES_MAX {
        return Err(wrong());
    }
    let text = BASE64_URL_SAFE_NO_PAD.decode(cursor).map_err(|_| wrong())?;
    let (of, place): (String, T) = serde_json::from_slice(&text).map_err(|_| wrong())?;
    if of == route { Ok(place) } else { Err(wrong()) }
}

#[cfg(test)]
mod tests {
    use super::{read, write};
    use proptest::prelude::*;

    proptest! {
        /// Scenario: any place, and any text in the place of a cursor.
        /// Guarantees: a cursor comes back as it was, on its own route only; nonsense is refused and never panics.
        #[test]
        fn cursors_come_back(us in any::<i64>(), id in any::<String>(), nonsense in any::<String>()) {
            let id: String = id.chars().take(200).collect();
            let cursor = write("tasks", &(us, &id));
            prop_assert!(cursor.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_'));
            let back: Option<(i64, String)> = read("tasks", &cursor).ok();
            if cursor.len() <= super::CURSOR_BYTES_MAX {
                prop_assert_eq!(back, Some((us, id)));
            }
            prop_assert!(read::<(i64, String)>("wallets", &cursor).is_err());
            prop_assert!(read::<(i64, String)>("tasks", &nonsense).is_err());
        }
    }
}
