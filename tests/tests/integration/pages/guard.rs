//! Who gets in, by which form, and where to.

use super::{Demo, SOON};

/// One request without following where it leads: status, `location`, `set-cookie`, body.
fn ask(
    demo: &Demo,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> (u16, String, String, String) {
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .timeout_global(Some(SOON))
        .http_status_as_error(false)
        .max_redirects(0)
        .proxy(None)
        .build()
        .into();
    let url = format!("{}{path}", demo.address);
    let response = if method == "POST" {
        let request =
            headers.iter().fold(agent.post(&url), |request, (name, value)| request.header(*name, *value));
        request.header("content-type", "application/x-www-form-urlencoded").send(body)
    } else {
        headers.iter().fold(agent.get(&url), |request, (name, value)| request.header(*name, *value)).call()
    };
    let mut response = response.unwrap_or_else(|error| panic!("{path}: {error}"));
    let header = |name| {
        response.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned()
    };
    let (to, cookie) = (header("location"), header("set-cookie"));
    (response.status().as_u16(), to, cookie, response.body_mut().read_to_string().expect("text"))
}

/// Scenario: a page without a cookie, with one of another role, with nonsense; forms of our own pages, of another site, of nowhere;
/// an address to go back to that is another site's; a form without a session; signing out.
/// Guarantees: nobody sees a page that is not theirs, and everybody is told how to get in; a form from elsewhere does nothing; nobody
/// is led elsewhere; the cookie is out of scripts' reach, and gone after signing out. Every answer is a page with the policy.
#[test]
fn pages_are_for_whom_they_are_for() {
    let demo = &Demo::shared();
    let own = demo.address.as_str();
    let (status, _, cookie, page) = ask(demo, "GET", "/overview?range=7d", &[], "");
    assert!(status == 401 && cookie.is_empty(), "{status} {cookie}");
    assert!(
        page.contains("<h1>Sign in</h1>") && page.contains("value=\"/overview?range=7d\""),
        "it leads back"
    );
    // a form whose session has ended: its address is no page, the one above is
    let letter = "/dead/task-events/0/1";
    let sent = format!("{letter}/replay?lang=en");
    let (status, _, _, page) = ask(demo, "POST", &sent, &[("origin", own)], "");
    let back = format!("value=\"{letter}?lang=en\"");
    assert!(status == 401 && page.contains(&back), "{status} {page}");
    for (origin, expected) in
        [(Some(own), 303), (Some("http://evil.example"), 403), (Some("null"), 403), (None, 403)]
    {
        let headers: Vec<(&str, &str)> = origin.map(|origin| ("origin", origin)).into_iter().collect();
        let (status, _, cookie, _) =
            ask(demo, "POST", "/session", &headers, "role=admin&subject=looker&to=/product");
        assert_eq!((status, cookie.is_empty()), (expected, expected != 303), "{origin:?}");
    }
    let sign_in = |role: &str, to: &str| {
        let (status, to, cookie, _) =
            ask(demo, "POST", "/session", &[("origin", own)], &format!("role={role}&subject=looker&to={to}"));
        assert_eq!(status, 303);
        for part in ["__Host-tally=ey", "; Secure", "; HttpOnly", "; SameSite=Strict", "; Path=/"] {
            assert!(cookie.contains(part), "{cookie}");
        }
        (to, cookie.split(';').next().expect("a pair").to_owned())
    };
    for elsewhere in ["//evil.example", "https%3A%2F%2Fevil.example", "/%5Cevil.example"] {
        let (to, _) = sign_in("admin", elsewhere);
        assert!(to.starts_with("/overview"), "{elsewhere} leads to {to}");
    }
    let (to, admin) = sign_in("admin", "/product?tz=Asia/Shanghai");
    assert_eq!(to, "/product?tz=Asia/Shanghai");
    let (status, _, _, page) = ask(demo, "GET", "/product", &[("cookie", &admin)], "");
    assert!(status == 200 && page.contains("<h1>Product</h1>"), "{status}");
    let (_, buyer) = sign_in("buyer", "/");
    let (status, _, _, page) = ask(demo, "GET", "/overview", &[("cookie", &buyer)], "");
    assert!(status == 403 && page.contains("not for your role") && !page.contains("Revenue"), "{status}");
    let (status, ..) = ask(demo, "GET", "/api/v1/panels/revenue", &[("cookie", &buyer)], "");
    assert_eq!(status, 403);
    let (status, ..) = ask(demo, "GET", "/overview?range=never", &[("cookie", &admin)], "");
    assert_eq!(status, 400);
    let (status, _, cookie, _) =
        ask(demo, "POST", "/session", &[("origin", own)], "token=eyJhbGciOiJub25lIn0.e30.");
    assert!(status == 401 && cookie.is_empty());
    let (status, to, cookie, _) =
        ask(demo, "POST", "/session/end", &[("origin", own), ("cookie", &admin)], "");
    assert!(status == 303 && to == "/" && cookie.contains("Max-Age=0"), "{status} {to} {cookie}");
    let (_, rebound, ..) = ask(
        demo,
        "POST",
        "/session",
        &[("origin", "http://evil.example:1"), ("host", "evil.example:1")],
        "role=admin&to=/",
    );
    assert_eq!(rebound, "", "a name that somebody else made point here gets no token");
    let (status, ..) = ask(demo, "POST", "/api/v1/revocations", &[("origin", own), ("cookie", &admin)], "{}");
    assert_eq!(status, 401, "the cookie only reads");
}
