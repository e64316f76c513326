//! Certificate, key and the clients' CA: read when listeners open, read again when their files change or on SIGHUP. What
//! cannot be used leaves the earlier ones in force. Must not know who a client is.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

use tokio::signal::unix::{SignalKind, signal};
use tokio_rustls::rustls::{
    self, RootCertStore, ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    server::WebPkiClientVerifier,
    version::TLS13,
};
use tokio_util::sync::CancellationToken;

use crate::config::Tls;

/// How often the files are looked at.
const LOOK: Duration = Duration::from_secs(2);

/// Why TLS cannot be offered.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TlsError {
    /// A file.
    #[error("{path} cannot be read")]
    File {
        /// Which.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// What is in a file.
    #[error("{path} holds no usable {what} as PEM: {why}")]
    Content {
        /// Which.
        path: PathBuf,
        /// What should be there.
        what: &'static str,
        /// Why it is not.
        why: String,
    },
    /// The files do not fit each other.
    #[error("certificate {certificate} and key {key} cannot be used together")]
    Pair {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's file.
        key: PathBuf,
        /// Why not.
        #[source]
        source: rustls::Error,
    },
    /// The library.
    #[error("TLS cannot be set up")]
    Setup(#[source] rustls::Error),
}

impl TlsError {
    /// The error with its sources, in one line.
    pub(crate) fn told(&self) -> String {
        let mut text = self.to_string();
        let mut source = std::error::Error::source(self);
        while let Some(error) = source {
            text.push_str(&format!(": {error}"));
            source = error.source();
        }
        text
    }
}

/// The TLS that is in force.
#[derive(Debug)]
pub(crate) struct Certificates {
    files: Tls,
    current: RwLock<InForce>,
    /// Rises when a CA of the clients is taken out.
    generation: Arc<AtomicU64>,
}

#[derive(Debug)]
struct InForce {
    config: Arc<ServerConfig>,
    /// The CAs of the clients.
    authorities: Vec<CertificateDer<'static>>,
}

/// What a handshake trusted, and whether that still holds.
#[derive(Clone, Debug)]
pub(super) struct Trust {
    then: u64,
    now: Arc<AtomicU64>,
}

impl Trust {
    /// No CA of the clients was taken out since.
    pub(super) fn holds(&self) -> bool {
        self.now.load(Ordering::Acquire) == self.then
    }
}

impl Certificates {
    /// Reads the files.
    ///
    /// # Errors
    /// The first thing that is wrong with them.
    pub(crate) fn load(files: &Tls) -> Result<Arc<Self>, TlsError> {
        let current = RwLock::new(read(files)?);
        Ok(Arc::new(Self { files: files.clone(), current, generation: Arc::default() }))
    }

    /// What a handshake that begins now uses.
    pub(super) fn current(&self) -> (Arc<ServerConfig>, Trust) {
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
        let then = self.generation.load(Ordering::Acquire);
        (Arc::clone(&current.config), Trust { then, now: Arc::clone(&self.generation) })
    }

    /// What was wrong, so that it is said once.
    fn reload(&self, before: Option<String>) -> Option<String> {
        match read(&self.files) {
            Ok(new) => {
                let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
                if current.authorities.iter().any(|authority| !new.authorities.contains(authority)) {
                    self.generation.fetch_add(1, Ordering::AcqRel);
                    tracing::info!(
                        "a CA of the clients was taken out: whoever is connected has to connect again"
                    );
                }
                *current = new;
                tracing::info!(certificate = %self.files.certificate_file.display(), "certificates were read again");
                None
            }
            Err(error) => {
                let text = error.told();
                if before.as_ref() != Some(&text) {
                    tracing::error!(
                        error = text,
                        "certificates were not read again; the earlier ones stay in force"
                    );
                }
                Some(text)
            }
        }
    }

    /// By what a change of the files is noticed: also one that was made by renaming.
    fn looks(&self) -> Vec<Option<(SystemTime, u64, u64)>> {
        let files = [
            Some(&self.files.certificate_file),
            Some(&self.files.key_file),
            self.files.client_ca_file.as_ref(),
        ];
        let look = |path: &PathBuf| {
            use std::os::unix::fs::MetadataExt as _;
            let metadata = fs::metadata(path).ok()?;
            Some((metadata.modified().ok()?, metadata.ino(), metadata.len()))
        };
        files.into_iter().flatten().map(look).collect()
    }
}

/// Reads the files again on SIGHUP and whenever they look different, until `end`. Open connections go on as they are.
/// Without TLS there is nothing to read again, and SIGHUP ends nothing either.
pub(crate) async fn keep_fresh(certificates: Option<Arc<Certificates>>, end: CancellationToken) {
    let mut hangup = match signal(SignalKind::hangup()) {
        Ok(hangup) => hangup,
        Err(error) => return tracing::warn!(%error, "certificates are not read again: no signals"),
    };
    let mut seen = certificates.as_ref().map(|it| it.looks());
    let mut failed = None;
    loop {
        let asked = tokio::select! {
            () = end.cancelled() => return,
            _ = hangup.recv() => true,
            () = tokio::time::sleep(LOOK), if certificates.is_some() => false,
        };
        let Some(certificates) = &certificates else { continue };
        // A pair is seldom replaced at one moment: what does not fit is read again with the next change.
        let looks = Some(certificates.looks());
        if asked || looks != seen {
            seen = looks;
            failed = certificates.reload(failed);
        }
    }
}

fn read(files: &Tls) -> Result<InForce, TlsError> {
    let mut authorities = Vec::new();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&[&TLS13])
        .map_err(TlsError::Setup)?;
    let builder = match &files.client_ca_file {
        None => builder.with_no_client_auth(),
        Some(path) => {
            authorities = certificates(path, "CA certificate")?;
            let roots = Arc::new(roots(path, &authorities)?);
            // A client without a certificate may still bring a token; who proves nothing is refused call by call.
            let verifier =
                WebPkiClientVerifier::builder_with_provider(roots, provider).allow_unauthenticated();
            let verifier = verifier.build().map_err(|e| content(path, "CA certificate", e.to_string()))?;
            builder.with_client_cert_verifier(verifier)
        }
    };
    let chain = certificates(&files.certificate_file, "certificate")?;
    let key = key(&files.key_file)?;
    let mut config = builder.with_single_cert(chain, key).map_err(|source| TlsError::Pair {
        certificate: files.certificate_file.clone(),
        key: files.key_file.clone(),
        source,
    })?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    // A resumed session would not be asked for its certificate again.
    config.send_tls13_tickets = 0;
    Ok(InForce { config: Arc::new(config), authorities })
}

fn roots(path: &Path, authorities: &[CertificateDer<'static>]) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in authorities {
        roots.add(certificate.clone()).map_err(|e| content(path, "CA certificate", e.to_string()))?;
    }
    Ok(roots)
}

fn certificates(path: &Path, what: &'static str) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let text = text(path)?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    match found {
        Ok(found) if found.is_empty() => Err(content(path, what, "there is none".to_owned())),
        Ok(found) => Ok(found),
        Err(error) => Err(content(path, what, error.to_string())),
    }
}

fn key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    PrivateKeyDer::from_pem_slice(&text(path)?)
        .map_err(|error| content(path, "private key", error.to_string()))
}

fn text(path: &Path) -> Result<Vec<u8>, TlsError> {
    fs::read(path).map_err(|source| TlsError::File { path: path.to_owned(), source })
}

fn content(path: &Path, what: &'static str, why: String) -> TlsError {
    TlsError::Content { path: path.to_owned(), what, why }
}
