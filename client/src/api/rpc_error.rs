//! What a gRPC status means to the client: a refusal of the daemon, or a failure on the way.

use model::fault::{Fault, Reason};
use tonic::{Code, Status};

/// A call that did not end well.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct RpcError {
    /// What happened.
    pub(crate) fault: Fault,
    /// Who says so.
    pub(crate) origin: Origin,
    /// The same call may succeed later.
    pub(crate) retryable: bool,
}

/// Who says that a call failed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Origin {
    /// This client: there was no channel, so that nothing was sent.
    Connect,
    /// Something on the way: the transport, a proxy, the server's framework.
    Transport,
    /// The daemon: its status carries our `ErrorInfo`.
    Daemon,
}

impl RpcError {
    /// The way to the daemon broke.
    pub(crate) fn lost(message: impl Into<String>) -> Self {
        let fault = Fault::new(Reason::ContactLost, message);
        Self { fault, origin: Origin::Transport, retryable: true }
    }

    /// No channel could be opened.
    pub(super) fn unreachable(fault: Fault) -> Self {
        Self { fault, origin: Origin::Connect, retryable: true }
    }
}

impl From<RpcError> for Fault {
    fn from(error: RpcError) -> Self {
        error.fault
    }
}

impl From<Status> for RpcError {
    fn from(status: Status) -> Self {
        Self::from(&status)
    }
}

impl From<&Status> for RpcError {
    fn from(status: &Status) -> Self {
        if let Some(fault) = wire::decode_status(status) {
            let retryable = matches!(
                fault.reason,
                Reason::ShuttingDown | Reason::ControlUnavailable | Reason::AuditUnavailable
            );
            return Self { fault, origin: Origin::Daemon, retryable };
        }
        match reason_of(status.code()) {
            Some(reason) => {
                let fault = Fault::new(reason, described(status));
                Self { fault, origin: Origin::Transport, retryable: false }
            }
            None => Self::lost(described(status)),
        }
    }
}

/// What a status that the daemon did not write means; `None`: contact was lost.
fn reason_of(code: Code) -> Option<Reason> {
    Some(match code {
        Code::InvalidArgument => Reason::InvalidRequest,
        Code::Unauthenticated => Reason::Unauthenticated,
        Code::PermissionDenied => Reason::PermissionDenied,
        Code::ResourceExhausted | Code::OutOfRange => Reason::LimitExceeded,
        Code::Unimplemented => Reason::NotImplemented,
        Code::Ok | Code::NotFound | Code::AlreadyExists | Code::FailedPrecondition => Reason::Internal,
        Code::Unavailable
        | Code::Unknown
        | Code::Internal
        | Code::Cancelled
        | Code::Aborted
        | Code::DataLoss
        | Code::DeadlineExceeded => return None,
    })
}

/// What HTTP/2 says is no language of people: what it means is said instead.
const RAW: &[(&str, &str)] = &[
    ("h2 protocol error", "the connection broke, or what listens there does not speak gRPC"),
    ("broken pipe", "the connection was closed"),
    ("connection reset", "the connection was closed"),
    ("transport error", "the connection failed"),
];

fn described(status: &Status) -> String {
    in_words(&raw(status))
}

/// What a transport says, or what it means where its own words say nothing to a person.
pub(super) fn in_words(text: &str) -> String {
    let known = RAW.iter().find(|(sign, _)| text.to_lowercase().contains(sign));
    known.map_or(text, |(_, meaning)| meaning).to_owned()
}

fn raw(status: &Status) -> String {
    let mut text = match status.message() {
        "" => status.code().description().to_owned(),
        message => message.to_owned(),
    };
    let mut cause = std::error::Error::source(status);
    while let Some(error) = cause {
        let next = error.to_string();
        if !text.contains(&next) {
            text = format!("{text}: {next}");
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_daemons_refusals_keep_their_reason_and_only_passing_ones_are_retried() {
        for reason in Reason::ALL {
            let fault = Fault::new(*reason, "what happened");
            let error = RpcError::from(&wire::encode_fault(&fault));
            assert_eq!((error.fault.reason, error.origin), (*reason, Origin::Daemon));
            let passing =
                ["SHUTTING_DOWN", "CONTROL_UNAVAILABLE", "AUDIT_UNAVAILABLE"].contains(&reason.name());
            assert_eq!(error.retryable, passing, "{reason}");
        }
    }

    #[test]
    fn what_the_transport_says_is_told_in_words() {
        for (text, expected) in [
            ("h2 protocol error: http2 error", "does not speak gRPC"),
            ("error reading a body: Broken pipe (os error 32)", "was closed"),
            ("the certificate expired", "the certificate expired"),
        ] {
            let error = RpcError::from(&Status::unavailable(text));
            assert!(error.fault.message.contains(expected), "{}", error.fault);
            assert!(!error.fault.message.contains("h2 "), "{}", error.fault);
        }
    }

    #[test]
    fn every_foreign_status_has_a_reason() {
        let lost = (Reason::ContactLost, true);
        let table = [
            (Code::Ok, (Reason::Internal, false)),
            (Code::Cancelled, lost),
            (Code::Unknown, lost),
            (Code::InvalidArgument, (Reason::InvalidRequest, false)),
            (Code::DeadlineExceeded, lost),
            (Code::NotFound, (Reason::Internal, false)),
            (Code::AlreadyExists, (Reason::Internal, false)),
            (Code::PermissionDenied, (Reason::PermissionDenied, false)),
            (Code::ResourceExhausted, (Reason::LimitExceeded, false)),
            (Code::FailedPrecondition, (Reason::Internal, false)),
            (Code::Aborted, lost),
            (Code::OutOfRange, (Reason::LimitExceeded, false)),
            (Code::Unimplemented, (Reason::NotImplemented, false)),
            (Code::Internal, lost),
            (Code::Unavailable, lost),
            (Code::DataLoss, lost),
            (Code::Unauthenticated, (Reason::Unauthenticated, false)),
        ];
        for (code, expected) in table {
            let error = RpcError::from(&Status::new(code, ""));
            assert_eq!((error.fault.reason, error.retryable), expected, "{code:?}");
            assert!(error.origin == Origin::Transport && !error.fault.message.is_empty(), "{code:?}");
        }
    }
}
