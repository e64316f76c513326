//! `[matrix.NAME]` and `[[matrix.NAME.chain]]`: what healthy targets hold. Must not know targets.
//!
//! `[matrix.default]` keeps the built-in value of every key that is left out; any other matrix must bring its chains, and
//! starts from no shared schemas, `extensions`, and a search path of the shared schemas and `public`.

use model::matrix::{Matrix, MatrixChain, MatrixTool, Order, Scripts};

use super::problem::{At, Problems};
use super::section::Section;

const KEYS: &[&str] = &[
    "shared_schemas",
    "search_path_suffix",
    "extensions_schema",
    "order",
    "bootstrap",
    "bootstrap_as",
    "seeds",
    "seeds_as",
    "chain",
    "tool",
];
const TOOL_KEYS: &[&str] = &["schemas", "tables"];
const CHAIN_KEYS: &[&str] = &["name", "schemas", "tables", "replay_as"];

/// Reads every matrix; the built-in one is there in any case.
pub(super) fn parse_all(root: &Section<'_>, problems: &mut Problems) -> Vec<Matrix> {
    let sections = root.tables("matrix", problems);
    let mut all: Vec<_> = sections.iter().map(|section| parse(section, problems)).collect();
    if !all.iter().any(|matrix| matrix.name == "default") {
        all.push(Matrix::builtin_default());
    }
    all
}

fn parse(section: &Section<'_>, problems: &mut Problems) -> Matrix {
    section.only(KEYS, problems);
    let builtin = (section.name == "default").then(Matrix::builtin_default);
    let shared = section.strings("shared_schemas", true, problems).map(values);
    let suffix = section.strings("search_path_suffix", true, problems).map(values);
    let extensions = section.string("extensions_schema", problems).map(|text| text.value);
    let chains = section.has("chain").then(|| chains(section, problems));
    let tool = section.has("tool").then(|| tool(section, problems));
    if builtin.is_none() && chains.is_none() && tool.is_none() {
        problems.push(
            section.place,
            format!("{} has no chain: add [[matrix.{}.chain]]", section.title, section.name),
        );
    }
    let shared_schemas =
        shared.or_else(|| Some(builtin.as_ref()?.shared_schemas.clone())).unwrap_or_default();
    let default_suffix = || shared_schemas.iter().cloned().chain(["public".to_owned()]).collect();
    let matrix = Matrix {
        name: section.name.clone(),
        search_path_suffix: suffix.unwrap_or_else(default_suffix),
        extensions_schema: extensions.unwrap_or_else(|| "extensions".to_owned()),
        order: order(section, problems),
        bootstrap: scripts(section, ("bootstrap", "bootstrap_as"), problems),
        seeds: scripts(section, ("seeds", "seeds_as"), problems),
        chains: chains.as_ref().cloned().flatten().or_else(|| Some(builtin?.chains)).unwrap_or_default(),
        shared_schemas,
        tool: tool.as_ref().cloned().flatten(),
    };
    // A matrix whose chains could not be read would only be blamed for what is missing.
    let read = chains.is_none_or(|chains| chains.is_some()) && tool.is_none_or(|tool| tool.is_some());
    if read && (!matrix.chains.is_empty() || matrix.tool.is_some()) {
        let sentences = matrix.check().into_iter().map(|sentence| format!("{}: {sentence}", section.title));
        sentences.for_each(|sentence| problems.push(section.place, sentence));
    }
    matrix
}

/// The scripts that one key names, and the role of another.
fn scripts(section: &Section<'_>, (key, key_as): (&str, &str), problems: &mut Problems) -> Option<Scripts> {
    let files = section.string(key, problems);
    let role = section.string(key_as, problems);
    if files.is_none() && role.is_some() {
        problems.push(section.place_of(key_as), format!("{key_as} says as whom, and there is no {key}"));
    }
    let files = files?;
    let folder = files.value.rsplit_once('/').map_or("", |(folder, _)| folder);
    if folder.contains('*') || !files.value.ends_with(".sql") {
        problems.push(
            files.place,
            format!("{key} {:?} is no path of .sql files: only its last part may have a *", files.value),
        );
    }
    Some(Scripts { files: files.value, role: role.map(|role| role.value) })
}

/// `"chain"`, `"schema"`, or a list of cells.
fn order(section: &Section<'_>, problems: &mut Problems) -> Order {
    if section.is_list("order") {
        let listed = section.strings("order", false, problems).unwrap_or_default();
        let mut cells = Vec::new();
        for At { value, place } in listed {
            match Order::cell(&value) {
                Some(cell) => cells.push(cell),
                None => {
                    problems.push(place, format!("{value:?} is no cell of the order: \"CHAIN in SCHEMA\""))
                }
            }
        }
        return Order::Cells(cells);
    }
    let word = section.string("order", problems);
    match word.as_ref().map(|word| word.value.as_str()) {
        None | Some("chain") => Order::Chain,
        Some("schema") => Order::Schema,
        Some(other) => {
            let message =
                format!("order {other:?} is none: \"chain\", \"schema\", or a list of \"CHAIN in SCHEMA\"");
            problems.push(section.place_of("order"), message);
            Order::Chain
        }
    }
}

/// `[matrix.NAME.tool]`; `None` when it could not be read.
fn tool(section: &Section<'_>, problems: &mut Problems) -> Option<MatrixTool> {
    let section = section.inner("tool", &format!("[matrix.{}.tool]", section.name), problems)?;
    section.only(TOOL_KEYS, problems);
    if !section.has("schemas") {
        section.missing("schemas", problems);
    }
    let schemas = section.strings("schemas", false, problems);
    let tables = match section.has("tables") {
        true => section.strings("tables", false, problems),
        false => Some(Vec::new()),
    };
    Some(MatrixTool { schemas: values(schemas?), tables: values(tables?) })
}

/// The chains; `None` when one of them could not be read.
fn chains(section: &Section<'_>, problems: &mut Problems) -> Option<Vec<MatrixChain>> {
    let sections = section.array("chain", &format!("[[matrix.{}.chain]]", section.name), problems);
    let read: Vec<_> = sections.iter().map(|section| chain(section, problems)).collect();
    read.into_iter().collect::<Option<Vec<_>>>().filter(|chains| !chains.is_empty())
}

fn chain(section: &Section<'_>, problems: &mut Problems) -> Option<MatrixChain> {
    section.only(CHAIN_KEYS, problems);
    for key in ["name", "schemas"].iter().filter(|key| !section.has(key)) {
        section.missing(key, problems);
    }
    let name = section.string("name", problems);
    let schemas = section.strings("schemas", false, problems);
    let tables = match section.has("tables") {
        true => section.strings("tables", false, problems),
        false => Some(Vec::new()),
    };
    let replay_as = section.string("replay_as", problems).map(|role| role.value);
    Some(MatrixChain { name: name?.value, schemas: values(schemas?), tables: values(tables?), replay_as })
}

fn values(list: Vec<At<String>>) -> Vec<String> {
    list.into_iter().map(|entry| entry.value).collect()
}
