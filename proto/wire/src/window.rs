//! Windows, and what is asked about them.

use model::window::{Reservation, Start, Window};
use uuid::Uuid;

use crate::{
    operation::{decode_timestamp, timestamp},
    request::{DecodeError, duration, short},
    v1,
};

/// A window as the contract sends it.
#[must_use]
pub fn encode_window(it: &Window) -> v1::Window {
    v1::Window {
        id: it.id.to_string(),
        target: it.target.clone(),
        principal: it.principal.clone(),
        reason: it.reason.clone(),
        starts_at: Some(timestamp(it.starts_at)),
        ends_at: Some(timestamp(it.ends_at)),
        etag: it.etag.to_string(),
        released_at: it.released_at.map(timestamp),
    }
}

/// A window as the model knows it.
///
/// # Errors
/// A field that the contract promises is missing or malformed.
pub fn decode_window(it: v1::Window) -> Result<Window, DecodeError> {
    let at = |field, at| decode_timestamp(at).ok_or_else(|| DecodeError::missing(field));
    Ok(Window {
        id: parse_window_id(&it.id)?,
        starts_at: at("starts_at", it.starts_at)?,
        ends_at: at("ends_at", it.ends_at)?,
        etag: it.etag.parse().map_err(|_| DecodeError::malformed("etag", &it.etag))?,
        released_at: decode_timestamp(it.released_at),
        target: it.target,
        principal: it.principal,
        reason: it.reason,
    })
}

/// What is asked for.
///
/// # Errors
/// The first field that is missing or malformed.
pub fn decode_reservation(it: &v1::ReserveWindowRequest) -> Result<Reservation, DecodeError> {
    let start = match (it.starts_at, it.starts_in) {
        (None, None) => Start::Now,
        (Some(_), None) => Start::At(
            decode_timestamp(it.starts_at)
                .ok_or_else(|| DecodeError::wrong("starts_at", "is out of range"))?,
        ),
        (None, Some(ahead)) => Start::In(duration("starts_in", ahead)?),
        (Some(_), Some(_)) => return Err(DecodeError::wrong("starts_in", "excludes starts_at")),
    };
    let length = it.duration.ok_or_else(|| DecodeError::missing("duration"))?;
    Ok(Reservation { start, duration: duration("duration", length)?, reason: it.reason.clone() })
}

/// A window's id.
///
/// # Errors
/// It is not a UUID.
pub fn parse_window_id(text: &str) -> Result<Uuid, DecodeError> {
    text.parse()
        .map_err(|_| DecodeError::wrong("window", format!("`{}` is not a window's id (a UUID)", short(text))))
}

/// The id of a request that a client made.
///
/// # Errors
/// It is not a UUID.
pub fn parse_request_id(text: &str) -> Result<Uuid, DecodeError> {
    text.parse().map_err(|_| DecodeError::wrong("request_id", "must be a UUID made by the client"))
}
