//! What the gateway shows the platform: a bearer token in a file that somebody else renews.

use secrecy::SecretString;
use std::error::Error;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

/// The file is looked at so often.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Bytes of a token.
const TOKEN_BYTES_MAX: usize = 16 * 1024;

/// Reads a file that holds a secret, by the rule of whoever runs the gateway: one that everybody may read is refused. Its errors
/// name the file and say what to do.
pub type ReadSecret = fn(&Path) -> Result<String, Box<dyn Error + Send + Sync>>;

/// Why there is no token.
#[derive(Debug, thiserror::Error)]
#[error("the platform's token: {0}")]
pub struct CredentialError(String);

/// A token that may change at any time: whoever renews it writes a new file and moves it over the old one.
#[derive(Debug)]
pub struct Credential {
    path: PathBuf,
    read: ReadSecret,
    held: Mutex<Held>,
}

#[derive(Debug)]
struct Held {
    token: SecretString,
    changed: Option<SystemTime>,
    looked_at: Instant,
}

impl Credential {
    /// Reads the file by that rule, now and each time that it has changed.
    ///
    /// # Errors
    /// Where it cannot be read or not be believed, is empty, or is no token.
    pub fn open(path: &Path, read: ReadSecret) -> Result<Credential, CredentialError> {
        let (token, changed) = read_token(path, read)?;
        let held = Mutex::new(Held { token, changed, looked_at: Instant::now() });
        Ok(Credential { path: path.to_owned(), read, held })
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
        if changed(&self.path) == held.changed && !always {
            return;
        }
        match read_token(&self.path, self.read) {
            Ok((token, changed)) => (held.token, held.changed) = (token, changed),
            // the old one may still be good; if it is not, the platform says so
            Err(error) => tracing::warn!(%error, "the token is kept as it was"),
        }
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn changed(path: &Path) -> Option<SystemTime> {
    std::fs::metadata(path).and_then(|about| about.modified()).ok()
}

fn read_token(path: &Path, read: ReadSecret) -> Result<(SecretString, Option<SystemTime>), CredentialError> {
    let changed = changed(path); // before it is read: what changes meanwhile is read once more
    let text = read(path).map_err(|error| CredentialError(error.to_string()))?;
    if text.len() > TOKEN_BYTES_MAX {
        return Err(CredentialError(format!("{} is longer than {TOKEN_BYTES_MAX} bytes", path.display())));
    }
    let token = text.trim();
    if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        let problem = format!("{} is not one line of printable ASCII", path.display());
        return Err(CredentialError(problem));
    }
    Ok((SecretString::from(token.to_owned()), changed))
}

#[cfg(test)]
mod tests {
    use super::Credential;
    use secrecy::ExposeSecret;
    use std::error::Error;
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt;
    use std::path::Path;

    /// A rule: only a file that nobody may write is believed.
    fn read(path: &Path) -> Result<String, Box<dyn Error + Send + Sync>> {
        let mode = std::fs::metadata(path)?.permissions().mode();
        if mode & 0o222 != 0 {
            return Err(format!("{} may be written", path.display()).into());
        }
        Ok(std::fs::read_to_string(path)?)
    }

    /// Scenario: the file is not there, against the rule, and too long; then it is good; it is renewed, spoilt, and renewed against
    /// the rule while the gateway runs.
    /// Guarantees: at the start each is refused with the file's name; after a refusal the new token is shown at once; a spoilt file, and
    /// one against the rule, leave the last good one; no token is printed.
    #[test]
    fn a_renewed_token_is_shown_and_a_spoilt_file_is_passed_over() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("token");
        let renew = |text: &str, mode: u32| {
            let new = folder.path().join("new");
            std::fs::write(&new, text).expect("written");
            std::fs::set_permissions(&new, Permissions::from_mode(mode)).expect("it is ours");
            std::fs::rename(&new, &path).expect("moved over the old one");
        };
        assert!(Credential::open(&path, read).is_err(), "no file is an error at the start");
        let long = "x".repeat(16 * 1024 + 1);
        for (text, mode) in [("first-token\n", 0o600), (long.as_str(), 0o400)] {
            renew(text, mode);
            let refused = Credential::open(&path, read).expect_err("it is not believed").to_string();
            assert!(refused.contains(&path.display().to_string()) && !refused.contains(text), "{refused}");
        }
        renew("first-token\n", 0o400);
        let credential = Credential::open(&path, read).expect("a token");
        assert_eq!(credential.current().expose_secret(), "first-token");
        for (text, mode, shown) in [
            ("second-token", 0o400, "second-token"),
            (" \n", 0o400, "second-token"),
            ("third-token", 0o600, "second-token"),
            ("fourth-token", 0o400, "fourth-token"),
        ] {
            renew(text, mode);
            credential.refused();
            assert_eq!(credential.current().expose_secret(), shown);
        }
        assert!(!format!("{credential:?}").contains("fourth-token"));
    }
}
