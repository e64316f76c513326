//! Requests that create operations. What is malformed is told by field; what is forbidden is the model's business.

use std::time::Duration;

use model::{
    fault::{Fault, Reason},
    operation::{self, Verb, Wait},
    profile::Scope,
};
use uuid::Uuid;

use crate::{gateway, operation::some, v1};

/// A message that does not say what the contract promises.
#[derive(Debug, thiserror::Error)]
#[error("{field}: {problem}")]
pub struct DecodeError {
    field: &'static str,
    problem: String,
}

impl DecodeError {
    pub(crate) fn missing(field: &'static str) -> Self {
        Self { field, problem: "is missing".to_owned() }
    }

    pub(crate) fn malformed(field: &'static str, value: &str) -> Self {
        let shown: String = value.chars().take(80).collect();
        Self { field, problem: format!("`{shown}` is malformed") }
    }

    pub(crate) fn wrong(field: &'static str, problem: impl Into<String>) -> Self {
        Self { field, problem: problem.into() }
    }
}

impl From<DecodeError> for Fault {
    fn from(error: DecodeError) -> Self {
        Fault::new(Reason::InvalidRequest, error.to_string())
            .hint("the contract in proto/resetd/v1 says what each field holds")
            .with("field", error.field)
    }
}

/// A request of one of the verbs, as the contract sends it.
#[derive(Clone, Debug)]
pub enum Request {
    /// Reset.
    Reset(v1::ResetRequest),
    /// Migrate.
    Migrate(v1::MigrateRequest),
    /// Validate.
    Validate(v1::ValidateRequest),
    /// Run.
    Run(v1::RunRequest),
    /// Undo.
    Undo(v1::UndoRequest),
}

/// An operation's id.
///
/// # Errors
/// It is not a UUID.
pub fn parse_operation_id(text: &str) -> Result<Uuid, DecodeError> {
    text.parse().map_err(|_| {
        DecodeError::wrong("operation", format!("`{}` is not an operation's id (a UUID)", short(text)))
    })
}

pub(crate) fn short(text: &str) -> String {
    text.chars().take(80).collect()
}

/// A request as the contract sends it.
#[must_use]
pub fn encode_request(request: &operation::Request) -> Request {
    let options = Some(encode_options(request));
    let destructive = Some(encode_destructive(request));
    match request.verb {
        Verb::Reset => Request::Reset(v1::ResetRequest { options, destructive }),
        Verb::Run => Request::Run(v1::RunRequest {
            options,
            destructive,
            tool: request.tool.as_ref().map(gateway::encode_tool),
        }),
        Verb::Validate => Request::Validate(v1::ValidateRequest { options }),
        Verb::Migrate => Request::Migrate(v1::MigrateRequest {
            options,
            dry_run: request.dry_run,
            allow_phased: request.allow_phased,
            plan_digest: request.plan_digest.clone().unwrap_or_default(),
        }),
        Verb::Undo => Request::Undo(v1::UndoRequest {
            options,
            operation: request.undoes.map(|id| id.to_string()).unwrap_or_default(),
            destructive,
        }),
    }
}

/// A request in the model's types. The target may still be empty.
///
/// # Errors
/// The first field that is missing or malformed.
pub fn decode_request(request: Request) -> Result<operation::Request, DecodeError> {
    match request {
        Request::Reset(it) => destructive(Verb::Reset, it.options, it.destructive),
        Request::Run(it) => {
            let run = destructive(Verb::Run, it.options, it.destructive)?;
            Ok(operation::Request { tool: it.tool.map(gateway::check_tool).transpose()?, ..run })
        }
        Request::Validate(it) => plain(Verb::Validate, it.options),
        Request::Migrate(it) => {
            let plain = plain(Verb::Migrate, it.options)?;
            Ok(operation::Request {
                dry_run: it.dry_run,
                allow_phased: it.allow_phased,
                plan_digest: sha256("plan_digest", it.plan_digest)?,
                ..plain
            })
        }
        Request::Undo(it) => {
            let undo = destructive(Verb::Undo, it.options, it.destructive)?;
            let undoes = some(it.operation).map(|id| parse_operation_id(&id)).transpose()?;
            Ok(operation::Request { undoes, scope: None, scope_named: false, ..undo })
        }
    }
}

fn encode_options(request: &operation::Request) -> v1::OperationOptions {
    let duration = |d: Duration| prost_types::Duration::try_from(d).unwrap_or_default();
    v1::OperationOptions {
        request_id: request.request_id.to_string(),
        target: request.target.clone(),
        labels: request.labels.clone().into_iter().collect(),
        wait: match request.wait {
            Wait::No => None,
            Wait::Forever => Some(v1::Wait { limit: None }),
            Wait::AtMost(limit) => Some(v1::Wait { limit: Some(duration(limit)) }),
        },
        timeout: request.timeout.map(duration),
        expect_chains: request.expect_chains.clone().unwrap_or_default(),
        client_chains: request
            .client_chains
            .iter()
            .map(|f| v1::ChainFile { path: f.path.clone(), content: f.content.clone().into() })
            .collect(),
        detached: request.detached,
    }
}

fn encode_destructive(request: &operation::Request) -> v1::DestructiveOptions {
    v1::DestructiveOptions {
        scope: request.scope.filter(|_| request.scope_named).map(|s| s.to_string()).unwrap_or_default(),
        managed_schemas: request.managed_schemas.clone(),
        dry_run: request.dry_run,
        confirmation: request.confirmation.clone().unwrap_or_default(),
        allow_production_db_name: request.allow_production_db_name,
        plan_digest: request.plan_digest.clone().unwrap_or_default(),
        terminate_sessions: request.terminate_sessions,
        jobs: request.jobs,
    }
}

fn plain(verb: Verb, options: Option<v1::OperationOptions>) -> Result<operation::Request, DecodeError> {
    let options = options.ok_or_else(|| DecodeError::missing("options"))?;
    let request_id = options
        .request_id
        .parse()
        .map_err(|_| DecodeError::wrong("options.request_id", "must be a UUID made by the client"))?;
    let wait = match options.wait {
        None => Wait::No,
        Some(v1::Wait { limit: None }) => Wait::Forever,
        Some(v1::Wait { limit: Some(limit) }) => Wait::AtMost(duration("options.wait.limit", limit)?),
    };
    let timeout = options.timeout.map(|t| duration("options.timeout", t)).transpose()?;
    if timeout.is_some_and(|t| t.is_zero()) {
        return Err(DecodeError::wrong("options.timeout", "must be longer than nothing"));
    }
    Ok(operation::Request {
        labels: options.labels.into_iter().collect(),
        wait,
        timeout,
        expect_chains: sha256("options.expect_chains", options.expect_chains)?,
        client_chains: options
            .client_chains
            .into_iter()
            .map(|f| operation::ChainFile { path: f.path, content: f.content.to_vec() })
            .collect(),
        detached: options.detached,
        ..operation::Request::new(verb, options.target, request_id)
    })
}

fn destructive(
    verb: Verb,
    options: Option<v1::OperationOptions>,
    destructive: Option<v1::DestructiveOptions>,
) -> Result<operation::Request, DecodeError> {
    let plain = plain(verb, options)?;
    let it = destructive.unwrap_or_default();
    let scope = match it.scope.as_str() {
        "" => Scope::ManagedSchemas,
        text => text.parse().map_err(|_| {
            DecodeError::wrong(
                "destructive.scope",
                format!("`{}` is neither `managed-schemas` nor `database`", short(text)),
            )
        })?,
    };
    Ok(operation::Request {
        scope: Some(scope),
        scope_named: !it.scope.is_empty(),
        managed_schemas: it.managed_schemas,
        dry_run: it.dry_run,
        confirmation: some(it.confirmation),
        allow_production_db_name: it.allow_production_db_name,
        plan_digest: sha256("destructive.plan_digest", it.plan_digest)?,
        terminate_sessions: it.terminate_sessions,
        jobs: it.jobs,
        ..plain
    })
}

/// A digest or fingerprint; none where the text is empty.
fn sha256(field: &'static str, text: String) -> Result<Option<String>, DecodeError> {
    match some(text) {
        Some(text) if !model::is_sha256(&text) => Err(DecodeError::wrong(
            field,
            format!("`{}` is not `sha256:` and 64 lower-case hex digits", short(&text)),
        )),
        text => Ok(text),
    }
}

pub(crate) fn duration(field: &'static str, it: prost_types::Duration) -> Result<Duration, DecodeError> {
    Duration::try_from(it).map_err(|_| DecodeError::wrong(field, "must not be negative"))
}
