//! A certificate authority of a test's own, and a certificate for loopback, made by OpenSSL.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::place::TempFolder;

/// An authority and one server's certificate in a folder.
#[derive(Debug)]
pub struct Certificates {
    folder: TempFolder,
}

impl Certificates {
    /// Makes them: for `127.0.0.1` and `localhost`, a day long.
    ///
    /// # Panics
    /// When OpenSSL is not there or refuses.
    pub fn new() -> Certificates {
        let folder = TempFolder::new("certificates");
        let at = folder.path();
        let names = "subjectAltName=IP:127.0.0.1,DNS:localhost\nextendedKeyUsage=serverAuth\n";
        fs::write(at.join("names"), names).expect("the folder can be written");
        let key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];
        let ca = [
            "req",
            "-x509",
            "-days",
            "1",
            "-subj",
            "/CN=test authority",
            "-keyout",
            "ca.key",
            "-out",
            "ca.pem",
        ];
        openssl(at, &[&ca[..], &key].concat());
        let request = ["req", "-new", "-subj", "/CN=loopback", "-keyout", "server.key", "-out", "server.csr"];
        openssl(at, &[&request[..], &key].concat());
        let sign = ["x509", "-req", "-days", "1", "-in", "server.csr", "-CA", "ca.pem", "-CAkey", "ca.key"];
        openssl(at, &[&sign[..], &["-CAcreateserial", "-extfile", "names", "-out", "server.pem"]].concat());
        // Kafka takes key and certificates as one file
        let whole = ["server.key", "server.pem", "ca.pem"].map(|name| fs::read_to_string(at.join(name)));
        let whole: String = whole.into_iter().map(|text| text.expect("what OpenSSL wrote")).collect();
        fs::write(at.join("keystore.pem"), whole).expect("the folder can be written");
        Certificates { folder }
    }

    /// The authority's certificate, PEM.
    pub fn ca(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    /// The server's certificate, PEM.
    pub fn server(&self) -> PathBuf {
        self.folder.path().join("server.pem")
    }

    /// Its private key, PEM (PKCS 8).
    pub fn server_key(&self) -> PathBuf {
        self.folder.path().join("server.key")
    }

    /// Key, certificate and authority in one file, as Kafka's key stores of type PEM are.
    pub fn keystore(&self) -> PathBuf {
        self.folder.path().join("keystore.pem")
    }
}

impl Default for Certificates {
    fn default() -> Certificates {
        Certificates::new()
    }
}

fn openssl(folder: &Path, arguments: &[&str]) {
    let ended = Command::new("openssl").args(arguments).current_dir(folder).output();
    let ended = ended
        .unwrap_or_else(|error| panic!("openssl cannot be started ({error}): run tests/setup/install.sh"));
    assert!(ended.status.success(), "openssl {arguments:?}\n{}", String::from_utf8_lossy(&ended.stderr));
}
