//! Who is let in at all.

use super::platform::platform;
use serde_json::Value;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use tally_dashboards::identity::Role;
use tally_tests::service::{Key, Service, start};
use tally_tests::{python, stage};

/// Scenario: no token, nonsense, a token of another key, an expired one, an unsigned one, an altered one; tokens in the
/// query string and in two headers; a cookie that reads and a cookie that would write.
/// Guarantees: each is 401 with its own code and a challenge, and nothing of the store is in the answer.
#[test]
fn nobody_comes_in_without_a_good_token() {
    let database = platform();
    let service = Service::start(&database, &[]);
    let good = service.token(Role::Admin, "ops");
    let now_s =
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970").as_secs();
    let now_s = i64::try_from(now_s).expect("in time");
    let expired = service.key().token_at(Role::Admin, "ops", now_s - 1_000, 900).0;
    let foreign = Key::new().token(Role::Admin, "ops").0;
    let (head, tail) = good.split_once('.').expect("three parts");
    let (claims, signature) = tail.split_once('.').expect("three parts");
    let unsigned = format!("{head}.{claims}.");
    let last = if signature.ends_with('A') { 'Q' } else { 'A' };
    let altered = format!("{head}.{claims}.{}{last}", &signature[..signature.len() - 1]);
    for (token, code) in [
        ("", "token_missing"),
        ("nonsense", "token_invalid"),
        (expired.as_str(), "token_expired"),
        (foreign.as_str(), "token_invalid"),
        (unsigned.as_str(), "token_invalid"),
        (altered.as_str(), "token_invalid"),
    ] {
        for path in ["/api/v1/me", "/api/v1/tasks", "/api/v1/live", "/api/v1/openapi.json"] {
            let answer = service.get(path, token);
            if path.ends_with("openapi.json") {
                assert_eq!(answer.status, 200, "the document is no data");
                continue;
            }
            assert_eq!((answer.status, answer.code().as_str()), (401, code), "{path}: {}", answer.body);
            assert!(answer.header("www-authenticate").starts_with("Bearer"), "{path}");
            assert!(!answer.body.contains("t-ann") && answer.body.len() < 400, "{}", answer.body);
        }
    }
    assert_eq!(service.get(&format!("/api/v1/tasks?access_token={good}"), "").status, 401);
    let basic = service.get_with("/api/v1/me", "", &[("authorization", "Basic b3BzOm9wcw==")]);
    assert_eq!(basic.code(), "token_invalid");
    let cookie = format!("__Host-tally={good}");
    assert_eq!(service.get_with("/api/v1/me", "", &[("cookie", &cookie)]).status, 200);
    let by_cookie = ureq::post(format!("{}/api/v1/revocations", service.url)).header("cookie", &cookie);
    let by_cookie = by_cookie.config().http_status_as_error(false).proxy(None).build();
    let by_cookie = by_cookie.send(r#"{"kind":"token","value":"x","reason":"forged"}"#).expect("an answer");
    assert_eq!(by_cookie.status(), 401, "a form of another site sends cookies too");
    assert_eq!(service.get("/", "").header("set-cookie"), "", "only a demo gives tokens away");
}

/// An issuer's key set on loopback, as often as it is asked; what it says can be changed.
struct Issuer {
    url: String,
    keys: Arc<Mutex<String>>,
    asked: Arc<Mutex<u32>>,
}

impl Issuer {
    fn start(keys: &str) -> Issuer {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("http://{}/jwks.json", listener.local_addr().expect("an address"));
        let (keys, asked) = (Arc::new(Mutex::new(keys.to_owned())), Arc::new(Mutex::new(0)));
        let (said, count) = (Arc::clone(&keys), Arc::clone(&asked));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                *count.lock().expect("a count") += 1;
                let body = said.lock().expect("keys").clone();
                let _ = answer(stream, &body); // who hung up asks again
            }
        });
        Issuer { url, keys, asked }
    }
}

fn answer(stream: TcpStream, body: &str) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    while lines.next().is_some_and(|line| line.is_ok_and(|line| !line.is_empty())) {}
    let status = if body.is_empty() { "503 Service Unavailable" } else { "200 OK" };
    write!(&stream, "HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}", body.len())
}

/// Scenario: an issuer with keys of three kinds, made and used by an independent library (PyJWT); tokens that name unknown
/// keys, one after the other; then the issuer is down.
/// Guarantees: tokens of all three kinds are let in; unknown keys make the service ask at most once in ten seconds; what is
/// known stays good without the issuer.
#[test]
fn tokens_of_an_issuer_are_checked_with_its_keys() {
    let made: Value =
        serde_json::from_str(&python::run("issue_tokens.py", &["https://issuer.test", "tally"], "").stdout)
            .expect("issue_tokens.py prints JSON");
    let issuer = Issuer::start(&made["jwks"].to_string());
    let database = platform();
    let flags = ["--issuer", "https://issuer.test", "--jwks", &issuer.url];
    let (tally, url, _ops) = start(&database, &flags);
    let status = |token: &str| {
        let request =
            ureq::get(format!("{url}/api/v1/me")).header("authorization", format!("Bearer {token}"));
        let request = request.config().http_status_as_error(false).proxy(None).build();
        request.call().expect("an answer").status().as_u16()
    };
    for algorithm in ["EdDSA", "ES256", "RS256"] {
        assert_eq!(
            status(made["good"][algorithm].as_str().expect("a token")),
            200,
            "{algorithm}\n{}",
            tally.log_tail()
        );
    }
    for (what, token) in made["bad"].as_object().expect("bad tokens") {
        assert_eq!(status(token.as_str().expect("a token")), 401, "{what}");
    }
    for _ in 0..20 {
        assert_eq!(status(made["unknown_key"].as_str().expect("a token")), 401);
    }
    let asked = *issuer.asked.lock().expect("a count");
    assert!(asked <= 3, "asked {asked} times");
    issuer.keys.lock().expect("keys").clear();
    assert_eq!(status(made["good"]["EdDSA"].as_str().expect("a token")), 200);
}

/// Scenario: `tally serve` without a key, with a private key, with a key set over plain HTTP from elsewhere; an issuer that
/// cannot be reached.
/// Guarantees: the first three end at once with a sentence; the last is not ready, and answers 503 and no data.
#[test]
fn there_is_no_service_without_keys() {
    use std::time::Duration;
    let database = platform();
    let at = [
        "serve",
        "--clickhouse",
        database.url(),
        "--database",
        database.name(),
        "--listen",
        "127.0.0.1:0",
        "--ops-listen",
        "127.0.0.1:0",
    ];
    let key = Key::new();
    let public = key.flags().pop().expect("a file");
    let private = public.trim_end_matches(".pub");
    for (flags, says) in [
        (vec![], "--token-key"),
        (vec!["--issuer", "i", "--token-key", private], "private"),
        (vec!["--issuer", "i", "--jwks", "http://192.0.2.1/jwks"], "loopback"),
        (vec!["--token-key", public.as_str()], "--issuer"),
    ] {
        let ended = tally_tests::Tally::spawn(&[&at[..], &flags].concat(), &[])
            .expect_code(3, Duration::from_secs(60));
        assert!(ended.stderr.contains(says), "{}", ended.stderr);
    }
    let nobody = format!("http://127.0.0.1:{}/jwks", tally_tests::free_port());
    let mut tally =
        tally_tests::Tally::spawn(&[&at[..], &["--issuer", "i", "--jwks", &nobody]].concat(), &[]);
    let ops = stage::pages(&mut tally);
    let (status, body) = stage::get(&format!("{ops}/readyz"));
    assert_eq!(status, 503);
    assert!(body.contains("the issuer's keys"), "{body}");
    assert_eq!(stage::get(&format!("{ops}/livez")).0, 200);
}
