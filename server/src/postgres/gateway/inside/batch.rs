//! The extended protocol. What a tool sends is collected to segments, each with an end of its own: within a transaction such an
//! end ends nothing. Transaction control is prepared and executed here, and never sent.

use std::collections::VecDeque;

use model::sql::{Meaning, custom_setting};

use super::{
    super::frame::Message,
    Inside, Poison,
    messages::{self, bare},
    simple,
    tool::{Own, Prepared, Tool},
    turn::{self, Turn, is_own},
};
use crate::postgres::session::relay::Bytes;

/// How much is collected before it is sent.
const SEGMENT: usize = 256 * 1024;

/// What is collected, and what of its answers the tool did not ask for.
#[derive(Default)]
struct Segment {
    bytes: Vec<u8>,
    /// Of each close: whether its answer is the tool's.
    closes: VecDeque<bool>,
    /// The rest is passed over up to the end of the batch.
    skips: bool,
}

/// What one message of a batch comes to.
enum Next {
    /// The batch goes on.
    More,
    /// It has ended.
    Ended,
}

fn head(body: &[u8]) -> (&[u8], &[u8]) {
    let end = body.iter().position(|byte| *byte == 0).unwrap_or(body.len());
    (&body[..end], body.get(end + 1..).unwrap_or_default())
}

impl Segment {
    fn close(&mut self, kind: u8, name: &[u8], answered: bool) {
        self.bytes.extend(messages::of_kind(b'C', kind, name));
        self.closes.push_back(answered);
    }
}

impl Inside {
    /// A batch that begins with this message, up to its end.
    pub(super) async fn batch<S: Bytes>(
        &self,
        turn: &mut Turn,
        own: &mut Own,
        tool: &mut Tool<S>,
        first: Message,
    ) -> Result<(), Poison> {
        let mut segment = Segment::default();
        let mut message = Some(first);
        while let Some(now) = message {
            if let Next::Ended = self.one(turn, own, tool, &mut segment, &now).await? {
                return Ok(());
            }
            tokio::select! {
                next = tool.read() => message = next,
                () = self.waited_too_long() => {
                    tool.gone = true;
                    return Ok(());
                }
            }
            if let Some(next) = &message {
                self.tell(own, next);
            }
        }
        Ok(())
    }

    async fn one<S: Bytes>(
        &self,
        turn: &mut Turn,
        own: &mut Own,
        tool: &mut Tool<S>,
        segment: &mut Segment,
        message: &Message,
    ) -> Result<Next, Poison> {
        match message.kind {
            b'S' => {
                self.flush(turn, own, tool, segment).await?;
                if let Some(failed) = turn.end_of_unit(own).await? {
                    self.tell_error(own, &failed);
                    tool.say(&failed).await;
                }
                tool.say(&turn::ready(turn, own)).await;
                return Ok(Next::Ended);
            }
            _ if segment.skips => return Ok(Next::More),
            b'H' => self.flush(turn, own, tool, segment).await?,
            // Drivers do that: what comes before it belongs to the same unit, and its end is the batch's.
            b'Q' | b'F' => {
                self.flush(turn, own, tool, segment).await?;
                match (segment.skips, message.kind) {
                    (true, _) => {}
                    (_, b'Q') => {
                        self.query(turn, own, tool, &message.body).await?;
                        return Ok(Next::Ended);
                    }
                    _ => {
                        self.call(turn, own, tool, message).await?;
                        return Ok(Next::Ended);
                    }
                }
            }
            b'P' => self.parse(turn, own, tool, segment, &message.body).await?,
            b'B' => self.bind(turn, own, tool, segment, &message.body).await?,
            b'D' => self.describe(turn, own, tool, segment, &message.body).await?,
            b'E' => self.execute(turn, own, tool, segment, &message.body).await?,
            b'C' => self.close(turn, own, tool, segment, &message.body).await?,
            // What is left of a COPY that failed.
            b'd' | b'c' | b'f' => {}
            kind => return Err(Poison(format!("a message of the kind {:?} is not known", char::from(kind)))),
        }
        if segment.bytes.len() > SEGMENT {
            self.flush(turn, own, tool, segment).await?;
        }
        Ok(Next::More)
    }

    /// Sends what was collected, and passes on what comes of it.
    async fn flush<S: Bytes>(
        &self,
        turn: &mut Turn,
        own: &mut Own,
        tool: &mut Tool<S>,
        segment: &mut Segment,
    ) -> Result<(), Poison> {
        if !segment.bytes.is_empty() {
            let mut bytes = std::mem::take(&mut segment.bytes);
            let mut closes = std::mem::take(&mut segment.closes);
            bytes.extend(messages::sync());
            turn.backend.send(bytes).await?;
            let failed = self
                .answers(turn, own, tool, |message| match message.kind {
                    b'3' => closes.pop_front().unwrap_or(true).then_some(message),
                    _ => Some(message),
                })
                .await?;
            if failed {
                turn.failed(own);
                segment.skips = true;
            }
        }
        tool.flush().await;
        Ok(())
    }

    /// Answers by itself, after what was asked before.
    async fn answer<S: Bytes>(
        &self,
        turn: &mut Turn,
        own: &mut Own,
        tool: &mut Tool<S>,
        segment: &mut Segment,
        messages: &[Message],
    ) -> Result<(), Poison> {
        self.flush(turn, own, tool, segment).await?;
        if segment.skips {
            return Ok(());
        }
        for message in messages {
            if message.kind == b'E' {
                segment.skips = true;
                self.tell_error(own, message);
            }
            tool.say(message).await;
        }
        Ok(())
    }

    /// Makes room for what is sent next; `false`: it is refused, and that was said.
    async fn room<S: Bytes>(
        &self,
        turn: &mut Turn,
        own: &mut Own,
        tool: &mut Tool<S>,
        segment: &mut Segment,
    ) -> Result<bool, Poison> {
        // What was collected may fail yet: then nothing more is sent.
        let Err(refused) = turn.statement(own) else { return Ok(true) };
        self.answer(turn, own, tool, segment, &[refused]).await.map(|()| false)
    }

    async fn parse<S: Bytes>(
        &self,
        turn: &mut Turn,
        own: &mut Own,
        tool: &mut Tool<S>,
        segment: &mut Segment,
        body: &[u8],
    ) -> Result<(), Poison> {
        let (name, rest) = head(body);
        let (text, types) = head(rest);
        let (sql, meaning) = simple::read(text, own);
        if is_own(own, &meaning) {
            own.statements.insert(name.to_vec(), Prepared::Own { meaning, text: sql });
            return self.answer(turn, own, tool, segment, &[bare(b'1')]).await;
        }
        if !self.room(turn, own, tool, segment).await? {
            return Ok(());
        }
        turn.names(std::str::from_utf8(text).ok().and_then(|text| custom_setting(text, own.strings)));
        let sent = own.name(name);
        // The unnamed one is replaced; of any other name PostgreSQL says that it is there.
        if name.is_empty() {
            segment.close(b'S', &sent, false);
        }
        segment.bytes.extend(messages::parse(&sent, &sql, types));
        own.statements.insert(name.to_vec(), Prepared::Sent { meaning });
        Ok(())
    }

    async fn bind<S: Bytes>(
        &self,
        turn: &mut Turn,
        own: &mut Own,
        tool: &mut Tool<S>,
        segment: &mut Segment,
        body: &[u8],
    ) -> Result<(), Poison> {
        let (portal, rest) = head(body);
        let (name, values) = head(rest);
        let prepared = own.statements.get(name).cloned();
        if let Some(prepared @ Prepared::Own { .. }) = prepared {
            own.portals.insert(portal.to_vec(), prepared);
            return self.answer(turn, own, tool, segment, &[bare(b'2')]).await;
        }
        if !self.room(turn, own, tool, segment).await? {
            return Ok(());
        }
        let sent = own.name(portal);
        if portal.is_empty() {
            segment.close(b'P', &sent, false);
        }
        segment.bytes.extend(messages::bind(&sent, &own.known(b'S', name), values));
        let known = prepared.unwrap_or(Prepared::Sent { meaning: Meaning::Ordinary });
        own.portals.insert(portal.to_vec(), known);
        Ok(())
    }

    async fn describe<S: Bytes>(
        &self,
        turn: &mut Turn,
        own: &mut Own,
        tool: &mut Tool<S>,
        segment: &mut Segment,
        body: &[u8],
    ) -> Result<(), Poison> {
        let Some((kind, rest)) = body.split_first() else { return Ok(()) };
        let (name, _) = head(rest);
        let known = if *kind == b'S' { own.statements.get(name) } else { own.portals.get(name) };
        if let Some(Prepared::Own { .. }) = known {
            let parameters = Message::new(b't', vec![0, 0]);
            let both = [parameters, bare(b'n')];
            let from = usize::from(*kind != b'S');
            return self.answer(turn, own, tool, segment, &both[from..]).await;
        }
        if self.room(turn, own, tool, segment).await? {
            segment.bytes.extend(messages::of_kind(b'D', *kind, &own.known(*kind, name)));
        }
        Ok(())
    }

    async fn execute<S: Bytes>(
        &self,
        turn: &mut Turn,
        own: &mut Own,
        tool: &mut Tool<S>,
        segment: &mut Segment,
        body: &[u8],
    ) -> Result<(), Poison> {
        let (portal, rows) = head(body);
        let meaning = match own.portals.get(portal).cloned() {
            Some(Prepared::Own { meaning, text }) => {
                self.flush(turn, own, tool, segment).await?;
                if segment.skips {
                    return Ok(());
                }
                let answered = turn.own(own, &meaning, &text).await?;
                let messages =
                    answered.unwrap_or_else(|| Ok(Vec::new())).unwrap_or_else(|failed| vec![failed]);
                return self.answer(turn, own, tool, segment, &messages).await;
            }
            Some(Prepared::Sent { meaning }) => meaning,
            None => Meaning::Ordinary,
        };
        if !matches!(meaning, Meaning::Ordinary | Meaning::Copy) {
            self.flush(turn, own, tool, segment).await?;
            if segment.skips {
                return Ok(());
            }
        }
        if !self.room(turn, own, tool, segment).await? {
            return Ok(());
        }
        turn.before(own, &meaning).await?;
        if matches!(meaning, Meaning::Concurrently(_)) {
            tool.say(&simple::rewritten()).await;
        }
        let sent = own.known(b'P', portal);
        segment.bytes.extend(messages::execute(&sent, rows));
        match meaning {
            Meaning::Copy => self.flush(turn, own, tool, segment).await?,
            // One that is open holds its table.
            _ if rows.iter().all(|byte| *byte == 0) => segment.close(b'P', &sent, false),
            _ => {}
        }
        Ok(())
    }

    async fn close<S: Bytes>(
        &self,
        turn: &mut Turn,
        own: &mut Own,
        tool: &mut Tool<S>,
        segment: &mut Segment,
        body: &[u8],
    ) -> Result<(), Poison> {
        let Some((kind, rest)) = body.split_first() else { return Ok(()) };
        let (name, _) = head(rest);
        let sent = own.known(*kind, name);
        let names = if *kind == b'S' { &mut own.statements } else { &mut own.portals };
        if let Some(Prepared::Own { .. }) = names.remove(name) {
            return self.answer(turn, own, tool, segment, &[bare(b'3')]).await;
        }
        segment.close(*kind, &sent, true);
        Ok(())
    }

    /// A function called by its number, as drivers do for large objects.
    async fn call<S: Bytes>(
        &self,
        turn: &mut Turn,
        own: &mut Own,
        tool: &mut Tool<S>,
        message: &Message,
    ) -> Result<(), Poison> {
        match turn.statement(own) {
            Ok(()) => {
                turn.backend.send(message.encode()).await?;
                if self.answers(turn, own, tool, Some).await? {
                    turn.failed(own);
                }
                own.fires = true;
            }
            Err(refused) => {
                self.tell_error(own, &refused);
                tool.say(&refused).await;
            }
        }
        // It is a unit of its own: the server says that it is ready.
        if let Some(failed) = turn.end_of_unit(own).await? {
            tool.say(&failed).await;
        }
        tool.say(&turn::ready(turn, own)).await;
        Ok(())
    }
}
