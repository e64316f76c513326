//! Tokens and the audit record.

use model::{
    audit::{AuditVerdict, Head, Record},
    fault::Fault,
    secret::Secret,
    token::{Entry, New},
};
use uuid::Uuid;
use wire::v1;

use super::{
    call::{Api, message, pages, promised},
    view::unreadable,
};

impl Api {
    /// Makes a token. Its text is empty when this request made it before.
    pub(crate) async fn create_token(&self, new: &New) -> Result<(Secret<String>, Entry), Fault> {
        let reply = self.connection.admin().await?.create_token(wire::encode_new_token(new)).await;
        let reply = message(reply)?;
        Ok((Secret::new(reply.secret), token(promised(reply.token, "token")?)?))
    }

    /// Every token, without its text.
    pub(crate) async fn tokens(&self) -> Result<Vec<Entry>, Fault> {
        let reply = self.connection.admin().await?.list_tokens(v1::ListTokensRequest {}).await;
        message(reply)?.tokens.into_iter().map(token).collect()
    }

    /// Revokes the token of this id.
    ///
    /// # Errors
    /// The daemon cannot be reached or refuses, or there is no such token.
    pub(crate) async fn revoke_token(&self, id: &str) -> Result<Entry, Fault> {
        let request = v1::RevokeTokenRequest { request_id: Uuid::new_v4().to_string(), id: id.to_owned() };
        let reply = self.connection.admin().await?.revoke_token(request).await;
        token(promised(message(reply)?.token, "token")?)
    }

    /// Audit records with their hashes, newest first.
    pub(crate) async fn audit_records(&self, limit: usize) -> Result<Vec<(Record, String)>, Fault> {
        let mut client = self.connection.admin().await?;
        pages(limit, async |page_size, page_token| {
            let request = v1::ListAuditRecordsRequest { page_size, page_token };
            let reply = message(client.list_audit_records(request).await)?;
            let records: Result<Vec<_>, _> =
                reply.records.into_iter().map(wire::decode_audit_record).collect();
            Ok((records.map_err(|e| unreadable(&e.to_string()))?, reply.next_page_token))
        })
        .await
    }

    /// Has the daemon verify the audit record.
    pub(crate) async fn verify_audit(&self, expected: Option<&Head>) -> Result<AuditVerdict, Fault> {
        let reply = self.connection.admin().await?.verify_audit(wire::encode_expected(expected)).await;
        Ok(wire::decode_verdict(message(reply)?))
    }
}

fn token(it: v1::Token) -> Result<Entry, Fault> {
    wire::decode_token(it).map_err(|error| unreadable(&error.to_string()))
}
