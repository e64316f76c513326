//! `status`, once or for as long as somebody looks.

use std::{collections::BTreeMap, time::Duration};

use jiff::Timestamp;
use model::{
    fault::{Fault, Reason},
    target::TargetStatus,
};
use tokio::time::Instant;

use super::{print, print_json};
use crate::{
    api::{Api, Targets, Update},
    destination::Destination,
    render::{Screen, board, json, listing, listing::Progress, text},
    signals::Signals,
};

/// How long the daemon is waited for when contact is lost, and how often it is tried.
const RECONNECT_TIMEOUT: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(500);
/// How long a running operation is asked what it does.
const PATIENCE: Duration = Duration::from_secs(2);
/// How often a board is drawn again where nothing changed but the time.
const REDRAW: Duration = Duration::from_secs(5);

/// Of one target when one is named, else of all.
///
/// # Errors
/// The daemon cannot be reached or refuses, or there is no such target.
pub(crate) async fn once(screen: &mut Screen, to: &Destination, as_json: bool) -> Result<u8, Fault> {
    let api = Api::new(to.address.clone());
    let daemon = api.server_info().await?;
    let mut all = api.targets().await?;
    choose(&mut all, &to.target)?;
    let progress = progress(&api, all.iter()).await;
    match as_json {
        true => print_json(screen, &json::status(&daemon, &all, &progress)),
        false => {
            let lines = listing::status(&daemon, &all, &progress, &screen.zone());
            print(screen, &lines)
        }
    }
}

/// What the operations that run said last, by target; whatever is not answered soon is left out.
async fn progress(api: &Api, targets: impl Iterator<Item = &TargetStatus>) -> Progress {
    let mut all = Progress::new();
    for target in targets {
        let Some(id) = target.holder.as_ref().and_then(|holder| holder.operation) else { continue };
        if let Ok(Some(event)) = tokio::time::timeout(PATIENCE, api.last_words(id)).await {
            all.insert(target.name.clone(), event);
        }
    }
    all
}

fn choose(all: &mut Vec<TargetStatus>, name: &str) -> Result<(), Fault> {
    if name.is_empty() {
        return Ok(());
    }
    all.retain(|target| target.name == name);
    match all.is_empty() {
        false => Ok(()),
        true => {
            Err(Fault::new(Reason::TargetNotFound, format!("there is no target `{name}` that you may see"))
                .hint("`resetctl targets` lists them")
                .with("target", name))
        }
    }
}

/// Follows the targets until it is interrupted.
///
/// # Errors
/// The daemon refuses, or is not found again in time.
pub(crate) async fn watch(screen: &mut Screen, to: &Destination, as_json: bool) -> Result<u8, Fault> {
    let api = Api::new(to.address.clone());
    let mut all = api.targets().await?;
    choose(&mut all, &to.target)?;
    let mut signals = Signals::catch();
    let mut follower = Follower { screen, to, as_json, targets: BTreeMap::new(), progress: Progress::new() };
    tokio::select! {
        signal = signals.next() => Ok(signal.exit_code()),
        failed = follower.follow(&api) => Err(failed),
    }
}

struct Follower<'a> {
    screen: &'a mut Screen,
    to: &'a Destination,
    as_json: bool,
    targets: BTreeMap<String, TargetStatus>,
    progress: Progress,
}

impl Follower<'_> {
    async fn follow(&mut self, api: &Api) -> Fault {
        let mut lost: Option<Instant> = None;
        loop {
            let fault = match api.watch_targets().await {
                Ok(mut stream) => match self.show(api, &mut stream, &mut lost).await {
                    // A stream lasts its time; if the daemon is gone, the next one is not opened.
                    Ok(()) => {
                        tokio::time::sleep(PAUSE).await;
                        continue;
                    }
                    Err(fault) => fault,
                },
                Err(fault) => fault,
            };
            let worth = matches!(
                fault.reason,
                Reason::ContactLost
                    | Reason::DaemonUnreachable
                    | Reason::ControlUnavailable
                    | Reason::ShuttingDown
            );
            let since = *lost.get_or_insert_with(|| {
                self.screen.warn(&format!("contact is lost: {}; trying again", fault.message));
                Instant::now()
            });
            if !worth || since.elapsed() >= RECONNECT_TIMEOUT {
                return fault;
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Until the stream ends.
    async fn show(
        &mut self,
        api: &Api,
        stream: &mut Targets,
        lost: &mut Option<Instant>,
    ) -> Result<(), Fault> {
        let mut redraw = tokio::time::interval(REDRAW);
        loop {
            let update = tokio::select! {
                update = stream.next() => update?,
                _ = redraw.tick() => {
                    if !self.as_json {
                        self.progress = progress(api, self.targets.values()).await;
                    }
                    self.draw(None)?;
                    continue;
                }
            };
            *lost = None;
            match update {
                Update::End => return Ok(()),
                Update::Target(target) if self.wants(&target.name) => self.show_one(*target)?,
                Update::Target(_) | Update::Alive => {}
            }
        }
    }

    fn wants(&self, target: &str) -> bool {
        self.to.target.is_empty() || self.to.target == target
    }

    fn show_one(&mut self, target: TargetStatus) -> Result<(), Fault> {
        let zone = self.screen.zone();
        if self.as_json {
            let line = format!("{}\n", text::json(&json::target(&target)));
            return super::print_bytes(self.screen, line.as_bytes()).map(|_| ());
        }
        let line = board::line(&target, Timestamp::now(), &zone);
        self.targets.insert(target.name.clone(), target);
        self.draw(Some(&line))
    }

    /// The board in place, or the line of a change.
    fn draw(&mut self, change: Option<&str>) -> Result<(), Fault> {
        if self.as_json {
            return Ok(());
        }
        let zone = self.screen.zone();
        let all: Vec<&TargetStatus> = self.targets.values().collect();
        let progress = &self.progress;
        let board = |width| board::lines(&all, progress, width, &zone, Timestamp::now());
        let written = self.screen.board(board, change);
        written.map_err(|e| {
            Fault::new(Reason::ReportUnwritable, format!("standard output cannot be written: {e}"))
        })
    }
}
