//! `wait --for=free|valid|window`: until a target is in a state, as the daemon tells of its changes.

use std::time::Duration;

use jiff::Timestamp;
use model::{
    fault::{Fault, Reason, Status, exit},
    target::TargetStatus,
};
use uuid::Uuid;

use super::look;
use crate::{
    api::{Api, Targets, Update},
    args::WaitFor,
    destination::Destination,
    render::Screen,
    signals::Signals,
};

/// How long the daemon is waited for when a stream of targets has had its time, and how often it is tried.
const PAUSE: Duration = Duration::from_millis(500);
/// Windows begin and end without a word: they are looked at this often.
const LOOK: Duration = Duration::from_secs(1);

/// Waits.
///
/// # Errors
/// `WAIT_EXPIRED`; the daemon cannot be reached or refuses.
pub(crate) async fn run(
    screen: &mut Screen,
    to: &Destination,
    what: WaitFor,
    timeout: Option<Duration>,
) -> Result<u8, Fault> {
    let api = Api::new(to.address.clone());
    let target = one(&api, &to.target).await?;
    let principal = api.server_info().await?.principal;
    let name = target.name.clone();
    let mut waiter = Waiter { api, name: name.clone(), principal, what, looks: Vec::new() };
    let limit = async {
        match timeout {
            Some(limit) => tokio::time::sleep(limit).await,
            None => std::future::pending().await,
        }
    };
    let mut signals = Signals::catch();
    tokio::select! {
        biased;
        reached = waiter.reached(target) => {
            reached?;
            screen.say(&format!("target {name}: {}", what.reached()));
            Ok(exit::OK)
        }
        signal = signals.next() => Ok(signal.exit_code()),
        () = limit => {
            let text = format!("target {name} did not get there in time: {}", what.reached());
            Err(Fault::new(Reason::WaitExpired, text).hint("see what is in the way: resetctl status").with("target", name))
        }
    }
}

/// The target that is meant: the one that is named, else the daemon's only one.
///
/// # Errors
/// There is no such target, or several and none was named.
pub(crate) async fn one(api: &Api, name: &str) -> Result<TargetStatus, Fault> {
    let mut all = api.targets().await?;
    all.retain(|target| name.is_empty() || target.name == name);
    match <[TargetStatus; 1]>::try_from(all) {
        Ok([one]) => Ok(one),
        Err(none) if none.is_empty() => {
            let text = format!("there is no target `{name}` that you may see");
            Err(Fault::new(Reason::TargetNotFound, text)
                .hint("`resetctl targets` lists them")
                .with("target", name))
        }
        Err(_) => {
            Err(Fault::new(Reason::InvalidRequest, "the daemon has several targets and none was named")
                .hint("name one with --target NAME; `resetctl targets` lists them"))
        }
    }
}

struct Waiter {
    api: Api,
    name: String,
    principal: String,
    what: WaitFor,
    /// The validations that were made here: what they change is no news.
    looks: Vec<Uuid>,
}

impl Waiter {
    async fn reached(&mut self, mut target: TargetStatus) -> Result<(), Fault> {
        loop {
            if self.is_there(&target).await? {
                return Ok(());
            }
            let mut stream = self.api.watch_targets().await?;
            if self.watch(&mut stream, target).await? {
                return Ok(());
            }
            tokio::time::sleep(PAUSE).await;
            target = one(&self.api, &self.name).await?;
        }
    }

    /// Until the target is there; false: the stream has had its time.
    async fn watch(&mut self, stream: &mut Targets, mut target: TargetStatus) -> Result<bool, Fault> {
        let mut look = tokio::time::interval(LOOK);
        loop {
            tokio::select! {
                update = stream.next() => match update? {
                    Update::End => return Ok(false),
                    Update::Target(news) if news.name == self.name => target = *news,
                    Update::Target(_) | Update::Alive => continue,
                },
                _ = look.tick() => {}
            }
            if self.is_there(&target).await? {
                return Ok(true);
            }
        }
    }

    async fn is_there(&mut self, target: &TargetStatus) -> Result<bool, Fault> {
        let now = Timestamp::now();
        Ok(match self.what {
            WaitFor::Free => is_free(target, &self.principal, now),
            WaitFor::Window => {
                target.window.as_ref().is_some_and(|it| it.principal == self.principal && it.is_active(now))
            }
            WaitFor::Valid => self.is_valid(target).await?,
        })
    }

    /// Validates once for each change of the target that is not a look of this one's own.
    async fn is_valid(&mut self, target: &TargetStatus) -> Result<bool, Fault> {
        let seen = target.last.as_ref().is_some_and(|last| self.looks.contains(&last.id));
        if target.holder.is_some() || seen {
            return Ok(false);
        }
        match look::validate(&self.api, &self.name).await {
            Ok((id, report)) => {
                self.looks.push(id);
                Ok(report.status == Status::Ok)
            }
            Err(fault) if fault.reason == Reason::TargetLocked => Ok(false),
            Err(fault) => Err(fault),
        }
    }
}

/// Nobody holds it, nobody waits for it, and nobody else has it reserved.
fn is_free(target: &TargetStatus, principal: &str, now: Timestamp) -> bool {
    let reserved = target.window.as_ref().is_some_and(|it| it.principal != principal && it.is_active(now));
    target.holder.is_none() && target.queue.is_empty() && !reserved
}
