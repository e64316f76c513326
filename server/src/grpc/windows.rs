//! `WindowService`.

use jiff::Timestamp;
use model::{
    audit::Decision,
    authorization::Authorization,
    fault::{Fault, Reason},
    window::Window,
};
use tonic::{Request, Response, Status};
use uuid::Uuid;
use wire::v1::{self, window_service_server::WindowService};

use super::{About, Api, status};
use crate::engine::ReleaseRequest;

/// The service.
#[derive(Clone)]
pub(super) struct Windows(pub(super) Api);

/// The size of a page when none is asked for, and the largest.
const PAGE: (i64, i64) = (50, 1000);

impl Windows {
    /// Decides about a call that names a window: the permission is the one on its target. A window that does not exist
    /// is judged like one of no target in particular.
    async fn about<T: Sync>(
        &self,
        method: &str,
        call: &Request<T>,
        id: &str,
    ) -> Result<(Authorization, Decision, Window), Status> {
        let known = match wire::parse_window_id(id) {
            Ok(id) => self.0.engine.window(id).await,
            Err(error) => Err(Fault::from(error)),
        };
        let target = known.as_ref().map(|w| w.target.clone()).unwrap_or_default();
        let (authorization, asked) = self.0.decide(method, call, About::Known(&target), None).await?;
        let window = self.0.settle(asked.clone(), known).await?;
        let detail = Some(format!("window {}", window.id));
        Ok((authorization, Decision { detail, ..asked }, window))
    }
}

fn etag(text: &str) -> Result<Option<Uuid>, Fault> {
    match text {
        "" => Ok(None),
        text => text.parse().map(Some).map_err(|_| {
            let what =
                format!("etag: `{}` is none of this daemon's", text.chars().take(80).collect::<String>());
            Fault::new(Reason::InvalidRequest, what)
                .hint("send the etag that the window was read with")
                .with("field", "etag")
        }),
    }
}

fn page_token(text: &str) -> Result<Option<(Timestamp, Uuid)>, Status> {
    if text.is_empty() {
        return Ok(None);
    }
    let parts = text
        .split_once(':')
        .and_then(|(at, id)| Some((Timestamp::from_microsecond(at.parse().ok()?).ok()?, id.parse().ok()?)));
    parts.map(Some).ok_or_else(|| {
        status(
            Fault::new(Reason::InvalidRequest, "page_token: is none that was given out")
                .hint("send the token of the page before, unchanged")
                .with("field", "page_token"),
        )
    })
}

#[tonic::async_trait]
impl WindowService for Windows {
    async fn reserve_window(
        &self,
        call: Request<v1::ReserveWindowRequest>,
    ) -> Result<Response<v1::ReserveWindowResponse>, Status> {
        let about = About::Target(&call.get_ref().target);
        let (authorization, asked) = self.0.decide("WindowService/ReserveWindow", &call, about, None).await?;
        let request = call.into_inner();
        let reserved = async {
            let id = wire::parse_request_id(&request.request_id)?;
            let wish = wire::decode_reservation(&request)?;
            self.0.engine.reserve(id, &request.target, &wish, &authorization, &asked).await
        }
        .await;
        let window = self.0.settle(asked, reserved).await?;
        Ok(Response::new(v1::ReserveWindowResponse { window: Some(wire::encode_window(&window)) }))
    }

    async fn get_window(
        &self,
        call: Request<v1::GetWindowRequest>,
    ) -> Result<Response<v1::GetWindowResponse>, Status> {
        let (_, asked, window) = self.about("WindowService/GetWindow", &call, &call.get_ref().window).await?;
        self.0.engine.record(asked).await.map_err(status)?;
        Ok(Response::new(v1::GetWindowResponse { window: Some(wire::encode_window(&window)) }))
    }

    async fn list_windows(
        &self,
        call: Request<v1::ListWindowsRequest>,
    ) -> Result<Response<v1::ListWindowsResponse>, Status> {
        let authorization =
            self.0.authorize("WindowService/ListWindows", &call, About::Nothing, None).await?;
        let request = call.into_inner();
        let targets = self.0.visible_of(&authorization, &request.target)?;
        let most = match i64::from(request.page_size) {
            0 => PAGE.0,
            size => size.clamp(1, PAGE.1),
        };
        let after = page_token(&request.page_token)?;
        let page =
            self.0.engine.windows(&targets, request.include_past, after, most).await.map_err(status)?;
        Ok(Response::new(v1::ListWindowsResponse {
            windows: page.windows.iter().map(wire::encode_window).collect(),
            next_page_token: page
                .next
                .map(|(at, id)| format!("{}:{id}", at.as_microsecond()))
                .unwrap_or_default(),
        }))
    }

    async fn extend_window(
        &self,
        call: Request<v1::ExtendWindowRequest>,
    ) -> Result<Response<v1::ExtendWindowResponse>, Status> {
        let (authorization, asked, window) =
            self.about("WindowService/ExtendWindow", &call, &call.get_ref().window).await?;
        let request = call.into_inner();
        let extended = async {
            let id = wire::parse_request_id(&request.request_id)?;
            let ends_at = wire::decode_timestamp(request.ends_at).ok_or_else(|| {
                Fault::new(Reason::InvalidRequest, "ends_at: is missing or out of range")
                    .hint("the contract in proto/resetd/v1 says what each field holds")
                    .with("field", "ends_at")
            })?;
            let etag = etag(&request.etag)?;
            self.0.engine.extend(id, window.id, ends_at, etag, &authorization, &asked).await
        }
        .await;
        let extended = self.0.settle(asked, extended).await?;
        Ok(Response::new(v1::ExtendWindowResponse { window: Some(wire::encode_window(&extended)) }))
    }

    async fn release_window(
        &self,
        call: Request<v1::ReleaseWindowRequest>,
    ) -> Result<Response<v1::ReleaseWindowResponse>, Status> {
        let (authorization, asked, window) =
            self.about("WindowService/ReleaseWindow", &call, &call.get_ref().window).await?;
        let request = call.into_inner();
        let released = async {
            let id = wire::parse_request_id(&request.request_id)?;
            let wish = ReleaseRequest {
                window: window.id,
                reason: &request.reason,
                etag: etag(&request.etag)?,
                force: request.force,
            };
            self.0.engine.release(id, &wish, &authorization, &asked).await
        }
        .await;
        let released = self.0.settle(asked, released).await?;
        Ok(Response::new(v1::ReleaseWindowResponse { window: Some(wire::encode_window(&released)) }))
    }
}
