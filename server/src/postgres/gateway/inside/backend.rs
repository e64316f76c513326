//! The one real session: what is said to it, and what it says, in messages. Frames are opened and closed in a message of their
//! own in front of the next one, so that they cost no round trips.

use std::{fmt::Write as _, io};

use model::sql::frames::Command;
use tokio::{
    io::{AsyncWriteExt as _, BufReader, ReadHalf, WriteHalf},
    sync::mpsc,
    task::JoinHandle,
};

use super::{
    super::frame::{self, Message},
    Poison, messages,
};
use crate::postgres::session::relay::ServerStream;

/// The largest message that it may send: a row, above all.
const MOST: usize = 64 * 1024 * 1024;

/// Rows of texts.
pub(super) type Rows = Vec<Vec<Option<String>>>;

pub(super) struct Backend {
    reader: BufReader<ReadHalf<ServerStream>>,
    /// Who writes is not who reads: neither side waits for the other one with its hands full.
    writes: mpsc::Sender<Vec<u8>>,
    writer: JoinHandle<io::Result<WriteHalf<ServerStream>>>,
    /// What goes in front of the next message.
    first: String,
    /// The end of what went in front has not been read.
    unread: bool,
}

impl Backend {
    pub(super) fn new(server: ServerStream) -> Self {
        let (reader, mut to_server) = tokio::io::split(server);
        let (writes, mut waiting) = mpsc::channel::<Vec<u8>>(4);
        let writer = tokio::spawn(async move {
            while let Some(bytes) = waiting.recv().await {
                to_server.write_all(&bytes).await?;
                to_server.flush().await?;
            }
            Ok(to_server)
        });
        Self { reader: BufReader::new(reader), writes, writer, first: String::new(), unread: false }
    }

    /// The server's bytes again: it waits for a query, and has said everything.
    pub(super) async fn end(mut self) -> Result<ServerStream, Poison> {
        self.settle_first().await?;
        drop(self.writes);
        let lost = || Poison("the way to PostgreSQL broke".to_owned());
        let writer = self.writer.await.map_err(|_| lost())??;
        match self.reader.buffer().is_empty() {
            true => Ok(self.reader.into_inner().unsplit(writer)),
            false => Err(Poison("PostgreSQL said more than it was asked for".to_owned())),
        }
    }

    /// What is done in front of the next message.
    pub(super) fn later(&mut self, commands: &[Command]) {
        for command in commands {
            // Writing to a text does not fail.
            let _written = match command {
                Command::Open(frame) => write!(self.first, "SAVEPOINT gateway_{frame};"),
                Command::ReadOnly => write!(self.first, "SET TRANSACTION READ ONLY;"),
                Command::Release(frame) => write!(self.first, "RELEASE SAVEPOINT gateway_{frame};"),
                Command::TakeBack(frame) => write!(self.first, "ROLLBACK TO SAVEPOINT gateway_{frame};"),
            };
        }
    }

    /// The same, in words.
    pub(super) fn later_sql(&mut self, sql: &str) {
        self.first.push_str(sql);
        self.first.push(';');
    }

    /// Sends bytes, what goes in front of them first.
    pub(super) async fn send(&mut self, bytes: Vec<u8>) -> Result<(), Poison> {
        let bytes = match self.first.is_empty() {
            true => bytes,
            false => {
                let first = std::mem::take(&mut self.first);
                self.unread = true;
                [messages::query(first.as_bytes()), bytes].concat()
            }
        };
        let lost = |_| Poison("the way to PostgreSQL broke".to_owned());
        self.writes.send(bytes).await.map_err(lost)
    }

    /// What it says next.
    pub(super) async fn next(&mut self) -> Result<Message, Poison> {
        while self.unread {
            let said = self.read().await?;
            match said.kind {
                b'E' => {
                    let error = super::super::watch::error(&said.body, None);
                    return Err(Poison(format!(
                        "a savepoint could not be kept: {} ({})",
                        error.message, error.sqlstate
                    )));
                }
                b'Z' => self.unread = false,
                _ => {}
            }
        }
        self.read().await
    }

    async fn read(&mut self) -> Result<Message, Poison> {
        let said = frame::read_up_to(&mut self.reader, MOST).await.map_err(|e| match e.kind() {
            io::ErrorKind::InvalidData => Poison(format!("a message of PostgreSQL's is too large: {e}")),
            _ => Poison("the session was lost".to_owned()),
        })?;
        match (said.kind, said.body.first()) {
            (b'Z', Some(b'I')) => Err(Poison("the transaction was ended".to_owned())),
            _ => Ok(said),
        }
    }

    /// A query of the gateway's own.
    pub(super) async fn ask(&mut self, sql: &str) -> Result<Result<Rows, Message>, Poison> {
        self.send(messages::query(sql.as_bytes())).await?;
        let mut answer = Ok(Vec::new());
        loop {
            let said = self.next().await?;
            match said.kind {
                b'Z' => return Ok(answer),
                b'E' => answer = Err(said),
                b'D' => {
                    if let (Ok(rows), Some(row)) = (&mut answer, messages::row(&said.body)) {
                        rows.push(row);
                    }
                }
                _ => {}
            }
        }
    }

    /// The same where it must not fail.
    pub(super) async fn must(&mut self, sql: &str) -> Result<Rows, Poison> {
        self.ask(sql).await?.map_err(|said| {
            let error = super::super::watch::error(&said.body, None);
            Poison(format!(
                "PostgreSQL refused what the gateway needs: {} ({})",
                error.message, error.sqlstate
            ))
        })
    }

    /// Says what waits to be said.
    pub(super) async fn settle_first(&mut self) -> Result<(), Poison> {
        match self.first.is_empty() {
            true => Ok(()),
            false => self.must("").await.map(|_| ()),
        }
    }
}
