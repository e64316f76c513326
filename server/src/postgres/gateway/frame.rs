//! Messages of PostgreSQL's protocol, as far as they are read or made here: whole ones while a session begins, and then only
//! their borders in a stream of bytes. Must not know what is in them.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt as _};

/// The largest message that is read whole.
const WHOLE: usize = 64 * 1024;
/// The largest startup packet, as PostgreSQL has it.
const STARTUP: usize = 10_000;

/// One message: its kind and its body.
#[derive(Debug, Eq, PartialEq)]
pub(super) struct Message {
    pub(super) kind: u8,
    pub(super) body: Vec<u8>,
}

impl Message {
    pub(super) fn new(kind: u8, body: Vec<u8>) -> Self {
        Self { kind, body }
    }

    /// Its bytes.
    pub(super) fn encode(&self) -> Vec<u8> {
        let length = u32::try_from(self.body.len() + 4).unwrap_or(u32::MAX);
        [&[self.kind], &length.to_be_bytes()[..], &self.body].concat()
    }
}

/// Reads a message whole.
pub(super) async fn read(from: &mut (impl AsyncRead + Unpin)) -> io::Result<Message> {
    read_up_to(from, WHOLE).await
}

/// Reads a message whole that may be as large as this.
pub(super) async fn read_up_to(from: &mut (impl AsyncRead + Unpin), most: usize) -> io::Result<Message> {
    let kind = from.read_u8().await?;
    Ok(Message { kind, body: body(from, most).await? })
}

/// Reads a packet of the startup: it has no kind.
pub(super) async fn read_startup(from: &mut (impl AsyncRead + Unpin)) -> io::Result<Vec<u8>> {
    body(from, STARTUP).await
}

async fn body(from: &mut (impl AsyncRead + Unpin), most: usize) -> io::Result<Vec<u8>> {
    let length = usize::try_from(from.read_u32().await?).unwrap_or(usize::MAX);
    let Some(length) = length.checked_sub(4).filter(|length| *length <= most) else {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "a message has a length that none has"));
    };
    let mut body = vec![0; length];
    from.read_exact(&mut body).await?;
    Ok(body)
}

/// The end of a session, as PostgreSQL would say it.
pub(super) fn fatal(sqlstate: &str, message: &str, hint: &str) -> Message {
    report((b'E', "FATAL"), sqlstate, message, hint)
}

/// What PostgreSQL would report: an error or a notice, with how severe it is.
pub(super) fn report((kind, severity): (u8, &str), sqlstate: &str, message: &str, hint: &str) -> Message {
    let mut body = Vec::new();
    let mut field = |kind: u8, text: &str| {
        if !text.is_empty() {
            body.push(kind);
            body.extend(text.bytes().filter(|b| *b != 0));
            body.push(0);
        }
    };
    field(b'S', severity);
    field(b'V', severity);
    field(b'C', sqlstate);
    field(b'M', message);
    field(b'H', hint);
    body.push(0);
    Message::new(kind, body)
}

/// The borders of messages in a stream, however it is cut into pieces.
pub(super) struct Borders {
    header: Vec<u8>,
    kind: u8,
    left: u64,
    kept: Vec<u8>,
    keep: usize,
    /// The largest message.
    most: u64,
}

/// A message is larger than it may be, or has a length that none has.
#[derive(Debug, Eq, PartialEq)]
pub(super) struct TooLarge;

impl Borders {
    pub(super) fn new(most: u64) -> Self {
        Self { header: Vec::with_capacity(5), kind: 0, left: 0, kept: Vec::new(), keep: 0, most }
    }

    /// Takes bytes in. `keep` says how much of a message of a kind is wanted; `ended` gets what was kept, at each message's end.
    pub(super) fn feed(
        &mut self,
        mut bytes: &[u8],
        keep: impl Fn(u8) -> usize,
        mut ended: impl FnMut(u8, &[u8]),
    ) -> Result<(), TooLarge> {
        while !bytes.is_empty() {
            if self.header.len() < 5 {
                let take = (5 - self.header.len()).min(bytes.len());
                self.header.extend_from_slice(&bytes[..take]);
                bytes = &bytes[take..];
                if self.header.len() < 5 {
                    return Ok(());
                }
                self.begin(&keep)?;
            } else {
                let left = usize::try_from(self.left).unwrap_or(usize::MAX);
                let take = left.min(bytes.len());
                let wanted = self.keep.saturating_sub(self.kept.len()).min(take);
                self.kept.extend_from_slice(&bytes[..wanted]);
                bytes = &bytes[take..];
                self.left -= take as u64;
            }
            if self.left == 0 {
                ended(self.kind, &self.kept);
                self.header.clear();
            }
        }
        Ok(())
    }

    fn begin(&mut self, keep: &impl Fn(u8) -> usize) -> Result<(), TooLarge> {
        let [kind, a, b, c, d] = self.header[..] else { return Err(TooLarge) };
        let length = u64::from(u32::from_be_bytes([a, b, c, d])).checked_sub(4).ok_or(TooLarge)?;
        if length > self.most {
            return Err(TooLarge);
        }
        (self.kind, self.left, self.keep) = (kind, length, keep(kind));
        self.kept.clear();
        Ok(())
    }
}

/// The texts of a body that end with a zero, and what is left of one that was cut.
pub(super) fn texts(body: &[u8]) -> impl Iterator<Item = &[u8]> {
    body.split(|byte| *byte == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn borders_are_found_however_the_stream_is_cut() {
        let sent = [
            Message::new(b'Q', b"SELECT 1\0".to_vec()),
            Message::new(b'S', Vec::new()),
            Message::new(b'd', vec![7; 1000]),
            Message::new(b'Q', b"SELECT 2\0".to_vec()),
        ];
        let bytes: Vec<u8> = sent.iter().flat_map(Message::encode).collect();
        for step in [1, 2, 3, 5, 7, 64, bytes.len()] {
            let (mut borders, mut found) = (Borders::new(1000), Vec::new());
            for piece in bytes.chunks(step) {
                let keep = |kind| if kind == b'Q' { 6 } else { 0 };
                borders.feed(piece, keep, |kind, kept| found.push((kind, kept.to_vec()))).expect("whole");
            }
            let expected =
                [(b'Q', b"SELECT".to_vec()), (b'S', vec![]), (b'd', vec![]), (b'Q', b"SELECT".to_vec())];
            assert_eq!(found, expected, "in pieces of {step}");
        }
    }

    #[test]
    fn what_is_too_large_is_refused_before_it_is_read() {
        let nothing = |_: u8, _: &[u8]| {};
        let large = Message::new(b'Q', vec![0; 11]).encode();
        assert_eq!(Borders::new(10).feed(&large[..5], |_| 0, nothing), Err(TooLarge));
        assert_eq!(Borders::new(10).feed(&[b'Q', 0, 0, 0, 3], |_| 0, nothing), Err(TooLarge));
    }

    #[tokio::test]
    async fn a_startup_packet_has_its_limit() {
        let mut huge: &[u8] = &[0x7f, 0xff, 0xff, 0xff, 0];
        assert_eq!(read_startup(&mut huge).await.expect_err("too large").kind(), io::ErrorKind::InvalidData);
        let mut short: &[u8] = &[0, 0, 0, 3];
        assert!(read_startup(&mut short).await.is_err());
    }
}
