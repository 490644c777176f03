//! Files that hold secrets: made for their owner alone, and not believed where anybody may read them.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use thiserror::Error;

/// Longest file of keys that is read.
const FILE_BYTES_MAX: u64 = 1 << 20;
/// Rights of everybody, and of the group, to read or write.
const EVERYBODY: u32 = 0o006;
const GROUP: u32 = 0o060;

/// Why a secret was not taken from a file.
#[derive(Debug, Error)]
pub enum PrivateError {
    /// It cannot be read.
    #[error("{path}: {source}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Anybody on this machine may have read it, or put another in its place.
    #[error(
        "{path} holds a secret and everybody may read or write it (mode {mode:04o}): chmod 600 it, and make a new one if \
         somebody may have read it"
    )]
    Open {
        /// Which.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// It is too long to be keys.
    #[error("{0} has more than 1 MiB: it holds no keys")]
    TooLong(PathBuf),
}

/// Reads a file that holds a secret. That the group may read it is told in the log, since some give keys to services that way.
///
/// # Errors
/// See [`PrivateError`].
pub fn read_private(path: &Path) -> Result<String, PrivateError> {
    let failed = |source| PrivateError::File { path: path.to_owned(), source };
    let mut file = File::open(path).map_err(failed)?;
    let about = file.metadata().map_err(failed)?; // of what was opened, whatever the name means by now
    let mode = about.mode() & 0o7777;
    if mode & EVERYBODY != 0 {
        return Err(PrivateError::Open { path: path.to_owned(), mode });
    }
    if mode & GROUP != 0 {
        let mode = format!("{mode:04o}");
        tracing::warn!(path = %path.display(), mode, "the group may read or write this secret; chmod 600 it if it need not");
    }
    let mut text = String::new();
    let read = Read::by_ref(&mut file).take(FILE_BYTES_MAX + 1).read_to_string(&mut text).map_err(failed)?;
    if u64::try_from(read).unwrap_or(u64::MAX) > FILE_BYTES_MAX {
        return Err(PrivateError::TooLong(path.to_owned()));
    }
    Ok(text)
}

/// Writes a secret into a file that must not exist yet; from its first moment only its owner may read it.
///
/// # Errors
/// Where it exists or cannot be written.
pub fn write_private(path: &Path, text: &str) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

/// Makes a folder, and those above it, for its owner alone; one that is there stays as it is.
///
/// # Errors
/// Where it cannot be made.
pub fn make_private_folder(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

#[cfg(test)]
mod tests {
    use super::{PrivateError, make_private_folder, read_private, write_private};
    use std::fs::{Permissions, metadata, set_permissions};
    use std::os::unix::fs::PermissionsExt;

    /// Scenario: a secret is written into a folder that is made for it, and read with each of the permissions a file may have.
    /// Guarantees: folder and file are their owner's alone; whatever everybody may read or write is refused with what to do.
    #[test]
    fn secrets_are_their_owners() {
        let folder = tempfile::tempdir().expect("a folder");
        let (inner, path) = (folder.path().join("a/b"), folder.path().join("a/b/key"));
        make_private_folder(&inner).expect("a folder");
        write_private(&path, "secret\n").expect("a file");
        let mode = |path| metadata(path).expect("it is there").permissions().mode() & 0o777;
        assert_eq!((mode(&inner), mode(&folder.path().join("a")), mode(&path)), (0o700, 0o700, 0o600));
        assert!(write_private(&path, "another\n").is_err(), "never in another's place");
        for mode in 0..=0o777 {
            if mode & 0o400 == 0 {
                continue; // its owner may not read it
            }
            set_permissions(&path, Permissions::from_mode(mode)).expect("it is ours");
            let read = read_private(&path);
            let open = mode & 0o004 != 0 || mode & 0o002 != 0;
            match read {
                Ok(text) => assert!(!open && text == "secret\n", "{mode:o}"),
                Err(error @ PrivateError::Open { .. }) => {
                    assert!(open && error.to_string().contains("chmod 600"), "{error}");
                }
                Err(error) => panic!("{mode:o}: {error}"),
            }
        }
    }
}
