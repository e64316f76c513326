//! Faults as gRPC statuses: exactly one `ErrorInfo` with all dynamic parts, and the standard details that fit.

use std::{collections::HashMap, time::Duration};

use model::fault::{Code, Fault, Reason, SqlSite};
use tonic::Status;
use tonic_types::{ErrorDetails, StatusExt};

use crate::hint;

/// The domain of every `ErrorInfo`.
pub(crate) const DOMAIN: &str = "resetd.v1";

/// Status details travel in headers, which HTTP/2 peers bound; nothing longer than this goes into one.
const LONGEST: usize = 1_500;

const HINT: &str = "hint";
/// The same advice for who sits at `resetctl`, where it is another.
const RESETCTL_HINT: &str = "resetctl_hint";
/// The field that a bad request is about, where it is one.
const FIELD: &str = "field";
const SQL_KEYS: [&str; 5] = ["sqlstate", "schema", "file", "line", "statement"];

/// A fault as the status of a call.
#[must_use]
pub fn encode_fault(fault: &Fault) -> Status {
    let mut details = ErrorDetails::with_error_info(fault.reason.name(), DOMAIN, metadata(fault));
    match fault.reason.code() {
        Code::FailedPrecondition => {
            details.add_precondition_failure_violation(
                fault.reason.name(),
                subject(fault),
                clip(&fault.message),
            );
        }
        Code::NotFound => {
            details.set_resource_info(kind_of(fault.reason), subject(fault), "", clip(&fault.message));
        }
        Code::Aborted | Code::Unavailable => {
            details.set_retry_info(Some(Duration::from_secs(5)));
        }
        Code::InvalidArgument => {
            if let Some(field) = fault.metadata.get(FIELD) {
                details.add_bad_request_violation(field, clip(&fault.message));
            }
        }
        _ => {}
    }
    Status::with_error_details(tonic_code(fault.reason.code()), clip(&fault.message), details)
}

/// A status as a fault; `None` when it carries no reason of this contract (it is the transport's then).
#[must_use]
pub fn decode_status(status: &Status) -> Option<Fault> {
    let info = status.get_details_error_info()?;
    if info.domain != DOMAIN {
        return None;
    }
    let mut metadata: HashMap<String, String> = info.metadata;
    let hint = metadata.remove(HINT);
    let hint = metadata.remove(RESETCTL_HINT).or(hint);
    let [sqlstate, schema, file, line, statement] = SQL_KEYS.map(|key| metadata.remove(key));
    let line = line.and_then(|l| l.parse().ok());
    let reason = match info.reason.parse::<Reason>() {
        Ok(reason) => reason,
        Err(_) => {
            metadata.insert("reason".to_owned(), info.reason);
            Reason::Internal
        }
    };
    Some(Fault {
        reason,
        message: status.message().to_owned(),
        hint,
        metadata: metadata.into_iter().collect(),
        sql: SqlSite { sqlstate, schema, file, line, statement },
    })
}

fn metadata(fault: &Fault) -> HashMap<String, String> {
    let mut all: HashMap<String, String> = fault.metadata.iter().map(|(k, v)| (k.clone(), clip(v))).collect();
    if let Some(hint) = &fault.hint {
        let general = hint::of_the_contract(hint);
        if general != *hint {
            all.insert(RESETCTL_HINT.to_owned(), clip(hint));
        }
        all.insert(HINT.to_owned(), clip(&general));
    }
    let sql = &fault.sql;
    let line = sql.line.map(|l| l.to_string());
    for (key, value) in SQL_KEYS.iter().zip([&sql.sqlstate, &sql.schema, &sql.file, &line, &sql.statement]) {
        if let Some(value) = value {
            all.insert((*key).to_owned(), clip(value));
        }
    }
    all
}

fn subject(fault: &Fault) -> String {
    let keys = ["target", "operation", "database", "window", "schema"];
    keys.iter().find_map(|k| fault.metadata.get(*k)).map(|v| clip(v)).unwrap_or_default()
}

fn kind_of(reason: Reason) -> &'static str {
    match reason {
        Reason::TargetNotFound => "target",
        Reason::WindowNotFound => "window",
        Reason::TokenNotFound => "token",
        Reason::ReportNotReady => "report",
        _ => "operation",
    }
}

fn clip(text: &str) -> String {
    if text.len() <= LONGEST {
        return text.to_owned();
    }
    let mut end = LONGEST;
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}…", &text[..end])
}

fn tonic_code(code: Code) -> tonic::Code {
    tonic::Code::from_i32(code as i32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_travels_there_and_back() {
        for reason in Reason::ALL {
            let fault = Fault::new(*reason, "what happened")
                .hint("what to do")
                .with("target", "staging")
                .at(SqlSite { sqlstate: Some("42P01".to_owned()), line: Some(7), ..SqlSite::default() });
            let status = encode_fault(&fault);
            assert_eq!(status.code() as i32, reason.code() as i32, "{reason}");
            assert_eq!(decode_status(&status), Some(fault), "{reason}");
        }
    }

    #[test]
    fn a_hint_speaks_the_contracts_words_and_resetctl_reads_its_own() {
        let fault =
            Fault::new(Reason::TargetNotFound, "no such target").hint("`resetctl targets` lists them");
        let status = encode_fault(&fault);
        let info = status.get_details_error_info().expect("an ErrorInfo");
        assert_eq!(info.metadata["hint"], "`ListTargets` lists them");
        assert_eq!(decode_status(&status), Some(fault));
    }

    #[test]
    fn a_bad_request_names_its_field() {
        let status = encode_fault(&crate::DecodeError::wrong("options.target", "is too long").into());
        let violations = status.get_details_bad_request().expect("a BadRequest").field_violations;
        assert_eq!(violations.len(), 1);
        assert_eq!(violations[0].field, "options.target");
        assert!(violations[0].description.contains("too long"), "{violations:?}");
    }

    #[test]
    fn a_status_of_the_transport_is_no_fault() {
        assert_eq!(decode_status(&Status::unavailable("connection refused")), None);
    }

    #[test]
    fn long_messages_are_clipped_on_a_character() {
        let status = encode_fault(&Fault::new(Reason::Internal, "ü".repeat(3_000)));
        assert!(status.message().len() <= LONGEST + 3 && status.message().ends_with('…'));
    }
}
