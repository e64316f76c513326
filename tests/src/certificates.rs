//! Certificates of a test: an authority of its own, and what it signs.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use hyper_util::rt::TokioIo;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, SanType,
    date_time_ymd,
};
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio_rustls::{
    TlsConnector,
    client::TlsStream,
    rustls::{
        ClientConfig, RootCertStore,
        crypto::ring,
        pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject as _},
    },
};
use tonic::transport::{Channel, Endpoint};

use crate::{client::Output, daemon::Daemon};

/// A certificate with its key, as files.
#[derive(Clone, Debug)]
pub struct Certificate {
    /// The certificate.
    pub cert: PathBuf,
    /// The key.
    pub key: PathBuf,
}

/// The names in a certificate.
#[derive(Clone, Debug, Default)]
pub struct Subject {
    /// A URI among its alternative names.
    pub uri: Option<String>,
    /// A DNS name among its alternative names.
    pub dns: Option<String>,
    /// The common name.
    pub common: String,
    /// It expired long ago.
    pub expired: bool,
}

impl Subject {
    /// A DNS name and nothing else.
    #[must_use]
    pub fn dns(name: &str) -> Self {
        Self { dns: Some(name.to_owned()), ..Self::default() }
    }

    /// A URI and a DNS name, of which the URI counts.
    #[must_use]
    pub fn uri(name: &str) -> Self {
        Self { uri: Some(name.to_owned()), dns: Some("not.this.one".to_owned()), ..Self::default() }
    }
}

/// A certificate authority, its files in a folder of their own.
pub struct Authority {
    folder: TempDir,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    /// A new one.
    #[must_use]
    pub fn new() -> Self {
        Self::named("the authority of a test")
    }

    /// A new one of this name.
    #[must_use]
    pub fn named(name: &str) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        let own = params.self_signed(&key).expect("a certificate");
        fs::write(folder.path().join("ca.pem"), own.pem()).expect("written");
        Self { folder, issuer: Issuer::new(params, key) }
    }

    /// Its own certificate.
    #[must_use]
    pub fn ca(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    /// The folder of its files.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// A daemon's certificate, for `localhost` and 127.0.0.1.
    #[must_use]
    pub fn daemon(&self, file: &str) -> Certificate {
        self.daemon_as(file, &["localhost", "127.0.0.1"], false)
    }

    /// A daemon's certificate for these names.
    #[must_use]
    pub fn daemon_as(&self, file: &str, names: &[&str], expired: bool) -> Certificate {
        let names: Vec<String> = names.iter().map(|n| (*n).to_owned()).collect();
        let mut params = CertificateParams::new(names).expect("names");
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        self.sign(file, params, expired)
    }

    /// A client's certificate.
    #[must_use]
    pub fn client(&self, file: &str, says: &Subject) -> Certificate {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, says.common.as_str());
        // The DNS name comes first in the list: the order does not count, the kind does.
        let name = |text: &String| text.as_str().try_into().expect("ASCII");
        params.subject_alt_names.extend(says.dns.iter().map(|n| SanType::DnsName(name(n))));
        params.subject_alt_names.extend(says.uri.iter().map(|n| SanType::URI(name(n))));
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.sign(file, params, says.expired)
    }

    fn sign(&self, file: &str, mut params: CertificateParams, expired: bool) -> Certificate {
        if expired {
            (params.not_before, params.not_after) = (date_time_ymd(2000, 1, 1), date_time_ymd(2001, 1, 1));
        }
        let key = KeyPair::generate().expect("a key");
        let signed = params.signed_by(&key, &self.issuer).expect("a certificate");
        let at = |kind: &str| self.folder.path().join(format!("{file}.{kind}"));
        let certificate = Certificate { cert: at("pem"), key: at("key") };
        replace(&certificate.cert, &signed.pem());
        replace(&certificate.key, &key.serialize_pem());
        certificate
    }

    /// A channel with TLS, as any gRPC library would open one; `shown` is the client's certificate.
    ///
    /// # Errors
    /// The daemon cannot be reached, or one side refuses the other.
    pub async fn channel(&self, address: &str, shown: Option<&Certificate>) -> Result<Channel, String> {
        let host_port = address.trim_start_matches("https://").to_owned();
        let (ca, shown) = (self.ca(), shown.cloned());
        let connector = tower::service_fn(move |_| {
            let (ca, shown, host_port) = (ca.clone(), shown.clone(), host_port.clone());
            async move { secured(&host_port, &ca, shown.as_ref()).await.map(TokioIo::new) }
        });
        let endpoint = Endpoint::from_shared("https://localhost".to_owned()).expect("an address");
        endpoint.connect_with_connector(connector).await.map_err(|error| format!("{error:?}"))
    }
}

impl Default for Authority {
    fn default() -> Self {
        Self::new()
    }
}

/// A TLS connection and nothing on it yet.
///
/// # Errors
/// As the system or the library says.
pub async fn secured(
    host_port: &str,
    ca: &Path,
    shown: Option<&Certificate>,
) -> std::io::Result<TlsStream<TcpStream>> {
    let stream = TcpStream::connect(host_port).await?;
    over(stream, ca, shown).await
}

/// TLS over a connection that is open.
///
/// # Errors
/// As the library says.
pub async fn over(
    stream: TcpStream,
    ca: &Path,
    shown: Option<&Certificate>,
) -> std::io::Result<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    for certificate in chain(ca) {
        roots.add(certificate).expect("a CA");
    }
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots);
    let mut config = match shown {
        None => builder.with_no_client_auth(),
        Some(certificate) => {
            let key = PrivateKeyDer::from_pem_file(&certificate.key).expect("a key");
            builder.with_client_auth_cert(chain(&certificate.cert), key).expect("a pair")
        }
    };
    config.alpn_protocols = vec![b"h2".to_vec()];
    let name = ServerName::try_from("localhost").expect("a name");
    TlsConnector::from(Arc::new(config)).connect(name, stream).await
}

impl Daemon {
    /// Words for [`Daemon::ctl_args`], over TLS: with the authority's certificate, and with the client's own.
    #[must_use]
    pub fn with(authority: &Authority, shown: Option<&Certificate>, words: &str) -> Vec<String> {
        let mut all = vec!["--ca".to_owned(), authority.ca().display().to_string()];
        if let Some(certificate) = shown {
            all.extend(["--cert".to_owned(), certificate.cert.display().to_string()]);
            all.extend(["--key".to_owned(), certificate.key.display().to_string()]);
        }
        all.extend(words.split_whitespace().map(str::to_owned));
        all
    }

    /// Runs `resetctl` over TLS.
    pub async fn ctl_tls(&self, authority: &Authority, shown: Option<&Certificate>, words: &str) -> Output {
        let words = Self::with(authority, shown, words);
        self.ctl_args(&words.iter().map(String::as_str).collect::<Vec<_>>()).await
    }
}

fn chain(file: &Path) -> Vec<CertificateDer<'static>> {
    CertificateDer::pem_file_iter(file).expect("a file").collect::<Result<_, _>>().expect("PEM")
}

/// Whole or not at all, as an admin would: whoever reads it never sees half of it.
fn replace(path: &Path, text: &str) {
    let new = path.with_extension("new");
    fs::write(&new, text).expect("written");
    fs::rename(&new, path).expect("renamed");
}
