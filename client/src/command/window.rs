//! `window reserve|list|show|extend|release`.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp, tz::TimeZone};
use model::{
    fault::{Fault, Reason, exit},
    window::Window,
};
use serde_json::Value;

use super::{ids, print, print_json};
use crate::{
    api::{Api, Start},
    args::WindowVerb,
    destination::Destination,
    render::{Screen, json, window as render},
    time_spec::{self, TimeSpec},
};

/// One verb on its way.
struct Command<'a> {
    screen: &'a mut Screen,
    to: &'a Destination,
    api: Api,
    zone: TimeZone,
}

/// Does it.
///
/// # Errors
/// The daemon cannot be reached or refuses; the words are wrong.
pub(crate) async fn run(screen: &mut Screen, to: &Destination, verb: &WindowVerb) -> Result<u8, Fault> {
    let zone = screen.zone();
    let mut command = Command { screen, to, api: Api::new(to.address.clone()), zone };
    match verb {
        WindowVerb::Reserve { length, start, reason, list } => {
            let window = command.reserve(*length, start.as_deref(), reason).await?;
            command.report(&window, "reserved", list.is_data())
        }
        WindowVerb::List { all, list } => command.list(*all, list.is_data()).await,
        WindowVerb::Show { id, list } => {
            let window = command.window(id).await?;
            match list.is_data() {
                true => print_json(command.screen, &json::window(&window)),
                false => print(command.screen, &render::one(&window, &command.zone, Timestamp::now())),
            }
        }
        WindowVerb::Extend { id, longer, until, list } => {
            let window = command.named(id.as_deref(), false).await?;
            let window = command.extend(&window, *longer, until.as_deref()).await?;
            command.report(&window, "extended", list.is_data())
        }
        WindowVerb::Release { id, force, reason, list } => {
            let window = command.named(id.as_deref(), true).await?;
            let released = command.api.release_window(&window, reason, *force).await?;
            let word = if released.released_at.is_some() { "released" } else { "had ended" };
            command.report(&released, word, list.is_data())
        }
    }
}

impl Command<'_> {
    async fn window(&self, id: &str) -> Result<Window, Fault> {
        self.api.window(ids::window(&self.api, &self.to.target, id).await?).await
    }

    async fn reserve(&self, length: Duration, start: Option<&str>, reason: &str) -> Result<Window, Fault> {
        let parsed = |text| time_spec::parse("--start", text, Timestamp::now(), &self.zone);
        let start = match start.map(parsed).transpose()? {
            None => Start::Now,
            Some(TimeSpec::In(ahead)) => Start::In(ahead),
            Some(TimeSpec::At(at)) => Start::At(at),
        };
        self.api.reserve_window(&self.to.target, start, length, reason).await
    }

    async fn list(&mut self, all: bool, as_json: bool) -> Result<u8, Fault> {
        let windows = self.api.windows(&self.to.target, all).await?;
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

    /// The window of that id, else the caller's own: the one that begins first of those that are not past, or only one
    /// that lasts now.
    async fn named(&self, id: Option<&str>, active: bool) -> Result<Window, Fault> {
        if let Some(id) = id {
            return self.window(id).await;
        }
        let own = self.api.server_info().await?.principal;
        let mut windows = self.api.windows(&self.to.target, false).await?;
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
        let until = until.map(|text| time_spec::parse("--until", text, Timestamp::now(), &self.zone));
        let ends_at = match (until.transpose()?, longer) {
            (Some(TimeSpec::At(at)), _) => at,
            (Some(TimeSpec::In(_)), _) => {
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
        self.api.extend_window(window, ends_at).await
    }

    /// A person is told in words; the id goes to stdout for scripts, or all of it as JSON.
    fn report(&mut self, window: &Window, what: &str, as_json: bool) -> Result<u8, Fault> {
        let text = render::change(window, what, &self.zone, Timestamp::now());
        self.screen.say(&text);
        match as_json {
            true => print_json(self.screen, &json::window(window)),
            false => print(self.screen, &[window.id.to_string()]),
        }
    }
}
