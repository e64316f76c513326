//! Spellings, and one walk over everything in a file.

use prost_types::{DescriptorProto, EnumDescriptorProto, FieldDescriptorProto, FileDescriptorProto};

/// A message and its full name, `package.Outer.Inner`.
pub(crate) type Named<'a, T> = (String, &'a T);

/// `lower_snake_case`, with digits allowed after the first letter of a word.
pub(crate) fn is_lower_snake(name: &str) -> bool {
    let word = |w: &str| {
        w.starts_with(|c: char| c.is_ascii_lowercase())
            && w.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit())
    };
    name.split('_').all(word)
}

/// `UPPER_SNAKE_CASE`.
pub(crate) fn is_upper_snake(name: &str) -> bool {
    name == name.to_ascii_uppercase() && is_lower_snake(&name.to_ascii_lowercase())
}

/// `PascalCase`.
pub(crate) fn is_pascal(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_uppercase()) && name.chars().all(|c| c.is_ascii_alphanumeric())
}

/// `PascalCase` as `UPPER_SNAKE_CASE`.
pub(crate) fn upper_snake(pascal: &str) -> String {
    let mut text = String::new();
    for c in pascal.chars() {
        if c.is_ascii_uppercase() && !text.is_empty() {
            text.push('_');
        }
        text.push(c.to_ascii_uppercase());
    }
    text
}

/// Every message of the files, nested ones too, the hidden ones of maps included.
pub(crate) fn messages(files: &[FileDescriptorProto]) -> Vec<Named<'_, DescriptorProto>> {
    let mut found = Vec::new();
    for file in files {
        for message in &file.message_type {
            collect(file.package(), message, &mut found);
        }
    }
    found
}

fn collect<'a>(parent: &str, message: &'a DescriptorProto, found: &mut Vec<Named<'a, DescriptorProto>>) {
    let name = format!("{parent}.{}", message.name());
    found.push((name.clone(), message));
    for nested in &message.nested_type {
        collect(&name, nested, found);
    }
}

/// Every enum of the files, nested ones too.
pub(crate) fn enums(files: &[FileDescriptorProto]) -> Vec<Named<'_, EnumDescriptorProto>> {
    let mut found = Vec::new();
    for file in files {
        found.extend(file.enum_type.iter().map(|it| (format!("{}.{}", file.package(), it.name()), it)));
    }
    for (name, message) in messages(files) {
        found.extend(message.enum_type.iter().map(|it| (format!("{name}.{}", it.name()), it)));
    }
    found
}

/// Every field of every message, with its full name.
pub(crate) fn fields(files: &[FileDescriptorProto]) -> Vec<Named<'_, FieldDescriptorProto>> {
    let mut found = Vec::new();
    for (name, message) in messages(files) {
        found.extend(message.field.iter().map(|field| (format!("{name}.{}", field.name()), field)));
    }
    found
}

#[test]
fn spellings_are_told_apart() {
    for (name, lower, upper, pascal) in [
        ("request_id", true, false, false),
        ("report_sha256", true, false, false),
        ("requestId", false, false, false),
        ("_request", false, false, false),
        ("a__b", false, false, false),
        ("VERB_RUN", false, true, false),
        ("ListTokens", false, false, true),
        ("listTokens", false, false, false),
        ("List_Tokens", false, false, false),
    ] {
        assert_eq!(
            (is_lower_snake(name), is_upper_snake(name), is_pascal(name)),
            (lower, upper, pascal),
            "{name}"
        );
    }
    assert_eq!(upper_snake("OperationState"), "OPERATION_STATE");
}
