//! `WindowService`: the whole surface is in the contract; this version answers plainly that it does not offer it.

use tonic::{Request, Response, Status};
use wire::v1::{self, window_service_server::WindowService};

use super::{About, Door, not_implemented};

/// The service.
#[derive(Clone)]
pub(super) struct Windows(pub(super) Door);

#[tonic::async_trait]
impl WindowService for Windows {
    async fn reserve_window(
        &self,
        call: Request<v1::ReserveWindowRequest>,
    ) -> Result<Response<v1::ReserveWindowResponse>, Status> {
        self.0
            .authorize("WindowService/ReserveWindow", &call, About::Target(&call.get_ref().target), None)
            .await?;
        Err(not_implemented("reset windows"))
    }

    async fn get_window(
        &self,
        call: Request<v1::GetWindowRequest>,
    ) -> Result<Response<v1::GetWindowResponse>, Status> {
        self.0.authorize("WindowService/GetWindow", &call, About::Target(""), None).await?;
        Err(not_implemented("reset windows"))
    }

    async fn list_windows(
        &self,
        call: Request<v1::ListWindowsRequest>,
    ) -> Result<Response<v1::ListWindowsResponse>, Status> {
        self.0.authorize("WindowService/ListWindows", &call, About::Nothing, None).await?;
        Err(not_implemented("reset windows"))
    }

    async fn extend_window(
        &self,
        call: Request<v1::ExtendWindowRequest>,
    ) -> Result<Response<v1::ExtendWindowResponse>, Status> {
        self.0.authorize("WindowService/ExtendWindow", &call, About::Target(""), None).await?;
        Err(not_implemented("reset windows"))
    }

    async fn release_window(
        &self,
        call: Request<v1::ReleaseWindowRequest>,
    ) -> Result<Response<v1::ReleaseWindowResponse>, Status> {
        self.0.authorize("WindowService/ReleaseWindow", &call, About::Target(""), None).await?;
        Err(not_implemented("reset windows"))
    }
}
