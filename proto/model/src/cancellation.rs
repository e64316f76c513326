//! Who may cancel whose operation: one's own anybody who may begin one; somebody else's an admin, and a resetter unless the
//! target is reserved for somebody else at the time.
//!
//! It must not know how an operation is ended.

use uuid::Uuid;

use crate::{
    authorization::Role,
    fault::{Fault, Reason},
    window::Window,
};

/// A cancel that is asked for.
#[derive(Debug)]
pub struct Cancellation<'a> {
    /// The operation.
    pub operation: Uuid,
    /// Who asked for it.
    pub owner: &'a str,
    /// Who asks.
    pub principal: &'a str,
    /// Their role on its target.
    pub role: Option<Role>,
    /// The window that is active on its target.
    pub window: Option<&'a Window>,
}

impl Cancellation<'_> {
    /// Whether it is only its window that can stand in the way.
    #[must_use]
    pub fn depends_on_window(&self) -> bool {
        self.owner != self.principal && self.role == Some(Role::Resetter)
    }

    /// Whether it may be.
    ///
    /// # Errors
    /// `PERMISSION_DENIED`: whose operation it is, and who may.
    pub fn check(&self) -> Result<(), Fault> {
        let (id, owner) = (self.operation, self.owner);
        if owner == self.principal || self.role >= Some(Role::Admin) {
            return Ok(());
        }
        let denied = |what: String, hint: &str| {
            Err(Fault::new(Reason::PermissionDenied, what)
                .hint(hint)
                .with("operation", id)
                .with("owner", owner)
                .with("principal", self.principal))
        };
        match self.window.filter(|window| window.principal != self.principal) {
            _ if self.role < Some(Role::Resetter) => denied(
                format!("operation {id} is {owner}'s, and {} may cancel only their own", self.principal),
                "ask whoever began it, or somebody with the role resetter",
            ),
            Some(window) => denied(
                format!(
                    "operation {id} is {owner}'s, and its target is reserved by {} until {:.0}",
                    window.principal, window.ends_at
                ),
                "ask whoever reserved it; an admin may cancel it all the same",
            ),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use uuid::Uuid;

    use super::*;

    fn window(principal: &str) -> Window {
        Window {
            id: Uuid::from_u128(2),
            target: "t".to_owned(),
            principal: principal.to_owned(),
            reason: "rehearsal".to_owned(),
            etag: Uuid::from_u128(3),
            starts_at: Timestamp::UNIX_EPOCH,
            ends_at: Timestamp::MAX,
            released_at: None,
        }
    }

    #[test]
    fn ones_own_always_and_others_by_role_and_window() {
        use Role::{Admin, Operator, Resetter};
        let (operation, owner) = (Uuid::from_u128(1), "cert:alice");
        let (alices, bobs, carols) = (window("cert:alice"), window("cert:bob"), window("cert:carol"));
        for (who, role, window, allowed) in [
            ("cert:alice", Operator, None, true),
            ("cert:alice", Operator, Some(&carols), true),
            ("cert:bob", Operator, None, false),
            ("cert:bob", Operator, Some(&bobs), false),
            ("cert:bob", Resetter, None, true),
            ("cert:bob", Resetter, Some(&bobs), true),
            ("cert:bob", Resetter, Some(&alices), false),
            ("cert:bob", Resetter, Some(&carols), false),
            ("cert:bob", Admin, Some(&alices), true),
        ] {
            let asked = Cancellation { operation, owner, principal: who, role: Some(role), window };
            let answer = asked.check();
            assert_eq!(answer.is_ok(), allowed, "{who} {role} {window:?}");
            if let Err(fault) = answer {
                assert_eq!(fault.reason, Reason::PermissionDenied);
                assert!(fault.message.contains("cert:alice's") && fault.hint.is_some(), "{fault}");
            }
        }
    }
}
