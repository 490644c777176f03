//! Tokens as they should be, and in every way in which they should not.

use super::checked::Checked;
use super::keys::Keys;
use super::mint::{Minter, TokenRequest, generate_key};
use super::principal::{Principal, Role};
use super::token::{Claims, Expected, LIFETIME_S_MAX, Wrong, check, header, key_of};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use ed25519_dalek::{Signer, SigningKey};
use serde_json::{Value, json};

const NOW_S: i64 = 1_800_000_000;

/// A key as it lies in a file, and what signs with it without the code under test.
struct Issuer {
    private: String,
    keys: Keys,
    kid: String,
    signing: SigningKey,
}

impl Issuer {
    fn new() -> Issuer {
        let (private, public) = generate_key();
        let jwk: Value = serde_json::from_str(&private).expect("a key is JSON");
        let seed = BASE64_URL_SAFE_NO_PAD.decode(jwk["d"].as_str().expect("d")).expect("base64");
        let signing = SigningKey::from_bytes(&seed.try_into().expect("32 bytes"));
        let kid = jwk["kid"].as_str().expect("a name").to_owned();
        Issuer { private, keys: Keys::parse(&public).expect("a public key"), kid, signing }
    }

    fn header(&self) -> Value {
        json!({ "typ": "at+jwt", "alg": "EdDSA", "kid": self.kid })
    }

    /// Put together by hand: base64url(header).base64url(claims).base64url(signature).
    fn sign(&self, header: &Value, claims: &Value) -> String {
        let part = |value: &Value| BASE64_URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", part(header), part(claims));
        let signature = self.signing.sign(signed.as_bytes());
        format!("{signed}.{}", BASE64_URL_SAFE_NO_PAD.encode(signature.to_bytes()))
    }
}

fn claims() -> Value {
    json!({
        "iss": "https://issuer.example", "aud": "tally", "sub": "user-7", "jti": "t-1", "role": "buyer",
        "client_id": "web", "iat": NOW_S - 10, "exp": NOW_S + 600,
    })
}

fn verify(token: &str, keys: &Keys) -> Result<Principal, Wrong> {
    let expected = Expected { issuer: "https://issuer.example".to_owned(), audience: "tally".to_owned() };
    let header = header(token)?;
    let key = key_of(keys, &header).ok_or(Wrong::Invalid)?;
    check(token, key, &expected, NOW_S)
}

/// Scenario: a token put together by hand after RFC 9068, once for one audience and once for two.
/// Guarantees: it is the principal that it names.
#[test]
fn a_good_token_is_its_principal() {
    let issuer = Issuer::new();
    let mut claims = claims();
    for audience in [json!("tally"), json!(["other", "tally"])] {
        claims["aud"] = audience;
        let principal = verify(&issuer.sign(&issuer.header(), &claims), &issuer.keys).expect("a principal");
        let expected = Principal {
            subject: "user-7".to_owned(),
            role: Role::Buyer,
            scopes: Vec::new(),
            token_id: "t-1".to_owned(),
            issued_at_s: NOW_S - 10,
            expires_at_s: NOW_S + 600,
        };
        assert_eq!(principal, expected);
    }
    let mut unnamed = issuer.header();
    unnamed.as_object_mut().expect("an object").remove("kid");
    assert!(verify(&issuer.sign(&unnamed, &claims), &issuer.keys).is_ok(), "there is only one key");
    let mut two = issuer.keys.clone();
    two.join(Issuer::new().keys);
    assert!(verify(&issuer.sign(&issuer.header(), &claims), &two).is_ok());
    assert_eq!(verify(&issuer.sign(&unnamed, &claims), &two), Err(Wrong::Invalid), "which of two?");
}

/// Scenario: each claim in turn is missing, wrong, or outside its bounds; each field of the header too.
/// Guarantees: none of these is let in, and only what was good once is called expired.
#[test]
fn whatever_is_wrong_with_a_token_it_is_refused() {
    let issuer = Issuer::new();
    let wrong = |field: &str, value: Value| {
        let mut claims = claims();
        match value {
            Value::Null => drop(claims.as_object_mut().expect("an object").remove(field)),
            value => claims[field] = value,
        }
        verify(&issuer.sign(&issuer.header(), &claims), &issuer.keys)
    };
    for field in ["iss", "aud", "sub", "jti", "role", "iat", "exp"] {
        for value in [Value::Null, json!(""), json!([]), json!({}), json!(true)] {
            assert_eq!(wrong(field, value.clone()), Err(Wrong::Invalid), "{field} = {value}");
        }
    }
    for (field, value) in [
        ("iss", json!("https://issuer.example/")),
        ("aud", json!("tally2")),
        ("aud", json!(["other"])),
        ("role", json!("root")),
        ("role", json!("Admin")),
        ("role", json!(["admin"])),
        ("sub", json!("x".repeat(257))),
        ("exp", json!(NOW_S - 10 + LIFETIME_S_MAX + 1)),
        ("exp", json!(i64::MAX)),
        ("iat", json!(i64::MIN)),
        ("iat", json!(NOW_S + 60)),
        ("nbf", json!(NOW_S + 60)),
        ("exp", json!(NOW_S - 11)),
    ] {
        assert_eq!(wrong(field, value.clone()), Err(Wrong::Invalid), "{field} = {value}");
    }
    assert_eq!(wrong("exp", json!(NOW_S)), Err(Wrong::Expired));
    assert_eq!(wrong("exp", json!(NOW_S - 5)), Err(Wrong::Expired));
    assert!(wrong("exp", json!(NOW_S + 1)).is_ok());
    assert!(wrong("exp", json!(NOW_S - 10 + LIFETIME_S_MAX)).is_ok());
    for (field, value) in [
        ("typ", json!("JWT")),
        ("typ", Value::Null),
        ("alg", json!("none")),
        ("alg", json!("HS256")),
        ("alg", json!("ES256")),
        ("alg", json!("RS256")),
        ("kid", json!("another")),
        ("crit", json!(["b64"])),
    ] {
        let mut header = issuer.header();
        header[field] = value.clone();
        let token = issuer.sign(&header, &claims());
        assert_eq!(verify(&token, &issuer.keys), Err(Wrong::Invalid), "{field} = {value}");
    }
}

/// Scenario: another issuer's key under our key's name; no signature; an HMAC with the public key as its secret would need
/// an algorithm that is not in the list; every character of a good token changed.
/// Guarantees: none is let in.
#[test]
fn forged_and_altered_tokens_are_refused() {
    let (issuer, other) = (Issuer::new(), Issuer::new());
    let forged = other.sign(&issuer.header(), &claims());
    assert_eq!(verify(&forged, &issuer.keys), Err(Wrong::Invalid));
    let good = issuer.sign(&issuer.header(), &claims());
    let unsigned = &good[..=good.rfind('.').expect("a dot")];
    assert_eq!(verify(unsigned, &issuer.keys), Err(Wrong::Invalid));
    for at in 0..good.len() {
        let mut bytes = good.clone().into_bytes();
        // two steps on in the alphabet: the last character of a part may have bits that do not count, but never all of them
        bytes[at] = match bytes[at] {
            b'.' => b'A',
            b'A' => b'z',
            _ => b'A',
        };
        let altered = String::from_utf8(bytes).expect("text");
        assert!(verify(&altered, &issuer.keys).is_err(), "character {at}");
    }
    for nonsense in
        ["", ".", "..", "a.b.c", "a.b.c.d", "\u{0}", &"x".repeat(20_000), &format!("{good}{good}")]
    {
        assert_eq!(verify(nonsense, &issuer.keys), Err(Wrong::Invalid));
    }
}

/// Scenario: tokens that we mint, and a request for a longer life than allowed.
/// Guarantees: they are let in, and live 15 minutes at most.
#[test]
fn minted_tokens_are_good_and_short() {
    let issuer = Issuer::new();
    let minter = Minter::new(&issuer.private, "https://issuer.example", "tally").expect("a minter");
    assert_eq!(Keys::parse(&minter.public()).expect("a key").len(), 1);
    for role in Role::ALL {
        let request =
            TokenRequest { subject: "s".to_owned(), role, scope: String::new(), lifetime_s: 86_400 };
        let (token, id) = minter.mint(&request, NOW_S).expect("a token");
        let principal = verify(&token, &issuer.keys).expect("a principal");
        assert_eq!((principal.role, principal.token_id), (role, id));
        assert_eq!(principal.expires_at_s - principal.issued_at_s, LIFETIME_S_MAX);
    }
}

/// Scenario: files that are no keys, hold a private key, or only keys for something else.
/// Guarantees: each is refused with its own reason; a set keeps what can be used.
#[test]
fn files_of_keys_are_read_with_care() {
    use super::keys::KeyError;
    let (private, public) = generate_key();
    assert!(matches!(Keys::parse(&private), Err(KeyError::Private)));
    assert!(matches!(Keys::parse("no"), Err(KeyError::NotKeys(_))));
    assert!(matches!(Keys::parse("{}"), Err(KeyError::NoneUsable)));
    assert!(matches!(Keys::parse(r#"{"keys":[]}"#), Err(KeyError::NoneUsable)));
    let secret = json!({ "keys": [{ "kty": "oct", "k": "c2VjcmV0", "alg": "HS256", "kid": "h" }] });
    assert!(matches!(Keys::parse(&secret.to_string()), Err(KeyError::NoneUsable)));
    let good: Value = serde_json::from_str(&public).expect("JSON");
    let mut encryption = good.clone();
    (encryption["use"], encryption["kid"]) = (json!("enc"), json!("e"));
    let set = json!({ "keys": [{ "kty": "later" }, encryption, good] });
    assert_eq!(Keys::parse(&set.to_string()).expect("one of them").len(), 1);
    let many = json!({ "keys": vec![good; 65] });
    assert!(matches!(Keys::parse(&many.to_string()), Err(KeyError::TooMany)));
    assert!(matches!(Minter::new(&public, "i", "a"), Err(KeyError::NotPrivate)));
}

/// Words of tokens and key sets.
const WORDS: [&str; 36] = [
    "\"exp\":",
    "\"iat\":",
    "\"nbf\":",
    "\"aud\":[\"tally\",\"x\"]",
    "\"sub\":",
    "\"jti\":",
    "\"role\":",
    "admin",
    "null",
    "{}",
    "[]",
    "\"",
    ",",
    ":",
    "alg",
    "none",
    "HS256",
    "ES256",
    "RS256",
    "EdDSA",
    "crit",
    "typ",
    "jwk",
    "x5c",
    "kid",
    "at+jwt",
    "b64",
    ".",
    "\"crv\":\"P-256\"",
    "\"kty\":\"RSA\"",
    "\"n\":\"AQAB\"",
    "\"e\":\"AQAB\"",
    "\"d\":",
    "\"k\":",
    "\"use\":\"enc\"",
    "1800000000",
];

/// Scenario: for as long as the fuzzer runs: tokens that are changed in every way; claims and headers that are, signed by the right
/// key; and key sets.
/// Guarantees: nothing panics; a token that nobody signed is never taken; one that the issuer signed is taken only for whom and for
/// how long it may be.
#[test]
fn fuzz_no_bytes_make_a_token() {
    let issuer = Issuer::new();
    let (header_text, claims_text) = (issuer.header().to_string(), claims().to_string());
    let good = issuer.sign(&issuer.header(), &claims());
    let (_, public) = generate_key();
    let keys = json!({ "keys": [serde_json::from_str::<Value>(&public).expect("JSON")] }).to_string();
    let input = |kind: u8, text: &str| [&[kind], text.as_bytes()].concat();
    let seeds = vec![input(0, &good), input(1, &claims_text), input(2, &header_text), input(3, &keys)];
    let target = tally_fuzz::Target { name: "tokens", seeds, words: &WORDS, bytes_max: 4_096 };
    let sign = |header: &str, claims: &str| {
        let part = |text: &str| BASE64_URL_SAFE_NO_PAD.encode(text);
        let signed = format!("{}.{}", part(header), part(claims));
        let signature = issuer.signing.sign(signed.as_bytes());
        format!("{signed}.{}", BASE64_URL_SAFE_NO_PAD.encode(signature.to_bytes()))
    };
    let bounded = |token: &str, claims: &str| {
        let found = verify(token, &issuer.keys);
        if let Ok(who) = &found {
            let stated: Value = serde_json::from_str(claims).expect("what is taken is JSON");
            let audience = stated["aud"] == "tally"
                || stated["aud"].as_array().is_some_and(|all| all.contains(&"tally".into()));
            assert!(audience && stated["iss"] == "https://issuer.example", "{claims}");
            assert!(!who.subject.is_empty() && !who.token_id.is_empty(), "{claims}");
            let life = who.expires_at_s - who.issued_at_s;
            assert!(who.expires_at_s > NOW_S && (1..=LIFETIME_S_MAX).contains(&life), "{claims}");
        }
        // serde's sentence leads further than one word for all that is wrong; numbers in it do not
        let read = serde_json::from_str::<Claims>(claims).map(drop).map_err(|error| error.to_string());
        let read: String = format!("{read:?}").chars().filter(char::is_ascii_alphabetic).take(40).collect();
        (found.map(|who| who.role), read)
    };
    tally_fuzz::fuzz(&target, |input| {
        let Some((kind, text)) = input.split_first() else { return 0 };
        let text = String::from_utf8_lossy(text);
        match kind % 4 {
            0 => {
                let found = verify(&text, &issuer.keys);
                assert!(found.is_err() || text == good, "a token that nobody signed was taken");
                tally_fuzz::outcome(&(0, found.is_ok(), header(&text).map(|header| header.alg)))
            }
            1 => tally_fuzz::outcome(&(1, bounded(&sign(&header_text, &text), &text))),
            2 => {
                let token = sign(&text, &claims_text);
                let found = bounded(&token, &claims_text);
                let alg = serde_json::from_str::<Value>(&text).map(|header| header["alg"] == "EdDSA");
                assert!(found.0.is_err() || alg.is_ok_and(|is| is), "the header chose how it is checked");
                tally_fuzz::outcome(&(2, found, header(&token).is_ok()))
            }
            _ => {
                let found = Keys::parse(&text).map(|keys| keys.len());
                let private =
                    serde_json::from_str::<Value>(&text).is_ok_and(|keys| keys["keys"][0].get("d").is_some());
                assert!(found.is_err() || !private, "a private key was taken");
                tally_fuzz::outcome(&(3, found.map_err(|error| std::mem::discriminant(&error))))
            }
        }
    });
}

/// Scenario: a good token is shown again and again, then changed in its last byte, then held against another audience, then after its
/// end, then after its issuer withdrew the key; four thousand others are shown meanwhile.
/// Guarantees: its signature is checked once, and remembered for nothing but the same bytes, audience, key and time; the memory is
/// bounded.
#[test]
fn what_is_remembered_of_a_token_is_its_signature_alone() {
    let issuer = Issuer::new();
    let token = issuer.sign(&issuer.header(), &claims());
    let key = key_of(&issuer.keys, &header(&token).expect("a header")).expect("a key");
    let expected = |audience: &str| Expected {
        issuer: "https://issuer.example".to_owned(),
        audience: audience.to_owned(),
    };
    let held = |token: &str, audience: &str, now_s| check(token, key, &expected(audience), now_s);
    assert_eq!(held(&token, "tally", NOW_S + 600), Err(Wrong::Expired));
    assert_eq!(key.checked.len(), 0, "what was refused is not remembered");
    let first = held(&token, "tally", NOW_S).expect("a principal");
    assert_eq!(held(&token, "tally", NOW_S + 599), Ok(first));
    assert_eq!(key.checked.len(), 1);
    let mut other = claims();
    other["sub"] = json!("user-8");
    let planted: Claims = serde_json::from_value(other).expect("claims");
    key.checked.remember(Checked::name(&token, &expected("tally")), planted.into(), NOW_S);
    let again = held(&token, "tally", NOW_S).expect("a principal");
    assert_eq!(again.subject, "user-8", "the signature was checked again");
    let last = token.chars().last().expect("a signature");
    let forged = format!("{}{}", &token[..token.len() - 1], if last == 'A' { 'Q' } else { 'A' });
    assert_eq!(held(&forged, "tally", NOW_S), Err(Wrong::Invalid));
    assert_eq!(held(&token, "other", NOW_S), Err(Wrong::Invalid));
    assert_eq!(held(&token, "tally", NOW_S + 600), Err(Wrong::Expired));
    assert_eq!(held(&token, "tally", NOW_S - 60), Err(Wrong::Invalid), "it was issued later than now");
    assert_eq!(key.checked.len(), 1);
    let other = Issuer::new();
    let after = key_of(&other.keys, &header(&token).expect("a header"));
    assert!(after.is_none(), "the key is withdrawn");
    let other = other.keys.only().expect("one key");
    assert_eq!(check(&token, other, &expected("tally"), NOW_S), Err(Wrong::Invalid));
    for number in 0..4_200 {
        let mut claims = claims();
        claims["jti"] = json!(format!("t-{number}"));
        held(&issuer.sign(&issuer.header(), &claims), "tally", NOW_S).expect("a principal");
    }
    assert!(key.checked.len() <= 4_096);
}
