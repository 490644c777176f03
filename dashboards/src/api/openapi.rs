//! The document of the API: every operation as its handler states it, and what all of them have in common.

use super::store::Api;
use crate::problem::{Code, ProblemDocument};
use axum::Router;
use axum::http::header;
use axum::routing::get;
use std::collections::BTreeMap;
use std::sync::LazyLock;
use utoipa::openapi::path::{Operation, PathItem};
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{ContentBuilder, Info, OpenApi, Ref, RefOr, Response, ResponseBuilder};
use utoipa::{PartialSchema, ToSchema};

const BEARER: &str = "access_token";
const PROBLEM: &str = "#/components/schemas/ProblemDocument";

static TEXT: LazyLock<String> = LazyLock::new(|| document().to_json().unwrap_or_default());

/// Where the document lies. It is no data, and open to all.
pub(super) fn router() -> Router<Api> {
    let text = || async { ([(header::CONTENT_TYPE, "application/json")], TEXT.as_str()) };
    Router::new().route("/api/v1/openapi.json", get(text))
}

/// The document.
pub fn document() -> OpenApi {
    let (_, mut document) = super::operations().split_for_parts();
    document.merge(crate::feed::document());
    document.info = Info::new("Tally", "v1");
    document.info.description = Some(
        "Read-only over the audited ledger, but for revocations and replays of dead letters. Rows are those of the token's subject and role; \
         `dashboards/RIGHTS.md` is the table. Amounts are whole numbers as text: micros of a credit, minor units of a currency."
            .to_owned(),
    );
    let components = document.components.get_or_insert_default();
    let mut schemas = vec![("ProblemDocument".to_owned(), ProblemDocument::schema())];
    ProblemDocument::schemas(&mut schemas);
    components.schemas.extend(schemas);
    let scheme =
        Http::builder().scheme(HttpAuthScheme::Bearer).bearer_format("RFC 9068 access token").build();
    components.security_schemes.insert(BEARER.to_owned(), RefOr::T(SecurityScheme::Http(scheme)));
    document.security = Some(vec![SecurityRequirement::new(BEARER, Vec::<String>::new())]);
    for (path, item) in &mut document.paths.paths {
        for (method, operation) in operations_of(item) {
            match path.starts_with("/api/") {
                true => {
                    operation.operation_id = Some(id(method, path));
                    complete(path, operation);
                }
                false => problems(operation, crate::feed::problems(path)),
            }
        }
    }
    document
}

fn operations_of(item: &mut PathItem) -> impl Iterator<Item = (&'static str, &mut Operation)> {
    let both = [("get", &mut item.get), ("post", &mut item.post)];
    both.into_iter().filter_map(|(method, operation)| Some((method, operation.as_mut()?)))
}

/// The name of an operation in clients that are made from the document: unique, and the same as long as its path is.
fn id(method: &str, path: &str) -> String {
    let words = path.trim_start_matches("/api/v1/").split(['/', '{', '}', '-', '.']);
    let words: Vec<&str> = std::iter::once(method).chain(words).filter(|word| !word.is_empty()).collect();
    words.join("_")
}

/// What every operation has: CSV beside a page, 304 beside 200, and the problems that may come instead.
fn complete(path: &str, operation: &mut Operation) {
    let writes = operation.request_body.is_some();
    let responses = &mut operation.responses.responses;
    let has_csv = path.starts_with("/api/v1/panels/")
        || !path.contains('{')
            && (path.starts_with("/api/v1/figures/")
                || !["/me", "/live"].iter().any(|end| path.ends_with(end)));
    if let Some(RefOr::T(found)) = responses.get_mut("200") {
        if has_csv {
            let text = utoipa::openapi::ObjectBuilder::new().schema_type(utoipa::openapi::Type::String);
            found
                .content
                .insert("text/csv".to_owned(), RefOr::T(ContentBuilder::new().schema(Some(text)).build()));
        }
        responses.insert("304".to_owned(), plain("The client has it already: its entity tag matches"));
    }
    let may_come = |code: &Code| {
        let only_writes = matches!(code, Code::InvalidBody | Code::TooLarge | Code::UnsupportedMediaType);
        *code != Code::MethodNotAllowed && !code.is_of_feed() && (writes || !only_writes)
    };
    problems(operation, Code::ALL.into_iter().filter(may_come).collect());
}

/// The problems that may come instead of an answer, by status.
fn problems(operation: &mut Operation, codes: Vec<Code>) {
    let responses = &mut operation.responses.responses;
    let mut statuses: BTreeMap<u16, Vec<&str>> = BTreeMap::new();
    for code in codes {
        statuses.entry(code.status().as_u16()).or_default().push(code.title());
    }
    for (status, titles) in statuses {
        let content = ContentBuilder::new().schema(Some(Ref::new(PROBLEM))).build();
        let problem = ResponseBuilder::new()
            .description(titles.join("; "))
            .content("application/problem+json", content);
        responses.entry(status.to_string()).or_insert(RefOr::T(problem.build()));
    }
}

fn plain(description: &str) -> RefOr<Response> {
    RefOr::T(ResponseBuilder::new().description(description).build())
}

#[cfg(test)]
mod tests {
    use super::document;
    use crate::rights::Route;
    use std::collections::BTreeSet;

    /// Scenario: a route is added to the router, the document or the table of rights, and forgotten in another.
    /// Guarantees: the three have the same routes: what the router serves is what its handlers state, and what the table allows.
    #[test]
    fn router_document_and_rights_have_the_same_routes() {
        let document = document();
        let (mut stated, mut ids) = (BTreeSet::new(), BTreeSet::new());
        for (path, item) in &document.paths.paths {
            for (method, operation) in [
                ("GET", &item.get),
                ("POST", &item.post),
                ("PUT", &item.put),
                ("DELETE", &item.delete),
                ("PATCH", &item.patch),
            ] {
                if let Some(operation) = operation {
                    assert!(operation.summary.as_deref().is_some_and(|text| text.len() > 5), "{path}");
                    let has = |code: &&str| operation.responses.responses.contains_key(*code);
                    assert_eq!(
                        ["401", "403", "429"].iter().all(has),
                        !path.starts_with("/.well-known/"),
                        "{path}"
                    );
                    stated.insert((method.to_owned(), path.clone()));
                    assert!(ids.insert(operation.operation_id.clone()), "{path}: its id is that of another");
                }
            }
        }
        let table = Route::ALL.iter().map(|route| (route.method().to_owned(), route.path().to_owned()));
        assert_eq!(stated, table.collect());
        assert!(stated.len() > 30);
    }
}
