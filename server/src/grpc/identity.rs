//! Who asks, and how that is proved: what the call itself shows goes before what its connection proves.
//!
//! A bearer token that was sent is the identity, good or refused: a bad one never falls back to a weaker method. Without one
//! it is the peer's credentials on a unix socket, the client's certificate on TLS, nobody in particular on loopback.

use http::{HeaderMap, header::AUTHORIZATION};
use jiff::Timestamp;
use model::{
    authorization::{Principal, PrincipalKind},
    fault::{Fault, Reason},
};

use super::{
    certificate::Named,
    connection::{Authenticated, Peer},
};
use crate::engine::Engine;

/// Who was proved to call, and from where.
#[derive(Clone, Debug)]
pub(super) struct Caller {
    pub(super) principal: Principal,
    pub(super) peer: String,
}

/// Who the auth layer proved to call.
pub(super) fn caller<T>(request: &tonic::Request<T>) -> Result<Caller, tonic::Status> {
    request.extensions().get::<Caller>().cloned().ok_or_else(|| {
        super::status(unauthenticated(
            "the call did not come through the auth layer",
            "call the daemon's address",
        ))
    })
}

/// The principal of a call.
///
/// # Errors
/// `UNAUTHENTICATED`, with what to do.
pub(super) async fn prove(engine: &Engine, peer: &Peer, headers: &HeaderMap) -> Result<Principal, Fault> {
    let token = bearer(headers)?;
    match (token, &peer.authenticated) {
        (Some(_), Authenticated::Loopback) => Err(unauthenticated(
            "a bearer token is not taken in plaintext",
            "use TLS or the daemon's unix socket, and replace the token: it was sent over an open connection",
        )),
        (Some(token), _) => engine.principal_of_token(token).await,
        (None, Authenticated::Loopback) => Ok(Principal::anonymous()),
        (None, Authenticated::Unix(Some(principal))) => Ok(principal.clone()),
        (None, Authenticated::Unix(None)) => {
            Err(unauthenticated("the socket gives no peer credentials", "use a bearer token"))
        }
        (None, Authenticated::Tls(Some((_, trust)))) if !trust.holds() => Err(unauthenticated(
            "a CA of the clients was taken out since this connection began",
            "connect again, with a certificate of a CA that is trusted now",
        )),
        (None, Authenticated::Tls(Some((named, _)))) => of_certificate(named, Timestamp::now()),
        (None, Authenticated::Tls(None)) => Err(unauthenticated(
            "no credentials were sent",
            "use a client certificate (resetctl --cert FILE --key FILE) or a bearer token (resetctl --token-file FILE)",
        )),
    }
}

/// A certificate is looked at again with each call: it may have expired since the handshake.
fn of_certificate(named: &Named, now: Timestamp) -> Result<Principal, Fault> {
    let name = named.name.as_ref().map_err(|why| {
        unauthenticated(why, "ask for a certificate whose subjectAltName has a URI or a DNS name")
    })?;
    if named.until.is_some_and(|until| until < now) {
        return Err(unauthenticated("the client's certificate has expired", "renew it, and connect again"));
    }
    Ok(Principal { kind: PrincipalKind::Cert, name: name.clone(), owner: false })
}

/// The token of the one `authorization` header.
fn bearer(headers: &HeaderMap) -> Result<Option<&str>, Fault> {
    let mut all = headers.get_all(AUTHORIZATION).iter();
    let Some(value) = all.next() else { return Ok(None) };
    let wrong = |what| unauthenticated(what, "send one header: authorization: Bearer rsd_…");
    if all.next().is_some() {
        return Err(wrong("there is more than one authorization header"));
    }
    let (scheme, token) = value.to_str().ok().and_then(|text| text.split_once(' ')).unwrap_or_default();
    if !scheme.eq_ignore_ascii_case("bearer") || token.trim().is_empty() {
        return Err(wrong("the authorization header is no bearer token"));
    }
    Ok(Some(token.trim()))
}

fn unauthenticated(what: &str, hint: &str) -> Fault {
    Fault::new(Reason::Unauthenticated, what).hint(hint)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(values: &[&str]) -> HeaderMap {
        values.iter().map(|value| (AUTHORIZATION, value.parse().expect("a header"))).collect()
    }

    #[test]
    fn one_bearer_token_or_none_and_nothing_else() {
        assert_eq!(bearer(&headers(&[])).expect("none"), None);
        for good in ["Bearer rsd_a", "bearer  rsd_a ", "BEARER rsd_a"] {
            assert_eq!(bearer(&headers(&[good])).expect(good), Some("rsd_a"));
        }
        for bad in ["", "Bearer", "Bearer ", "Basic dTpw", "rsd_a"] {
            assert_eq!(bearer(&headers(&[bad])).expect_err(bad).reason, Reason::Unauthenticated);
        }
        assert!(bearer(&headers(&["Bearer a", "Bearer b"])).is_err());
    }

    #[test]
    fn a_certificate_is_a_name_until_it_expires() {
        let until = Timestamp::from_second(1_000).expect("a time");
        let named = |name: Result<&str, &str>| Named {
            name: name.map(str::to_owned).map_err(str::to_owned),
            until: Some(until),
        };
        let good = of_certificate(&named(Ok("ci.example")), until).expect("valid");
        assert_eq!((good.to_string().as_str(), good.owner), ("cert:ci.example", false));
        let late = until + jiff::SignedDuration::from_secs(1);
        assert!(of_certificate(&named(Ok("ci.example")), late).is_err());
        assert!(of_certificate(&named(Err("it names nobody")), until).is_err());
    }
}
