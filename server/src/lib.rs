//! placeholder

pub mod embedded;
pub mod config;
