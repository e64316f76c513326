//! Windows, by two principals on one target.

use std::time::Duration;

use jiff::Timestamp;
use model::window::Window;
use tonic::Status;
use uuid::Uuid;
use wire::v1;

use crate::{Api, Daemon, Setup, TestTarget, operations::fault};

/// A target and a daemon that two principals reach: `guest` over TCP, `owner` over the socket.
pub struct Two {
    /// Migrated, where nothing else is said.
    pub target: TestTarget,
    /// On TCP and on a socket.
    pub daemon: Daemon,
    /// Over TCP.
    pub guest: Api,
    /// Over the socket.
    pub owner: Api,
    /// What the owner is called.
    pub me: String,
}

/// The guest's name.
pub const GUEST: &str = "loopback:anonymous";

impl Two {
    /// A migrated target, and a daemon with more configuration.
    pub async fn new(more: &str) -> Self {
        let target = TestTarget::migrated().await;
        let setup = Setup::of(&target).with(more);
        Self::with(target, setup).await
    }

    /// A target, and a daemon that is set up for it.
    pub async fn with(target: TestTarget, setup: Setup) -> Self {
        let daemon = setup.listen_also("unix:socket").start().await;
        Self::at(target, daemon).await
    }

    /// A target, and a daemon that runs.
    pub async fn at(target: TestTarget, daemon: Daemon) -> Self {
        let (guest, mut owner) = (daemon.api_at(0).await, daemon.api_at(1).await);
        let info =
            owner.system.get_server_info(v1::GetServerInfoRequest {}).await.expect("an answer").into_inner();
        Self { target, daemon, guest, owner, me: info.principal }
    }

    /// Runs `resetctl` as the owner.
    pub async fn own(&self, words: &[&str]) -> crate::Output {
        self.daemon.ctl_at(1, words).finish().await
    }
}

/// A window that begins `ahead` seconds from now.
pub fn wish(target: &TestTarget, ahead: u64, seconds: u64) -> v1::ReserveWindowRequest {
    let duration = |s| Some(prost_duration(s));
    v1::ReserveWindowRequest {
        request_id: Uuid::new_v4().to_string(),
        target: target.name.clone(),
        starts_at: None,
        duration: duration(seconds),
        reason: "rehearsal".to_owned(),
        starts_in: duration(ahead).filter(|_| ahead > 0),
    }
}

/// A duration as the contract has it.
///
/// # Panics
/// It is longer than the contract can say.
#[must_use]
pub fn prost_duration(seconds: u64) -> prost_types::Duration {
    Duration::from_secs(seconds).try_into().expect("a duration")
}

/// Reserves a window.
///
/// # Errors
/// The refusal.
///
/// # Panics
/// The reply has no window.
pub async fn reserve(api: &mut Api, wish: v1::ReserveWindowRequest) -> Result<Window, Status> {
    let reply = api.windows.reserve_window(wish).await?.into_inner();
    Ok(wire::decode_window(reply.window.expect("a window")).expect("a window of the contract"))
}

/// Releases a window.
///
/// # Errors
/// The refusal.
///
/// # Panics
/// The reply has no window.
pub async fn release(api: &mut Api, window: &Window, force: bool, reason: &str) -> Result<Window, Status> {
    let request = v1::ReleaseWindowRequest {
        request_id: Uuid::new_v4().to_string(),
        window: window.id.to_string(),
        reason: reason.to_owned(),
        etag: String::new(),
        force,
    };
    let reply = api.windows.release_window(request).await?.into_inner();
    Ok(wire::decode_window(reply.window.expect("a window")).expect("a window of the contract"))
}

/// Moves a window's end.
///
/// # Errors
/// The refusal.
///
/// # Panics
/// The reply has no window.
pub async fn extend(api: &mut Api, window: &Window, to: Timestamp) -> Result<Window, Status> {
    let request = v1::ExtendWindowRequest {
        request_id: Uuid::new_v4().to_string(),
        window: window.id.to_string(),
        ends_at: Some(wire::timestamp(to)),
        etag: window.etag.to_string(),
    };
    let reply = api.windows.extend_window(request).await?.into_inner();
    Ok(wire::decode_window(reply.window.expect("a window")).expect("a window of the contract"))
}

/// Reason and message of a refusal, which has a hint.
///
/// # Panics
/// It was no refusal.
#[track_caller]
pub fn refused<T: std::fmt::Debug>(result: Result<T, Status>) -> (String, String) {
    let fault = fault(&result.expect_err("a refusal"));
    assert!(fault.hint.is_some(), "{fault}");
    (fault.reason.name().to_owned(), fault.message)
}
