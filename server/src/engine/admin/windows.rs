//! Windows as requests ask for them: whose target, which rules, once per request id. The control database decides, and its
//! clock.

use jiff::Timestamp;
use model::{
    audit::Decision,
    authorization::{Authorization, Role},
    fault::{Fault, Reason},
    window::{FORCE_HINT, Reservation, Rules, Window},
};
use serde::Serialize;
use uuid::Uuid;

use super::force_unlock;
use crate::{
    engine::{Engine, Target, watch::query::page},
    postgres::control::{
        targets::{self, Enrolment},
        windows::{self, Ask, Release, Wanted},
    },
};

/// A page of windows.
pub(crate) struct WindowPage {
    pub(crate) windows: Vec<Window>,
    pub(crate) next: Option<(Timestamp, Uuid)>,
}

/// How a window is ended.
#[derive(Serialize)]
pub(crate) struct ReleaseRequest<'a> {
    pub(crate) window: Uuid,
    pub(crate) reason: &'a str,
    pub(crate) etag: Option<Uuid>,
    pub(crate) force: bool,
}

impl Engine {
    /// Reserves a target.
    ///
    /// # Errors
    /// `WINDOW_CONFLICT`, `TARGET_NOT_ENROLLED`, `REQUEST_ID_CONFLICT`, or what is wrong with the reservation.
    pub(crate) async fn reserve(
        &self,
        request_id: Uuid,
        target: &str,
        wish: &Reservation,
        authorization: &Authorization,
        asked: &Decision,
    ) -> Result<Window, Fault> {
        let target = self.target(target)?;
        if !target.profile.self_enroll {
            self.must_be_enrolled(target).await?;
        }
        let detail = Some(format!("window of request {request_id}"));
        self.record(Decision { detail, ..asked.clone() }).await?;
        if target.profile.self_enroll
            && targets::enrolment(&self.control, target.database()).await? != Enrolment::This
        {
            let by = format!("self ({})", target.profile.name);
            let options = target.url.connect_options();
            targets::enroll_now(&self.control, &options, target.database(), &by).await?;
        }
        let principal = authorization.principal().to_string();
        let hash = hash(&("reserve", &target.name, format!("{wish:?}")));
        let rules = Rules::of(&target.name, &target.profile);
        let ask = self.ask(request_id, hash, &principal, target, &rules);
        Ok(windows::reserve(&self.control.pool, &ask, wish).await.map(|window| self.named(window))?)
    }

    /// Moves the end of one's own window.
    ///
    /// # Errors
    /// `WINDOW_NOT_FOUND`, `PERMISSION_DENIED`, `WINDOW_CONFLICT`, or what is wrong with the end.
    pub(crate) async fn extend(
        &self,
        request_id: Uuid,
        id: Uuid,
        ends_at: Timestamp,
        etag: Option<Uuid>,
        authorization: &Authorization,
        asked: &Decision,
    ) -> Result<Window, Fault> {
        let window = self.window(id).await?;
        let target = self.target(&window.target)?;
        let principal = authorization.principal().to_string();
        let rules = Rules::of(&target.name, &target.profile);
        self.record(asked.clone()).await?;
        let hash = hash(&("extend", id, ends_at, etag));
        let ask = self.ask(request_id, hash, &principal, target, &rules);
        Ok(windows::extend(&self.control.pool, &ask, id, ends_at, etag)
            .await
            .map(|window| self.named(window))?)
    }

    /// Ends a window now. Somebody else's is released by an admin who says why, and a change of theirs that runs in it
    /// ends with that.
    ///
    /// # Errors
    /// `WINDOW_NOT_FOUND`, `PERMISSION_DENIED`, `TARGET_LOCKED` while a change of one's own runs in it.
    pub(crate) async fn release(
        &self,
        request_id: Uuid,
        wish: &ReleaseRequest<'_>,
        authorization: &Authorization,
        asked: &Decision,
    ) -> Result<Window, Fault> {
        let window = self.window(wish.window).await?;
        let target = self.target(&window.target)?;
        let principal = authorization.principal().to_string();
        let force = wish.force && window.principal != principal;
        if force {
            if authorization.role() < Some(Role::Admin) {
                return Err(Fault::new(
                    Reason::PermissionDenied,
                    format!("window {} belongs to {}", window.id, window.principal),
                )
                .hint(FORCE_HINT)
                .with("window", window.id));
            }
            force_unlock::check_reason(wish.reason)?;
        }
        let forced = if force { format!(", forced: {}", wish.reason) } else { String::new() };
        let detail = Some(format!("window {}{forced}", window.id));
        self.record(Decision { detail, ..asked.clone() }).await?;
        let rules = Rules::of(&target.name, &target.profile);
        let ask = self.ask(request_id, hash(&("release", wish)), &principal, target, &rules);
        let how = Release { reason: wish.reason, force };
        let released = windows::release(&self.control.pool, &ask, wish.window, how, wish.etag).await;
        let (window, broken) = released?;
        for change in broken {
            self.break_lock(change.operation, wish.reason, authorization).await?;
        }
        Ok(self.named(window))
    }

    /// One window.
    ///
    /// # Errors
    /// `WINDOW_NOT_FOUND`, also where its database is none of this daemon's but bears the name of one of its targets:
    /// the rules and roles of that target are not those of the window.
    pub(crate) async fn window(&self, id: Uuid) -> Result<Window, Fault> {
        let window = windows::get(&self.control.pool, id).await?;
        let database = &window.target;
        if self.target(database).is_ok_and(|t| t.database() != database)
            && !self.targets.iter().any(|t| t.database() == database)
        {
            return Err(Fault::new(
                Reason::WindowNotFound,
                format!("window {id} is not on a database of this daemon"),
            )
            .hint("ask the daemon that has it")
            .with("window", id));
        }
        Ok(self.named(window))
    }

    /// Windows of some targets, by start.
    pub(crate) async fn windows(
        &self,
        targets: &[String],
        past: bool,
        after: Option<(Timestamp, Uuid)>,
        most: i64,
    ) -> Result<WindowPage, Fault> {
        let databases = self.targets.iter().filter(|t| targets.contains(&t.name));
        let databases = databases.map(|t| t.database().to_owned()).collect();
        let wanted = Wanted { databases, past, after, most: most + 1 };
        let (windows, more) = page(windows::list(&self.control.pool, &wanted).await?, most);
        let last = windows.last().filter(|_| more);
        let next = last.map(|window| (window.starts_at, window.id));
        Ok(WindowPage { windows: windows.into_iter().map(|w| self.named(w)).collect(), next })
    }

    fn ask<'a>(
        &'a self,
        request_id: Uuid,
        hash: String,
        principal: &'a str,
        target: &'a Target,
        rules: &'a Rules,
    ) -> Ask<'a> {
        let system_identifier = &self.control.system_identifier;
        Ask { request_id, hash, principal, database: target.database(), rules, system_identifier }
    }

    /// The window under the name that its target has here.
    fn named(&self, window: Window) -> Window {
        match self.targets.iter().find(|t| t.database() == window.target) {
            Some(target) => Window { target: target.name.clone(), ..window },
            None => window,
        }
    }
}

/// Over everything asked but the request id: two requests with one id must agree on it.
fn hash(asked: &impl Serialize) -> String {
    model::hex_sha256(serde_json::to_vec(asked).unwrap_or_default())
}
