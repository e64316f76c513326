//! `OperationService`.

use std::pin::Pin;

use model::{
    audit::Decision,
    authorization::{Authorization, Role},
    fault::Fault,
    flag_roles,
    operation::Operation,
};
use tokio_stream::{Stream, StreamExt as _, wrappers::ReceiverStream};
use tonic::{Request, Response, Status};
use uuid::Uuid;
use wire::v1::{self, operation_service_server::OperationService};

use super::{About, Api, status};

/// The service.
#[derive(Clone)]
pub(super) struct Operations(pub(super) Api);

/// A stream of one kind of response.
type Events<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// The bytes of one chunk of a report.
const CHUNK: usize = 64 * 1024;
/// The size of a page when none is asked for, and the largest.
const PAGE: (i64, i64) = (50, 1000);

impl Operations {
    /// Creates or joins an operation and follows it from its beginning.
    async fn start<T: 'static>(
        &self,
        method: &str,
        call: Request<wire::Request>,
        wrap: fn(v1::OperationEvent) -> T,
    ) -> Result<Response<Events<T>>, Status> {
        let (metadata, extensions, message) = call.into_parts();
        let mut request = match wire::decode_request(message) {
            Ok(request) => request,
            Err(error) => {
                // Who may not call it is not told what is wrong with the request.
                let call = Request::from_parts(metadata, extensions, ());
                let (_, asked) =
                    self.0.decide(method, &call, About::Target(""), Some(Role::Operator)).await?;
                return self.0.deny(asked, error.into()).await;
            }
        };
        let call = Request::from_parts(metadata, extensions, ());
        let lesser = request.reads_only().then_some(Role::Operator);
        let (authorization, asked) =
            self.0.decide(method, &call, About::Target(&request.target), lesser).await?;
        let target = match self.0.engine.target(&request.target) {
            Ok(target) => target,
            Err(fault) => return self.0.deny(asked, fault).await,
        };
        if let Err(fault) = flag_roles::check(&request, &target.profile, authorization.role()) {
            return self.0.deny(asked, fault).await;
        }
        request.target.clone_from(&target.name);
        let detail = request.tool.as_ref().map(|tool| format!("command {}", tool.command_sha256));
        let asked = Decision { detail, ..asked };
        let id = self.0.engine.submit(request, &authorization, asked).await.map_err(status)?;
        Ok(self.follow(id, 1, wrap))
    }

    fn follow<T: 'static>(
        &self,
        id: Uuid,
        start: u64,
        wrap: fn(v1::OperationEvent) -> T,
    ) -> Response<Events<T>> {
        let events = self.0.engine.watch(id, start);
        let stream = events.map(move |event| match event {
            Ok(event) => Ok(wrap(wire::encode_event(&event))),
            Err(fault) => Err(status(fault)),
        });
        Response::new(Box::pin(stream))
    }

    /// Decides about a call that names an operation: the permission is the one on its target. An operation that does
    /// not exist is judged like one of no target in particular.
    async fn about<T: Sync>(
        &self,
        method: &str,
        call: &Request<T>,
        id: &str,
    ) -> Result<(Authorization, Uuid), Status> {
        let (known, authorization, asked) = self.judged(method, call, id).await?;
        self.0.engine.record(asked).await.map_err(status)?;
        Ok((authorization, known.map_err(status)?.id))
    }

    /// The same without the record of it.
    async fn judged<T: Sync>(
        &self,
        method: &str,
        call: &Request<T>,
        id: &str,
    ) -> Result<(Result<Operation, Fault>, Authorization, Decision), Status> {
        let known = match wire::parse_operation_id(id) {
            Ok(id) => self.0.engine.operation(id).await,
            Err(error) => Err(Fault::from(error)),
        };
        let target = known.as_ref().map(|o| o.target.clone()).unwrap_or_default();
        let (authorization, asked) = self.0.decide(method, call, About::Known(&target), None).await?;
        let operation = known.as_ref().ok().map(|o| o.id);
        Ok((known, authorization, Decision { operation, ..asked }))
    }
}

#[tonic::async_trait]
impl OperationService for Operations {
    type ResetStream = Events<v1::ResetResponse>;
    type MigrateStream = Events<v1::MigrateResponse>;
    type ValidateStream = Events<v1::ValidateResponse>;
    type RunStream = Events<v1::RunResponse>;
    type UndoStream = Events<v1::UndoResponse>;
    type WatchOperationStream = Events<v1::WatchOperationResponse>;
    type GetReportStream = Events<v1::GetReportResponse>;

    async fn reset(&self, call: Request<v1::ResetRequest>) -> Result<Response<Self::ResetStream>, Status> {
        let wrap = |event| v1::ResetResponse { event: Some(event) };
        self.start("OperationService/Reset", call.map(wire::Request::Reset), wrap).await
    }

    async fn migrate(
        &self,
        call: Request<v1::MigrateRequest>,
    ) -> Result<Response<Self::MigrateStream>, Status> {
        let wrap = |event| v1::MigrateResponse { event: Some(event) };
        self.start("OperationService/Migrate", call.map(wire::Request::Migrate), wrap).await
    }

    async fn validate(
        &self,
        call: Request<v1::ValidateRequest>,
    ) -> Result<Response<Self::ValidateStream>, Status> {
        let wrap = |event| v1::ValidateResponse { event: Some(event) };
        self.start("OperationService/Validate", call.map(wire::Request::Validate), wrap).await
    }

    async fn run(&self, call: Request<v1::RunRequest>) -> Result<Response<Self::RunStream>, Status> {
        let wrap = |event| v1::RunResponse { event: Some(event) };
        self.start("OperationService/Run", call.map(wire::Request::Run), wrap).await
    }

    async fn undo(&self, call: Request<v1::UndoRequest>) -> Result<Response<Self::UndoStream>, Status> {
        let wrap = |event| v1::UndoResponse { event: Some(event) };
        self.start("OperationService/Undo", call.map(wire::Request::Undo), wrap).await
    }

    async fn watch_operation(
        &self,
        call: Request<v1::WatchOperationRequest>,
    ) -> Result<Response<Self::WatchOperationStream>, Status> {
        let (_, id) = self.about("OperationService/WatchOperation", &call, &call.get_ref().operation).await?;
        let wrap = |event| v1::WatchOperationResponse { event: Some(event) };
        Ok(self.follow(id, call.get_ref().start_sequence, wrap))
    }

    async fn get_operation(
        &self,
        call: Request<v1::GetOperationRequest>,
    ) -> Result<Response<v1::GetOperationResponse>, Status> {
        let (_, id) = self.about("OperationService/GetOperation", &call, &call.get_ref().operation).await?;
        let operation = self.0.engine.operation(id).await.map_err(status)?;
        Ok(Response::new(v1::GetOperationResponse { operation: Some(wire::encode_operation(&operation)) }))
    }

    async fn list_operations(
        &self,
        call: Request<v1::ListOperationsRequest>,
    ) -> Result<Response<v1::ListOperationsResponse>, Status> {
        let authorization =
            self.0.authorize("OperationService/ListOperations", &call, About::Nothing, None).await?;
        let request = call.into_inner();
        let targets = self.0.visible_of(&authorization, &request.target)?;
        let before = match request.page_token.as_str() {
            "" => None,
            token => Some(wire::parse_operation_id(token).map_err(status)?),
        };
        let size = match request.page_size {
            0 => PAGE.0,
            size => i64::from(size).clamp(1, PAGE.1),
        };
        let page =
            self.0.engine.operations(targets, before, request.active_only, size).await.map_err(status)?;
        Ok(Response::new(v1::ListOperationsResponse {
            operations: page.operations.iter().map(wire::encode_operation).collect(),
            next_page_token: page.next.map(|id| id.to_string()).unwrap_or_default(),
        }))
    }

    async fn cancel_operation(
        &self,
        call: Request<v1::CancelOperationRequest>,
    ) -> Result<Response<v1::CancelOperationResponse>, Status> {
        let method = "OperationService/CancelOperation";
        let (known, authorization, asked) = self.judged(method, &call, &call.get_ref().operation).await?;
        if let Ok(operation) = &known
            && let Err(fault) = self.0.engine.may_cancel(operation, &authorization).await
        {
            return self.0.deny(asked, fault).await;
        }
        self.0.engine.record(asked).await.map_err(status)?;
        let id = known.map_err(status)?.id;
        let operation =
            self.0.engine.cancel(id, &authorization, &call.get_ref().reason).await.map_err(status)?;
        Ok(Response::new(v1::CancelOperationResponse { operation: Some(wire::encode_operation(&operation)) }))
    }

    async fn get_report(
        &self,
        call: Request<v1::GetReportRequest>,
    ) -> Result<Response<Self::GetReportStream>, Status> {
        let (_, id) = self.about("OperationService/GetReport", &call, &call.get_ref().operation).await?;
        let report = self.0.engine.report(id).await.map_err(status)?.into_bytes();
        let (sender, receiver) = tokio::sync::mpsc::channel(2);
        tokio::spawn(async move {
            for chunk in report.chunks(CHUNK) {
                let response = v1::GetReportResponse { chunk: chunk.to_vec().into() };
                if sender.send(Ok(response)).await.is_err() {
                    return;
                }
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(receiver))))
    }
}
