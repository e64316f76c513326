//! The contract itself: naming, comments, breaking changes, and that every method has a row in the table of permissions.
//!
//! It reads the descriptor set only, so that what is checked is what reflection shows.

use std::collections::BTreeSet;

use prost::Message as _;
use prost_types::{FileDescriptorProto, FileDescriptorSet};

mod bad;
mod comments;
mod golden;
mod house;
mod names;
mod rules;

/// Checks all files of one package and tells each violation in one line.
type Rule = fn(&[FileDescriptorProto]) -> Vec<String>;

/// The files of the contract, without what they import from elsewhere.
fn contract() -> Vec<FileDescriptorProto> {
    let set = FileDescriptorSet::decode(wire::v1::FILE_DESCRIPTOR_SET).expect("the build made it");
    set.file.into_iter().filter(|file| !file.package().starts_with("google.")).collect()
}

fn every_rule() -> impl Iterator<Item = (&'static str, Rule)> {
    rules::STANDARD.iter().chain(comments::COMMENTS).chain(house::HOUSE).copied()
}

#[test]
fn the_contract_keeps_every_rule() {
    let files = contract();
    let mut found = Vec::new();
    for (name, rule) in every_rule() {
        found.extend(rule(&files).into_iter().map(|violation| format!("{name}: {violation}")));
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn every_method_has_exactly_one_row_of_permission() {
    let mut methods = BTreeSet::new();
    for file in &contract() {
        for service in &file.service {
            let name = format!("{}.{}", file.package(), service.name());
            methods.extend(service.method.iter().map(|method| format!("{name}/{}", method.name())));
        }
    }
    let rows: BTreeSet<String> =
        model::authorization::METHODS.iter().map(|(method, _)| (*method).to_owned()).collect();
    let without_row: Vec<_> = methods.difference(&rows).collect();
    let without_method: Vec<_> = rows.difference(&methods).collect();
    assert!(without_row.is_empty(), "no row in model::authorization::METHODS: {without_row:?}");
    assert!(
        without_method.is_empty(),
        "rows in model::authorization::METHODS without a method: {without_method:?}"
    );
    assert_eq!(rows.len(), model::authorization::METHODS.len(), "a method has two rows");
}
