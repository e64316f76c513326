//! `AdminService`: tokens and the audit record.

use model::fault::{Fault, Reason};
use tonic::{Request, Response, Status};
use wire::v1::{self, admin_service_server::AdminService};

use super::{About, Api, status};

/// The size of a page of audit records when none is asked for, and the largest.
const PAGE: (i64, i64) = (50, 1_000);

/// The service.
#[derive(Clone)]
pub(super) struct Admin(pub(super) Api);

#[tonic::async_trait]
impl AdminService for Admin {
    async fn create_token(
        &self,
        call: Request<v1::CreateTokenRequest>,
    ) -> Result<Response<v1::CreateTokenResponse>, Status> {
        let (authorization, asked) =
            self.0.decide("AdminService/CreateToken", &call, About::Nothing, None).await?;
        let new = match wire::decode_new_token(call.into_inner()) {
            Ok(new) => new,
            Err(error) => return self.0.deny(asked, error.into()).await,
        };
        let created = self.0.engine.create_token(&new, authorization.principal(), asked).await;
        let (token, secret) = created.map_err(status)?;
        Ok(Response::new(v1::CreateTokenResponse {
            token: Some(wire::encode_token(&token)),
            secret: secret.map(|s| s.expose().clone()).unwrap_or_default(),
        }))
    }

    async fn list_tokens(
        &self,
        call: Request<v1::ListTokensRequest>,
    ) -> Result<Response<v1::ListTokensResponse>, Status> {
        self.0.authorize("AdminService/ListTokens", &call, About::Nothing, None).await?;
        let tokens = self.0.engine.tokens().await.map_err(status)?;
        Ok(Response::new(v1::ListTokensResponse { tokens: tokens.iter().map(wire::encode_token).collect() }))
    }

    async fn revoke_token(
        &self,
        call: Request<v1::RevokeTokenRequest>,
    ) -> Result<Response<v1::RevokeTokenResponse>, Status> {
        let (authorization, asked) =
            self.0.decide("AdminService/RevokeToken", &call, About::Nothing, None).await?;
        let id = match wire::decode_revoke_token(call.into_inner()) {
            Ok(id) => id,
            Err(error) => return self.0.deny(asked, error.into()).await,
        };
        let token =
            self.0.engine.revoke_token(&id, authorization.principal(), asked).await.map_err(status)?;
        Ok(Response::new(v1::RevokeTokenResponse { token: Some(wire::encode_token(&token)) }))
    }

    async fn list_audit_records(
        &self,
        call: Request<v1::ListAuditRecordsRequest>,
    ) -> Result<Response<v1::ListAuditRecordsResponse>, Status> {
        self.0.authorize("AdminService/ListAuditRecords", &call, About::Nothing, None).await?;
        let request = call.into_inner();
        let before = match request.page_token.as_str() {
            "" => None,
            token => Some(token.parse().map_err(|_| {
                status(
                    Fault::new(Reason::InvalidRequest, "the page token is not one of this daemon's")
                        .with("field", "page_token"),
                )
            })?),
        };
        let most = match request.page_size {
            0 => PAGE.0,
            size => i64::from(size).clamp(1, PAGE.1),
        };
        let (records, next) = self.0.engine.audit_records(before, most).await.map_err(status)?;
        Ok(Response::new(v1::ListAuditRecordsResponse {
            records: records.iter().map(wire::encode_audit_record).collect(),
            next_page_token: next.map(|n| n.to_string()).unwrap_or_default(),
        }))
    }

    async fn verify_audit(
        &self,
        call: Request<v1::VerifyAuditRequest>,
    ) -> Result<Response<v1::VerifyAuditResponse>, Status> {
        self.0.authorize("AdminService/VerifyAudit", &call, About::Nothing, None).await?;
        let expected = wire::decode_expected(call.get_ref()).map_err(status)?;
        let verdict = self.0.engine.verify_audit(expected).await.map_err(status)?;
        Ok(Response::new(wire::encode_verdict(&verdict)))
    }
}
