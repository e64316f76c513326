//! Tokens: made and revoked on record, and taken as a principal's credentials.
//!
//! It must not know how a token arrives.

use model::{
    audit::Decision,
    authorization::{Principal, PrincipalKind},
    duration::format_duration,
    fault::{Fault, Reason},
    secret::Secret,
    token::{self, Entry, New, Token},
};
use subtle::ConstantTimeEq as _;

use crate::{
    engine::Engine,
    postgres::control::tokens::{self, Known, Made},
};

/// A token of random numbers of the operating system.
///
/// # Errors
/// It has none.
pub(crate) fn mint() -> Result<Token, Fault> {
    let mut random = [0_u64; token::NUMBERS];
    for number in &mut random {
        *number = getrandom::u64()
            .map_err(|e| Fault::new(Reason::Internal, format!("the system gives no random numbers: {e}")))?;
    }
    Ok(Token::mint(random))
}

/// What the audit record says about a token that is about to be made.
pub(crate) fn told_of_new(id: &str, new: &New) -> String {
    format!("makes token {id} for token:{}, good for {}", new.name, format_duration(new.lifetime))
}

/// What the audit record says about a token that is about to be revoked.
pub(crate) fn told_of_revoked(it: &Entry) -> String {
    format!("revokes token {} of token:{}", it.id, it.name)
}

impl Engine {
    /// Makes a token. The secret is given once: `None` where the same request made the token before.
    ///
    /// # Errors
    /// `INVALID_REQUEST`, `LIMIT_EXCEEDED`, `REQUEST_ID_CONFLICT`, `AUDIT_UNAVAILABLE`.
    pub(crate) async fn create_token(
        &self,
        new: &New,
        by: &Principal,
        asked: Decision,
    ) -> Result<(Entry, Option<Secret<String>>), Fault> {
        if let Err(fault) = new.check() {
            return Err(self.refused(asked, fault).await);
        }
        let (pool, by) = (&self.control.pool, by.to_string());
        match tokens::made_before(pool, new, &by).await {
            Ok(Some(entry)) => {
                let detail = Some(format!("asks again for token {}", entry.id));
                self.record(Decision { detail, ..asked }).await?;
                return Ok((entry, None));
            }
            Ok(None) => {}
            Err(fault) => return Err(self.refused(asked, fault.into()).await),
        }
        let token = mint()?;
        let detail = Some(told_of_new(token.id(), new));
        self.record(Decision { detail, ..asked.clone() }).await?;
        match tokens::create(pool, new, &by, &token).await {
            Ok(Made::New(entry)) => Ok((entry, Some(token.text()))),
            Ok(Made::Before(entry)) => Ok((entry, None)),
            Err(fault) => Err(self.refused(asked, fault.into()).await),
        }
    }

    /// Every token, by creation.
    pub(crate) async fn tokens(&self) -> Result<Vec<Entry>, Fault> {
        Ok(tokens::list(&self.control.pool).await?)
    }

    /// Revokes a token, for every daemon at once. Revoking again changes nothing.
    ///
    /// # Errors
    /// `TOKEN_NOT_FOUND`, `AUDIT_UNAVAILABLE`.
    pub(crate) async fn revoke_token(
        &self,
        id: &str,
        by: &Principal,
        asked: Decision,
    ) -> Result<Entry, Fault> {
        let kept = match tokens::get(&self.control.pool, id).await {
            Ok(kept) => kept,
            Err(fault) => return Err(self.refused(asked, fault.into()).await),
        };
        self.record(Decision { detail: Some(told_of_revoked(&kept)), ..asked }).await?;
        Ok(tokens::revoke(&self.control.pool, id, &by.to_string()).await?)
    }

    /// Who a bearer token proves. It is looked up at each call.
    ///
    /// # Errors
    /// `UNAUTHENTICATED`: it is none, unknown, expired or revoked. `CONTROL_UNAVAILABLE`.
    pub(crate) async fn principal_of_token(&self, bearer: &str) -> Result<Principal, Fault> {
        let token = Token::parse(bearer.trim()).map_err(|error| {
            refuse(format!("the bearer token cannot be used: {error}"), "copy the token again, whole")
        })?;
        let known = tokens::known(&self.control.pool, token.id()).await?;
        let name = proved(&token, known)?;
        if let Err(fault) = tokens::used(&self.control.pool, token.id()).await {
            tracing::debug!(%fault, "the use of a token is not noted");
        }
        Ok(Principal { kind: PrincipalKind::Token, name, owner: false })
    }

    /// Puts a refusal on record and gives it back.
    pub(crate) async fn refused(&self, asked: Decision, fault: Fault) -> Fault {
        // Where the control database does not answer, its record does not either.
        if matches!(fault.reason, Reason::ControlUnavailable | Reason::AuditUnavailable) {
            return fault;
        }
        let reason = Some(fault.reason);
        match self.record(Decision { allowed: false, reason, ..asked }).await {
            Ok(()) => fault,
            Err(second) => second,
        }
    }
}

/// The name that a token proves. Who does not know the secret is told nothing about the token.
fn proved(token: &Token, known: Option<Known>) -> Result<String, Fault> {
    let kept = known.as_ref().map_or(&[0; 32][..], |k| &k.digest);
    let same = bool::from(token.digest().as_slice().ct_eq(kept));
    match known.filter(|_| same) {
        None => Err(refuse("the bearer token is not known here", MAKE)),
        Some(it) if it.revoked => Err(refuse("the bearer token was revoked", MAKE)),
        Some(it) if it.expired => {
            Err(refuse(format!("the bearer token expired at {:.0}", it.expires_at), MAKE))
        }
        Some(it) => Ok(it.name),
    }
}

const MAKE: &str = "an admin makes a new one: resetctl token create NAME";

fn refuse(what: impl Into<String>, hint: &str) -> Fault {
    Fault::new(Reason::Unauthenticated, what).hint(hint)
}
