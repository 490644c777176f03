//! What the gateway shows the platform: a bearer token in a file that somebody else renews.

use secrecy::SecretString;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};
use thiserror::Error;

/// The file is looked at so often.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Bytes of a token.
const TOKEN_BYTES_MAX: u64 = 16 * 1024;

/// Why there is no token.
#[derive(Debug, Error)]
#[error("the platform's token in {path}: {problem}")]
pub struct CredentialError {
    path: PathBuf,
    problem: String,
}

/// A token that may change at any time: whoever renews it writes a new file and moves it over the old one.
#[derive(Debug)]
pub struct Credential {
    path: PathBuf,
    held: Mutex<Held>,
}

#[derive(Debug)]
struct Held {
    token: SecretString,
    changed: Option<SystemTime>,
    looked_at: Instant,
}

impl Credential {
    /// Reads the file.
    ///
    /// # Errors
    /// Where it cannot be read, is empty, or is no token.
    pub fn open(path: &Path) -> Result<Credential, CredentialError> {
        let (token, changed) = read(path)?;
        let held = Mutex::new(Held { token, changed, looked_at: Instant::now() });
        Ok(Credential { path: path.to_owned(), held })
    }

    /// The token to show now; at most a second behind the file.
    pub(super) fn current(&self) -> SecretString {
        let mut held = self.held();
        if held.looked_at.elapsed() >= LOOK_EVERY {
            self.look(&mut held, false);
        }
        held.token.clone()
    }

    /// After the platform refused the token: looks at the file now, whatever its time says.
    pub(super) fn refused(&self) {
        self.look(&mut self.held(), true);
    }

    fn look(&self, held: &mut Held, always: bool) {
        held.looked_at = Instant::now();
        let changed = std::fs::metadata(&self.path).and_then(|about| about.modified()).ok();
        if changed == held.changed && !always {
            return;
        }
        match read(&self.path) {
            Ok((token, changed)) => (held.token, held.changed) = (token, changed),
            // the old one may still be good; if it is not, the platform says so
            Err(error) => tracing::warn!(%error, "the token is kept as it was"),
        }
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn read(path: &Path) -> Result<(SecretString, Option<SystemTime>), CredentialError> {
    let wrong = |problem: String| CredentialError { path: path.to_owned(), problem };
    let about = std::fs::metadata(path).map_err(|error| wrong(error.to_string()))?;
    if about.len() > TOKEN_BYTES_MAX {
        return Err(wrong(format!("longer than {TOKEN_BYTES_MAX} bytes")));
    }
    let text = std::fs::read_to_string(path).map_err(|error| wrong(error.to_string()))?;
    let token = text.trim();
    if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(wrong("expected one line of printable ASCII".to_owned()));
    }
    Ok((SecretString::from(token.to_owned()), about.modified().ok()))
}

#[cfg(test)]
mod tests {
    use super::Credential;
    use secrecy::ExposeSecret;

    /// Scenario: the file is renewed, then spoilt, while the gateway runs.
    /// Guarantees: after a refusal the new token is shown at once; a spoilt file leaves the last good one; no token is printed.
    #[test]
    fn a_renewed_token_is_shown_and_a_spoilt_file_is_passed_over() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("token");
        assert!(Credential::open(&path).is_err(), "no file is an error at the start");
        std::fs::write(&path, "first-token\n").expect("written");
        let credential = Credential::open(&path).expect("a token");
        assert_eq!(credential.current().expose_secret(), "first-token");
        std::fs::write(&path, "second-token").expect("written");
        credential.refused();
        assert_eq!(credential.current().expose_secret(), "second-token");
        std::fs::write(&path, " \n").expect("written");
        credential.refused();
        assert_eq!(credential.current().expose_secret(), "second-token");
        assert!(!format!("{credential:?}").contains("second-token"));
    }
}
