//! Messages as they are made for the one session, and for those who share it.

use super::super::frame::{Message, report};

/// The end of a segment.
pub(super) fn sync() -> Vec<u8> {
    Message::new(b'S', Vec::new()).encode()
}

/// Texts that end with a zero, and what comes behind them.
fn texts(kind: u8, texts: &[&[u8]], rest: &[u8]) -> Vec<u8> {
    let mut body = Vec::with_capacity(64 + rest.len());
    for text in texts {
        body.extend_from_slice(text);
        body.push(0);
    }
    body.extend_from_slice(rest);
    Message::new(kind, body).encode()
}

pub(super) fn query(sql: &[u8]) -> Vec<u8> {
    texts(b'Q', &[sql], &[])
}

/// `types`: how many, and which, as they came.
pub(super) fn parse(name: &[u8], sql: &[u8], types: &[u8]) -> Vec<u8> {
    texts(b'P', &[name, sql], types)
}

/// `rest`: formats and values, as they came.
pub(super) fn bind(portal: &[u8], statement: &[u8], rest: &[u8]) -> Vec<u8> {
    texts(b'B', &[portal, statement], rest)
}

/// `rows`: how many at most, as it came.
pub(super) fn execute(portal: &[u8], rows: &[u8]) -> Vec<u8> {
    texts(b'E', &[portal], rows)
}

/// A description or a close, of a statement (`S`) or a portal (`P`).
pub(super) fn of_kind(message: u8, kind: u8, name: &[u8]) -> Vec<u8> {
    let mut text = vec![kind];
    text.extend_from_slice(name);
    texts(message, &[&text], &[])
}

/// One statement with its end, by the protocol that takes no second one. A stream keeps its portal open.
pub(super) fn alone(sql: &[u8], streams: bool) -> Vec<u8> {
    let mut all = parse(b"", sql, &[0, 0]);
    all.extend(bind(b"", b"", &[0; 6]));
    all.extend(of_kind(b'D', b'P', b""));
    all.extend(execute(b"", &[0; 4]));
    if !streams {
        all.extend(of_kind(b'C', b'P', b""));
    }
    all.extend(sync());
    all
}

/// A command is done.
pub(super) fn complete(tag: &str) -> Message {
    Message::new(b'C', [tag.as_bytes(), &[0]].concat())
}

pub(super) fn bare(kind: u8) -> Message {
    Message::new(kind, Vec::new())
}

pub(super) fn ready(status: u8) -> Message {
    Message::new(b'Z', vec![status])
}

pub(super) fn error(sqlstate: &str, text: &str, hint: &str) -> Message {
    report((b'E', "ERROR"), sqlstate, text, hint)
}

pub(super) fn notice(severity: &str, sqlstate: &str, text: &str) -> Message {
    report((b'N', severity), sqlstate, text, "")
}

/// An error or notice about a piece of a text, as one about the whole: positions count from its beginning.
pub(super) fn moved(message: Message, characters: usize) -> Message {
    if characters == 0 {
        return message;
    }
    let mut body = Vec::with_capacity(message.body.len() + 8);
    for field in message.body.split(|byte| *byte == 0).filter(|field| !field.is_empty()) {
        let position = (field[0] == b'P')
            .then(|| std::str::from_utf8(&field[1..]).ok()?.parse::<usize>().ok())
            .flatten();
        match position {
            Some(at) => body.extend(format!("P{}", at + characters).bytes()),
            None => body.extend_from_slice(field),
        }
        body.push(0);
    }
    body.push(0);
    Message::new(message.kind, body)
}

/// The rows of one text column or more that a query of the gateway's own gives.
pub(super) fn row(body: &[u8]) -> Option<Vec<Option<String>>> {
    let (count, mut rest) = body.split_first_chunk::<2>()?;
    let mut values = Vec::new();
    for _ in 0..u16::from_be_bytes(*count) {
        let (length, after) = rest.split_first_chunk::<4>()?;
        match usize::try_from(i32::from_be_bytes(*length)) {
            Err(_) => (values.push(None), rest = after).0,
            Ok(length) => {
                let (value, after) = after.split_at_checked(length)?;
                values.push(Some(String::from_utf8_lossy(value).into_owned()));
                rest = after;
            }
        }
    }
    Some(values)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_counts_from_the_beginning_of_the_text() {
        let body = b"SERROR\0C42601\0P7\0Mx\0\0".to_vec();
        let it = moved(Message::new(b'E', body.clone()), 10);
        assert_eq!(it.body, b"SERROR\0C42601\0P17\0Mx\0\0");
        assert_eq!(moved(Message::new(b'E', body.clone()), 0).body, body);
    }

    #[test]
    fn a_row_is_read_and_nonsense_is_none() {
        let body = [&[0, 2, 0, 0, 0, 1, b'a'][..], &[255; 4]].concat();
        assert_eq!(row(&body), Some(vec![Some("a".to_owned()), None]));
        assert_eq!(row(&[0, 1, 0, 0, 0, 9]), None);
        assert_eq!(row(&[]), None);
    }
}
