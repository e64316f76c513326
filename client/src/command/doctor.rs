//! `doctor` and `whoami`: from this client to the daemon's targets, step by step, and what to do about each step that fails.

use jiff::{SignedDuration, Timestamp};
use model::{
    fault::{Fault, Reason, exit},
    target::TargetStatus,
};
use serde_json::{Value, json};

use super::{print, print_json};
use crate::{
    api::{Api, Daemon},
    destination::Destination,
    render::Screen,
};

/// More than this between the two clocks is worth a word.
const CLOCKS: SignedDuration = SignedDuration::from_secs(5);

/// What came of one step.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Health {
    Well,
    Odd,
    Broken,
}

impl Health {
    fn as_str(self) -> &'static str {
        match self {
            Self::Well => "ok",
            Self::Odd => "warning",
            Self::Broken => "error",
        }
    }
}

/// One step.
struct Step {
    what: &'static str,
    health: Health,
    found: String,
    /// What to do; empty where nothing is.
    hint: String,
}

impl Step {
    fn well(what: &'static str, found: impl Into<String>) -> Self {
        Self { what, health: Health::Well, found: found.into(), hint: String::new() }
    }

    fn odd(what: &'static str, found: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { what, health: Health::Odd, found: found.into(), hint: hint.into() }
    }

    fn broken(what: &'static str, fault: &Fault) -> Self {
        let found = format!("{}: {}", fault.reason, fault.message);
        Self { what, health: Health::Broken, found, hint: fault.hint.clone().unwrap_or_default() }
    }
}

/// `whoami`: who the caller is to the daemon.
///
/// # Errors
/// The daemon cannot be reached or refuses.
pub(crate) async fn whoami(screen: &mut Screen, to: &Destination, as_json: bool) -> Result<u8, Fault> {
    let daemon = Api::new(to.address.clone()).server_info().await?;
    match as_json {
        true => print_json(
            screen,
            &json!({"principal": daemon.principal, "server": to.address.to_string(), "instance": daemon.instance}),
        ),
        false => print(screen, &[daemon.principal]),
    }
}

/// `doctor`: exit 0 where nothing is broken, else the exit code of the first step that is.
///
/// # Errors
/// Standard output cannot be written.
pub(crate) async fn run(screen: &mut Screen, to: &Destination, as_json: bool) -> Result<u8, Fault> {
    let api = Api::new(to.address.clone());
    let mut steps = vec![Step::well("daemon", format!("{} ({})", to.address, to.server_source()))];
    let code = match examine(&api, to, &mut steps).await {
        Ok(()) => exit::OK,
        Err(fault) => {
            let what = if steps.len() == 1 { "answer" } else { "targets" };
            steps.push(Step::broken(what, &fault));
            fault.reason.exit_code()
        }
    };
    if as_json {
        let step = |it: &Step| json!({"step": it.what, "health": it.health.as_str(), "found": it.found, "hint": it.hint});
        print_json(screen, &Value::Array(steps.iter().map(step).collect()))?;
        return Ok(code);
    }
    let mut lines = Vec::new();
    for it in &steps {
        lines.push(format!("{:<8} {:<12} {}", it.health.as_str(), it.what, it.found));
        if !it.hint.is_empty() {
            lines.push(format!("{:<21} what to do: {}", "", it.hint));
        }
    }
    print(screen, &lines)?;
    Ok(code)
}

async fn examine(api: &Api, to: &Destination, steps: &mut Vec<Step>) -> Result<(), Fault> {
    let daemon = api.server_info().await?;
    let (ours, theirs) = (env!("CARGO_PKG_VERSION"), daemon.version.as_str());
    steps.push(match ours == theirs {
        true => Step::well("version", format!("{theirs}, as this client")),
        false => Step::odd(
            "version",
            format!("the daemon is {theirs}, this client {ours}"),
            "what only one of the two knows is refused by name; install the same version of both",
        ),
    });
    steps.push(Step::well("you are", daemon.principal.clone()));
    steps.push(clocks(&daemon));
    steps.push(chains(&daemon));
    let mut targets = api.targets().await?;
    targets.retain(|target| to.target.is_empty() || to.target == target.name);
    if targets.is_empty() {
        let text = match to.target.as_str() {
            "" => "there is no target that you may see".to_owned(),
            name => format!("there is no target `{name}` that you may see"),
        };
        return Err(Fault::new(Reason::TargetNotFound, text)
            .hint("ask an admin of the daemon for a [[role]], or check the name: resetctl targets"));
    }
    steps.extend(targets.iter().flat_map(target));
    Ok(())
}

/// A daemon that began in the future has another clock; how far behind it is cannot be seen from here.
fn clocks(daemon: &Daemon) -> Step {
    let ahead = daemon.started_at.map(|at| at.duration_since(Timestamp::now())).unwrap_or_default();
    match ahead > CLOCKS {
        true => Step::odd(
            "clock",
            format!("the daemon's is {} s or more ahead of this machine's", ahead.as_secs()),
            "set both by NTP; windows and deadlines go by the control database's clock",
        ),
        false => Step::well("clock", "not behind the daemon's start"),
    }
}

fn chains(daemon: &Daemon) -> Step {
    let faulty: Vec<String> = daemon
        .chains
        .iter()
        .filter(|chain| !chain.fault.is_empty())
        .map(|chain| format!("{}: {}", chain.name, chain.fault))
        .collect();
    match faulty.is_empty() {
        true => Step::well("chains", format!("{} without a fault", daemon.chains.len())),
        false => Step::odd(
            "chains",
            format!("faulty: {}", faulty.join("; ")),
            "correct the files in the daemon's migrations folder",
        ),
    }
}

fn target(it: &TargetStatus) -> Vec<Step> {
    let mut steps =
        vec![Step::well("target", format!("{} (database {}, profile {})", it.name, it.database, it.profile))];
    if !it.enrolled {
        steps.push(Step::odd(
            "target",
            format!("{} is not enrolled", it.name),
            format!("an admin enrolls it once: resetctl target enroll {}", it.name),
        ));
    }
    let hint = "an admin looks into it: resetd check";
    steps.extend(
        it.warnings.iter().map(|warning| Step::odd("target", format!("{}: {warning}", it.name), hint)),
    );
    steps
}

#[cfg(test)]
mod tests {
    use super::*;

    fn daemon() -> Daemon {
        Daemon {
            version: "0".into(),
            instance: String::new(),
            postgres: String::new(),
            principal: "unix:alice".into(),
            started_at: Some(Timestamp::now()),
            chains: Vec::new(),
        }
    }

    #[test]
    fn a_clock_in_the_future_and_a_faulty_chain_are_odd() {
        assert_eq!((clocks(&daemon()).health, chains(&daemon()).health), (Health::Well, Health::Well));
        let started_at = Timestamp::now().checked_add(SignedDuration::from_mins(10)).ok();
        assert_eq!(clocks(&Daemon { started_at, ..daemon() }).health, Health::Odd);
        let chain = wire::v1::ChainInfo { name: "core".into(), fault: "bad".into(), ..Default::default() };
        let found = chains(&Daemon { chains: vec![chain], ..daemon() });
        assert!(found.health == Health::Odd && found.found.contains("core: bad"), "{}", found.found);
    }
}
