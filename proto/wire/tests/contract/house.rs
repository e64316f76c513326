//! Rules of this house beside buf's.

use prost_types::{DescriptorProto, FileDescriptorProto};

use crate::{Rule, names::messages};

/// Name, and the check.
pub(crate) const HOUSE: &[(&str, Rule)] =
    &[("ONE_SERVICE_PER_FILE", one_service_per_file), ("EVENT_STREAM_SHAPE", event_stream_shape)];

/// The methods that stream an operation's events; every one of them answers with the same shape.
const EVENT_STREAMS: [&str; 6] = ["Reset", "Migrate", "Validate", "Run", "Undo", "WatchOperation"];

fn one_service_per_file(files: &[FileDescriptorProto]) -> Vec<String> {
    let wrong = files.iter().filter(|f| f.service.len() > 1);
    wrong.map(|f| format!("{} has {} services", f.name(), f.service.len())).collect()
}

fn event_stream_shape(files: &[FileDescriptorProto]) -> Vec<String> {
    let all = messages(files);
    let services = files.iter().flat_map(|f| &f.service).filter(|s| s.name() == "OperationService");
    let methods = services.flat_map(|s| &s.method).filter(|m| EVENT_STREAMS.contains(&m.name()));
    let fits =
        |name: &str| all.iter().find(|(full, _)| full == name).is_some_and(|(_, it)| wraps_an_event(it));
    methods
        .filter(|m| {
            !m.server_streaming() || m.client_streaming() || !fits(m.output_type().trim_start_matches('.'))
        })
        .map(|m| format!("{} must stream `OperationEvent event = 1` and nothing else", m.name()))
        .collect()
}

fn wraps_an_event(message: &DescriptorProto) -> bool {
    let [field] = message.field.as_slice() else { return false };
    let (name, number) = (field.name(), field.number());
    name == "event" && number == 1 && field.type_name().ends_with(".OperationEvent")
}

#[test]
fn all_six_event_streams_are_there() {
    let files = crate::contract();
    let services = files.iter().flat_map(|f| &f.service).filter(|s| s.name() == "OperationService");
    let methods: Vec<&str> = services.flat_map(|s| &s.method).map(|m| m.name()).collect();
    for name in EVENT_STREAMS {
        assert!(methods.contains(&name), "OperationService has no {name}");
    }
}
