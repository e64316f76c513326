//! Chains and what is applied of them, as tables and as JSON for scripts. Pure.

use serde_json::{Value, json};
use wire::v1::ChainInfo;

use super::{
    table::{self, left, right},
    text::wrap,
};

/// The characters of a checksum that people are shown.
const SHORT: usize = 12;

/// One chain in one schema.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    /// The schema.
    pub(crate) schema: String,
    /// The chain.
    pub(crate) chain: String,
    /// The chain's last revision.
    pub(crate) head: String,
    /// The revision that the schema is at; none: nothing is applied.
    pub(crate) at: Option<String>,
    /// How many are applied.
    pub(crate) applied: usize,
    /// How many the chain has.
    pub(crate) of: usize,
    /// Files that are to be applied, in order.
    pub(crate) pending: Vec<String>,
    /// Files that were applied and are others now, as far as reports say.
    pub(crate) edited: Vec<String>,
    /// Revisions in the schema that no chain knows.
    pub(crate) unknown: Vec<String>,
}

impl Row {
    fn state(&self) -> &'static str {
        match self {
            _ if !self.unknown.is_empty() => "unknown revisions",
            _ if !self.edited.is_empty() => "edited",
            _ if !self.pending.is_empty() => "pending",
            _ => "up to date",
        }
    }
}

/// A table of what is applied, and below it what is not as it should be.
pub(crate) fn status(rows: &[Row], width: usize) -> Vec<String> {
    let columns = [
        left("SCHEMA", 0),
        left("CHAIN", 0),
        left("STATE", 0),
        right("APPLIED", 1),
        left("AT", 2),
        left("HEAD", 3),
    ];
    let row = |it: &Row| {
        vec![
            it.schema.clone(),
            it.chain.clone(),
            it.state().to_owned(),
            format!("{}/{}", it.applied, it.of),
            it.at.clone().unwrap_or_else(|| "(none)".to_owned()),
            it.head.clone(),
        ]
    };
    let mut lines = table::layout(&columns, &rows.iter().map(row).collect::<Vec<_>>(), width);
    let mut list = |what: &str, of: fn(&Row) -> &Vec<String>| {
        for it in rows.iter().filter(|it| !of(it).is_empty()) {
            lines.extend(wrap("", &format!("{}: {what}: {}", it.schema, of(it).join(", ")), width));
        }
    };
    list("pending", |it| &it.pending);
    list("edited after they were applied", |it| &it.edited);
    list("unknown to every chain", |it| &it.unknown);
    lines
}

/// One row.
pub(crate) fn row_json(it: &Row) -> Value {
    json!({
        "schema": it.schema,
        "chain": it.chain,
        "state": it.state().replace(' ', "-"),
        "at": it.at,
        "head": it.head,
        "applied": it.applied,
        "revisions": it.of,
        "pending": it.pending,
        "edited": it.edited,
        "unknown": it.unknown,
    })
}

/// A table of every revision that the daemon has.
pub(crate) fn list(chains: &[ChainInfo], width: usize) -> Vec<String> {
    let columns =
        [left("CHAIN", 0), left("REVISION", 0), left("FILE", 1), left("SHA-256", 3), left("SUMMARY", 2)];
    let mut rows = Vec::new();
    for chain in chains {
        if !chain.fault.is_empty() {
            let text = format!("FAULTY: {}", chain.fault);
            rows.push(vec![chain.name.clone(), text, String::new(), String::new(), String::new()]);
        }
        rows.extend(chain.files.iter().map(|it| {
            let checksum = it.checksum.get(..SHORT).unwrap_or(&it.checksum).to_owned();
            vec![chain.name.clone(), it.revision.clone(), it.file.clone(), checksum, it.summary.clone()]
        }));
    }
    table::layout(&columns, &rows, width)
}

/// Every chain with its revisions.
pub(crate) fn list_json(chains: &[ChainInfo]) -> Value {
    let chain = |it: &ChainInfo| {
        json!({
            "name": it.name,
            "fingerprint": it.fingerprint,
            "replayed": it.replayed,
            "fault": (!it.fault.is_empty()).then_some(&it.fault),
            "revisions": it.files.iter().map(|file| json!({
                "revision": file.revision,
                "file": file.file,
                "sha256": file.checksum,
                "summary": file.summary,
            })).collect::<Vec<_>>(),
        })
    };
    Value::Array(chains.iter().map(chain).collect())
}
