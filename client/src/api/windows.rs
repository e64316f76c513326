//! Windows: reserved, listed, extended, released.

use std::time::Duration;

use jiff::Timestamp;
use model::{fault::Fault, window::Window};
use uuid::Uuid;
use wire::v1;

use super::{
    call::{Api, message, pages, promised},
    view,
};

/// When a window begins.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Start {
    /// When the daemon gets the request.
    Now,
    /// So long after that.
    In(Duration),
    /// At this point in time.
    At(Timestamp),
}

impl Api {
    /// Reserves a target.
    pub(crate) async fn reserve_window(
        &self,
        target: &str,
        start: Start,
        length: Duration,
        reason: &str,
    ) -> Result<Window, Fault> {
        let (starts_at, starts_in) = match start {
            Start::Now => (None, None),
            Start::In(ahead) => (None, Some(duration(ahead))),
            Start::At(at) => (Some(wire::timestamp(at)), None),
        };
        let request = v1::ReserveWindowRequest {
            request_id: Uuid::new_v4().to_string(),
            target: target.to_owned(),
            starts_at,
            duration: Some(duration(length)),
            reason: reason.to_owned(),
            starts_in,
        };
        let reply = self.connection.windows().await?.reserve_window(request).await;
        view::window(promised(message(reply)?.window, "window")?)
    }

    /// Windows of a target (empty: of all), by their start.
    pub(crate) async fn windows(&self, target: &str, include_past: bool) -> Result<Vec<Window>, Fault> {
        let mut client = self.connection.windows().await?;
        pages(usize::MAX, async |page_size, page_token| {
            let target = target.to_owned();
            let request = v1::ListWindowsRequest { target, include_past, page_size, page_token };
            let reply = message(client.list_windows(request).await)?;
            let windows: Result<_, Fault> = reply.windows.into_iter().map(view::window).collect();
            Ok((windows?, reply.next_page_token))
        })
        .await
    }

    /// One window.
    ///
    /// # Errors
    /// There is no such window, or the daemon cannot be reached.
    pub(crate) async fn window(&self, id: Uuid) -> Result<Window, Fault> {
        let request = v1::GetWindowRequest { window: id.to_string() };
        let reply = self.connection.windows().await?.get_window(request).await;
        view::window(promised(message(reply)?.window, "window")?)
    }

    /// Moves a window's end.
    ///
    /// # Errors
    /// The window changed in between, or the daemon cannot be reached or refuses.
    pub(crate) async fn extend_window(&self, window: &Window, ends_at: Timestamp) -> Result<Window, Fault> {
        let request = v1::ExtendWindowRequest {
            request_id: Uuid::new_v4().to_string(),
            window: window.id.to_string(),
            ends_at: Some(wire::timestamp(ends_at)),
            etag: window.etag.to_string(),
        };
        let reply = self.connection.windows().await?.extend_window(request).await;
        view::window(promised(message(reply)?.window, "window")?)
    }

    /// Ends a window now; `force`: somebody else's.
    ///
    /// # Errors
    /// The window changed in between, or the daemon cannot be reached or refuses.
    pub(crate) async fn release_window(
        &self,
        window: &Window,
        reason: &str,
        force: bool,
    ) -> Result<Window, Fault> {
        let request = v1::ReleaseWindowRequest {
            request_id: Uuid::new_v4().to_string(),
            window: window.id.to_string(),
            reason: reason.to_owned(),
            etag: window.etag.to_string(),
            force,
        };
        let reply = self.connection.windows().await?.release_window(request).await;
        view::window(promised(message(reply)?.window, "window")?)
    }
}

fn duration(it: Duration) -> prost_types::Duration {
    prost_types::Duration::try_from(it).unwrap_or_default()
}
