//! Everything that travels comes back as it was, and what does not say what the contract promises is told by field.

use std::collections::BTreeMap;

use jiff::Timestamp;

mod admin;
mod events;
mod operations;
mod requests;
mod samples;

/// Makes a good message bad.
type Spoil<T> = fn(&mut T);

fn at(second: i64) -> Timestamp {
    Timestamp::new(1_760_000_000 + second, 123_456_000).expect("in range")
}

fn map(key: &str, value: &str) -> BTreeMap<String, String> {
    BTreeMap::from([(key.to_owned(), value.to_owned())])
}

fn text(text: &str) -> String {
    text.to_owned()
}
