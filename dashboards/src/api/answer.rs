//! The forms of an answer: JSON or CSV by what the request accepts, with an entity tag.

use crate::problem::{Code, Problem};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use sha2::{Digest, Sha256};
use utoipa::ToSchema;

/// A page of a list.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Page<T> {
    /// The rows, in the route's order.
    pub(super) items: Vec<T>,
    /// Give it as `cursor` for the rows that follow; null at the end.
    pub(super) next: Option<String>,
}

impl<T> Page<T> {
    /// Of `limit` + 1 rows that were asked for: the last one says only that there are more.
    pub(super) fn cut(mut items: Vec<T>, limit: u32, cursor: impl FnOnce(&T) -> String) -> Page<T> {
        let limit = limit as usize;
        let more = items.len() > limit;
        items.truncate(limit);
        let next = items.last().filter(|_| more).map(cursor);
        Page { items, next }
    }
}

/// The two forms.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Form {
    Json,
    Csv,
}

/// A page as JSON or CSV. In CSV the next cursor stands in the header `x-next-cursor`.
pub(super) fn page<T: Serialize>(headers: &HeaderMap, page: &Page<T>) -> Result<Response, Problem> {
    match form(headers, true)? {
        Form::Json => tagged(headers, "application/json", json(page)?),
        Form::Csv => {
            let mut response = tagged(headers, "text/csv; charset=utf-8; header=present", csv(&page.items)?)?;
            if let Some(next) = page.next.as_deref().and_then(|next| HeaderValue::from_str(next).ok()) {
                response.headers_mut().insert("x-next-cursor", next);
            }
            Ok(response)
        }
    }
}

/// Whether the request likes CSV best, of an answer that has both forms.
pub(super) fn is_csv(headers: &HeaderMap) -> Result<bool, Problem> {
    Ok(form(headers, true)? == Form::Csv)
}

/// One thing as JSON, whatever the request accepts: its address has said that it is.
pub(super) fn thing<T: Serialize>(headers: &HeaderMap, thing: &T) -> Result<Response, Problem> {
    tagged(headers, "application/json", json(thing)?)
}

/// Lines of CSV under a name, to be saved.
pub(super) fn sheet(headers: &HeaderMap, name: &str, lines: &[Vec<String>]) -> Result<Response, Problem> {
    let mut writer = ::csv::Writer::from_writer(Vec::new());
    let written = lines.iter().try_for_each(|line| writer.write_record(line));
    written.map_err(|_| Problem::new(Code::Internal))?;
    let body = writer.into_inner().map_err(|_| Problem::new(Code::Internal))?;
    let mut response = tagged(headers, "text/csv; charset=utf-8; header=present", body)?;
    if let Ok(saved) = HeaderValue::from_str(&format!("attachment; filename=\"{name}.csv\"")) {
        response.headers_mut().insert(header::CONTENT_DISPOSITION, saved);
    }
    Ok(response)
}

/// One thing, as JSON.
pub(super) fn one<T: Serialize>(headers: &HeaderMap, thing: &T) -> Result<Response, Problem> {
    form(headers, false)?;
    tagged(headers, "application/json", json(thing)?)
}

fn json(thing: &impl Serialize) -> Result<Vec<u8>, Problem> {
    serde_json::to_vec(thing).map_err(|_| Problem::new(Code::Internal))
}

fn csv<T: Serialize>(rows: &[T]) -> Result<Vec<u8>, Problem> {
    let mut writer = ::csv::Writer::from_writer(Vec::new());
    let written = rows.iter().try_for_each(|row| writer.serialize(row));
    written.map_err(|_| Problem::new(Code::Internal))?;
    writer.into_inner().map_err(|_| Problem::new(Code::Internal))
}

/// 304 where the client has it already.
fn tagged(headers: &HeaderMap, kind: &'static str, body: Vec<u8>) -> Result<Response, Problem> {
    let tag = format!("\"{}\"", &hex(&Sha256::digest(&body))[..32]);
    let known = headers.get_all(header::IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    let known = known.flat_map(|value| value.split(',')).map(|one| one.trim().trim_start_matches("W/"));
    let is_known = known.into_iter().any(|one| one == tag || one == "*");
    let about = [
        (header::ETAG, tag.as_str()),
        (header::CACHE_CONTROL, "private, no-cache"), // asked again each time; the tag saves the body
        (header::VARY, "accept, authorization, cookie"),
    ];
    if is_known {
        return Ok((StatusCode::NOT_MODIFIED, about).into_response());
    }
    Ok((about, [(header::CONTENT_TYPE, kind)], body).into_response())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The form that the request likes best; JSON where it likes both alike.
fn form(headers: &HeaderMap, has_csv: bool) -> Result<Form, Problem> {
    let accepts = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let accepts = accepts.collect::<Vec<_>>().join(",");
    if accepts.trim().is_empty() {
        return Ok(Form::Json);
    }
    let mut best: Option<(u32, Form)> = None;
    for range in accepts.split(',') {
        let mut parts = range.split(';').map(str::trim);
        let kind = parts.next().unwrap_or_default().to_ascii_lowercase();
        let quality = parts.find_map(|part| part.strip_prefix("q=")).map_or(Ok(1.0), str::parse::<f64>);
        let forms: &[Form] = match kind.as_str() {
            "*/*" => &[Form::Json, Form::Csv],
            "application/json" | "application/*" => &[Form::Json],
            "text/csv" | "text/*" => &[Form::Csv],
            _ => &[],
        };
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 0 and 1000")]
        let weight = (quality.unwrap_or(0.0).clamp(0.0, 1.0) * 1000.0) as u32;
        for form in forms.iter().filter(|form| weight > 0 && (has_csv || **form == Form::Json)) {
            if best.is_none_or(|(known, of)| {
                weight > known || (weight == known && of == Form::Csv && *form == Form::Json)
            }) {
                best = Some((weight, *form));
            }
        }
    }
    best.map(|(_, form)| form).ok_or_else(|| Problem::new(Code::NotAcceptable))
}

#[cfg(test)]
mod tests {
    use super::{Form, Page, csv, form, tagged};
    use axum::http::{HeaderMap, StatusCode, header};
    use serde::Serialize;

    /// Scenario: what browsers, curl, spreadsheets and mistaken clients accept.
    /// Guarantees: JSON unless CSV is liked better; neither is refused; CSV only where there are rows.
    #[test]
    fn forms_are_negotiated() {
        let of = |accept: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT, accept.parse().expect("a header"));
            headers
        };
        assert_eq!(form(&HeaderMap::new(), true).ok(), Some(Form::Json));
        for accept in [
            "*/*",
            "application/json",
            "text/csv;q=0.5, application/json",
            "text/html, */*;q=0.8",
            "application/*",
        ] {
            assert_eq!(form(&of(accept), true).ok(), Some(Form::Json), "{accept}");
        }
        for accept in ["text/csv", "text/csv, application/json;q=0.9", "TEXT/CSV"] {
            assert_eq!(form(&of(accept), true).ok(), Some(Form::Csv), "{accept}");
        }
        for accept in ["text/html", "application/json;q=0", "text/csv;q=x"] {
            assert!(form(&of(accept), true).is_err(), "{accept}");
        }
        assert!(form(&of("text/csv"), false).is_err());
    }

    /// Scenario: rows with commas, quotes and line ends; the same body asked for twice; three rows of two.
    /// Guarantees: CSV is quoted as RFC 4180 says; the second time there is no body; a page says where it ends.
    #[test]
    fn pages_are_quoted_tagged_and_cut() {
        #[derive(Serialize)]
        struct Row {
            a: &'static str,
            b: Option<u64>,
        }
        let rows = [Row { a: "x,\"y\"\n", b: None }, Row { a: "z", b: Some(1) }];
        assert_eq!(csv(&rows).expect("CSV"), b"a,b\n\"x,\"\"y\"\"\n\",\nz,1\n");
        let first = tagged(&HeaderMap::new(), "text/plain", b"body".to_vec()).expect("an answer");
        let mut headers = HeaderMap::new();
        headers.insert(header::IF_NONE_MATCH, first.headers()[header::ETAG].clone());
        let status = |headers: &HeaderMap, body: &[u8]| {
            tagged(headers, "text/plain", body.to_vec()).expect("an answer").status()
        };
        assert_eq!(status(&headers, b"body"), StatusCode::NOT_MODIFIED);
        assert_eq!(status(&headers, b"other"), StatusCode::OK);
        let page = Page::cut(vec![1, 2, 3], 2, ToString::to_string);
        assert_eq!((page.items, page.next), (vec![1, 2], Some("2".to_owned())));
        assert_eq!(Page::cut(vec![1, 2], 2, ToString::to_string).next, None);
    }
}
