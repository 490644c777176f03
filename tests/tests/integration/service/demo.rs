//! The demo's page and its tokens.

use std::os::unix::fs::PermissionsExt;
use std::time::Duration;
use tally_tests::{Tally, TempFolder, eventually};

const SOON: Duration = Duration::from_secs(60);

fn get(url: &str, headers: &[(&str, &str)]) -> (u16, String, String) {
    let mut request = ureq::get(url);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.config().timeout_global(Some(SOON)).http_status_as_error(false).proxy(None).build();
    let mut response = request.call().unwrap_or_else(|error| panic!("{url}: {error}"));
    let cookie =
        response.headers().get("set-cookie").and_then(|value| value.to_str().ok()).unwrap_or_default();
    let (status, cookie) = (response.status().as_u16(), cookie.to_owned());
    (status, cookie, response.body_mut().read_to_string().expect("text"))
}

/// Sends the form by which one chooses whom to look as: status and cookie.
fn look_as(page: &str, role: &str, origin: &str) -> (u16, String) {
    let request = ureq::post(format!("{page}/session")).header("origin", origin);
    let request = request
        .config()
        .timeout_global(Some(SOON))
        .http_status_as_error(false)
        .max_redirects(0)
        .proxy(None)
        .build();
    let sent = request
        .content_type("application/x-www-form-urlencoded")
        .send(format!("role={role}&subject=m-chen&to=/"));
    let response = sent.unwrap_or_else(|error| panic!("/session: {error}"));
    let cookie =
        response.headers().get("set-cookie").and_then(|value| value.to_str().ok()).unwrap_or_default();
    (response.status().as_u16(), cookie.to_owned())
}

/// Scenario: a short demo; its first page is loaded under its own name and under one that somebody else made point to it; somebody
/// chooses a role there; the counts are asked for without a token, with the cookie, and with tokens that the printed command makes.
/// Guarantees: no data without a token; roles are given to this machine's names and our own form only, the cookie is out of scripts'
/// reach and out of URLs; each role can sign in as printed; the demo's balance holds, with code 0; what its gateway shows the platform
/// is its owner's alone.
#[test]
fn the_demo_lets_its_own_page_in_and_nobody_else() {
    let folder = TempFolder::new("demo");
    let data = folder.path().to_str().expect("paths in tests are text");
    let mut demo = Tally::spawn(&["demo", "--data", data, "--seconds", "15", "--rate", "50"], &[]);
    let page = eventually(SOON, "the page's address", || {
        assert!(demo.is_running(), "tally demo ended\n{}", demo.log_tail());
        let output = demo.stdout();
        let (_, rest) = output.split_once("page: ")?;
        Some(rest.split_once("/ ")?.0.to_owned())
    });
    let live = format!("{page}/api/v1/live");
    assert_eq!(get(&live, &[]).0, 401);
    assert_eq!(get(&format!("{page}/api/live"), &[]).0, 404, "the old route is gone");
    let (status, cookie, html) = get(&format!("{page}/"), &[]);
    assert!(status == 401 && cookie.is_empty() && html.contains("Look at the demo as"), "{status} {cookie}");
    let (status, cookie) = look_as(&page, "moderator", &page);
    assert_eq!(status, 303);
    for part in ["__Host-tally=", "; Secure", "; HttpOnly", "; SameSite=Strict", "; Path=/"] {
        assert!(cookie.contains(part), "{cookie}");
    }
    let pair = cookie.split(';').next().expect("name and value");
    let counts = eventually(SOON, "counts", || {
        let (status, _, body) = get(&live, &[("cookie", pair)]);
        (status == 200 && body.contains("task-events")).then_some(body)
    });
    assert!(counts.contains("accepted"), "{counts}");
    let (_, _, rebound) = get(&format!("{page}/"), &[("host", "evil.example")]);
    assert!(
        !rebound.contains("Look at the demo as"),
        "a name that somebody else made point here is offered no role"
    );
    assert_eq!(look_as(&page, "admin", "http://evil.example").0, 403);
    for role in ["creator", "buyer", "moderator", "admin", "service"] {
        let mint = ["token", "mint", "--data", data, "--role", role, "--subject", "somebody"];
        let token = Tally::spawn(&mint, &[]).expect_success(SOON).stdout;
        let (status, _, me) =
            get(&format!("{page}/api/v1/me"), &[("authorization", &format!("Bearer {}", token.trim()))]);
        assert!(status == 200 && me.contains(role), "{me}");
    }
    let ended = demo.expect_success(Duration::from_secs(180));
    assert!(ended.stdout.contains("balance: holds"), "{}", ended.stdout);
    assert!(!ended.stdout.contains("eyJ") && !ended.stderr.contains("eyJ"), "a token in the output");
    let shown = std::fs::metadata(folder.path().join("platform-token")).expect("what its gateway shows");
    assert_eq!(shown.permissions().mode() & 0o777, 0o600);
}
