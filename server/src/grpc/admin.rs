//! `AdminService`: the whole surface is in the contract; this version answers plainly that it does not offer it.

use tonic::{Request, Response, Status};
use wire::v1::{self, admin_service_server::AdminService};

use super::{About, Door, not_implemented};

/// The service.
#[derive(Clone)]
pub(super) struct Admin(pub(super) Door);

impl Admin {
    /// Permission first, then that it is not offered.
    async fn refuse<T: Sync>(&self, method: &str, call: &Request<T>, what: &str) -> Status {
        match self.0.authorize(method, call, About::Nothing, None).await {
            Ok(_) => not_implemented(what),
            Err(denied) => denied,
        }
    }
}

#[tonic::async_trait]
impl AdminService for Admin {
    async fn create_token(
        &self,
        call: Request<v1::CreateTokenRequest>,
    ) -> Result<Response<v1::CreateTokenResponse>, Status> {
        Err(self.refuse("AdminService/CreateToken", &call, "bearer tokens").await)
    }

    async fn list_tokens(
        &self,
        call: Request<v1::ListTokensRequest>,
    ) -> Result<Response<v1::ListTokensResponse>, Status> {
        Err(self.refuse("AdminService/ListTokens", &call, "bearer tokens").await)
    }

    async fn revoke_token(
        &self,
        call: Request<v1::RevokeTokenRequest>,
    ) -> Result<Response<v1::RevokeTokenResponse>, Status> {
        Err(self.refuse("AdminService/RevokeToken", &call, "bearer tokens").await)
    }

    async fn list_audit_records(
        &self,
        call: Request<v1::ListAuditRecordsRequest>,
    ) -> Result<Response<v1::ListAuditRecordsResponse>, Status> {
        Err(self.refuse("AdminService/ListAuditRecords", &call, "the audit record").await)
    }

    async fn verify_audit(
        &self,
        call: Request<v1::VerifyAuditRequest>,
    ) -> Result<Response<v1::VerifyAuditResponse>, Status> {
        Err(self.refuse("AdminService/VerifyAudit", &call, "the audit record").await)
    }
}
