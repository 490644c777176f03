use super::{Lookup, Registry, RegistryConfig, RegistryError};
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use std::sync::{Arc, Mutex};
use std::time::Duration;

type Seen = Arc<Mutex<Vec<String>>>;
type Answers = Arc<Mutex<Vec<(u16, String)>>>;

/// A registry that answers from a list, the last answer again and again, and remembers what it was asked.
async fn registry(answers: &[(u16, &str)]) -> (Registry, Seen) {
    let seen = Seen::default();
    let answers: Vec<(u16, String)> = answers.iter().rev().map(|(s, b)| (*s, (*b).to_owned())).collect();
    let state: (Answers, Seen) = (Arc::new(Mutex::new(answers)), seen.clone());
    let answer = |State((answers, seen)): State<(Answers, Seen)>,
                  method: Method,
                  uri: Uri,
                  headers: HeaderMap,
                  body: String| async move {
        let auth =
            headers.get("authorization").and_then(|value| value.to_str().ok()).unwrap_or("-").to_owned();
        seen.lock().expect("no panic").push(format!("{method} {uri} {auth} {body}"));
        let mut answers = answers.lock().expect("no panic");
        let (status, body) =
            if answers.len() > 1 { answers.pop() } else { answers.last().cloned() }.expect("one");
        (StatusCode::from_u16(status).expect("a status"), body)
    };
    let app = axum::Router::new().fallback(answer).with_state(state);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move { axum::serve(listener, app).await });
    let config = RegistryConfig {
        user: Some("key".to_owned()),
        password: Some("secret".into()),
        backoff: Duration::from_millis(1),
        ..RegistryConfig::at(format!("http://{address}/api/"))
    };
    (Registry::new(config).expect("a client"), seen)
}

const UNKNOWN: &str = r#"{"error_code":40403,"message":"Schema not found"}"#;

/// Scenario: ids that the registry has and has not.
/// Guarantees: both are answers; the path and the credentials are as the API wants them.
#[tokio::test]
async fn an_id_is_found_or_not() {
    let (registry, seen) = registry(&[(200, r#"{"schema":"\"int\""}"#), (404, UNKNOWN)]).await;
    assert_eq!(registry.schema(7).await.expect("an answer"), Lookup::Found("\"int\"".to_owned()));
    assert_eq!(registry.schema(8).await.expect("an answer"), Lookup::NotFound);
    let seen = seen.lock().expect("no panic");
    // printf key:secret | base64
    assert!(seen[0].starts_with("GET /api/schemas/ids/7 Basic a2V5OnNlY3JldA== "), "{}", seen[0]);
    assert!(seen[1].starts_with("GET /api/schemas/ids/8 "), "{}", seen[1]);
}

/// Scenario: five bytes of garbage name an id that no registry can give, and the registry answers as for a wrong path.
/// Guarantees: that is an id that is not found, and no reason to wait.
#[tokio::test]
async fn an_id_that_cannot_be_is_not_found() {
    let (registry, _) = registry(&[(404, r#"{"error_code":404,"message":"HTTP 404 Not Found"}"#)]).await;
    assert_eq!(registry.schema(0x8000_0000).await.expect("an answer"), Lookup::NotFound);
    assert_eq!(registry.schema(u32::MAX).await.expect("an answer"), Lookup::NotFound);
    assert!(registry.schema(0x7fff_ffff).await.is_err(), "a bare 404 says nothing of an id that can be");
}

/// Scenario: the registry fails and comes back; it stays away; something else answers at its address.
/// Guarantees: a failure is tried again within the bound and is an error, never `NotFound`; no error shows the password.
#[tokio::test]
async fn a_silent_registry_is_not_bad_data() {
    let (back, seen) = registry(&[(503, ""), (429, ""), (200, r#"{"schema":"\"int\""}"#)]).await;
    assert!(matches!(back.schema(7).await, Ok(Lookup::Found(_))));
    assert_eq!(seen.lock().expect("no panic").len(), 3);

    let (down, seen) = registry(&[(500, UNKNOWN)]).await;
    let error = down.schema(7).await.expect_err("down");
    assert!(error.is_retryable() && error.to_string().contains("status 500"), "{error}");
    assert_eq!(seen.lock().expect("no panic").len(), 3);

    let (proxy, _) = registry(&[(404, "<html>not found</html>")]).await;
    let error = proxy.schema(7).await.expect_err("not the API");
    assert!(matches!(error, RegistryError::Refused { status: 404, .. }), "{error}");
    assert!(!error.to_string().contains("cret"), "{error}");

    let (locked, _) = registry(&[(401, "")]).await;
    assert!(matches!(locked.schema(7).await, Err(RegistryError::Credentials { .. })));

    let nobody = RegistryConfig {
        attempts_max: 2,
        backoff: Duration::ZERO,
        ..RegistryConfig::at("http://127.0.0.1:9")
    };
    let error = Registry::new(nobody).expect("a client").schema(7).await.expect_err("nobody there");
    assert!(error.is_retryable(), "{error}");
}

/// Scenario: contracts are registered.
/// Guarantees: requests are those of the API; a refusal for incompatibility says what to do.
#[tokio::test]
async fn registering() {
    let (registry, seen) = registry(&[(200, r#"{"id":41}"#), (200, "{}"), (404, UNKNOWN), (409, "{}")]).await;
    assert_eq!(registry.register("a/b-value", "\"int\"").await.expect("an id"), 41);
    registry.require_full_transitive("t-value").await.expect("set");
    assert_eq!(registry.id_of("t-value", "\"int\"").await.expect("an answer"), None);
    let error = registry.register("t-value", "\"int\"").await.expect_err("refused");
    assert!(error.to_string().contains("tally schema check"), "{error}");
    let seen = seen.lock().expect("no panic");
    assert!(seen[0].starts_with("POST /api/subjects/a%2Fb-value/versions Basic "), "{}", seen[0]);
    assert!(seen[0].ends_with(r#"{"schema":"\"int\""}"#), "{}", seen[0]);
    assert!(
        seen[1].starts_with("PUT /api/config/t-value ")
            && seen[1].ends_with(r#"{"compatibility":"FULL_TRANSITIVE"}"#)
    );
    assert!(seen[2].starts_with("POST /api/subjects/t-value "));
}

/// Scenario: a file of authorities for an address without TLS, and with it.
/// Guarantees: the former is refused before the file is read, in words that say what to do; the latter reads it.
#[test]
fn authorities_need_tls() {
    let at = |url: &str| {
        let ca = Some("nowhere.pem".into());
        Registry::new(RegistryConfig { ca, ..RegistryConfig::at(url) }).expect_err("a mistake")
    };
    let error = at("http://host:8081");
    assert!(matches!(error, RegistryError::AuthoritiesWithoutTls) && !error.is_retryable());
    assert!(error.to_string().contains("begin the address with https, or leave registry.ca out"), "{error}");
    assert!(matches!(at("HTTPS://host:8081"), RegistryError::Authorities { .. }));
}

/// Scenario: the address is mistyped.
/// Guarantees: it is refused before anything is sent.
#[test]
fn an_address_must_be_one() {
    for url in ["", "registry:8081", "ftp://host/", "mailto:a@b"] {
        assert!(matches!(Registry::new(RegistryConfig::at(url)), Err(RegistryError::Address)), "{url}");
    }
    let with_credentials =
        Registry::new(RegistryConfig::at("https://key:secret@host/")).expect_err("a secret in it");
    assert!(
        matches!(with_credentials, RegistryError::CredentialsInAddress)
            && !format!("{with_credentials:?}").contains("secret")
    );
}
