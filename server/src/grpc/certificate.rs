//! The name in a client's certificate. Must not decide whether the certificate is to be trusted: that was decided in the
//! handshake.

use jiff::Timestamp;
use x509_parser::{certificate::X509Certificate, extensions::GeneralName, prelude::FromDer as _};

/// The longest name; it ends up in logs, reports and the names of sessions.
const LONGEST: usize = 200;

/// What a client's certificate says.
#[derive(Clone, Debug)]
pub(super) struct Named {
    /// The first URI of its alternative names, else the first DNS name; none: why there is no name.
    pub(super) name: Result<String, String>,
    /// The last moment at which it is valid.
    pub(super) until: Option<Timestamp>,
}

/// Reads a certificate. The common name does not count: it is free text.
pub(super) fn read(der: &[u8]) -> Named {
    let certificate = match X509Certificate::from_der(der) {
        Ok((_, certificate)) => certificate,
        Err(error) => {
            return Named {
                name: Err(format!("the client's certificate cannot be read: {error}")),
                until: None,
            };
        }
    };
    let until = Timestamp::from_second(certificate.validity().not_after.timestamp()).ok();
    Named { name: name(&certificate), until }
}

fn name(certificate: &X509Certificate<'_>) -> Result<String, String> {
    let names = certificate.subject_alternative_name().map_err(|error| {
        format!("the alternative names of the client's certificate cannot be read: {error}")
    })?;
    let names = names.map(|extension| extension.value.general_names.as_slice()).unwrap_or_default();
    let uri = names.iter().find_map(|name| match name {
        GeneralName::URI(uri) => Some(*uri),
        _ => None,
    });
    let dns = names.iter().find_map(|name| match name {
        GeneralName::DNSName(dns) => Some(*dns),
        _ => None,
    });
    let found = uri.or(dns).ok_or(
        "the client's certificate names nobody: it needs a URI or a DNS name among its alternative names \
         (the common name does not count)",
    )?;
    // Without a scheme it would be the same name as another's DNS name.
    if uri.is_some_and(|uri| !uri.contains(':')) {
        return Err("the URI in the client's certificate has no scheme".to_owned());
    }
    let plain = !found.is_empty() && found.len() <= LONGEST && found.bytes().all(|b| b.is_ascii_graphic());
    if plain {
        Ok(found.to_owned())
    } else {
        Err(format!("the name in the client's certificate is not 1 to {LONGEST} visible ASCII characters"))
    }
}
