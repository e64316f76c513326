//! What the client proves itself and its daemon with: files and the one variable that holds a token. They are read when a
//! connection is opened, so that a renewed file counts at the next one. It must not know addresses.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use model::{
    fault::{Fault, Reason},
    secret::Secret,
};

/// Where credentials are.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Credentials {
    /// The CA that signed the daemon's certificate, in place of the public ones.
    pub(crate) ca: Option<PathBuf>,
    /// The client's certificate.
    pub(crate) cert: Option<PathBuf>,
    /// Its private key.
    pub(crate) key: Option<PathBuf>,
    /// The file with a bearer token.
    pub(crate) token_file: Option<PathBuf>,
    /// The token of the environment; a named file goes before it.
    pub(crate) token: Option<Secret<String>>,
}

impl Credentials {
    /// Whether there is anything that only TLS can use.
    pub(crate) fn want_tls(&self) -> bool {
        self.ca.is_some() || self.cert.is_some() || self.key.is_some() || self.has_token()
    }

    /// Whether a token would be sent.
    pub(crate) fn has_token(&self) -> bool {
        self.token_file.is_some() || self.token.is_some()
    }

    /// A certificate and its key come together.
    ///
    /// # Errors
    /// One of them was named without the other.
    pub(crate) fn check(&self) -> Result<(), Fault> {
        let (named, missing) = match (&self.cert, &self.key) {
            (Some(_), None) => ("--cert", "--key"),
            (None, Some(_)) => ("--key", "--cert"),
            _ => return Ok(()),
        };
        Err(Fault::new(Reason::InvalidRequest, format!("{named} was given without {missing}"))
            .hint("a client certificate needs both: --cert FILE --key FILE"))
    }

    /// The token to send, if there is one.
    ///
    /// # Errors
    /// The file cannot be read, may be read by others, or holds none.
    pub(crate) fn bearer(&self) -> Result<Option<Secret<String>>, Fault> {
        match &self.token_file {
            Some(path) => read_token(path).map(Some),
            None => Ok(self.token.clone()),
        }
    }
}

fn read_token(path: &Path) -> Result<Secret<String>, Fault> {
    let shown = path.display();
    let cannot = |error: std::io::Error| invalid(format!("token file {shown} cannot be read: {error}"));
    let mode = fs::metadata(path).map_err(cannot)?.permissions().mode();
    if mode & 0o077 != 0 {
        let text =
            format!("token file {shown} has mode {:04o}: others than its owner may use it", mode & 0o7777);
        return Err(invalid(text).hint(format!("chmod 600 {shown}")));
    }
    let found = Secret::new(fs::read_to_string(path).map_err(cannot)?.trim().to_owned());
    match found.expose().as_str() {
        "" => Err(invalid(format!("token file {shown} is empty"))),
        text if text.bytes().all(|b| b.is_ascii_graphic()) => Ok(found),
        _ => Err(invalid(format!("token file {shown} holds more than one token, or none"))
            .hint("it holds the token in one line and nothing else")),
    }
}

pub(crate) fn invalid(message: String) -> Fault {
    Fault::new(Reason::InvalidRequest, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(text: &str) -> Secret<String> {
        Secret::new(text.to_owned())
    }

    fn file(text: &str, mode: u32) -> (tempfile::TempDir, Credentials) {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("token");
        fs::write(&path, text).expect("written");
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("a mode");
        (folder, Credentials { token_file: Some(path), ..Credentials::default() })
    }

    #[test]
    fn a_token_file_is_its_owners_alone() {
        let (_folder, good) = file("rsd_secret\n", 0o600);
        assert_eq!(good.bearer().expect("read"), Some(token("rsd_secret")));
        for mode in [0o640, 0o604, 0o660, 0o602] {
            let (_folder, open) = file("rsd_secret", mode);
            let fault = open.bearer().expect_err("others may read it");
            assert!(fault.hint.as_deref().is_some_and(|h| h.starts_with("chmod 600 ")), "{fault:?}");
            assert!(!format!("{fault:?}").contains("rsd_secret"), "{fault:?}");
        }
    }

    #[test]
    fn a_token_file_holds_one_token() {
        for text in ["", "\n", "rsd_a\nrsd_b", "rsd_ä", "a b"] {
            let (_folder, wrong) = file(text, 0o600);
            assert_eq!(wrong.bearer().expect_err(text).reason.exit_code(), 2, "{text:?}");
        }
        let missing = Credentials { token_file: Some("/no/such/file".into()), ..Credentials::default() };
        assert!(missing.bearer().expect_err("missing").message.contains("/no/such/file"));
    }

    #[test]
    fn a_token_cannot_be_printed_and_a_file_goes_before_the_environment() {
        let (_folder, both) = file("rsd_file", 0o600);
        let both = Credentials { token: Some(token("rsd_env")), ..both };
        assert_eq!(both.bearer().expect("read"), Some(token("rsd_file")));
        assert!(!format!("{both:?}").contains("rsd_"));
    }

    #[test]
    fn certificate_and_key_come_together() {
        let one = Credentials { cert: Some("c".into()), ..Credentials::default() };
        assert!(one.check().expect_err("no key").message.contains("--key"));
        let other = Credentials { key: Some("k".into()), ..Credentials::default() };
        assert!(other.check().expect_err("no certificate").message.contains("--cert"));
        assert!(Credentials { key: Some("k".into()), ..one }.check().is_ok());
    }
}
