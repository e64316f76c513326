//! `resetd check`: the effective values, and everything that is wrong with the connections, at once.

mod guarded;

use crate::{
    chains,
    config::{Config, Target},
    grpc::Certificates,
    postgres::catalog::check,
};

/// Checks every connection and chain; the text for a person, and whether all is good.
pub async fn run(config: &Config) -> (String, bool) {
    let mut text = config.effective();
    let mut problems: Vec<String> = Vec::new();
    let mut warnings = guarded::warnings(config);
    if config.embedded.is_none() {
        for target in &config.targets {
            problems.extend(check_target(target).await);
        }
        match check_control(config).await {
            Ok(openings) => warnings.extend(openings),
            Err(problem) => problems.push(problem),
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

/// What lets others into the control database; or why it cannot be had.
async fn check_control(config: &Config) -> Result<Vec<String>, String> {
    let Some(url) = &config.control.url else { return Ok(Vec::new()) };
    let looked = check::control(&url.connect_options(), &config.databases()).await;
    looked.map_err(|fault| format!("control database: {}", told(&fault)))
}

fn told(fault: &model::fault::Fault) -> String {
    let hint = fault.hint.as_ref().map(|h| format!(" — {h}")).unwrap_or_default();
    format!("{fault}{hint}")
}
