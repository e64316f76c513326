//! `TargetService`.

use std::pin::Pin;

use tokio_stream::{Stream, StreamExt as _};
use tonic::{Request, Response, Status};
use wire::{
    encode_target,
    v1::{self, target_service_server::TargetService},
};

use super::{About, Api, status};
use crate::engine::{Enrolment, Force};

/// The service.
#[derive(Clone)]
pub(super) struct Targets(pub(super) Api);

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
            targets.push(encode_target(&self.0.engine.view(target).await.map_err(status)?));
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
        Ok(Response::new(v1::GetTargetResponse { target: Some(encode_target(&view)) }))
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
            Ok(view) => Ok(v1::WatchTargetsResponse { target: Some(encode_target(&view)) }),
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
        Ok(Response::new(v1::EnrollTargetResponse { target: Some(encode_target(&view)) }))
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
            let named = Some(&request.operation).filter(|id| !id.is_empty());
            let operation = named.map(|id| wire::parse_operation_id(id)).transpose()?;
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

    async fn drop_kept(
        &self,
        call: Request<v1::DropKeptRequest>,
    ) -> Result<Response<v1::DropKeptResponse>, Status> {
        let about = About::Target(&call.get_ref().target);
        let (_, asked) = self.0.decide("TargetService/DropKept", &call, about, None).await?;
        let request = call.into_inner();
        let dropped = async {
            wire::parse_request_id(&request.request_id)?;
            let operation = wire::parse_operation_id(&request.operation)?;
            self.0.engine.drop_kept(&request.target, operation, &asked).await
        }
        .await;
        let view = self.0.settle(asked, dropped).await?;
        Ok(Response::new(v1::DropKeptResponse { target: Some(encode_target(&view)) }))
    }
}
