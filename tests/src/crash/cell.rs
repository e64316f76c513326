//! One cell: an operation, a point, a fault, and what is found afterwards.

use std::{
    fs,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use model::operation::{Request, Verb, Wait};

use super::{
    Fault, Kind, Lane, Mode,
    check::{self, Picture, Shape, Stored},
};
use crate::{Daemon, Output, Running, eventually, request};

static LABEL: AtomicU64 = AtomicU64::new(1);

/// Between a refused call and the next try.
const AGAIN: Duration = Duration::from_millis(100);

/// An operation, a point of its life, a fault.
#[derive(Clone, Debug)]
pub struct Cell {
    /// What is operated.
    pub kind: Kind,
    /// The point's name.
    pub point: String,
    /// The event's code, for tables.
    pub code: String,
    /// What strikes.
    pub fault: Fault,
}

impl std::fmt::Display for Cell {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} / {} {} / {}", self.kind.name(), self.point, self.code, self.fault.name())
    }
}

impl Cell {
    /// Strikes and looks; what is wrong, in words.
    pub async fn run(&self, lane: &mut Lane, shapes: &[Shape]) -> Vec<String> {
        let label = format!("c{}", LABEL.fetch_add(1, Ordering::Relaxed));
        lane.proxy.set(Mode::Pass);
        lane.sweep_kept().await;
        lane.clear_holds();
        lane.first().await;
        lane.prepare(self.kind).await;
        let before = Picture::of(lane).await;
        let from = fs::metadata(&lane.site.log).expect("the server has a log").len();
        let struck_before = lane.proxy.struck();
        fs::write(lane.hold("at"), &self.point).expect("a hold can be written");
        let client = lane.client(&format!("{} --label cell={label}", self.kind.words()));
        lane.held(&self.point).await;
        if !lane.strike(self.fault, &client).await {
            return vec!["not struck: there was nothing to be struck".to_owned()];
        }
        let successor = self.go_on(lane, &label).await;
        let output = client.finish().await;
        let mut wrong = Vec::new();
        // A client that was killed has sent its request, and the daemon is at it.
        let stored = Stored::of(lane, &label, self.fault == Fault::Client).await;
        let successor = successor.await.expect("the successor is followed to its end");
        if self.fault.by_proxy() && lane.proxy.struck() == struck_before {
            wrong.push("not struck: nothing came by the proxy".to_owned());
        }
        if let (Some(asked), Some(stored)) = (lane.cancel.take(), &stored) {
            let again = super::fault::cancel(lane.second.api().await, stored.id.clone()).await;
            let asked = asked.await.expect("a cancel is answered");
            let right = match stored.outcome == "cancelled" {
                true => asked.is_ok() && again.is_ok(),
                false => asked == Err("NOT_CANCELLABLE".to_owned()) && again == asked,
            };
            if !right {
                wrong
                    .push(format!("cancel: {asked:?}, then {again:?}, and it ended with {}", stored.outcome));
            }
        }
        if successor.1 != "PLAN_CHANGED" {
            wrong.push(format!("successor: it ended with {successor:?}"));
        }
        let after = Picture::of(lane).await;
        check::state(self.kind, &before, &after, shapes, stored.as_ref(), &mut wrong);
        match &stored {
            None if ["1", "2"].contains(&self.point.as_str()) && output.code != 0 => {
                check::leftovers(lane, &[&successor.0], &mut wrong).await;
            }
            None => wrong.push(format!("events: there is no operation\n{output}")),
            Some(stored) => {
                check::events(lane, stored, &mut wrong).await;
                check::leftovers(lane, &[&stored.id, &successor.0], &mut wrong).await;
                if self.fault.spares_the_lock() {
                    check::end_before_grant(lane, &stored.id, &successor.0, &mut wrong).await;
                }
                // A client that was alone may have asked again after the successor: then that one is the old owner.
                match check::granted_first(lane, &stored.id, &successor.0).await {
                    true => check::log(lane, from, &stored.id, &successor.0, &mut wrong),
                    // What shares the target has no barrier to pass.
                    false if self.kind.reads_only() => {}
                    false => check::log(lane, from, &successor.0, &stored.id, &mut wrong),
                }
                self.report(lane, stored, output, &mut wrong).await;
            }
        }
        lane.proxy.set(Mode::Pass);
        if !wrong.is_empty() {
            wrong.extend(lane.tails());
        }
        wrong
    }

    /// Lets the daemon go on, or another one in its place, and begins what comes next on the target.
    async fn go_on(&self, lane: &mut Lane, label: &str) -> tokio::task::JoinHandle<(String, String)> {
        let successor = tokio::spawn(succeed(lane.second.address.clone(), next(lane), lane.target.clone()));
        let go = lane.hold(&format!("go-{}", self.point));
        let after_takeover = match self.fault {
            Fault::Kill => {
                lane.first().await;
                return successor;
            }
            Fault::Stop => {
                // The other daemon ends the operation; only then the old owner wakes up.
                Stored::of(lane, label, false).await;
                true
            }
            // Sometimes the old owner goes on only after the new one is done.
            Fault::LockBackend => (self.kind as usize + self.point.len()).is_multiple_of(2),
            _ => false,
        };
        if after_takeover {
            eventually("the successor ends", || async { successor.is_finished() }).await;
        }
        fs::write(go, "").expect("a hold can be lifted");
        if self.fault == Fault::Stop {
            lane.first_daemon().resume().await;
        }
        successor
    }

    /// The client's report is the stored one, byte for byte.
    async fn report(&self, lane: &Lane, stored: &Stored, output: Output, wrong: &mut Vec<String>) {
        let output = match self.fault {
            Fault::Client => lane.client(&format!("operations watch {}", stored.id)).finish().await,
            _ => output,
        };
        let path = output.report_path.clone().expect("the client has a place for its report");
        let on_disk = fs::read_to_string(path).unwrap_or_default();
        if on_disk != stored.report || stored.report.is_empty() {
            wrong.push(format!("report: the client's is not the stored one\n{output}"));
        }
        let ended_well = stored.outcome == "succeeded";
        if ended_well != (output.code == 0) {
            wrong.push(format!("report: {} and exit code {}\n{output}", stored.outcome, output.code));
        }
    }
}

impl Lane {
    fn client(&self, line: &str) -> Running {
        let address = self.first.as_ref().map(|d| d.address.clone()).unwrap_or_default();
        let mut words: Vec<&str> = line.split_whitespace().collect();
        words.extend(["--reconnect-timeout", "60s", "--progress", "plain"]);
        Running::start(self.folder.path(), &address, &words)
    }

    pub(crate) fn tails(&self) -> Vec<String> {
        let tail = |daemon: &Daemon| {
            let log = daemon.log();
            let lines: Vec<&str> = log.lines().collect();
            lines[lines.len().saturating_sub(12)..].join("\n    ")
        };
        let mut tails = vec![format!("second daemon:\n    {}", tail(&self.second))];
        tails.extend(self.first.as_ref().map(|daemon| format!("first daemon:\n    {}", tail(daemon))));
        tails
    }
}

/// What comes next on the target: it needs the lock exclusively, passes the barrier, looks at everything, and changes
/// nothing, since its plan is not the approved one.
fn next(lane: &Lane) -> Request {
    Request {
        plan_digest: Some(format!("sha256:{}", "0".repeat(64))),
        wait: Wait::AtMost(Duration::from_secs(55)),
        ..request(Verb::Reset, &lane.target)
    }
}

/// Follows it to its end: its id and reason.
async fn succeed(address: String, request: Request, target: crate::TestTarget) -> (String, String) {
    let id = loop {
        let mut api = crate::Api::connect(&address).await;
        let first = match api.begin(&request).await {
            Ok(mut stream) => stream.next().await,
            Err(_) => None,
        };
        if let Some(Ok(event)) = first {
            break event.operation.to_string();
        }
        tokio::time::sleep(AGAIN).await;
    };
    let sql = format!("SELECT state, coalesce(reason, '') FROM resetd.operation WHERE id = '{id}'");
    loop {
        let rows = target.control_rows(&sql).await;
        if let Some(row) = rows.first().filter(|row| row[0] == "finished") {
            return (id, row[1].clone());
        }
        tokio::time::sleep(AGAIN).await;
    }
}
