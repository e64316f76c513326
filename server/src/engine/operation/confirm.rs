//! Whether what was proven valid inside its transaction still is after its commit: a trigger that puts itself off fires
//! inside the COMMIT, when nobody looks any more. So it is looked at once more, under the lease, before anything is called
//! valid; by whoever takes the operation up where its daemon ended in between.

use model::{
    event::EventKind,
    fault::{Fault, Reason},
    finding,
    plan::Observation,
    validation::Validation,
};

use super::lifecycle::{Done, Run};
use crate::postgres::{change::second_look, lock::lease::LockSession};

/// How many differences are named in one line; the report has all.
const NAMED: usize = 10;

/// What a second look came to.
pub(in crate::engine) struct Confirmation {
    /// Why the target is not called valid.
    pub(in crate::engine) fault: Fault,
    /// What it is instead, where that is known.
    pub(in crate::engine) validation: Option<Validation>,
}

impl Run {
    /// Looks at a committed change once more, where it was `validated` inside its transaction.
    pub(in crate::engine) async fn confirm(
        &self,
        lock: &LockSession,
        validated: Option<&Validation>,
    ) -> Done {
        let Some(validated) = validated else { return Done::Committed };
        let target = self.target.url.connect_options();
        let looked = second_look::observe(&target, lock, &validated.schemas()).await;
        let Some(Confirmation { fault, validation }) = judge(validated, looked) else {
            return Done::Committed;
        };
        tracing::warn!(operation = %self.owner.operation, %fault, "the commit is not confirmed");
        if let Some(validation) = validation
            && let Err(fault) =
                self.record_done(lock, EventKind::Validated { validation: Box::new(validation) }).await
        {
            // The end names the differences as well.
            tracing::warn!(operation = %self.owner.operation, %fault, "the second validation is not stored");
        }
        Done::Changed(fault)
    }
}

/// What a second look says of what was validated; `None`: that it is as it was.
pub(in crate::engine) fn judge(
    validated: &Validation,
    looked: Result<Observation, Fault>,
) -> Option<Confirmation> {
    let observed = match looked {
        Ok(observed) => observed,
        Err(fault) => return Some(unknown(&fault.message)),
    };
    let again = validated.again(&observed);
    let why = match finding::refusal(&observed.findings) {
        Some(refusal) => refusal.message,
        None if again.is_ok() => return None,
        None => again.differences(NAMED),
    };
    let fault = Fault::new(
        Reason::ValidThenChanged,
        format!(
            "the change is committed and was valid inside its transaction; looked at again after the commit, the target is \
             not what its matrix says: {why}"
        ),
    )
    .hint(
        "a deferred trigger that fires inside the commit does this, or another session right after it: the report's findings \
         name such triggers; fix the revision, then run again",
    );
    Some(Confirmation { fault, validation: Some(again) })
}

/// Nobody could look.
pub(in crate::engine) fn unknown(why: &str) -> Confirmation {
    let fault = Fault::new(
        Reason::ValidityUnknown,
        format!(
            "the change is committed and was valid inside its transaction; it was not looked at again after the commit: {why}"
        ),
    )
    .hint("see what is there now: resetctl validate");
    Confirmation { fault, validation: None }
}

#[cfg(test)]
mod tests {
    use model::{
        chain::ChainSet,
        matrix::Matrix,
        plan::{Observation, ObservedSchema},
    };

    use super::*;

    fn observed(tables: &[&str]) -> Observation {
        let schema = ObservedSchema {
            name: "shared".to_owned(),
            owner: Some("app".to_owned()),
            tables: tables.iter().map(|t| (*t).to_owned()).collect(),
            ..ObservedSchema::default()
        };
        Observation { schemas: vec![schema], ..Observation::default() }
    }

    #[test]
    fn only_a_second_look_that_sees_the_same_confirms() {
        let mut matrix = Matrix::builtin_default();
        matrix.chains.clear();
        let validated = Validation::compute(&matrix, &ChainSet::default(), &observed(&[]));
        assert!(validated.is_ok());
        assert!(judge(&validated, Ok(observed(&["one"]))).is_none());
        let reason = |looked| judge(&validated, looked).map(|c| (c.fault.reason, c.validation.is_some()));
        assert_eq!(reason(Ok(Observation::default())), Some((Reason::ValidThenChanged, true)));
        let lost = Fault::new(Reason::LockLost, "the lease is gone");
        assert_eq!(reason(Err(lost)), Some((Reason::ValidityUnknown, false)));
    }
}
