//! Ed25519 keys in the format of signed notes: `NAME+ID+KEY` in public, `PRIVATE+KEY+NAME+ID+KEY` in private.

use super::SealError;
use signed_note::{
    Note, NoteError, Signer, StandardSigner, StandardVerifier, VerificationError, Verifier, Verifiers,
};

/// Public keys of one log. Several while keys rotate: any of them may have signed.
pub struct Keys {
    keys: Vec<StandardVerifier>,
}

/// Private keys of one log; each signs.
pub struct Signers {
    keys: Vec<StandardSigner>,
    public: Vec<String>,
}

impl std::fmt::Debug for Signers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Signers").field("public", &self.public).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Keys").field("names", &self.names()).finish()
    }
}

/// Makes a key pair for a log of that name: private key, public key.
///
/// # Errors
/// A name that signed notes do not allow: empty, or with a space or a plus.
pub fn generate_key(name: &str) -> Result<(String, String), SealError> {
    if !signed_note::is_key_name_valid(name) {
        return Err(SealError::Key(format!("'{name}' cannot be a key's name")));
    }
    Ok(signed_note::generate_key(&mut rand::rngs::OsRng, name))
}

/// Lines that hold something, comments left out.
fn lines(text: &str) -> impl Iterator<Item = &str> {
    text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'))
}

fn one_name<'a>(mut names: impl Iterator<Item = &'a str>) -> Result<(), SealError> {
    let first = names.next().ok_or_else(|| SealError::Key("none was given".to_owned()))?;
    match names.find(|name| *name != first) {
        Some(other) => Err(SealError::Key(format!("keys of two logs, {first} and {other}"))),
        None => Ok(()),
    }
}

impl Signers {
    /// Reads private keys, one a line, from each text.
    ///
    /// # Errors
    /// A line that is no private key; keys of several logs; none.
    pub fn parse<T: AsRef<str>>(texts: &[T]) -> Result<Signers, SealError> {
        let mut signers = Signers { keys: Vec::new(), public: Vec::new() };
        for line in texts.iter().flat_map(|text| lines(text.as_ref())) {
            let bad = |what: String| SealError::Key(format!("not a private key of signed notes: {what}"));
            signers.keys.push(StandardSigner::new(line).map_err(|e| bad(e.to_string()))?);
            signers.public.push(public_of(line).ok_or_else(|| bad("its bytes".to_owned()))?);
        }
        one_name(signers.keys.iter().map(Signer::name))?;
        Ok(signers)
    }

    /// The log's name.
    pub fn origin(&self) -> &str {
        self.keys.first().map_or("", Signer::name)
    }

    /// The public keys, as text.
    pub fn public(&self) -> &[String] {
        &self.public
    }

    /// Signs a text with every key, in their order.
    pub(super) fn sign(&self, text: &[u8]) -> Result<Vec<u8>, SealError> {
        let mut note = Note::new(text, &[]).map_err(SealError::malformed)?;
        let signers: Vec<&dyn Signer> = self.keys.iter().map(|key| key as &dyn Signer).collect();
        note.add_sigs(&signers).map_err(SealError::malformed)?;
        Ok(note.to_bytes())
    }

    /// Names and ids, as [`Keys::verify`] gives them.
    pub(super) fn names(&self) -> Vec<String> {
        self.keys.iter().map(|key| format!("{}+{:08x}", key.name(), key.key_id())).collect()
    }
}

/// The public key of a private one that was parsed.
fn public_of(private: &str) -> Option<String> {
    use base64::Engine;
    let mut parts = private.strip_prefix("PRIVATE+KEY+")?.splitn(3, '+'); // base64 may hold a plus
    let (name, _id, key) = (parts.next()?, parts.next()?, parts.next()?);
    let bytes = base64::prelude::BASE64_STANDARD.decode(key).ok()?;
    let seed: [u8; 32] = bytes.get(1..)?.try_into().ok()?;
    let public = ed25519_dalek::SigningKey::from_bytes(&seed).verifying_key();
    Some(signed_note::new_ed25519_verifier_key(name, &public))
}

impl Keys {
    /// Reads public keys, one a line, from each text; lines that begin with `#` are comments.
    ///
    /// # Errors
    /// A line that is no public key; keys of several logs; none.
    pub fn parse<T: AsRef<str>>(texts: &[T]) -> Result<Keys, SealError> {
        let bad = |e| SealError::Key(format!("not a public key of signed notes: {e}"));
        let all = texts.iter().flat_map(|text| lines(text.as_ref()));
        let mut keys: Vec<StandardVerifier> =
            all.map(StandardVerifier::new).collect::<Result<_, _>>().map_err(bad)?;
        one_name(keys.iter().map(Verifier::name))?;
        keys.sort_by_key(Verifier::key_id);
        keys.dedup_by_key(|key| key.key_id());
        Ok(Keys { keys })
    }

    /// The log's name.
    pub fn origin(&self) -> &str {
        self.keys.first().map_or("", Verifier::name)
    }

    fn names(&self) -> Vec<String> {
        self.keys.iter().map(|key| format!("{}+{:08x}", key.name(), key.key_id())).collect()
    }

    /// Which of the keys signed a note; at least one, and no false signature under any of their names.
    pub(super) fn verify(&self, note: &Note) -> Result<Vec<String>, SealError> {
        match note.verify(self) {
            Ok((known, _)) => {
                Ok(known.iter().map(|sig| format!("{}+{:08x}", sig.name(), sig.id())).collect())
            }
            Err(NoteError::UnverifiedNote) => {
                Err(SealError::UnknownKey(format!("the keys given are {}", self.names().join(", "))))
            }
            Err(error) => Err(SealError::Altered(format!("a checkpoint's signature: {error}"))),
        }
    }
}

impl Verifiers for Keys {
    fn verifier(&self, name: &str, id: u32) -> Result<&dyn Verifier, VerificationError> {
        let found = self.keys.iter().find(|key| key.name() == name && key.key_id() == id);
        found
            .map(|key| key as &dyn Verifier)
            .ok_or(VerificationError::UnknownKey { name: name.to_owned(), id })
    }
}

#[cfg(test)]
mod tests {
    use super::{Keys, SealError, Signers, generate_key};
    use signed_note::Note;

    /// Scenario: fifty key pairs (base64 with and without a plus in it); a note signed by two of them.
    /// Guarantees: the public key of a private one is the generated one; each of both verifies; a third, a changed
    /// text, and keys of another log do not.
    #[test]
    fn keys_rotate_and_strangers_do_not_verify() {
        let pairs: Vec<_> = (0..50).map(|_| generate_key("log.example/a").expect("a key")).collect();
        for (private, public) in &pairs {
            assert_eq!(Signers::parse(&[private]).expect("a signer").public(), std::slice::from_ref(public));
        }
        let signers = Signers::parse(&[&pairs[0].0, &pairs[1].0]).expect("signers");
        let note = signers.sign(b"log.example/a\n1\n").expect("a note");
        let verify = |public: &str, note: &[u8]| {
            Keys::parse(&[public]).expect("a key").verify(&Note::from_bytes(note).expect("a note"))
        };
        assert_eq!(verify(&pairs[0].1, &note).expect("signed").len(), 1);
        assert_eq!(verify(&pairs[1].1, &note).expect("signed").len(), 1);
        assert!(matches!(verify(&pairs[2].1, &note), Err(SealError::UnknownKey(_))));
        let changed = String::from_utf8(note).expect("text").replacen("\n1\n", "\n2\n", 1);
        assert!(matches!(verify(&pairs[0].1, changed.as_bytes()), Err(SealError::Altered(_))));
        let (_, other) = generate_key("log.example/b").expect("a key");
        assert!(Keys::parse(&[&pairs[0].1, &other]).is_err());
        assert!(generate_key("a b").is_err() && generate_key("").is_err());
    }
}
