//! A simple query: cut into its statements, each sent by the protocol that takes no second one. A mistake of the cutter can
//! fail, and hides nothing.

use model::sql::{Cutter, Meaning, custom_setting, meaning};

use super::{
    super::{
        frame::{self, Message},
        watch,
    },
    Inside, Poison,
    messages::{self, bare, notice},
    tool::{Own, Tool},
    turn::{self, Turn},
};
use crate::postgres::session::relay::Bytes;

/// One statement of a text.
struct Piece {
    sql: Vec<u8>,
    meaning: Meaning,
    custom: Option<String>,
    /// How many characters stand before it.
    before: usize,
}

/// A text as it is cut: one that is no UTF-8 byte by byte, since all that matters is ASCII.
fn decoded(bytes: &[u8]) -> (String, bool) {
    match std::str::from_utf8(bytes) {
        Ok(text) => (text.to_owned(), true),
        Err(_) => (bytes.iter().map(|byte| char::from(*byte)).collect(), false),
    }
}

fn encoded(text: &str, is_utf8: bool) -> Vec<u8> {
    match is_utf8 {
        true => text.as_bytes().to_vec(),
        false => text.chars().map(|c| u8::try_from(u32::from(c)).unwrap_or(b'?')).collect(),
    }
}

/// A statement as it is sent, and what it means: what PostgreSQL does only outside a transaction is done in one, where that
/// comes to the same.
pub(super) fn read(bytes: &[u8], own: &Own) -> (Vec<u8>, Meaning) {
    let (text, is_utf8) = decoded(bytes);
    let meaning = meaning(&text, own.strings);
    match &meaning {
        Meaning::Concurrently(at) => {
            let blank = " ".repeat(at.len());
            (encoded(&format!("{}{blank}{}", &text[..at.start], &text[at.end..]), is_utf8), meaning)
        }
        _ => (bytes.to_vec(), meaning),
    }
}

/// What is said of that.
pub(super) fn rewritten() -> Message {
    notice("NOTICE", "00000", "CONCURRENTLY is left out: it is done within resetd's transaction")
}

fn cut(bytes: &[u8], own: &Own) -> Vec<Piece> {
    let (text, is_utf8) = decoded(bytes);
    let pieces = Cutter::new(&text, own.strings).filter_map(|piece| {
        let range = piece.statement?;
        let before = text[..range.start].chars().count();
        let custom = custom_setting(&text[range.clone()], own.strings);
        let (sql, meaning) = read(&encoded(&text[range], is_utf8), own);
        Some(Piece { sql, meaning, custom, before })
    });
    pieces.collect()
}

impl Inside {
    /// A simple query, to its end; the session is told that it is ready.
    pub(super) async fn query<S: Bytes>(
        &self,
        turn: &mut Turn,
        own: &mut Own,
        tool: &mut Tool<S>,
        body: &[u8],
    ) -> Result<(), Poison> {
        let text = frame::texts(body).next().unwrap_or_default();
        let pieces = cut(text, own);
        if pieces.is_empty() {
            tool.say(&bare(b'I')).await;
        }
        let mut last = None;
        for piece in pieces {
            if let Some(done) = last.take() {
                tool.say(&done).await;
            }
            last = match self.piece(turn, own, tool, &piece).await? {
                Some(done) => Some(done),
                None => break,
            };
        }
        // What was put off fires before the last statement is said to be done.
        match turn.end_of_unit(own).await? {
            Some(failed) => {
                self.tell_error(own, &failed);
                tool.say(&failed).await;
            }
            None => {
                if let Some(done) = last {
                    tool.say(&done).await;
                }
            }
        }
        tool.say(&turn::ready(turn, own)).await;
        Ok(())
    }

    /// One statement; the message that says that it is done, or `None`: it failed, and that was said.
    async fn piece<S: Bytes>(
        &self,
        turn: &mut Turn,
        own: &mut Own,
        tool: &mut Tool<S>,
        piece: &Piece,
    ) -> Result<Option<Message>, Poison> {
        let answered = turn.own(own, &piece.meaning, &piece.sql).await?;
        if let Some(answered) = answered {
            return Ok(match answered {
                Ok(mut messages) => {
                    let done = messages.pop();
                    for message in messages {
                        tool.say(&message).await;
                    }
                    done
                }
                Err(failed) => {
                    self.tell_error(own, &failed);
                    tool.say(&failed).await;
                    None
                }
            });
        }
        if let Err(refused) = turn.statement(own) {
            self.tell_error(own, &refused);
            tool.say(&refused).await;
            return Ok(None);
        }
        turn.before(own, &piece.meaning).await?;
        turn.names(piece.custom.clone());
        if matches!(piece.meaning, Meaning::Concurrently(_)) {
            tool.say(&rewritten()).await;
        }
        let streams = piece.meaning == Meaning::Copy;
        turn.backend.send(messages::alone(&piece.sql, streams)).await?;
        let swallowed = [b'1', b'2', b'3', b'n'];
        let mut done = None;
        let failed = self
            .answers(turn, own, tool, |message| match message.kind {
                kind if swallowed.contains(&kind) => None,
                b'C' | b'I' => {
                    done = Some(message);
                    None
                }
                b'E' | b'N' => Some(messages::moved(message, piece.before)),
                _ => Some(message),
            })
            .await?;
        match failed {
            true => {
                turn.failed(own);
                Ok(None)
            }
            false => Ok(done),
        }
    }

    /// Passes on what the server says up to its readiness, as `passes` wants it; `true`: something failed. A tool that hangs up
    /// meanwhile has its statement cancelled.
    pub(super) async fn answers<S: Bytes>(
        &self,
        turn: &mut Turn,
        own: &mut Own,
        tool: &mut Tool<S>,
        mut passes: impl FnMut(Message) -> Option<Message>,
    ) -> Result<bool, Poison> {
        let mut failed = false;
        loop {
            let mut message = {
                let next = turn.backend.next();
                tokio::pin!(next);
                loop {
                    tokio::select! {
                        biased;
                        message = &mut next => break message?,
                        () = tool.hung_up() => self.cancel_running().await,
                    }
                }
            };
            match message.kind {
                b'Z' => return Ok(failed),
                b'S' => own.reported(&message.body)?,
                b'C' => own.done(&message.body),
                b's' => own.cursors = true,
                b'E' => {
                    failed = true;
                    self.tell_error(own, &message);
                    if turn.frames.reads(own.session) {
                        message = explained(message);
                    }
                }
                _ => {}
            }
            let streams = matches!(message.kind, b'G' | b'W');
            if let Some(message) = passes(message) {
                tool.say(&message).await;
            }
            if streams {
                tool.flush().await;
                self.stream_in(turn, tool).await?;
            }
        }
    }

    /// What the tool sends for a COPY. PostgreSQL has passed over the end of the segment that it was in: there is one more.
    async fn stream_in<S: Bytes>(&self, turn: &mut Turn, tool: &mut Tool<S>) -> Result<(), Poison> {
        loop {
            let Some(message) = tool.read().await else {
                let end = Message::new(b'f', b"the migration tool is gone\0".to_vec());
                return turn.backend.send([end.encode(), messages::sync()].concat()).await;
            };
            match message.kind {
                b'd' => turn.backend.send(message.encode()).await?,
                b'c' | b'f' => {
                    return turn.backend.send([message.encode(), messages::sync()].concat()).await;
                }
                // As PostgreSQL does.
                b'H' | b'S' => {}
                _ => {
                    let end = Message::new(b'f', b"unexpected message during COPY from stdin\0".to_vec());
                    return turn.backend.send([end.encode(), messages::sync()].concat()).await;
                }
            }
        }
    }
}

/// Why a second connection does not write: PostgreSQL was told so.
fn explained(message: Message) -> Message {
    match watch::error(&message.body, None) {
        error if error.sqlstate == "25006" => messages::error(
            "25006",
            &error.message,
            "Another connection of the migration tool has a transaction open: within resetd's transaction one writes at a time.",
        ),
        _ => message,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::postgres::gateway::inside::settings::Settings;

    #[test]
    fn a_text_is_cut_whatever_its_encoding() {
        let own = Own::new(1, Settings::new());
        let sql =
            |bytes: &[u8]| -> Vec<Vec<u8>> { cut(bytes, &own).into_iter().map(|piece| piece.sql).collect() };
        assert_eq!(sql("SELECT 'ä;'; COMMIT".as_bytes()), ["SELECT 'ä;'".as_bytes(), b"COMMIT"]);
        assert_eq!(sql(b"SELECT '\xe4;'; COMMIT"), [&b"SELECT '\xe4;'"[..], b"COMMIT"]);
        assert!(sql(b" ; -- nothing").is_empty());
        let pieces = cut("SELECT 'ä'; SELECT x".as_bytes(), &own);
        assert_eq!(pieces[1].before, 12);
    }

    #[test]
    fn what_needs_no_transaction_of_its_own_is_done_in_this_one() {
        let own = Own::new(1, Settings::new());
        let (sql, _) = read(b"CREATE INDEX CONCURRENTLY i ON t (a)", &own);
        assert_eq!(sql, b"CREATE INDEX              i ON t (a)");
    }
}
