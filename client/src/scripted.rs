//! A daemon that follows a script, to see what the client does on connections that break. It knows no rule of the real
//! one: the suite in `tests/` runs against that.

use std::{
    collections::VecDeque,
    io,
    pin::Pin,
    sync::{Arc, Mutex},
};

use model::{
    event::{Accepted, Event, EventKind, Finished},
    fault::{Fault, Status as ReportStatus},
    operation::{Outcome, Verb},
};
use tokio_stream::Stream;
use tonic::{Request, Response, Status, transport::Server};
use uuid::Uuid;
use wire::v1::{
    self,
    operation_service_server::{OperationService, OperationServiceServer},
};

mod tests;

/// What a client writes, kept.
#[derive(Clone, Default)]
pub(crate) struct Buffer(Arc<Mutex<Vec<u8>>>);

impl io::Write for Buffer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("not poisoned").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Buffer {
    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.0.lock().expect("not poisoned").clone()).expect("text")
    }
}

pub(crate) const OPERATION: Uuid = Uuid::from_u128(7);
pub(crate) const REPORT: &[u8] = b"{\"status\": \"ok\"}\n";

/// What happens next on a stream.
#[derive(Clone)]
pub(crate) enum Act {
    /// An event.
    Event(Box<Event>),
    /// A status of the daemon.
    Fault(Fault),
    /// A status of the transport.
    Break,
    /// A status that the daemon did not write, with this code.
    Foreign(tonic::Code),
    /// A message that is no event.
    Unreadable,
    /// An event at this place, of a kind that this version does not know.
    Newer(u64),
}

/// One script per stream, and what was asked.
#[derive(Clone, Default)]
pub(crate) struct Script {
    streams: Arc<Mutex<VecDeque<Vec<Act>>>>,
    asked: Arc<Mutex<Vec<String>>>,
}

type Events<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

impl Script {
    pub(crate) fn new(streams: impl IntoIterator<Item = Vec<Act>>) -> Self {
        Self { streams: Arc::new(Mutex::new(streams.into_iter().collect())), ..Self::default() }
    }

    /// Serves on a socket in `folder`; gives its address.
    pub(crate) fn serve(&self, folder: &std::path::Path) -> String {
        let path = folder.join("resetd.sock");
        let listener = tokio::net::UnixListener::bind(&path).expect("bound");
        let incoming = tokio_stream::wrappers::UnixListenerStream::new(listener);
        let server = Server::builder().add_service(OperationServiceServer::new(self.clone()));
        tokio::spawn(server.serve_with_incoming(incoming));
        format!("unix:{}", path.display())
    }

    /// What was asked so far.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.asked.lock().expect("not poisoned").clone()
    }

    fn next(&self, asked: String) -> Result<Vec<Act>, Status> {
        self.asked.lock().expect("not poisoned").push(asked);
        let next = self.streams.lock().expect("not poisoned").pop_front();
        match next.ok_or_else(|| Status::unavailable("the script is over"))?.as_slice() {
            [Act::Fault(fault)] => Err(wire::encode_fault(fault)),
            [Act::Foreign(code)] => Err(Status::new(*code, "by somebody on the way")),
            acts => Ok(acts.to_vec()),
        }
    }

    fn stream<T: Send + 'static>(
        &self,
        asked: String,
        wrap: fn(Option<v1::OperationEvent>) -> T,
    ) -> Result<Response<Events<T>>, Status> {
        let items: Vec<Result<T, Status>> = self
            .next(asked)?
            .into_iter()
            .map(|act| match act {
                Act::Event(event) => Ok(wrap(Some(wire::encode_event(&event)))),
                Act::Fault(fault) => Err(wire::encode_fault(&fault)),
                Act::Break => Err(Status::unavailable("connection reset")),
                Act::Foreign(code) => Err(Status::new(code, "by somebody on the way")),
                Act::Unreadable => Ok(wrap(Some(v1::OperationEvent::default()))),
                Act::Newer(sequence) => Ok(wrap(Some(newer(sequence)))),
            })
            .collect();
        Ok(Response::new(Box::pin(tokio_stream::iter(items))))
    }
}

fn act(sequence: u64, kind: EventKind) -> Act {
    let at = "2026-01-02T03:04:05Z".parse().expect("a time");
    Act::Event(Box::new(Event { sequence, operation: OPERATION, at, kind }))
}

/// What is left of a newer daemon's event when this version has read it: everything but its payload.
fn newer(sequence: u64) -> v1::OperationEvent {
    let mut event = v1::OperationEvent {
        sequence,
        operation: OPERATION.to_string(),
        occurred_at: Some(wire::timestamp("2026-01-02T03:04:05Z".parse().expect("a time"))),
        code: "FIRMAMENT_MOVED".into(),
        text: "the firmament has moved".into(),
        ..v1::OperationEvent::default()
    };
    event.set_severity(v1::Severity::Warning);
    event
}

pub(crate) fn accepted() -> Act {
    act(
        1,
        EventKind::Accepted(Accepted {
            verb: Verb::Run,
            target: "staging".into(),
            database: "butlers".into(),
            scope: None,
            dry_run: false,
            principal: "unix:alice".into(),
            auth_method: "peer credentials".into(),
            labels: Default::default(),
            instance: Uuid::nil(),
            version: "0".into(),
            chains: Default::default(),
            client_chains: false,
            phased: false,
            report_required: false,
            target_env_var: None,
        }),
    )
}

/// A milestone of no importance.
pub(crate) fn milestone(sequence: u64) -> Act {
    act(sequence, EventKind::LockAcquired { shared: false, pid: 1 })
}

pub(crate) fn planned(sequence: u64, plan: model::plan::Plan) -> Act {
    act(sequence, EventKind::Planned { plan: Box::new(plan) })
}

pub(crate) fn finished(sequence: u64, error: Option<Fault>) -> Act {
    act(
        sequence,
        EventKind::Finished(Box::new(Finished {
            outcome: error.as_ref().map_or(Outcome::Succeeded, |e| Outcome::of(e.reason)),
            status: error.as_ref().map_or(ReportStatus::Ok, |e| e.reason.status()),
            summary: "6 schemas".into(),
            report_sha256: model::hex_sha256(REPORT),
            error,
        })),
    )
}

#[tonic::async_trait]
impl OperationService for Script {
    type ResetStream = Events<v1::ResetResponse>;
    type MigrateStream = Events<v1::MigrateResponse>;
    type ValidateStream = Events<v1::ValidateResponse>;
    type RunStream = Events<v1::RunResponse>;
    type UndoStream = Events<v1::UndoResponse>;
    type WatchOperationStream = Events<v1::WatchOperationResponse>;
    type GetReportStream = Events<v1::GetReportResponse>;

    async fn reset(&self, _: Request<v1::ResetRequest>) -> Result<Response<Self::ResetStream>, Status> {
        self.stream("reset".into(), |event| v1::ResetResponse { event })
    }

    async fn migrate(&self, _: Request<v1::MigrateRequest>) -> Result<Response<Self::MigrateStream>, Status> {
        self.stream("migrate".into(), |event| v1::MigrateResponse { event })
    }

    async fn validate(
        &self,
        _: Request<v1::ValidateRequest>,
    ) -> Result<Response<Self::ValidateStream>, Status> {
        self.stream("validate".into(), |event| v1::ValidateResponse { event })
    }

    async fn run(&self, request: Request<v1::RunRequest>) -> Result<Response<Self::RunStream>, Status> {
        let it = wire::decode_request(wire::Request::Run(request.into_inner())).expect("well formed");
        let word = it.confirmation.unwrap_or_default();
        let digest = it.plan_digest.unwrap_or_default();
        let asked = format!("run {} dry={} {word} {digest}", it.request_id, it.dry_run);
        self.stream(asked, |event| v1::RunResponse { event })
    }

    async fn undo(&self, _: Request<v1::UndoRequest>) -> Result<Response<Self::UndoStream>, Status> {
        self.stream("undo".into(), |event| v1::UndoResponse { event })
    }

    async fn watch_operation(
        &self,
        request: Request<v1::WatchOperationRequest>,
    ) -> Result<Response<Self::WatchOperationStream>, Status> {
        let from = request.into_inner().start_sequence;
        self.stream(format!("watch {from}"), |event| v1::WatchOperationResponse { event })
    }

    async fn get_operation(
        &self,
        _: Request<v1::GetOperationRequest>,
    ) -> Result<Response<v1::GetOperationResponse>, Status> {
        Err(Status::unimplemented("not in the script"))
    }

    async fn list_operations(
        &self,
        _: Request<v1::ListOperationsRequest>,
    ) -> Result<Response<v1::ListOperationsResponse>, Status> {
        Err(Status::unimplemented("not in the script"))
    }

    async fn cancel_operation(
        &self,
        _: Request<v1::CancelOperationRequest>,
    ) -> Result<Response<v1::CancelOperationResponse>, Status> {
        Err(Status::unimplemented("not in the script"))
    }

    async fn get_report(
        &self,
        _: Request<v1::GetReportRequest>,
    ) -> Result<Response<Self::GetReportStream>, Status> {
        let chunks = REPORT.chunks(5).map(|c| Ok(v1::GetReportResponse { chunk: c.to_vec().into() }));
        Ok(Response::new(Box::pin(tokio_stream::iter(chunks.collect::<Vec<_>>()))))
    }
}
