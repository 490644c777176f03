//! What makes a form that writes ours: it must come from our own page (`Origin`, which no other site can forge), and bear a token
//! that only our page can have shown.
//!
//! The token is a hash of a secret of the session, of who it is for, and of the form's address. The secret is a cookie that is made when
//! somebody signs in and forgotten when they sign out; the access token would not do, since it is renewed under a page that is open.
//! Other sites can read neither the cookie nor the page, so they cannot make the token; replicas need share nothing to check it.

use super::session::is_own;
use crate::identity::Principal;
use crate::problem::{Code, Problem};
use axum::http::{HeaderMap, header};
use axum_extra::extract::CookieJar;
use sha2::{Digest, Sha256};
use url::form_urlencoded;
use uuid::Uuid;

/// Name of the cookie with the session's secret. `__Host-`: no site beside us can set it.
const SECRET_COOKIE: &str = "__Host-tally-form";

/// The cookie of a session that begins, until the browser is closed.
pub(super) fn begun() -> String {
    format!("{SECRET_COOKIE}={}; Path=/; Secure; HttpOnly; SameSite=Strict", Uuid::new_v4().simple())
}

/// The cookie of a session that ends.
pub(super) fn ended() -> String {
    format!("{SECRET_COOKIE}=; Path=/; Max-Age=0; Secure; HttpOnly; SameSite=Strict")
}

/// What a form of that address must bear; `None` where there is no session that could have been shown one. Who sends a token in
/// `Authorization` has that for a secret: no browser adds it by itself.
pub(super) fn token(headers: &HeaderMap, who: &Principal, path: &str) -> Option<String> {
    let secret = match headers.get(header::AUTHORIZATION) {
        Some(line) => line.as_bytes().to_vec(),
        None => CookieJar::from_headers(headers).get(SECRET_COOKIE)?.value().as_bytes().to_vec(),
    };
    if secret.is_empty() {
        return None;
    }
    let mut hash = Sha256::new().chain_update(b"tally form 2\n");
    // each by its own hash, so that no two lists are one text
    for part in [secret.as_slice(), who.subject.as_bytes(), who.role.name().as_bytes(), path.as_bytes()] {
        hash.update(Sha256::digest(part));
    }
    Some(hex::encode(hash.finalize()))
}

/// Whether a form that was sent to that address is one that we have shown to whom it comes from.
///
/// # Errors
/// `Forbidden` with a cause where it is not.
pub(super) fn check(headers: &HeaderMap, who: &Principal, path: &str, body: &[u8]) -> Result<(), Problem> {
    let given = form_urlencoded::parse(body).find(|(name, _)| name == "form").map(|(_, value)| value);
    let expected = token(headers, who, path);
    if is_own(headers) && expected.is_some() && given.as_deref() == expected.as_deref() {
        return Ok(());
    }
    Err(Problem::because(Code::Forbidden, "the form is not one of our pages, or of another session"))
}

#[cfg(test)]
mod tests {
    use super::{SECRET_COOKIE, begun, check, ended, token};
    use crate::identity::{Principal, Role};
    use axum::http::HeaderMap;

    const PATH: &str = "/dead/t/0/1/replay";

    /// Headers of a form of our page, with cookies.
    fn sent(cookies: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in
            [("host", "tally.example"), ("origin", "https://tally.example"), ("cookie", cookies)]
        {
            headers.insert(name, value.parse().expect("a header"));
        }
        headers
    }

    fn who(subject: &str, role: Role, token_id: &str) -> Principal {
        let (issued_at_s, expires_at_s) = (0, 900);
        Principal {
            subject: subject.to_owned(),
            role,
            scopes: Vec::new(),
            token_id: token_id.to_owned(),
            issued_at_s,
            expires_at_s,
        }
    }

    /// Scenario: a form is shown, the access token is renewed, the form is sent; then by somebody else, in another role, for another
    /// letter, of another session, without a session, and from another site.
    /// Guarantees: it is taken after the renewal, and in no other case; the token says nothing of the secret.
    #[test]
    fn a_form_outlives_the_token_and_not_the_session() {
        let cookie = begun();
        let secret = cookie.split(';').next().expect("a pair").to_owned();
        let shown =
            token(&sent(&format!("__Host-tally=first; {secret}")), &who("ann", Role::Admin, "1"), PATH);
        let shown = shown.expect("a token");
        assert!(shown.len() == 64 && !secret.contains(&shown));
        let body = format!("form={shown}");
        let renewed = sent(&format!("__Host-tally=second; {secret}"));
        let ann = who("ann", Role::Admin, "2");
        assert!(check(&renewed, &ann, PATH, body.as_bytes()).is_ok());
        let refused = |headers: &HeaderMap, who: &Principal, path: &str, body: &str| {
            let problem = check(headers, who, path, body.as_bytes()).expect_err("it is not ours");
            assert_eq!(problem.code().status().as_u16(), 403);
        };
        refused(&renewed, &who("bob", Role::Admin, "3"), PATH, &body);
        refused(&renewed, &who("ann", Role::Moderator, "4"), PATH, &body);
        refused(&renewed, &ann, "/dead/t/0/2/replay", &body);
        refused(&renewed, &ann, PATH, "form=");
        refused(&renewed, &ann, PATH, "");
        let other = begun();
        refused(&sent(other.split(';').next().expect("a pair")), &ann, PATH, &body);
        refused(&sent("__Host-tally=second"), &ann, PATH, "form=");
        refused(&sent(&format!("{SECRET_COOKIE}=")), &ann, PATH, "");
        let mut elsewhere = renewed.clone();
        elsewhere.insert("origin", "https://evil.example".parse().expect("a header"));
        refused(&elsewhere, &ann, PATH, &body);
    }

    /// Scenario: sessions that begin and end.
    /// Guarantees: no two have one secret; scripts cannot read it, other sites cannot send it, and it is gone afterwards.
    #[test]
    fn secrets_are_of_one_session() {
        assert_ne!(begun(), begun());
        for cookie in [begun(), ended()] {
            for part in ["__Host-tally-form=", "; Secure", "; HttpOnly", "; SameSite=Strict", "; Path=/"] {
                assert!(cookie.contains(part), "{cookie}");
            }
        }
        assert!(ended().contains("Max-Age=0"));
    }
}
