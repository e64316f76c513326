//! One bad descriptor for each rule: a rule that cannot fail proves nothing.

use prost_types::{
    DescriptorProto, EnumDescriptorProto, EnumOptions, EnumValueDescriptorProto, FieldDescriptorProto,
    FileDescriptorProto, FileOptions, MethodDescriptorProto, OneofDescriptorProto, ServiceDescriptorProto,
    SourceCodeInfo,
    field_descriptor_proto::{Label, Type},
    source_code_info::Location,
};

use crate::every_rule;

type Break = fn(&mut Vec<FileDescriptorProto>);

/// A small file that keeps every rule.
pub(crate) fn healthy() -> FileDescriptorProto {
    FileDescriptorProto {
        name: some("sample/v1/sample_service.proto"),
        package: some("sample.v1"),
        syntax: some("proto3"),
        dependency: vec!["google/protobuf/timestamp.proto".to_owned()],
        message_type: vec![
            request(),
            message("RunResponse", vec![field("event", 1, ".sample.v1.OperationEvent")]),
            event(),
        ],
        enum_type: vec![kind()],
        service: vec![service("OperationService")],
        source_code_info: Some(SourceCodeInfo { location: comments() }),
        ..FileDescriptorProto::default()
    }
}

fn some(text: &str) -> Option<String> {
    Some(text.to_owned())
}

fn message(name: &str, field: Vec<FieldDescriptorProto>) -> DescriptorProto {
    DescriptorProto { name: some(name), field, ..DescriptorProto::default() }
}

fn field(name: &str, number: i32, type_name: &str) -> FieldDescriptorProto {
    let mut field =
        FieldDescriptorProto { name: some(name), number: Some(number), ..FieldDescriptorProto::default() };
    field.set_label(Label::Optional);
    field.set_type(if type_name.is_empty() { Type::String } else { Type::Message });
    field.type_name = (!type_name.is_empty()).then(|| type_name.to_owned());
    field
}

fn request() -> DescriptorProto {
    let mut request = message("RunRequest", vec![field("request_id", 1, ""), field("label", 2, "")]);
    request.field[1].oneof_index = Some(0);
    request.oneof_decl = vec![OneofDescriptorProto { name: some("choice"), options: None }];
    request
}

fn event() -> DescriptorProto {
    message("OperationEvent", vec![field("at", 1, ".google.protobuf.Timestamp")])
}

fn kind() -> EnumDescriptorProto {
    let value = |name: &str, number| EnumValueDescriptorProto {
        name: some(name),
        number: Some(number),
        options: None,
    };
    EnumDescriptorProto {
        name: some("Kind"),
        value: vec![value("KIND_UNSPECIFIED", 0), value("KIND_ONE", 1)],
        ..EnumDescriptorProto::default()
    }
}

fn service(name: &str) -> ServiceDescriptorProto {
    let method = MethodDescriptorProto {
        name: some("Run"),
        input_type: some(".sample.v1.RunRequest"),
        output_type: some(".sample.v1.RunResponse"),
        server_streaming: Some(true),
        ..MethodDescriptorProto::default()
    };
    ServiceDescriptorProto { name: some(name), method: vec![method], options: None }
}

/// A comment at every element, by its path in the file.
fn comments() -> Vec<Location> {
    let paths: [&[i32]; 13] = [
        &[4, 0],
        &[4, 0, 2, 0],
        &[4, 0, 2, 1],
        &[4, 0, 8, 0],
        &[4, 1],
        &[4, 1, 2, 0],
        &[4, 2],
        &[4, 2, 2, 0],
        &[5, 0],
        &[5, 0, 2, 0],
        &[5, 0, 2, 1],
        &[6, 0],
        &[6, 0, 2, 0],
    ];
    let commented = |path: &&[i32]| Location {
        path: path.to_vec(),
        leading_comments: some(" Says it.\n"),
        ..Location::default()
    };
    paths.iter().map(commented).collect()
}

/// A second file of the same package without anything in it.
fn empty(name: &str, package: &str) -> FileDescriptorProto {
    FileDescriptorProto {
        name: some(name),
        package: some(package),
        syntax: some("proto3"),
        ..Default::default()
    }
}

fn with_option(files: &mut Vec<FileDescriptorProto>, options: FileOptions) {
    files.push(FileDescriptorProto { options: Some(options), ..empty("sample/v1/other.proto", "sample.v1") });
}

fn uncomment(files: &mut [FileDescriptorProto], path: &[i32]) {
    files[0].source_code_info.iter_mut().for_each(|info| info.location.retain(|place| place.path != path));
}

const BAD: &[(&str, Break)] = &[
    ("DIRECTORY_SAME_PACKAGE", |f| f.push(empty("sample/v1/other.proto", "other.v1"))),
    ("PACKAGE_DEFINED", |f| f[0].package = None),
    ("PACKAGE_DIRECTORY_MATCH", |f| f[0].name = some("elsewhere/sample_service.proto")),
    ("PACKAGE_LOWER_SNAKE_CASE", |f| f[0].package = some("sampleService.v1")),
    ("PACKAGE_NO_IMPORT_CYCLE", |f| {
        f[0].dependency.push("other/v1/other.proto".to_owned());
        let dependency = vec!["sample/v1/sample_service.proto".to_owned()];
        f.push(FileDescriptorProto { dependency, ..empty("other/v1/other.proto", "other.v1") });
    }),
    ("PACKAGE_SAME_CSHARP_NAMESPACE", |f| {
        with_option(f, FileOptions { csharp_namespace: some("X"), ..FileOptions::default() })
    }),
    ("PACKAGE_SAME_DIRECTORY", |f| f.push(empty("sample/v2/other.proto", "sample.v1"))),
    ("PACKAGE_SAME_GO_PACKAGE", |f| {
        with_option(f, FileOptions { go_package: some("x"), ..FileOptions::default() })
    }),
    ("PACKAGE_SAME_JAVA_MULTIPLE_FILES", |f| {
        with_option(f, FileOptions { java_multiple_files: Some(true), ..FileOptions::default() })
    }),
    ("PACKAGE_SAME_JAVA_PACKAGE", |f| {
        with_option(f, FileOptions { java_package: some("x"), ..FileOptions::default() })
    }),
    ("PACKAGE_SAME_PHP_NAMESPACE", |f| {
        with_option(f, FileOptions { php_namespace: some("X"), ..FileOptions::default() })
    }),
    ("PACKAGE_SAME_RUBY_PACKAGE", |f| {
        with_option(f, FileOptions { ruby_package: some("X"), ..FileOptions::default() })
    }),
    ("PACKAGE_SAME_SWIFT_PREFIX", |f| {
        with_option(f, FileOptions { swift_prefix: some("X"), ..FileOptions::default() })
    }),
    ("PACKAGE_VERSION_SUFFIX", |f| f[0].package = some("sample")),
    ("FILE_LOWER_SNAKE_CASE", |f| f[0].name = some("sample/v1/SampleService.proto")),
    ("SYNTAX_SPECIFIED", |f| f[0].syntax = None),
    ("IMPORT_NO_PUBLIC", |f| f[0].public_dependency = vec![0]),
    ("IMPORT_NO_WEAK", |f| f[0].weak_dependency = vec![0]),
    ("IMPORT_USED", |f| f[0].dependency.push("google/protobuf/duration.proto".to_owned())),
    ("ENUM_FIRST_VALUE_ZERO", |f| f[0].enum_type[0].value.reverse()),
    ("ENUM_NO_ALLOW_ALIAS", |f| {
        f[0].enum_type[0].options = Some(EnumOptions { allow_alias: Some(true), ..EnumOptions::default() })
    }),
    ("ENUM_PASCAL_CASE", |f| f[0].enum_type[0].name = some("kind")),
    ("ENUM_VALUE_PREFIX", |f| f[0].enum_type[0].value[1].name = some("ONE")),
    ("ENUM_VALUE_UPPER_SNAKE_CASE", |f| f[0].enum_type[0].value[1].name = some("KIND_one")),
    ("ENUM_ZERO_VALUE_SUFFIX", |f| f[0].enum_type[0].value[0].name = some("KIND_NONE")),
    ("FIELD_LOWER_SNAKE_CASE", |f| f[0].message_type[0].field[0].name = some("requestId")),
    ("FIELD_NOT_REQUIRED", |f| f[0].message_type[0].field[0].set_label(Label::Required)),
    ("MESSAGE_PASCAL_CASE", |f| f[0].message_type[2].name = some("operation_event")),
    ("ONEOF_LOWER_SNAKE_CASE", |f| f[0].message_type[0].oneof_decl[0].name = some("Choice")),
    ("RPC_PASCAL_CASE", |f| f[0].service[0].method[0].name = some("run")),
    ("RPC_REQUEST_RESPONSE_UNIQUE", |f| {
        let method = f[0].service[0].method[0].clone();
        f[0].service[0].method.push(method);
    }),
    ("RPC_REQUEST_STANDARD_NAME", |f| f[0].service[0].method[0].input_type = some(".sample.v1.Kind")),
    ("RPC_RESPONSE_STANDARD_NAME", |f| f[0].service[0].method[0].output_type = some(".sample.v1.Kind")),
    ("SERVICE_PASCAL_CASE", |f| f[0].service[0].name = some("operation_Service")),
    ("SERVICE_SUFFIX", |f| f[0].service[0].name = some("Operations")),
    ("COMMENT_ENUM", |f| uncomment(f, &[5, 0])),
    ("COMMENT_ENUM_VALUE", |f| uncomment(f, &[5, 0, 2, 1])),
    ("COMMENT_FIELD", |f| uncomment(f, &[4, 0, 2, 1])),
    ("COMMENT_MESSAGE", |f| uncomment(f, &[4, 1])),
    ("COMMENT_ONEOF", |f| uncomment(f, &[4, 0, 8, 0])),
    ("COMMENT_RPC", |f| uncomment(f, &[6, 0, 2, 0])),
    ("COMMENT_SERVICE", |f| uncomment(f, &[6, 0])),
    ("ONE_SERVICE_PER_FILE", |f| f[0].service.push(service("OtherService"))),
    ("EVENT_STREAM_SHAPE", |f| f[0].message_type[1].field[0].number = Some(2)),
    ("EVENT_STREAM_SHAPE", |f| f[0].message_type[1].field[0].name = some("fact")),
    ("EVENT_STREAM_SHAPE", |f| f[0].service[0].method[0].server_streaming = None),
];

#[test]
fn the_healthy_file_keeps_every_rule() {
    for (name, rule) in every_rule() {
        assert_eq!(rule(&[healthy()]), Vec::<String>::new(), "{name}");
    }
}

#[test]
fn each_rule_finds_its_bad_descriptor() {
    for (name, rule) in every_rule() {
        let examples: Vec<&Break> =
            BAD.iter().filter(|(n, _)| *n == name).map(|(_, change)| change).collect();
        assert!(!examples.is_empty(), "{name} has no bad descriptor");
        for change in examples {
            let mut files = vec![healthy()];
            change(&mut files);
            assert!(!rule(&files).is_empty(), "{name} does not find its bad descriptor");
        }
    }
}
