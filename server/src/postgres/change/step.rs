//! A step of the work session: somebody's text, with what the daemon sends before and after it, in one message.

use super::message::MessageError;
use crate::postgres::sql::error::condition::Condition;

/// One step.
pub(crate) struct Step<'a> {
    /// The daemon's own statements before the text.
    pub(super) before: Vec<String>,
    /// The text.
    pub(super) text: &'a str,
    /// How many statements it has.
    pub(super) statements: usize,
    /// The daemon's own, in the restored session: the first is a look, whatever follows it may set what is to be restored.
    pub(super) after: Vec<String>,
}

/// A part of a step.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Part {
    /// What the daemon sent before the text.
    Before,
    /// The text.
    Text,
    /// What the daemon sent after it.
    After,
}

impl Step<'_> {
    /// Which part of a message failed, of which `before` statements in so many characters came before the text: by PostgreSQL's
    /// position where it gives one, else by the first statement that was not completed. What failed in the text is counted
    /// from its beginning.
    pub(super) fn locate(
        &self,
        before: usize,
        characters: usize,
        failed: MessageError,
    ) -> (Part, MessageError) {
        let end = characters + self.text.chars().count();
        let part = match (failed.position, failed.completed) {
            (Some(at), _) if at <= characters => Part::Before,
            (Some(at), _) if at > end + 1 => Part::After,
            (Some(_), _) => Part::Text,
            (None, completed) if completed < before => Part::Before,
            (None, completed) if completed < before + self.statements => Part::Text,
            (None, _) => Part::After,
        };
        let failed = match part {
            Part::Text => MessageError {
                completed: failed.completed.saturating_sub(before),
                position: failed.position.map(|at| at - characters),
                ..failed
            },
            Part::Before | Part::After => failed,
        };
        (part, failed)
    }
}

/// Whether a statement failed at what came before it in its transaction, and may do well in one of its own: a new value of an enum,
/// events that are pending, locks that fill the server's table.
pub(super) fn wants_fresh_transaction(error: &sqlx::Error) -> bool {
    matches!(
        Condition::of_error(error),
        Some(Condition::UnsafeNewEnumValue | Condition::ObjectInUse | Condition::OutOfMemory)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn located(completed: usize, position: Option<usize>) -> (Part, usize, Option<usize>) {
        let step = Step { before: Vec::new(), text: "one; two", statements: 2, after: Vec::new() };
        let failed = MessageError { completed, position, error: sqlx::Error::RowNotFound };
        let (part, failed) = step.locate(3, 10, failed);
        (part, failed.completed, failed.position)
    }

    #[test]
    fn a_failure_is_located_by_its_position_or_by_what_was_completed() {
        assert_eq!(located(2, None), (Part::Before, 2, None));
        assert_eq!(located(3, None), (Part::Text, 0, None));
        assert_eq!(located(4, None), (Part::Text, 1, None));
        assert_eq!(located(5, None), (Part::After, 5, None));
        assert_eq!(located(0, Some(10)), (Part::Before, 0, Some(10)));
        // Nothing is executed of what cannot be parsed.
        assert_eq!(located(0, Some(11)), (Part::Text, 0, Some(1)));
        assert_eq!(located(4, Some(18)), (Part::Text, 1, Some(8)));
        assert_eq!(located(4, Some(19)), (Part::Text, 1, Some(9)), "the end of the text");
        assert_eq!(located(7, Some(21)), (Part::After, 7, Some(21)));
    }
}
