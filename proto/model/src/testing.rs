//! Values for the pure tests of this crate.

use std::collections::BTreeMap;

use uuid::Uuid;

use crate::{
    chain::{Chain, ChainSet},
    matrix::{Matrix, MatrixChain},
    operation::{Request, Verb},
    plan::{Observation, ObservedSchema},
    profile::{Profile, Scope},
};

pub(crate) fn profile() -> Profile {
    Profile::builtin("local").expect("a built-in profile")
}

pub(crate) fn request(verb: Verb) -> Request {
    Request {
        scope: verb.resets().then_some(Scope::ManagedSchemas),
        scope_named: true,
        confirmation: Some("RESET".to_owned()),
        ..Request::new(verb, "butlers", Uuid::from_u128(1))
    }
}

/// A chain of these revisions, each with its SQL.
pub(crate) fn chain(name: &str, revisions: &[(&str, &str)]) -> Chain {
    let mut before = "none";
    let mut files = Vec::new();
    for (id, sql) in revisions {
        let text = format!("-- revision: {id}\n-- revises: {before}\n{sql}\n");
        files.push((format!("{name}/{id}.sql"), text.into_bytes()));
        before = id;
    }
    Chain::assemble(name, files).expect("a chain")
}

/// Chains for the default matrix, with the shipped ids.
pub(crate) fn chains() -> ChainSet {
    ChainSet {
        chains: vec![
            chain("core", &[("core_001", "select 1;")]),
            chain("memory", &[("mem_001", "select 2;")]),
        ],
        ..ChainSet::default()
    }
}

/// A database that is what the default matrix and [`chains`] say.
pub(crate) fn healthy() -> Observation {
    let matrix = Matrix::builtin_default();
    let schema = |name: &str| ObservedSchema {
        name: name.to_owned(),
        owner: Some("app".to_owned()),
        tables: matrix.tables_of(name).map(|(_, table)| table.to_owned()).collect(),
        kinds: BTreeMap::from([("table".to_owned(), 7)]),
        estimated_rows: 100,
        bytes: 8192,
        versions: (name != "shared").then(|| heads(&matrix, name)),
        ..ObservedSchema::default()
    };
    Observation {
        database_oid: 16_384,
        role: "app".to_owned(),
        schemas: matrix.managed_schemas().into_iter().map(schema).collect(),
        keep_previous_seconds: 86_400,
        ..Observation::default()
    }
}

/// A database without any of the managed schemas.
pub(crate) fn empty() -> Observation {
    let absent = |s: ObservedSchema| ObservedSchema {
        name: s.name,
        owner: None,
        versions: None,
        ..ObservedSchema::default()
    };
    let healthy = healthy();
    Observation { schemas: healthy.schemas.into_iter().map(absent).collect(), ..healthy }
}

/// The schema of that name, to be changed.
pub(crate) fn schema<'a>(observed: &'a mut Observation, name: &str) -> &'a mut ObservedSchema {
    observed.schemas.iter_mut().find(|s| s.name == name).expect("a managed schema")
}

fn heads(matrix: &Matrix, schema: &str) -> Vec<String> {
    let head = |chain: &MatrixChain| if chain.name == "core" { "core_001" } else { "mem_001" }.to_owned();
    matrix.chains_of(schema).map(head).collect()
}
