//! The rules of buf's STANDARD category, by their names there; `PROTOVALIDATE` is left out, since nothing imports it.

use std::collections::{BTreeMap, BTreeSet};

use prost_types::{
    FieldDescriptorProto, FileDescriptorProto, FileOptions, MethodDescriptorProto,
    field_descriptor_proto::Label,
};

use crate::{
    Rule,
    names::{enums, fields, is_lower_snake, is_pascal, is_upper_snake, messages, upper_snake},
};

/// Name in buf's documentation, and the check.
pub(crate) const STANDARD: &[(&str, Rule)] = &[
    ("DIRECTORY_SAME_PACKAGE", directory_same_package),
    ("PACKAGE_DEFINED", package_defined),
    ("PACKAGE_DIRECTORY_MATCH", package_directory_match),
    ("PACKAGE_LOWER_SNAKE_CASE", package_lower_snake_case),
    ("PACKAGE_NO_IMPORT_CYCLE", package_no_import_cycle),
    ("PACKAGE_SAME_CSHARP_NAMESPACE", |files| same(files, |o| o.csharp_namespace.clone())),
    ("PACKAGE_SAME_DIRECTORY", package_same_directory),
    ("PACKAGE_SAME_GO_PACKAGE", |files| same(files, |o| o.go_package.clone())),
    ("PACKAGE_SAME_JAVA_MULTIPLE_FILES", |files| {
        same(files, |o| o.java_multiple_files.map(|b| b.to_string()))
    }),
    ("PACKAGE_SAME_JAVA_PACKAGE", |files| same(files, |o| o.java_package.clone())),
    ("PACKAGE_SAME_PHP_NAMESPACE", |files| same(files, |o| o.php_namespace.clone())),
    ("PACKAGE_SAME_RUBY_PACKAGE", |files| same(files, |o| o.ruby_package.clone())),
    ("PACKAGE_SAME_SWIFT_PREFIX", |files| same(files, |o| o.swift_prefix.clone())),
    ("PACKAGE_VERSION_SUFFIX", package_version_suffix),
    ("FILE_LOWER_SNAKE_CASE", file_lower_snake_case),
    ("SYNTAX_SPECIFIED", syntax_specified),
    ("IMPORT_NO_PUBLIC", import_no_public),
    ("IMPORT_NO_WEAK", import_no_weak),
    ("IMPORT_USED", import_used),
    ("ENUM_FIRST_VALUE_ZERO", enum_first_value_zero),
    ("ENUM_NO_ALLOW_ALIAS", enum_no_allow_alias),
    ("ENUM_PASCAL_CASE", enum_pascal_case),
    ("ENUM_VALUE_PREFIX", enum_value_prefix),
    ("ENUM_VALUE_UPPER_SNAKE_CASE", enum_value_upper_snake_case),
    ("ENUM_ZERO_VALUE_SUFFIX", enum_zero_value_suffix),
    ("FIELD_LOWER_SNAKE_CASE", field_lower_snake_case),
    ("FIELD_NOT_REQUIRED", field_not_required),
    ("MESSAGE_PASCAL_CASE", message_pascal_case),
    ("ONEOF_LOWER_SNAKE_CASE", oneof_lower_snake_case),
    ("RPC_PASCAL_CASE", rpc_pascal_case),
    ("RPC_REQUEST_RESPONSE_UNIQUE", rpc_request_response_unique),
    ("RPC_REQUEST_STANDARD_NAME", |files| standard_name(files, "Request", MethodDescriptorProto::input_type)),
    ("RPC_RESPONSE_STANDARD_NAME", |files| {
        standard_name(files, "Response", MethodDescriptorProto::output_type)
    }),
    ("SERVICE_PASCAL_CASE", service_pascal_case),
    ("SERVICE_SUFFIX", service_suffix),
];

/// The names that `fits` turns down.
fn misfits<'a>(names: impl IntoIterator<Item = &'a str>, fits: impl Fn(&str) -> bool) -> Vec<String> {
    names.into_iter().filter(|name| !fits(name)).map(str::to_owned).collect()
}

fn last(full: &str) -> &str {
    full.rsplit('.').next().unwrap_or(full)
}

fn directory(file: &FileDescriptorProto) -> &str {
    file.name().rsplit_once('/').map_or("", |(directory, _)| directory)
}

/// The keys that come with more than one value.
fn torn<'a>(pairs: impl IntoIterator<Item = (&'a str, String)>) -> Vec<String> {
    let mut all: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    for (key, value) in pairs {
        all.entry(key).or_default().insert(value);
    }
    all.into_iter()
        .filter(|(_, values)| values.len() > 1)
        .map(|(key, values)| format!("{key}: {values:?}"))
        .collect()
}

fn same(files: &[FileDescriptorProto], option: fn(&FileOptions) -> Option<String>) -> Vec<String> {
    torn(files.iter().map(|f| (f.package(), f.options.as_ref().and_then(option).unwrap_or_default())))
}

fn directory_same_package(files: &[FileDescriptorProto]) -> Vec<String> {
    torn(files.iter().map(|f| (directory(f), f.package().to_owned())))
}

fn package_same_directory(files: &[FileDescriptorProto]) -> Vec<String> {
    torn(files.iter().map(|f| (f.package(), directory(f).to_owned())))
}

fn package_defined(files: &[FileDescriptorProto]) -> Vec<String> {
    files.iter().filter(|f| f.package().is_empty()).map(|f| f.name().to_owned()).collect()
}

fn package_directory_match(files: &[FileDescriptorProto]) -> Vec<String> {
    let wrong = files.iter().filter(|f| f.package().replace('.', "/") != directory(f));
    wrong.map(|f| format!("{} is package {}", f.name(), f.package())).collect()
}

fn package_lower_snake_case(files: &[FileDescriptorProto]) -> Vec<String> {
    misfits(files.iter().map(FileDescriptorProto::package), |package| package.split('.').all(is_lower_snake))
}

fn package_version_suffix(files: &[FileDescriptorProto]) -> Vec<String> {
    misfits(files.iter().map(FileDescriptorProto::package), |package| {
        let version = package.rsplit_once('.').and_then(|(_, last)| last.strip_prefix('v'));
        version.is_some_and(|v| {
            v.starts_with(|c: char| ('1'..='9').contains(&c)) && v.bytes().all(|b| b.is_ascii_digit())
        })
    })
}

/// A package that reaches itself again through the packages its files import.
fn package_no_import_cycle(files: &[FileDescriptorProto]) -> Vec<String> {
    let package_of: BTreeMap<&str, &str> = files.iter().map(|f| (f.name(), f.package())).collect();
    let mut reached: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for file in files {
        let others = file.dependency.iter().filter_map(|import| package_of.get(import.as_str()).copied());
        reached.entry(file.package()).or_default().extend(others.filter(|other| *other != file.package()));
    }
    for _ in 0..reached.len() {
        let before = reached.clone();
        for packages in reached.values_mut() {
            let further: Vec<&str> =
                packages.iter().filter_map(|p| before.get(p)).flatten().copied().collect();
            packages.extend(further);
        }
    }
    reached
        .iter()
        .filter(|(package, all)| all.contains(*package))
        .map(|(package, _)| (*package).to_owned())
        .collect()
}

fn file_lower_snake_case(files: &[FileDescriptorProto]) -> Vec<String> {
    misfits(files.iter().map(FileDescriptorProto::name), |name| {
        let file = name.rsplit('/').next().unwrap_or(name);
        file.strip_suffix(".proto").is_some_and(is_lower_snake)
    })
}

fn syntax_specified(files: &[FileDescriptorProto]) -> Vec<String> {
    files.iter().filter(|f| f.syntax() != "proto3").map(|f| f.name().to_owned()).collect()
}

fn import_no_public(files: &[FileDescriptorProto]) -> Vec<String> {
    files.iter().filter(|f| !f.public_dependency.is_empty()).map(|f| f.name().to_owned()).collect()
}

fn import_no_weak(files: &[FileDescriptorProto]) -> Vec<String> {
    files.iter().filter(|f| !f.weak_dependency.is_empty()).map(|f| f.name().to_owned()).collect()
}

/// Files outside the contract are known by their names only: `google/protobuf/duration.proto` has `Duration`.
fn import_used(files: &[FileDescriptorProto]) -> Vec<String> {
    let mut unused = Vec::new();
    for file in files {
        let used = used_types(file);
        for import in &file.dependency {
            let defines: BTreeSet<String> = match files.iter().find(|f| f.name() == import) {
                Some(imported) => defined_types(imported),
                None => BTreeSet::from([well_known(import)]),
            };
            if defines.is_disjoint(&used) {
                unused.push(format!("{} imports {import}", file.name()));
            }
        }
    }
    unused
}

fn well_known(import: &str) -> String {
    let (directory, file) = import.trim_end_matches(".proto").rsplit_once('/').unwrap_or(("", import));
    let mut name = file.to_owned();
    name.get_mut(..1).into_iter().for_each(str::make_ascii_uppercase);
    format!("{}.{name}", directory.replace('/', "."))
}

fn used_types(file: &FileDescriptorProto) -> BTreeSet<String> {
    let one = std::slice::from_ref(file);
    let of_fields = fields(one).into_iter().map(|(_, field)| field.type_name());
    let of_methods =
        file.service.iter().flat_map(|s| &s.method).flat_map(|m| [m.input_type(), m.output_type()]);
    of_fields.chain(of_methods).map(|name| name.trim_start_matches('.').to_owned()).collect()
}

fn defined_types(file: &FileDescriptorProto) -> BTreeSet<String> {
    let one = std::slice::from_ref(file);
    let of_messages = messages(one).into_iter().map(|(name, _)| name);
    of_messages.chain(enums(one).into_iter().map(|(name, _)| name)).collect()
}

fn enum_first_value_zero(files: &[FileDescriptorProto]) -> Vec<String> {
    let first_is_zero =
        |values: &[prost_types::EnumValueDescriptorProto]| values.first().is_some_and(|v| v.number() == 0);
    enums(files).into_iter().filter(|(_, it)| !first_is_zero(&it.value)).map(|(name, _)| name).collect()
}

fn enum_no_allow_alias(files: &[FileDescriptorProto]) -> Vec<String> {
    let aliased =
        |it: &prost_types::EnumDescriptorProto| it.options.as_ref().is_some_and(|o| o.allow_alias());
    enums(files).into_iter().filter(|(_, it)| aliased(it)).map(|(name, _)| name).collect()
}

fn enum_pascal_case(files: &[FileDescriptorProto]) -> Vec<String> {
    enums(files).into_iter().filter(|(_, it)| !is_pascal(it.name())).map(|(name, _)| name).collect()
}

/// Every value of every enum as (enum's own name, value's name, number).
fn values(files: &[FileDescriptorProto]) -> Vec<(String, String, i32)> {
    let of = |it: &prost_types::EnumDescriptorProto| {
        let value = |v: &prost_types::EnumValueDescriptorProto| {
            (it.name().to_owned(), v.name().to_owned(), v.number())
        };
        it.value.iter().map(value).collect::<Vec<_>>()
    };
    enums(files).into_iter().flat_map(|(_, it)| of(it)).collect()
}

fn enum_value_prefix(files: &[FileDescriptorProto]) -> Vec<String> {
    let wrong = |owner: &str, value: &str| !value.starts_with(&format!("{}_", upper_snake(owner)));
    values(files)
        .into_iter()
        .filter(|(owner, value, _)| wrong(owner, value))
        .map(|(_, value, _)| value)
        .collect()
}

fn enum_value_upper_snake_case(files: &[FileDescriptorProto]) -> Vec<String> {
    values(files).into_iter().map(|(_, value, _)| value).filter(|value| !is_upper_snake(value)).collect()
}

fn enum_zero_value_suffix(files: &[FileDescriptorProto]) -> Vec<String> {
    let zeros = values(files).into_iter().filter(|(_, _, number)| *number == 0);
    zeros.map(|(_, value, _)| value).filter(|value| !value.ends_with("_UNSPECIFIED")).collect()
}

fn field_lower_snake_case(files: &[FileDescriptorProto]) -> Vec<String> {
    fields(files)
        .into_iter()
        .filter(|(_, field)| !is_lower_snake(field.name()))
        .map(|(name, _)| name)
        .collect()
}

fn field_not_required(files: &[FileDescriptorProto]) -> Vec<String> {
    fields(files)
        .into_iter()
        .filter(|(_, field)| field.label() == Label::Required)
        .map(|(name, _)| name)
        .collect()
}

fn message_pascal_case(files: &[FileDescriptorProto]) -> Vec<String> {
    messages(files).into_iter().filter(|(_, it)| !is_pascal(it.name())).map(|(name, _)| name).collect()
}

fn oneof_lower_snake_case(files: &[FileDescriptorProto]) -> Vec<String> {
    let all = messages(files);
    // An `optional` field is a oneof of its own, which the compiler names.
    let written = all.iter().flat_map(|(_, it)| {
        let by_compiler = |at: usize| {
            let within = |field: &&FieldDescriptorProto| {
                field.oneof_index.and_then(|n| usize::try_from(n).ok()) == Some(at)
            };
            it.field.iter().filter(within).any(|field| field.proto3_optional())
        };
        it.oneof_decl
            .iter()
            .enumerate()
            .filter(move |(at, _)| !by_compiler(*at))
            .map(|(_, oneof)| oneof.name())
    });
    misfits(written, is_lower_snake)
}

/// Every method as (service's own name, method).
fn methods(files: &[FileDescriptorProto]) -> impl Iterator<Item = (&str, &MethodDescriptorProto)> {
    let services = files.iter().flat_map(|f| &f.service);
    services.flat_map(|service| service.method.iter().map(move |method| (service.name(), method)))
}

fn rpc_pascal_case(files: &[FileDescriptorProto]) -> Vec<String> {
    misfits(methods(files).map(|(_, method)| method.name()), is_pascal)
}

fn rpc_request_response_unique(files: &[FileDescriptorProto]) -> Vec<String> {
    let mut seen = BTreeSet::new();
    let types = methods(files).flat_map(|(_, method)| [method.input_type(), method.output_type()]);
    types.filter(|name| !seen.insert(*name)).map(str::to_owned).collect()
}

fn standard_name(
    files: &[FileDescriptorProto],
    suffix: &str,
    named: fn(&MethodDescriptorProto) -> &str,
) -> Vec<String> {
    let fits = |service: &str, method: &MethodDescriptorProto| {
        let short = format!("{}{suffix}", method.name());
        let long = format!("{service}{short}");
        [short.as_str(), long.as_str()].contains(&last(named(method)))
    };
    methods(files)
        .filter(|(service, method)| !fits(service, method))
        .map(|(service, method)| format!("{service}/{}: {}", method.name(), named(method)))
        .collect()
}

fn service_pascal_case(files: &[FileDescriptorProto]) -> Vec<String> {
    misfits(files.iter().flat_map(|f| &f.service).map(|service| service.name()), is_pascal)
}

fn service_suffix(files: &[FileDescriptorProto]) -> Vec<String> {
    misfits(files.iter().flat_map(|f| &f.service).map(|service| service.name()), |name| {
        name.ends_with("Service")
    })
}
