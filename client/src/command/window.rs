//! `window reserve|list|show|extend|release`.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp, tz::TimeZone};
use model::{
    fault::{Fault, Reason, exit},
    window::Window,
};
use serde_json::Value;
use uuid::Uuid;
use wire::v1;

use super::{operate, print, print_json, promised};
use crate::{
    args::WindowVerb,
    connection::{self, Connection},
    intent::Destination,
    moment::{self, Moment},
    render::{Screen, json, window as render},
    status::normalise,
    view,
};

const PAGE: i32 = 1_000;

/// What all of them need.
struct Desk<'a> {
    screen: &'a mut Screen,
    to: &'a Destination,
    connection: Connection,
    zone: TimeZone,
}

/// Does it.
///
/// # Errors
/// The daemon cannot be reached or refuses; the words are wrong.
pub(crate) async fn run(screen: &mut Screen, to: &Destination, verb: &WindowVerb) -> Result<u8, Fault> {
    let zone = screen.zone();
    let mut desk = Desk { screen, to, connection: Connection::new(to.address.clone()), zone };
    match verb {
        WindowVerb::Reserve { length, start, reason, list } => {
            let window = desk.reserve(*length, start.as_deref(), reason).await?;
            desk.tell(&window, "reserved", list.json)
        }
        WindowVerb::List { all, list } => desk.list(*all, list.json).await,
        WindowVerb::Show { id, list } => {
            let window = desk.get(parse(id)?).await?;
            match list.json {
                true => print_json(desk.screen, &json::window(&window)),
                false => print(desk.screen, &render::one(&window, &desk.zone, Timestamp::now())),
            }
        }
        WindowVerb::Extend { id, longer, until, list } => {
            let window = desk.named(id.as_deref(), false).await?;
            let window = desk.extend(&window, *longer, until.as_deref()).await?;
            desk.tell(&window, "extended", list.json)
        }
        WindowVerb::Release { id, force, reason, list } => {
            let window = desk.named(id.as_deref(), true).await?;
            let released = desk.release(&window, reason, *force).await?;
            let word = if released.released_at.is_some() { "released" } else { "had ended" };
            desk.tell(&released, word, list.json)
        }
    }
}

impl Desk<'_> {
    async fn reserve(&self, length: Duration, start: Option<&str>, reason: &str) -> Result<Window, Fault> {
        let parsed = |text| moment::parse("--start", text, Timestamp::now(), &self.zone);
        let (starts_at, starts_in) = match start.map(parsed).transpose()? {
            None => (None, None),
            Some(Moment::At(at)) => (Some(wire::timestamp(at)), None),
            Some(Moment::Ahead(ahead)) => (None, Some(duration(ahead))),
        };
        let request = v1::ReserveWindowRequest {
            request_id: Uuid::new_v4().to_string(),
            target: self.to.target.clone(),
            starts_at,
            duration: Some(duration(length)),
            reason: reason.to_owned(),
            starts_in,
        };
        let mut client = connection::windows(self.connection.open().await?);
        let reply = client.reserve_window(request).await.map_err(|s| normalise(&s).fault)?;
        view::window(promised(reply.into_inner().window, "window")?)
    }

    async fn list(&mut self, all: bool, as_json: bool) -> Result<u8, Fault> {
        let windows = self.pages(all).await?;
        if as_json {
            return print_json(self.screen, &Value::Array(windows.iter().map(json::window).collect()));
        }
        if windows.is_empty() {
            self.screen.say("no windows");
            return Ok(exit::OK);
        }
        let lines = render::table(&windows, &self.zone, Timestamp::now(), self.screen.data_width());
        print(self.screen, &lines)
    }

    async fn pages(&self, include_past: bool) -> Result<Vec<Window>, Fault> {
        let mut client = connection::windows(self.connection.open().await?);
        let (mut all, mut page_token) = (Vec::new(), String::new());
        loop {
            let target = self.to.target.clone();
            let request = v1::ListWindowsRequest { target, include_past, page_size: PAGE, page_token };
            let reply = client.list_windows(request).await.map_err(|s| normalise(&s).fault)?.into_inner();
            for window in reply.windows {
                all.push(view::window(window)?);
            }
            page_token = reply.next_page_token;
            if page_token.is_empty() {
                return Ok(all);
            }
        }
    }

    async fn get(&self, id: Uuid) -> Result<Window, Fault> {
        let mut client = connection::windows(self.connection.open().await?);
        let request = v1::GetWindowRequest { window: id.to_string() };
        let reply = client.get_window(request).await.map_err(|s| normalise(&s).fault)?;
        view::window(promised(reply.into_inner().window, "window")?)
    }

    /// The window of that id, else the caller's own: the one that begins first of those that are not past, or only one
    /// that lasts now.
    async fn named(&self, id: Option<&str>, active: bool) -> Result<Window, Fault> {
        if let Some(id) = id {
            return self.get(parse(id)?).await;
        }
        let own = operate::daemon(&self.connection).await?.principal;
        let mut windows = self.pages(false).await?;
        let now = Timestamp::now();
        windows.retain(|window| window.principal == own && (!active || window.starts_at <= now));
        let several = windows.iter().any(|window| window.target != windows[0].target);
        match windows.into_iter().next() {
            Some(_) if several => {
                Err(Fault::new(Reason::InvalidRequest, "you have windows on several targets and named none")
                    .hint("name the target with --target NAME, or the window by its id"))
            }
            Some(window) => Ok(window),
            None => {
                let none = if active { "lasts now" } else { "lasts or comes" };
                Err(Fault::new(Reason::WindowNotFound, format!("{own} has no window that {none}"))
                    .hint("name another one by its id: `resetctl window list` shows them"))
            }
        }
    }

    async fn extend(
        &self,
        window: &Window,
        longer: Option<Duration>,
        until: Option<&str>,
    ) -> Result<Window, Fault> {
        let until = until.map(|text| moment::parse("--until", text, Timestamp::now(), &self.zone));
        let ends_at = match (until.transpose()?, longer) {
            (Some(Moment::At(at)), _) => at,
            (Some(Moment::Ahead(_)), _) => {
                return Err(Fault::new(Reason::InvalidRequest, "--until: names a point in time")
                    .hint("so much longer: --for DURATION"));
            }
            (None, longer) => {
                let longer = SignedDuration::try_from(longer.unwrap_or_default()).unwrap_or_default();
                window.ends_at.checked_add(longer).map_err(|_| {
                    Fault::new(Reason::InvalidRequest, "--for: the window would end after all time")
                })?
            }
        };
        let request = v1::ExtendWindowRequest {
            request_id: Uuid::new_v4().to_string(),
            window: window.id.to_string(),
            ends_at: Some(wire::timestamp(ends_at)),
            etag: window.etag.to_string(),
        };
        let mut client = connection::windows(self.connection.open().await?);
        let reply = client.extend_window(request).await.map_err(|s| normalise(&s).fault)?;
        view::window(promised(reply.into_inner().window, "window")?)
    }

    async fn release(&self, window: &Window, reason: &str, force: bool) -> Result<Window, Fault> {
        let request = v1::ReleaseWindowRequest {
            request_id: Uuid::new_v4().to_string(),
            window: window.id.to_string(),
            reason: reason.to_owned(),
            etag: window.etag.to_string(),
            force,
        };
        let mut client = connection::windows(self.connection.open().await?);
        let reply = client.release_window(request).await.map_err(|s| normalise(&s).fault)?;
        view::window(promised(reply.into_inner().window, "window")?)
    }

    /// A person is told in words; the id goes to stdout for scripts, or all of it as JSON.
    fn tell(&mut self, window: &Window, what: &str, as_json: bool) -> Result<u8, Fault> {
        let text = render::told(window, what, &self.zone, Timestamp::now());
        self.screen.say(&text);
        match as_json {
            true => print_json(self.screen, &json::window(window)),
            false => print(self.screen, &[window.id.to_string()]),
        }
    }
}

fn duration(it: Duration) -> prost_types::Duration {
    prost_types::Duration::try_from(it).unwrap_or_default()
}

fn parse(id: &str) -> Result<Uuid, Fault> {
    wire::parse_window_id(id).map_err(|error| {
        let text = error.to_string();
        let text = text.strip_prefix("window: ").unwrap_or(&text);
        Fault::new(Reason::InvalidRequest, text).hint("`resetctl window list` shows the ids")
    })
}
