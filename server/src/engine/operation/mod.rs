//! The way of one operation: submitted, queued, planned, guarded, executed, ended.
//!
//! It must not know who watches it.

pub(crate) mod aside;
pub(crate) mod build;
pub(crate) mod chains;
pub(crate) mod commit;
pub(crate) mod confirm;
pub(crate) mod ending;
pub(crate) mod exchange;
mod fill_inside;
mod fill_with;
pub(crate) mod in_place;
pub(crate) mod lifecycle;
pub(crate) mod phased;
pub(crate) mod plan;
pub(crate) mod queue;
pub(crate) mod registry;
pub(crate) mod replace;
mod scripts;
pub(crate) mod submit;
mod telling;
pub(crate) mod tools;
pub(crate) mod turns;
pub(crate) mod undo;
pub(crate) mod undo_schemas;
pub(crate) mod window_deadline;
mod write_end;
