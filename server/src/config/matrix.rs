//! `[matrix.NAME]` and `[[matrix.NAME.chain]]`: what healthy targets hold. Must not know targets.
//!
//! `[matrix.default]` keeps the built-in value of every key that is left out; any other matrix must bring its chains, and
//! starts from no shared schemas, `extensions`, and a search path of the shared schemas and `public`.

use model::matrix::{Matrix, MatrixChain, MatrixTool};

use super::problem::{At, Problems};
use super::section::Section;

const KEYS: &[&str] = &["shared_schemas", "search_path_suffix", "extensions_schema", "chain", "tool"];
const TOOL_KEYS: &[&str] = &["schemas", "tables"];
const CHAIN_KEYS: &[&str] = &["name", "schemas", "tables"];

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
    Some(MatrixChain { name: name?.value, schemas: values(schemas?), tables: values(tables?) })
}

fn values(list: Vec<At<String>>) -> Vec<String> {
    list.into_iter().map(|entry| entry.value).collect()
}
