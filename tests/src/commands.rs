//! The confirmed commands that most tests send.

/// Confirms what destroys.
pub const CONFIRMED: &str = "--confirm-destructive-reset RESET";
/// Resets, replays and validates.
pub const RUN: &str = "run --confirm-destructive-reset RESET";
/// Resets.
pub const RESET: &str = "reset --confirm-destructive-reset RESET";
/// Takes the last reset back.
pub const UNDO: &str = "undo --confirm-destructive-reset RESET";
