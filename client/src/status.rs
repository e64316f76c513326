//! What a gRPC status means to the client: a refusal of the daemon, or trouble on the way.

use model::fault::{Fault, Reason};
use tonic::{Code, Status};

/// A call that did not end well.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Trouble {
    /// What happened.
    pub(crate) fault: Fault,
    /// The daemon itself said so (its status carries our `ErrorInfo`).
    pub(crate) from_daemon: bool,
    /// The same call may succeed later.
    pub(crate) retryable: bool,
}

impl Trouble {
    /// The way to the daemon broke.
    pub(crate) fn lost(message: impl Into<String>) -> Self {
        Self { fault: Fault::new(Reason::ContactLost, message), from_daemon: false, retryable: true }
    }
}

/// Every status that this client acts on passes here. The daemon's own statuses always carry our `ErrorInfo`; one without
/// was made on the way: by the transport, a proxy, or the server's framework.
pub(crate) fn normalise(status: &Status) -> Trouble {
    if let Some(fault) = wire::decode_status(status) {
        let retryable = matches!(
            fault.reason,
            Reason::ShuttingDown | Reason::ControlUnavailable | Reason::AuditUnavailable
        );
        return Trouble { fault, from_daemon: true, retryable };
    }
    let reason = match status.code() {
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
        | Code::DeadlineExceeded => return Trouble::lost(described(status)),
    };
    Trouble { fault: Fault::new(reason, described(status)), from_daemon: false, retryable: false }
}

fn described(status: &Status) -> String {
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
            let trouble = normalise(&wire::encode_fault(&fault));
            assert_eq!((trouble.fault.reason, trouble.from_daemon), (*reason, true));
            let passing =
                ["SHUTTING_DOWN", "CONTROL_UNAVAILABLE", "AUDIT_UNAVAILABLE"].contains(&reason.name());
            assert_eq!(trouble.retryable, passing, "{reason}");
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
            let trouble = normalise(&Status::new(code, ""));
            assert_eq!((trouble.fault.reason, trouble.retryable), expected, "{code:?}");
            assert!(!trouble.from_daemon && !trouble.fault.message.is_empty(), "{code:?}");
        }
    }
}
