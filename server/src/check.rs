//! `resetd check`: the effective values, and everything that is wrong with the connections, at once.

mod guarded;

use model::fault::Fault;

use crate::{
    chains,
    config::{Config, Target},
    grpc::Certificates,
    postgres::{
        catalog::check,
        change::control_schema::{self, Inspection},
        control::neighbours::ControlDatabase,
    },
};

/// Checks every connection and chain; the text for a person, and whether all is good.
pub async fn run(config: &Config) -> (String, bool) {
    let mut text = config.effective();
    let (mut problems, mut warnings, mut notes) = (Vec::new(), guarded::warnings(config), Vec::new());
    if config.embedded.is_none() {
        for target in &config.targets {
            problems.extend(check_target(target).await);
        }
        match check_control(config).await {
            Ok(found) => {
                warnings.extend(found.warnings);
                notes.extend(found.databases.iter().map(described));
            }
            Err(fault) => problems.push(format!("control database: {}", told(&fault))),
        }
    }
    for target in &config.targets {
        if let Err(fault) = chains::from_disk(config.migrations.clone(), &target.matrix).await {
            problems.push(told(&fault));
        }
    }
    if let Some(Err(error)) = config.tls.as_ref().map(Certificates::load) {
        problems.push(format!("[tls]: {}", error.told()));
    }
    problems.dedup();
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

async fn check_target(target: &Target) -> Vec<String> {
    let Some(url) = target.source.url() else { return Vec::new() };
    let schemas: Vec<String> = target.matrix.managed_schemas().into_iter().map(str::to_owned).collect();
    let prefix = format!("target {}: ", target.name);
    match check::target(&url.connect_options(), &schemas).await {
        Ok(findings) => findings.into_iter().map(|f| format!("{prefix}{f}")).collect(),
        Err(fault) => vec![format!("{prefix}{}", told(&fault))],
    }
}

/// One that is not there yet, and can be made, says nothing.
async fn check_control(config: &Config) -> Result<Inspection, Fault> {
    let Some(url) = &config.control.url else { return Ok(Inspection::default()) };
    let others: Vec<_> =
        config.targets.iter().filter_map(|t| t.source.url().map(|u| u.connect_options())).collect();
    match check::control(&url.connect_options(), &others).await? {
        false => Ok(Inspection::default()),
        true => {
            let targets: Vec<String> =
                config.targets.iter().map(|t| t.source.database().to_owned()).collect();
            control_schema::inspect(&url.connect_options(), &targets).await
        }
    }
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

fn told(fault: &Fault) -> String {
    let hint = fault.hint.as_ref().map(|h| format!(" — {h}")).unwrap_or_default();
    format!("{fault}{hint}")
}
