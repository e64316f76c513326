//! An operation as it runs: its events are followed across broken connections (`follower`), in order and once (`sequence`),
//! and shown while signals and answers are listened to (`watch`).

mod follower;
mod sequence;
mod watch;

pub(crate) use follower::{Start, Step, follow};
pub(crate) use watch::{Announce, Ending, Execute, Seen, Watch};
