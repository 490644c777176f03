//! Bodies of `multipart/form-data`, in which some clients send the statement and its parameters.
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use super::error::{Exception, Kind};

/// Most fields in a body.
const FIELDS_MAX: usize = 1000;

/// The boundary that a Content-Type names; `None` when it is not of this kind.
pub(super) fn boundary(content_type: &str) -> Option<String> {
    let mut parts = content_type.split(';');
    if !parts.next()?.trim().eq_ignore_ascii_case("multipart/form-data") {
        return None;
    }
    parts.find_map(|part| {
        let (name, value) = part.split_once('=')?;
        let value = value.trim().trim_matches('"');
        (name.trim().eq_ignore_ascii_case("boundary") && !value.is_empty()).then(|| value.to_owned())
    })
}

/// The fields of a body, in order.
///
/// # Errors
/// When the body is malformed, or holds a file: external data is not offered.
pub(super) fn fields(body: &[u8], boundary: &str) -> Result<Vec<(String, String)>, Exception> {
    let malformed = || Exception::new(Kind::BadArguments, "the multipart body is malformed.");
    let mark = format!("--{boundary}");
    let between = format!("\r\n--{boundary}");
    let first = find(body, mark.as_bytes()).ok_or_else(malformed)?;
    let mut rest = body.get(first.saturating_add(mark.len())..).unwrap_or_default();
    let mut fields = Vec::new();
    while !rest.starts_with(b"--") {
        let part = rest.strip_prefix(b"\r\n").ok_or_else(malformed)?;
        let end = find(part, between.as_bytes()).ok_or_else(malformed)?;
        fields.push(field(part.get(..end).unwrap_or_default())?);
        if fields.len() > FIELDS_MAX {
            return Err(Exception::new(Kind::BadArguments, "the multipart body has too many fields."));
        }
        rest = part.get(end.saturating_add(between.len())..).unwrap_or_default();
    }
    Ok(fields)
}

fn field(part: &[u8]) -> Result<(String, String), Exception> {
    let malformed = || Exception::new(Kind::BadArguments, "a field of the multipart body is malformed.");
    let blank = find(part, b"\r\n\r\n").ok_or_else(malformed)?;
    let head = std::str::from_utf8(part.get(..blank).unwrap_or_default()).map_err(|_| malformed())?;
    let value = part.get(blank.saturating_add(4)..).unwrap_or_default();
    let disposition = head
        .lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.trim().eq_ignore_ascii_case("content-disposition"))
        .map(|(_, value)| value)
        .ok_or_else(malformed)?;
    let attribute = |wanted: &str| {
        disposition.split(';').skip(1).find_map(|item| {
            let (name, value) = item.split_once('=')?;
            name.trim().eq_ignore_ascii_case(wanted).then(|| value.trim().trim_matches('"').to_owned())
        })
    };
    if attribute("filename").is_some() {
        let message = "external data in multipart bodies is not supported by the embedded ClickHouse.";
        return Err(Exception::new(Kind::NotImplemented, message));
    }
    let name = attribute("name").ok_or_else(malformed)?;
    let value = String::from_utf8(value.to_vec()).map_err(|_| malformed())?;
    Ok((name, value))
}

fn find(text: &[u8], wanted: &[u8]) -> Option<usize> {
    text.windows(wanted.len()).position(|window| window == wanted)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn fields_are_read_and_files_refused() {
        assert_eq!(boundary("multipart/form-data; boundary=\"x y\"").as_deref(), Some("x y"));
        assert_eq!(boundary("text/plain; boundary=x"), None);
        let body = "--b\r\nContent-Disposition: form-data; name=\"query\"\r\n\r\nSELECT\r\n1\r\n--b\r\ncontent-disposition: form-data; name=param_x\r\n\r\n\r\n--b--\r\n";
        let want = [("query".to_owned(), "SELECT\r\n1".to_owned()), ("param_x".to_owned(), String::new())];
        assert_eq!(fields(body.as_bytes(), "b").unwrap(), want);
        let file = "--b\r\nContent-Disposition: form-data; name=\"t\"; filename=\"f\"\r\n\r\n1\r\n--b--";
        assert_eq!(fields(file.as_bytes(), "b").unwrap_err().code, 48);
    }

    proptest! {
        #[test]
        fn any_body_reads_without_panic(body in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = fields(&body, "b");
        }

        #[test]
        fn pieces_in_any_order_read_without_panic(words in proptest::collection::vec(prop::sample::select(vec!["--b", "--", "\r\n", "Content-Disposition: form-data; name=\"a\"", ";", "x", "\r\n\r\n"]), 0..20)) {
            let _ = fields(words.concat().as_bytes(), "b");
        }
    }
}
