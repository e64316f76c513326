//! One connection of a tool in the shared session: its bytes, and what the protocol lets it keep.

use std::{collections::HashMap, io};

use model::sql::{Meaning, Strings, frames::Session};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, ReadHalf, WriteHalf};

use super::{
    super::{
        frame::{self, Message},
        watch::Statements,
    },
    Poison,
    settings::Settings,
};
use crate::postgres::session::relay::Bytes;

/// The largest message that a tool may send.
const LARGEST: usize = 64 * 1024 * 1024;
/// Encodings in which a byte of a character may look like one of SQL's own.
const UNSAFE: [&str; 7] = ["BIG5", "GBK", "UHC", "GB18030", "SJIS", "SHIFT_JIS_2004", "JOHAB"];

/// The tool's end of a connection. One that is gone hears nothing any more, and its statement is read to its end.
pub(super) struct Tool<S> {
    reader: BufReader<ReadHalf<S>>,
    writer: WriteHalf<S>,
    waiting: Vec<u8>,
    pub(super) gone: bool,
    /// It has sent more already.
    more: bool,
}

/// How much waits to be sent before it is.
const FULL: usize = 32 * 1024;

impl<S: Bytes> Tool<S> {
    pub(super) fn new(stream: S) -> Self {
        let (reader, writer) = tokio::io::split(stream);
        Self { reader: BufReader::new(reader), writer, waiting: Vec::new(), gone: false, more: false }
    }

    /// What it sends next; `None`: it is gone.
    pub(super) async fn read(&mut self) -> Option<Message> {
        self.more = false;
        match frame::read_up_to(&mut self.reader, LARGEST).await {
            Ok(message) if message.kind != b'X' => Some(message),
            Err(e) if e.kind() == io::ErrorKind::InvalidData => {
                self.say(&frame::fatal("54000", "a message is too large", "")).await;
                self.flush().await;
                self.gone = true;
                None
            }
            _ => {
                self.gone = true;
                None
            }
        }
    }

    /// Ends once it has hung up; never, where it sends more or is known to be gone.
    pub(super) async fn hung_up(&mut self) {
        if !self.gone && !self.more {
            match self.reader.fill_buf().await {
                Ok(bytes) if !bytes.is_empty() => self.more = true,
                _ => {
                    self.gone = true;
                    return;
                }
            }
        }
        std::future::pending().await
    }

    pub(super) async fn say(&mut self, message: &Message) {
        self.waiting.extend(message.encode());
        if self.waiting.len() >= FULL {
            self.flush().await;
        }
    }

    pub(super) async fn flush(&mut self) {
        let waiting = std::mem::take(&mut self.waiting);
        if self.gone || waiting.is_empty() {
            return;
        }
        let written = async {
            self.writer.write_all(&waiting).await?;
            self.writer.flush().await
        };
        self.gone = written.await.is_err();
    }
}

/// What a name stands for.
#[derive(Clone, Debug)]
pub(super) enum Prepared {
    /// The server knows it, under the session's prefix.
    Sent { meaning: Meaning },
    /// The gateway does it by itself.
    Own { meaning: Meaning, text: Vec<u8> },
}

/// What a session of its own would keep.
pub(super) struct Own {
    pub(super) session: Session,
    /// The settings it began with, as far as they differ from the shared session's.
    pub(super) defaults: Settings,
    pub(super) statements: HashMap<Vec<u8>, Prepared>,
    pub(super) portals: HashMap<Vec<u8>, Prepared>,
    /// What `SET LOCAL` covers until the transaction ends: names and values before.
    pub(super) locals: Settings,
    pub(super) strings: Strings,
    /// Something was done that may have put off a trigger.
    pub(super) fires: bool,
    /// When constraints are checked was changed.
    pub(super) sets_constraints: bool,
    /// Cursors or portals are open that end with the transaction.
    pub(super) cursors: bool,
    /// For whoever watches.
    pub(super) watched: Statements,
}

impl Own {
    pub(super) fn new(session: Session, defaults: Settings) -> Self {
        let plain = defaults.get("standard_conforming_strings").is_some_and(|value| value == "off");
        let strings = if plain { Strings::Backslash } else { Strings::Standard };
        Self {
            session,
            defaults,
            statements: HashMap::new(),
            portals: HashMap::new(),
            locals: Settings::new(),
            strings,
            fires: false,
            sets_constraints: false,
            cursors: false,
            watched: Statements::default(),
        }
    }

    /// A name of the session's as the server knows it, who keeps no more than 63 bytes of it.
    pub(super) fn name(&self, name: &[u8]) -> Vec<u8> {
        [format!("g{}_", self.session).as_bytes(), name].concat()
    }

    /// The name of a statement (`S`) or portal (`P`) that should be there: one that the protocol did not make is SQL's.
    pub(super) fn known(&self, kind: u8, name: &[u8]) -> Vec<u8> {
        let names = if kind == b'S' { &self.statements } else { &self.portals };
        match name.is_empty() || names.contains_key(name) {
            true => self.name(name),
            false => name.to_vec(),
        }
    }

    /// What is reported of a setting.
    pub(super) fn reported(&mut self, body: &[u8]) -> Result<(), Poison> {
        let mut texts = frame::texts(body);
        match (texts.next(), texts.next()) {
            (Some(b"standard_conforming_strings"), Some(value)) => {
                self.strings = if value == b"off" { Strings::Backslash } else { Strings::Standard };
                Ok(())
            }
            (Some(b"client_encoding"), Some(value)) => is_safe(&String::from_utf8_lossy(value)),
            _ => Ok(()),
        }
    }

    /// A command is done: what its tag says of it.
    pub(super) fn done(&mut self, tag: &[u8]) {
        let quiet = ["CREATE", "ALTER", "DROP", "SET", "SHOW", "COMMENT", "GRANT", "REVOKE", "LOCK", "RESET"];
        let word = tag.split(|byte| !byte.is_ascii_alphabetic()).next().unwrap_or_default();
        self.fires |= !quiet.iter().any(|it| it.as_bytes() == word);
        self.cursors |= word == b"DECLARE";
    }
}

/// Texts of some encodings cannot be told apart into statements.
pub(super) fn is_safe(encoding: &str) -> Result<(), Poison> {
    match UNSAFE.contains(&encoding.to_uppercase().as_str()) {
        true => Err(Poison(format!("texts in the encoding {encoding} cannot be cut into statements safely"))),
        false => Ok(()),
    }
}
