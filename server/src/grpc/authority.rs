//! What clients on a unix socket send as `:authority`: many gRPC libraries name the socket's path there, percent-encoded
//! (grpcio) or as it is (grpc-java). HTTP knows no such authority, and `h2` resets the stream before anybody is asked. On a
//! socket the authority means nothing, so what a host's name may not hold is replaced in it, in place, as it comes in.
//!
//! It reads as much of HTTP/2's frames (RFC 9113) and of HPACK (RFC 7541) as it takes to find that value, and changes nothing
//! else. What it does not understand it leaves alone, to be refused by who does. It must not know what is asked.

/// What an HTTP/2 client says first.
const PREFACE: usize = 24;
/// A frame's header: length, type, flags, stream.
const HEADER: usize = 9;
const HEADERS: u8 = 1;
const CONTINUATION: u8 = 9;
const PADDED: u8 = 0x8;
const PRIORITY: u8 = 0x20;
/// The field, which is named by its place in HPACK's static table, or in full.
const AUTHORITY: (usize, &[u8]) = (1, b":authority");

/// Reads the bytes of one connection as they arrive, in pieces of any size.
#[derive(Debug)]
pub(super) struct AuthorityFilter {
    at: Frame,
    block: Block,
}

/// Where in the sequence of frames the next byte is.
#[derive(Clone, Copy, Debug)]
enum Frame {
    /// In a frame's header, of which so many bytes are known.
    Header { known: [u8; HEADER], count: usize },
    /// At the length of the padding; so many bytes come after it, a priority among them or not.
    Padding { rest: usize, priority: bool },
    /// In so many bytes of no interest, before so many of a block of headers and of its padding.
    Skip { bytes: usize, block: usize, padding: usize },
    /// In a block of headers.
    Block { bytes: usize, padding: usize },
    /// Nothing more is understood.
    Lost,
}

/// Where in a block of headers the next byte is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Block {
    /// At a field.
    Field,
    /// In a number of more than one byte.
    Number { value: usize, shift: u32, then: Then },
    /// At the length of a string.
    Length(Text),
    /// In a string of so many bytes, some of them left.
    Text { length: usize, left: usize, text: Text },
    /// Nothing more is understood.
    Lost,
}

/// What a number is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Then {
    /// A field that is known whole, or the size of the table.
    Nothing,
    /// Where in the table a field's name is; 0: it comes as a string.
    Name,
    /// The length of a string, and whether it is in Huffman's code.
    Length(Text, bool),
}

/// What a string is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Text {
    /// A field's name; until now it is the one.
    Name { authority: bool },
    /// Its value.
    Value { authority: bool },
}

impl AuthorityFilter {
    pub(super) fn new() -> Self {
        Self { at: Frame::Skip { bytes: PREFACE, block: 0, padding: 0 }, block: Block::Field }
    }

    /// Takes the next bytes.
    pub(super) fn pass(&mut self, mut bytes: &mut [u8]) {
        while !bytes.is_empty() {
            let taken = match self.at {
                Frame::Lost => return,
                Frame::Skip { bytes: left, block, padding } => {
                    let taken = left.min(bytes.len());
                    self.at = Frame::Skip { bytes: left - taken, block, padding };
                    taken
                }
                Frame::Block { bytes: left, padding } => {
                    self.block = self.block.next(&mut bytes[0]);
                    self.at = Frame::Block { bytes: left - 1, padding };
                    1
                }
                Frame::Header { mut known, count } => {
                    known[count] = bytes[0];
                    self.at = Frame::Header { known, count: count + 1 };
                    1
                }
                Frame::Padding { rest, priority } => {
                    self.at = Frame::headers(rest, usize::from(bytes[0]), priority);
                    1
                }
            };
            bytes = &mut bytes[taken..];
            self.settle();
        }
    }

    /// Goes on from what is over.
    fn settle(&mut self) {
        loop {
            self.at = match self.at {
                Frame::Skip { bytes: 0, block: 0, padding: 0 } | Frame::Block { bytes: 0, padding: 0 } => {
                    Frame::Header { known: [0; HEADER], count: 0 }
                }
                Frame::Skip { bytes: 0, block, padding } => Frame::Block { bytes: block, padding },
                Frame::Block { bytes: 0, padding } => Frame::Skip { bytes: padding, block: 0, padding: 0 },
                Frame::Header { known, count: HEADER } => {
                    if known[3] == HEADERS {
                        self.block = Block::Field;
                    }
                    Frame::after(&known)
                }
                _ => return,
            };
        }
    }
}

impl Frame {
    /// What comes after a frame's header.
    fn after(header: &[u8; HEADER]) -> Self {
        let [a, b, c, kind, flags, ..] = *header;
        let length = usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c);
        let priority = flags & PRIORITY != 0;
        match kind {
            HEADERS if flags & PADDED == 0 => Self::headers(length, 0, priority),
            HEADERS if length > 0 => Self::Padding { rest: length - 1, priority },
            HEADERS => Self::Lost,
            CONTINUATION => Self::Skip { bytes: 0, block: length, padding: 0 },
            _ => Self::Skip { bytes: length, block: 0, padding: 0 },
        }
    }

    fn headers(rest: usize, padding: usize, priority: bool) -> Self {
        let bytes = if priority { 5 } else { 0 };
        match rest.checked_sub(bytes + padding) {
            Some(block) => Self::Skip { bytes, block, padding },
            None => Self::Lost,
        }
    }
}

impl Block {
    fn next(self, byte: &mut u8) -> Self {
        match self {
            Self::Field => match *byte {
                b if b & 0x80 != 0 => number(b, 7, Then::Nothing),
                b if b & 0x40 != 0 => number(b, 6, Then::Name),
                b if b & 0x20 != 0 => number(b, 5, Then::Nothing),
                b => number(b, 4, Then::Name),
            },
            Self::Number { shift, .. } if shift > 21 => Self::Lost,
            Self::Number { value, shift, then } => {
                let value = value + (usize::from(*byte & 0x7f) << shift);
                match *byte & 0x80 {
                    0 => then.reached(value),
                    _ => Self::Number { value, shift: shift + 7, then },
                }
            }
            Self::Length(text) => number(*byte, 7, Then::Length(text, *byte & 0x80 != 0)),
            Self::Text { length, left, text } => {
                let text = text.take(length - left, byte);
                match left {
                    1 => text.over(),
                    _ => Self::Text { length, left: left - 1, text },
                }
            }
            Self::Lost => Self::Lost,
        }
    }
}

/// A number that begins in the lowest bits of a byte.
fn number(byte: u8, bits: u32, then: Then) -> Block {
    let mask = (1 << bits) - 1;
    match usize::from(byte) & mask {
        value if value == mask => Block::Number { value, shift: 0, then },
        value => then.reached(value),
    }
}

impl Then {
    fn reached(self, value: usize) -> Block {
        match self {
            Self::Nothing => Block::Field,
            Self::Name if value == 0 => Block::Length(Text::Name { authority: true }),
            Self::Name => Block::Length(Text::Value { authority: value == AUTHORITY.0 }),
            Self::Length(text, huffman) => {
                let length = value;
                let text = match text {
                    Text::Name { .. } => Text::Name { authority: !huffman && length == AUTHORITY.1.len() },
                    Text::Value { authority } => Text::Value { authority: !huffman && authority },
                };
                if length == 0 { text.over() } else { Block::Text { length, left: length, text } }
            }
        }
    }
}

impl Text {
    /// Takes the byte at a place of it.
    fn take(self, at: usize, byte: &mut u8) -> Self {
        match self {
            Self::Name { authority } => {
                Self::Name { authority: authority && AUTHORITY.1.get(at) == Some(&*byte) }
            }
            Self::Value { authority } => {
                if authority && !(byte.is_ascii_alphanumeric() || b"-._~".contains(byte)) {
                    *byte = b'-';
                }
                self
            }
        }
    }

    fn over(self) -> Block {
        match self {
            Self::Name { authority } => Block::Length(Self::Value { authority }),
            Self::Value { .. } => Block::Field,
        }
    }
}

#[cfg(test)]
mod tests;
