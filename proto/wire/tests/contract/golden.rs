//! Breaking changes: every element that was ever promised is a line of `contract.golden.txt` and must still be there as
//! it was. New elements are added by `RESETD_UPDATE_GOLDEN=1`, which never takes a line away: who wants to break the
//! contract edits that file by hand, and says why in the commit.

use std::{collections::BTreeSet, fs, path::PathBuf};

use prost_types::{
    DescriptorProto, FieldDescriptorProto, FileDescriptorProto,
    field_descriptor_proto::{Label, Type},
};

use crate::names::{enums, messages};

const UPDATE: &str = "RESETD_UPDATE_GOLDEN=1 cargo test -p resetd-wire --test contract golden";

fn path() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../resetd/v1/contract.golden.txt")
}

/// Every element as one line.
fn lines(files: &[FileDescriptorProto]) -> BTreeSet<String> {
    let mut all = BTreeSet::new();
    for (name, message) in messages(files) {
        all.insert(format!("message {name}"));
        all.extend(message.field.iter().map(|field| field_line(&name, message, field)));
    }
    for (name, it) in enums(files) {
        all.extend(it.value.iter().map(|value| format!("value {name}.{} {}", value.name(), value.number())));
    }
    for file in files {
        for service in &file.service {
            let name = format!("{}.{}", file.package(), service.name());
            all.extend(service.method.iter().map(|method| {
                let stream = |yes: bool| if yes { "stream " } else { "" };
                format!(
                    "method {name}.{} ({}{}) returns ({}{})",
                    method.name(),
                    stream(method.client_streaming()),
                    method.input_type().trim_start_matches('.'),
                    stream(method.server_streaming()),
                    method.output_type().trim_start_matches('.'),
                )
            }));
        }
    }
    all
}

fn field_line(owner: &str, message: &DescriptorProto, field: &FieldDescriptorProto) -> String {
    let kind = match field.r#type() {
        Type::Message | Type::Enum => field.type_name().trim_start_matches('.').to_owned(),
        scalar => scalar.as_str_name().trim_start_matches("TYPE_").to_lowercase(),
    };
    let label = match field.label() {
        Label::Repeated => "repeated",
        Label::Required => "required",
        Label::Optional if field.proto3_optional() => "explicit",
        Label::Optional => "single",
    };
    let oneof = field.oneof_index.and_then(|at| message.oneof_decl.get(usize::try_from(at).ok()?));
    let oneof =
        oneof.filter(|_| !field.proto3_optional()).map(|it| format!(" in {}", it.name())).unwrap_or_default();
    format!("field {owner}.{} {} {kind} {label}{oneof}", field.name(), field.number())
}

/// What was promised and is gone, and what is there and not yet promised.
fn compare(promised: &BTreeSet<String>, now: &BTreeSet<String>) -> (Vec<String>, Vec<String>) {
    (promised.difference(now).cloned().collect(), now.difference(promised).cloned().collect())
}

#[expect(
    clippy::disallowed_methods,
    reason = "a person asks a test for a new golden file through the environment"
)]
fn update_wanted() -> bool {
    std::env::var_os("RESETD_UPDATE_GOLDEN").is_some()
}

#[test]
fn nothing_promised_is_gone_and_everything_new_is_promised() {
    let text = fs::read_to_string(path()).unwrap_or_default();
    let promised: BTreeSet<String> = text.lines().map(str::to_owned).collect();
    let now = lines(&crate::contract());
    let (gone, new) = compare(&promised, &now);
    assert!(gone.is_empty(), "the contract breaks old clients; gone or changed:\n{}", gone.join("\n"));
    if update_wanted() {
        let text: String = now.iter().map(|line| format!("{line}\n")).collect();
        fs::write(path(), text).unwrap();
    } else {
        assert!(new.is_empty(), "not yet in contract.golden.txt; run {UPDATE}\n{}", new.join("\n"));
        assert!(text.lines().is_sorted(), "contract.golden.txt is not sorted; run {UPDATE}");
    }
}

#[test]
fn each_kind_of_breaking_change_is_seen() {
    type Break = fn(&mut FileDescriptorProto);
    let changes: [Break; 9] = [
        |f| f.message_type[0].name = Some("Other".to_owned()),
        |f| f.message_type[0].field[0].name = Some("other".to_owned()),
        |f| f.message_type[0].field[0].number = Some(99),
        |f| f.message_type[0].field[0].set_type(Type::Bytes),
        |f| f.message_type[0].field[0].set_label(Label::Repeated),
        |f| f.message_type[0].field[0].oneof_index = Some(0),
        |f| f.enum_type[0].value[0].number = Some(99),
        |f| f.service[0].method[0].output_type = Some(".sample.v1.Kind".to_owned()),
        |f| f.service[0].method[0].server_streaming = None,
    ];
    let before = lines(&[crate::bad::healthy()]);
    for (at, change) in changes.into_iter().enumerate() {
        let mut file = crate::bad::healthy();
        change(&mut file);
        assert!(!compare(&before, &lines(&[file])).0.is_empty(), "change {at} went unseen");
    }
}
