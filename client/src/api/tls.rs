//! TLS as a client: whom it believes, what it shows, and what a handshake that failed means to a person.
//!
//! It must not know what is asked over a connection.

use std::{fs, io, path::Path, sync::Arc};

use model::fault::{Fault, Reason};
use tokio::{io::BufReader, net::TcpStream};
use tokio_rustls::{
    TlsConnector,
    client::TlsStream,
    rustls::{
        self, AlertDescription, CertificateError, ClientConfig, RootCertStore,
        pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject as _},
        version::TLS13,
    },
};

use super::preface;
use crate::destination::credentials::{Credentials, invalid};

/// Opens TLS on a connection and waits for the daemon's first word: only then it has accepted the client's certificate.
///
/// # Errors
/// What is wrong with the files, with the daemon's certificate, or with the client's.
pub(crate) async fn open(
    stream: TcpStream,
    host: &str,
    address: &str,
    credentials: &Credentials,
) -> Result<BufReader<TlsStream<TcpStream>>, Fault> {
    let config = configuration(credentials)?;
    let name = ServerName::try_from(host.to_owned())
        .map_err(|_| invalid(format!("`{host}` is no name that a certificate could have")))?;
    let failed = |error: io::Error| explained(&error, host, address, credentials);
    let stream = TlsConnector::from(config).connect(name, stream).await.map_err(failed)?;
    let mut stream = BufReader::new(stream);
    preface::received(&mut stream).await.map_err(failed)?;
    Ok(stream)
}

fn configuration(credentials: &Credentials) -> Result<Arc<ClientConfig>, Fault> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13])
        .map_err(|e| Fault::new(Reason::Internal, format!("TLS cannot be set up: {e}")))?
        .with_root_certificates(roots(credentials.ca.as_deref())?);
    let mut config = match (&credentials.cert, &credentials.key) {
        (Some(cert), Some(key)) => {
            let pair = |e| invalid(format!("{} and {} do not fit: {e}", cert.display(), key.display()));
            builder
                .with_client_auth_cert(certificates(cert, "certificate")?, private_key(key)?)
                .map_err(pair)?
        }
        _ => builder.with_no_client_auth(),
    };
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(Arc::new(config))
}

fn roots(ca: Option<&Path>) -> Result<RootCertStore, Fault> {
    let Some(path) = ca else {
        return Ok(RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() });
    };
    let mut roots = RootCertStore::empty();
    for certificate in certificates(path, "CA certificate")? {
        roots.add(certificate).map_err(|e| unusable(path, "CA certificate", &e.to_string()))?;
    }
    Ok(roots)
}

fn certificates(path: &Path, what: &str) -> Result<Vec<CertificateDer<'static>>, Fault> {
    let text = read(path)?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    match found {
        Ok(found) if found.is_empty() => Err(unusable(path, what, "there is none")),
        Ok(found) => Ok(found),
        Err(error) => Err(unusable(path, what, &error.to_string())),
    }
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, Fault> {
    PrivateKeyDer::from_pem_slice(&read(path)?)
        .map_err(|error| unusable(path, "private key", &error.to_string()))
}

fn read(path: &Path) -> Result<Vec<u8>, Fault> {
    fs::read(path).map_err(|error| invalid(format!("{} cannot be read: {error}", path.display())))
}

fn unusable(path: &Path, what: &str, why: &str) -> Fault {
    invalid(format!("{} holds no usable {what} as PEM: {why}", path.display()))
}

/// What a failed handshake means, and what to do.
fn explained(error: &io::Error, host: &str, address: &str, credentials: &Credentials) -> Fault {
    let known = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    let unreachable = |text: String, hint: &str| {
        Fault::new(Reason::DaemonUnreachable, format!("the daemon at {address} cannot be trusted: {text}"))
            .hint(hint)
            .with("server", address)
    };
    match known {
        Some(rustls::Error::InvalidCertificate(wrong)) => {
            let (text, hint) = certificate_error(wrong, host, credentials);
            unreachable(text, &hint)
        }
        Some(rustls::Error::AlertReceived(alert)) => refused(*alert, address, credentials),
        Some(rustls::Error::InvalidMessage(_)) => unreachable(
            "what answers there does not speak TLS".to_owned(),
            "for plaintext on loopback: http://HOST:PORT",
        ),
        _ => unreachable(
            format!("the TLS handshake failed: {error}"),
            "check that a resetd listens there, with TLS 1.3",
        ),
    }
}

fn certificate_error(wrong: &CertificateError, host: &str, credentials: &Credentials) -> (String, String) {
    match wrong {
        CertificateError::UnknownIssuer | CertificateError::BadSignature => (
            "its certificate was signed by a CA that is not known here".to_owned(),
            match &credentials.ca {
                Some(ca) => {
                    format!("{} is not the CA of this daemon; ask its admin for the right one", ca.display())
                }
                None => "name the daemon's CA: --ca FILE (RESETCTL_CA)".to_owned(),
            },
        ),
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => (
            format!("its certificate is not for `{host}`"),
            "use the name that the certificate has, or ask the daemon's admin for one with this name"
                .to_owned(),
        ),
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            ("its certificate has expired".to_owned(), "ask the daemon's admin to renew it".to_owned())
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => (
            "its certificate is not valid yet".to_owned(),
            "compare the clocks of this machine and the daemon's".to_owned(),
        ),
        other => (
            format!("its certificate is not acceptable: {other}"),
            "ask the daemon's admin for another one".to_owned(),
        ),
    }
}

/// What the daemon said about the client's own certificate.
fn refused(alert: AlertDescription, address: &str, credentials: &Credentials) -> Fault {
    let own = match &credentials.cert {
        Some(cert) => format!("the client certificate {}", cert.display()),
        None => "a client without a certificate".to_owned(),
    };
    let (why, hint) = match alert {
        // The second is what a CA of the same name with another key comes to.
        AlertDescription::UnknownCA | AlertDescription::DecryptError => {
            ("its CA is not known there", "ask the daemon's admin which CA signs its clients' certificates")
        }
        AlertDescription::CertificateExpired => ("it has expired", "renew it"),
        AlertDescription::CertificateRequired => ("one is needed", "show one: --cert FILE --key FILE"),
        AlertDescription::ProtocolVersion => ("no TLS version is common", "this client speaks TLS 1.3 only"),
        AlertDescription::NoApplicationProtocol => ("it does not speak HTTP/2", "check that it is a resetd"),
        _ => ("it is not acceptable", "ask the daemon's admin for another one"),
    };
    let text = format!("the server at {address} refuses {own}: {why} (TLS alert {alert:?})");
    Fault::new(Reason::Unauthenticated, text).hint(hint).with("server", address)
}
