//! `TargetService`.

use std::pin::Pin;

use tokio_stream::{Stream, StreamExt as _};
use tonic::{Request, Response, Status};
use wire::v1::{self, target_service_server::TargetService};

use super::{About, Api, status};
use crate::engine::{Enrolment, Force, TargetView};

/// The service.
#[derive(Clone)]
pub(super) struct Targets(pub(super) Api);

fn encode(view: &TargetView) -> v1::Target {
    v1::Target {
        name: view.name.clone(),
        database: view.database.clone(),
        profile: view.profile.clone(),
        matrix: view.matrix.clone(),
        managed_schemas: view.managed_schemas.clone(),
        enrolled: view.enrolled,
        holder: view.holder.as_ref().map(wire::encode_holder),
        queue: view.queue.iter().map(wire::encode_operation).collect(),
        window: view.window.as_ref().map(wire::encode_window),
        next_windows: view.next_windows.iter().map(wire::encode_window).collect(),
        last_operation: view.last.as_ref().map(wire::encode_operation),
        protected: view.protected,
        kept: view
            .kept
            .iter()
            .map(|kept| v1::KeptDatabase {
                name: kept.name.clone(),
                operation: kept.operation.to_string(),
                kept_until: Some(wire::timestamp(kept.expires_at)),
            })
            .collect(),
    }
}

#[tonic::async_trait]
impl TargetService for Targets {
    type WatchTargetsStream = Pin<Box<dyn Stream<Item = Result<v1::WatchTargetsResponse, Status>> + Send>>;

    async fn list_targets(
        &self,
        call: Request<v1::ListTargetsRequest>,
    ) -> Result<Response<v1::ListTargetsResponse>, Status> {
        let authorization =
            self.0.authorize("TargetService/ListTargets", &call, About::Nothing, None).await?;
        let mut targets = Vec::new();
        for name in self.0.visible(&authorization) {
            let target = self.0.engine.target(&name).map_err(status)?;
            targets.push(encode(&self.0.engine.view(target).await.map_err(status)?));
        }
        targets.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(Response::new(v1::ListTargetsResponse { targets }))
    }

    async fn get_target(
        &self,
        call: Request<v1::GetTargetRequest>,
    ) -> Result<Response<v1::GetTargetResponse>, Status> {
        self.0
            .authorize("TargetService/GetTarget", &call, About::Target(&call.get_ref().target), None)
            .await?;
        let target = self.0.engine.target(&call.get_ref().target).map_err(status)?;
        let view = self.0.engine.view(target).await.map_err(status)?;
        Ok(Response::new(v1::GetTargetResponse { target: Some(encode(&view)) }))
    }

    async fn watch_targets(
        &self,
        call: Request<v1::WatchTargetsRequest>,
    ) -> Result<Response<Self::WatchTargetsStream>, Status> {
        let authorization =
            self.0.authorize("TargetService/WatchTargets", &call, About::Nothing, None).await?;
        let mut names = self.0.visible(&authorization);
        names.sort();
        let views = self.0.engine.watch_targets(names);
        let stream = views.map(|view| match view {
            Ok(view) => Ok(v1::WatchTargetsResponse { target: Some(encode(&view)) }),
            Err(fault) => Err(status(fault)),
        });
        Ok(Response::new(Box::pin(stream)))
    }

    async fn enroll_target(
        &self,
        call: Request<v1::EnrollTargetRequest>,
    ) -> Result<Response<v1::EnrollTargetResponse>, Status> {
        let about = About::Target(&call.get_ref().target);
        let (authorization, asked) = self.0.decide("TargetService/EnrollTarget", &call, about, None).await?;
        let request = call.into_inner();
        let enrolment = Enrolment { target: &request.target, confirmation: &request.database_confirmation };
        let view = self.0.engine.enroll(&enrolment, &authorization, asked).await.map_err(status)?;
        Ok(Response::new(v1::EnrollTargetResponse { target: Some(encode(&view)) }))
    }

    async fn force_unlock_target(
        &self,
        call: Request<v1::ForceUnlockTargetRequest>,
    ) -> Result<Response<v1::ForceUnlockTargetResponse>, Status> {
        let about = About::Target(&call.get_ref().target);
        let (authorization, asked) =
            self.0.decide("TargetService/ForceUnlockTarget", &call, about, None).await?;
        let request = call.into_inner();
        let unlocked = async {
            wire::parse_request_id(&request.request_id)?;
            let operation = wire::parse_operation_id(&request.operation)?;
            let force = Force { target: &request.target, operation, reason: &request.reason };
            self.0.engine.force_unlock(&force, &authorization, &asked).await
        }
        .await;
        let (broken, at) = self.0.settle(asked, unlocked).await?;
        Ok(Response::new(v1::ForceUnlockTargetResponse {
            broken: Some(wire::encode_holder(&broken)),
            broken_at: Some(wire::timestamp(at)),
        }))
    }
}
