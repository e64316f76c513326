//! `resetd check`: the effective values, and everything that is wrong with the connections, at once.

mod guarded;

use model::fault::Fault;
use tokio_util::sync::CancellationToken;

use crate::{
    chains,
    config::{Config, DatabaseUrl, Target},
    grpc::{self, Certificates},
    postgres::{
        catalog::{
            check,
            check_roles::{Checked, Served},
        },
        change::control_schema::{self, Inspection},
        control::neighbours::ControlDatabase,
    },
};

/// Checks every connection and chain; the text for a person, and whether all is good.
pub async fn run(config: &Config) -> (String, bool) {
    let mut text = config.effective();
    let (mut problems, mut warnings, mut notes) = (Vec::new(), guarded::warnings(config), Vec::new());
    if config.embedded.is_none() {
        let control_role = config.control.url.as_ref().map_or("", DatabaseUrl::user);
        for target in &config.targets {
            let checked = check_target(target, control_role).await;
            problems.extend(checked.wrong);
            warnings.extend(checked.warnings);
        }
        match check_control(config).await {
            Ok((checked, found)) => {
                problems.extend(checked.wrong);
                warnings.extend(checked.warnings);
                warnings.extend(found.warnings);
                notes.extend(found.databases.iter().map(described));
            }
            Err(fault) => problems.push(format!("control database: {}", told(&fault))),
        }
    }
    for target in &config.targets {
        let read =
            chains::from_disk(config.migrations.clone(), &target.matrix, CancellationToken::new()).await;
        if let Err(fault) = read {
            problems.push(told(&fault));
        }
    }
    problems
        .extend(grpc::unreachable_sockets(config).into_iter().map(|(text, hint)| format!("{text} — {hint}")));
    if let Some(Err(error)) = config.tls.as_ref().map(Certificates::load) {
        problems.push(format!("[tls]: {}", error.told()));
    }
    problems.dedup();
    warnings.dedup();
    text.push_str("\n# checks\n");
    for note in notes {
        text.push_str(&format!("# {note}\n"));
    }
    for warning in warnings {
        text.push_str(&format!("# warning: {warning}\n"));
    }
    for problem in &problems {
        text.push_str(&format!("# wrong: {problem}\n"));
    }
    if problems.is_empty() {
        text.push_str("# all connections and chains are good\n");
    }
    (text, problems.is_empty())
}

async fn check_target(target: &Target, control_role: &str) -> Checked {
    let Some(url) = target.source.url() else { return Checked::default() };
    let schemas: Vec<String> = target.matrix.managed_schemas().into_iter().map(str::to_owned).collect();
    let prefix = format!("target {}: ", target.name);
    let prefixed = |found: Vec<String>| found.into_iter().map(|found| format!("{prefix}{found}")).collect();
    match check::target(&url.connect_options(), &schemas, control_role).await {
        Ok(it) => Checked { wrong: prefixed(it.wrong), warnings: prefixed(it.warnings) },
        Err(fault) => Checked { wrong: prefixed(vec![told(&fault)]), ..Checked::default() },
    }
}

/// One that is not there yet, and can be made, says nothing.
async fn check_control(config: &Config) -> Result<(Checked, Inspection), Fault> {
    let Some(url) = &config.control.url else { return Ok(Default::default()) };
    let served = config.targets.iter().filter_map(|target| {
        let at = target.source.url()?;
        let (database, role) = (at.database(), at.user());
        Some(Served { name: &target.name, database, role, profile: &target.profile })
    });
    let served: Vec<Served<'_>> = served.collect();
    let (checked, there) = check::control(&url.connect_options(), &config.databases(), &served).await?;
    if !there {
        return Ok((checked, Inspection::default()));
    }
    let targets: Vec<String> = config.targets.iter().map(|t| t.source.database().to_owned()).collect();
    Ok((checked, control_schema::inspect(&url.connect_options(), &targets).await?))
}

fn described(it: &ControlDatabase) -> String {
    let own = if it.own { " (this one)" } else { "" };
    let runs = if it.runs { "daemons run on it" } else { "no daemon runs on it" };
    let serves = match it.serves.is_empty() || it.own {
        true => String::new(),
        false => format!(", and it serves {}", it.serves.join(", ")),
    };
    format!("control database {}{own}: {runs}{serves}", it.name)
}

fn told(fault: &model::fault::Fault) -> String {
    let hint = fault.hint.as_ref().map(|h| format!(" — {h}")).unwrap_or_default();
    format!("{fault}{hint}")
}
