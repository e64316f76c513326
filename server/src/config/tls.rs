//! `[tls]`: where certificate, key and the clients' CA are. Must not open them: they are read when listeners open, and again
//! whenever they change.

use std::path::PathBuf;

use super::problem::Problems;
use super::section::Section;

const CERTIFICATE: &str = "certificate_file";
const KEY: &str = "key_file";
const CLIENT_CA: &str = "client_ca_file";

/// The files of TLS.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Tls {
    /// The daemon's certificate and what leads from it to its CA, as PEM.
    pub certificate_file: PathBuf,
    /// Its private key, as PEM.
    pub key_file: PathBuf,
    /// The CAs whose certificates prove clients, as PEM; none: no client has a certificate.
    pub client_ca_file: Option<PathBuf>,
}

/// Reads the section.
pub(super) fn parse(root: &Section<'_>, problems: &mut Problems) -> Option<Tls> {
    let section = root.table("tls", problems)?;
    section.only(&[CERTIFICATE, KEY, CLIENT_CA], problems);
    for key in [CERTIFICATE, KEY].iter().filter(|key| !section.has(key)) {
        section.missing(key, problems);
    }
    let mut path = |key| section.string(key, problems).map(|text| PathBuf::from(text.value));
    let client_ca_file = path(CLIENT_CA);
    Some(Tls { certificate_file: path(CERTIFICATE)?, key_file: path(KEY)?, client_ca_file })
}
