//! Who asks, and how that is proved: peer credentials on a unix socket, or nobody in particular on a loopback address.

use model::{
    fault::{Fault, Reason},
    permit::{Principal, PrincipalKind},
};
use nix::unistd::{Uid, User};
use tonic::{
    Request,
    transport::server::{TcpConnectInfo, UdsConnectInfo},
};

/// The principal of a call.
pub(super) fn of<T>(request: &Request<T>) -> Result<Principal, Fault> {
    if let Some(info) = request.extensions().get::<UdsConnectInfo>() {
        return unix(info);
    }
    match request.extensions().get::<TcpConnectInfo>().and_then(TcpConnectInfo::remote_addr) {
        Some(address) if address.ip().is_loopback() => Ok(Principal::anonymous()),
        _ => Err(unauthenticated("the connection proves nothing")),
    }
}

/// The bearer token of a call, where it brings one over the socket.
pub(super) fn bearer<T>(request: &Request<T>) -> Option<&str> {
    request.extensions().get::<UdsConnectInfo>()?;
    request.metadata().get("authorization")?.to_str().ok()?.strip_prefix("Bearer ")
}

/// From where a call comes, for the audit record.
pub(super) fn peer<T>(request: &Request<T>) -> String {
    if let Some(info) = request.extensions().get::<UdsConnectInfo>() {
        return match info.peer_cred {
            Some(credentials) => format!("unix socket, uid {}", credentials.uid()),
            None => "unix socket".to_owned(),
        };
    }
    let address = request.extensions().get::<TcpConnectInfo>().and_then(TcpConnectInfo::remote_addr);
    address.map_or_else(|| "unknown".to_owned(), |a| a.to_string())
}

fn unix(info: &UdsConnectInfo) -> Result<Principal, Fault> {
    let credentials =
        info.peer_cred.ok_or_else(|| unauthenticated("the socket gives no peer credentials"))?;
    let uid = Uid::from_raw(credentials.uid());
    // A user without a name is known by number.
    let name = match User::from_uid(uid) {
        Ok(Some(user)) => user.name,
        Ok(None) | Err(_) => format!("#{uid}"),
    };
    Ok(Principal { kind: PrincipalKind::Unix, name, owner: uid.is_root() || uid == Uid::effective() })
}

fn unauthenticated(what: &str) -> Fault {
    Fault::new(Reason::Unauthenticated, what).hint("use the daemon's unix socket")
}
