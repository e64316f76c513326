//! buf's COMMENTS category: everything that a reader of the contract meets says what it is.

use std::collections::BTreeSet;

use prost_types::{DescriptorProto, EnumDescriptorProto, FileDescriptorProto};

use crate::Rule;

/// Name in buf's documentation, and the check.
pub(crate) const COMMENTS: &[(&str, Rule)] = &[
    ("COMMENT_ENUM", |files| without_comment(files, Kind::Enum)),
    ("COMMENT_ENUM_VALUE", |files| without_comment(files, Kind::EnumValue)),
    ("COMMENT_FIELD", |files| without_comment(files, Kind::Field)),
    ("COMMENT_MESSAGE", |files| without_comment(files, Kind::Message)),
    ("COMMENT_ONEOF", |files| without_comment(files, Kind::Oneof)),
    ("COMMENT_RPC", |files| without_comment(files, Kind::Rpc)),
    ("COMMENT_SERVICE", |files| without_comment(files, Kind::Service)),
];

#[derive(Clone, Copy, Eq, PartialEq)]
enum Kind {
    Message,
    Field,
    Oneof,
    Enum,
    EnumValue,
    Service,
    Rpc,
}

/// An element: its kind, its name, and its path in the file as `descriptor.proto` numbers it.
type Element = (Kind, String, Vec<i32>);

fn without_comment(files: &[FileDescriptorProto], kind: Kind) -> Vec<String> {
    let mut missing = Vec::new();
    for file in files {
        let commented = commented(file);
        let all = elements(file).into_iter().filter(|(k, _, path)| *k == kind && !commented.contains(path));
        missing.extend(all.map(|(_, name, _)| name));
    }
    missing
}

fn commented(file: &FileDescriptorProto) -> BTreeSet<Vec<i32>> {
    let locations = file.source_code_info.iter().flat_map(|info| &info.location);
    locations
        .filter(|place| !place.leading_comments().trim().is_empty())
        .map(|place| place.path.clone())
        .collect()
}

/// Everything with a name in a file.
fn elements(file: &FileDescriptorProto) -> Vec<Element> {
    let mut found = Vec::new();
    for (at, message) in (0..).zip(&file.message_type) {
        in_message(file.package(), message, &[4, at], &mut found);
    }
    for (at, it) in (0..).zip(&file.enum_type) {
        in_enum(file.package(), it, &[5, at], &mut found);
    }
    for (at, service) in (0..).zip(&file.service) {
        found.push((Kind::Service, service.name().to_owned(), vec![6, at]));
        for (index, method) in (0..).zip(&service.method) {
            found.push((Kind::Rpc, format!("{}/{}", service.name(), method.name()), vec![6, at, 2, index]));
        }
    }
    found
}

fn in_message(parent: &str, message: &DescriptorProto, path: &[i32], found: &mut Vec<Element>) {
    // The entry of a map is made by the compiler; its field is what a reader sees.
    if message.options.as_ref().is_some_and(|options| options.map_entry()) {
        return;
    }
    let name = format!("{parent}.{}", message.name());
    found.push((Kind::Message, name.clone(), path.to_vec()));
    for (at, field) in (0..).zip(&message.field) {
        found.push((Kind::Field, format!("{name}.{}", field.name()), [path, &[2, at]].concat()));
    }
    for (at, oneof) in (0..).zip(&message.oneof_decl) {
        // `optional` makes a oneof of its own, which nobody wrote.
        let synthetic = message.field.iter().any(|f| f.proto3_optional() && f.oneof_index == Some(at));
        if !synthetic {
            found.push((Kind::Oneof, format!("{name}.{}", oneof.name()), [path, &[8, at]].concat()));
        }
    }
    for (at, nested) in (0..).zip(&message.nested_type) {
        in_message(&name, nested, &[path, &[3, at]].concat(), found);
    }
    for (at, it) in (0..).zip(&message.enum_type) {
        in_enum(&name, it, &[path, &[4, at]].concat(), found);
    }
}

fn in_enum(parent: &str, it: &EnumDescriptorProto, path: &[i32], found: &mut Vec<Element>) {
    let name = format!("{parent}.{}", it.name());
    found.push((Kind::Enum, name.clone(), path.to_vec()));
    for (at, value) in (0..).zip(&it.value) {
        found.push((Kind::EnumValue, format!("{name}.{}", value.name()), [path, &[2, at]].concat()));
    }
}
