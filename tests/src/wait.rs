//! Waiting with a bound, for what cannot be awaited: other processes and other sessions.

use std::{
    future::Future,
    time::{Duration, Instant},
};

/// How long anything may take before the test fails; far above what a slow machine needs.
const LIMIT: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(10);

/// Polls until the condition holds.
///
/// # Panics
/// It does not hold in time; `what` says what was waited for.
pub async fn eventually<F: Future<Output = bool>>(what: &str, mut holds: impl FnMut() -> F) {
    let begun = Instant::now();
    while !holds().await {
        assert!(begun.elapsed() < LIMIT, "not within {} s: {what}", LIMIT.as_secs());
        tokio::time::sleep(PAUSE).await;
    }
}

/// Awaits with the same bound.
///
/// # Panics
/// It does not come in time; `what` says what was waited for.
pub async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(LIMIT, future).await {
        Ok(value) => value,
        Err(_) => panic!("not within {} s: {what}", LIMIT.as_secs()),
    }
}
