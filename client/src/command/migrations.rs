//! `migrations status|list`: what is applied in each schema, and what the daemon has to apply.

use std::collections::BTreeMap;

use model::{
    fault::{Fault, Reason, exit},
    operation::Verb,
    validation::{RevisionCheck, Validation},
};
use serde_json::Value;
use wire::v1::ChainInfo;

use super::{gate, look, print, print_json, wait};
use crate::{
    api::Api,
    args::MigrationsVerb,
    destination::Destination,
    render::{Screen, migrations as render},
};

/// How many operations are looked through for what was applied.
const LOOKED_AT: usize = 1_000;

/// Does it.
///
/// # Errors
/// The daemon cannot be reached or refuses.
pub(crate) async fn run(screen: &mut Screen, to: &Destination, verb: &MigrationsVerb) -> Result<u8, Fault> {
    let api = Api::new(to.address.clone());
    match verb {
        MigrationsVerb::List { list } => {
            let chains = api.server_info().await?.chains;
            if list.is_data() {
                return print_json(screen, &render::list_json(&chains));
            }
            let lines = render::list(&chains, screen.data_width());
            print(screen, &lines)
        }
        MigrationsVerb::Status { list } => {
            let rows = status(&api, &to.target).await?;
            if list.is_data() {
                return print_json(screen, &Value::Array(rows.iter().map(render::row_json).collect()));
            }
            if rows.is_empty() {
                screen.say("no chain is replayed in any schema of this target");
                return Ok(exit::OK);
            }
            let lines = render::status(&rows, screen.data_width());
            print(screen, &lines)
        }
    }
}

/// One row for each chain of each schema. It validates: what is there is looked at, not remembered.
async fn status(api: &Api, target: &str) -> Result<Vec<render::Row>, Fault> {
    let target = wait::one(api, target).await?;
    let chains = api.server_info().await?.chains;
    let (_, report) = look::validate(api, &target.name).await?;
    let Some(validation) = report.details.validation else {
        let error = report.error.unwrap_or_else(|| "there is no comparison in its report".to_owned());
        let reason = report.error_detail.and_then(|detail| detail.reason.parse().ok());
        return Err(Fault::new(reason.unwrap_or(Reason::Internal), error));
    };
    let applied = applied(api, &target.name).await?;
    Ok(rows(&validation, &chains, &applied))
}

/// Checksums of what was applied, as far as reports on record say: (schema, revision) → checksum.
type Applied = BTreeMap<(String, String), String>;

async fn applied(api: &Api, target: &str) -> Result<Applied, Fault> {
    let mut known = Applied::new();
    let all = api.operations(target, false, LOOKED_AT).await?;
    for it in all.iter().filter(|it| gate::changed(it)) {
        // What an undo brought back was applied before anything that is looked at here.
        if it.verb == Verb::Undo {
            break;
        }
        let report = look::report(api, it.id, gate::end_digest(it)).await?;
        for entry in report.revisions.into_iter().filter(|entry| entry.status == "applied") {
            known.entry((entry.schema, entry.revision)).or_insert(entry.checksum);
        }
        // What was there before is gone.
        if it.verb != Verb::Migrate {
            break;
        }
    }
    Ok(known)
}

fn rows(validation: &Validation, chains: &[ChainInfo], applied: &Applied) -> Vec<render::Row> {
    let row = |check: &RevisionCheck| {
        let chain = chains.iter().find(|chain| chain.head == check.expected_revision);
        let files = chain.map(|it| it.files.as_slice()).unwrap_or_default();
        let at = files.iter().rposition(|file| check.versions.contains(&file.revision));
        let done = at.map_or(0, |at| at + 1);
        let edited = files[..done].iter().filter(|file| {
            let key = (check.schema.clone(), file.revision.clone());
            applied.get(&key).is_some_and(|checksum| *checksum != file.checksum)
        });
        render::Row {
            schema: check.schema.clone(),
            chain: chain.map_or_else(|| "?".to_owned(), |it| it.name.clone()),
            head: check.expected_revision.clone(),
            at: at.map(|at| files[at].revision.clone()),
            applied: done,
            of: files.len(),
            pending: files[done..].iter().map(|file| file.file.clone()).collect(),
            edited: edited.map(|file| file.file.clone()).collect(),
            unknown: unknown(validation, &check.schema),
        }
    };
    validation.revision_checks.iter().map(row).collect()
}

/// Rows of the schema's `alembic_version` that no chain knows.
fn unknown(validation: &Validation, schema: &str) -> Vec<String> {
    let of = |text: &String| Some(text.strip_prefix(schema)?.strip_prefix(':')?.to_owned());
    validation.unknown_revisions.iter().filter_map(of).collect()
}
