//! Where a page ends: opaque to clients, exclusive, and bound to its route.

use crate::problem::{Code, Problem};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Bytes of a cursor, as text.
pub(super) const CURSOR_BYTES_MAX: usize = 2_048;

/// The cursor after the row that `place` names, for that route.
pub(super) fn write(route: &str, place: &impl Serialize) -> String {
    let text = serde_json::to_vec(&(route, place)).unwrap_or_default();
    BASE64_URL_SAFE_NO_PAD.encode(text)
}

/// The place that a cursor of that route names.
pub(super) fn read<T: DeserializeOwned>(route: &str, cursor: &str) -> Result<T, Problem> {
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
