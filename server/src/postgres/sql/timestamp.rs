//! Points in time travel as microseconds since 1970, exactly.

use jiff::Timestamp;

/// An SQL expression that gives a `timestamptz` as microseconds since 1970.
macro_rules! micros {
    ($expression:literal) => {
        concat!("(EXTRACT(EPOCH FROM ", $expression, ") * 1000000)::pg_catalog.int8")
    };
}
pub(crate) use micros;

/// The point in time of so many microseconds since 1970.
pub(crate) fn from_micros(micros: i64) -> Timestamp {
    Timestamp::from_microsecond(micros).unwrap_or(Timestamp::UNIX_EPOCH)
}
