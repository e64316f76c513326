//! A migration tool beside the client: started when the daemon has a database for it, connected through a loopback port of its
//! own, and ended with the client.
//!
//! It must not know what the tool says to PostgreSQL.

mod child;
mod fingerprint;
mod tunnel;

use model::{
    fault::{Fault, Reason},
    tool::Exit,
};
use tokio::{net::TcpListener, sync::mpsc, task::JoinHandle};
use uuid::Uuid;

use crate::api::{Api, ToolStart};
use child::{Child, Preset};
use tunnel::Tunnels;

pub(crate) use fingerprint::of as fingerprint;

/// How many lines of a tool's output may wait to be shown.
const LINES: usize = 256;

/// A tool that stands by or runs; it ends with this.
pub(crate) struct Runner {
    task: JoinHandle<()>,
    lines: mpsc::Receiver<Line>,
}

/// What there is to be shown.
#[derive(Debug)]
pub(crate) enum Line {
    /// A line of the tool's output.
    Output(String),
    /// It could not be run, or not to its end.
    Failed(Fault),
}

impl Runner {
    /// Offers the tool to the operation that it was started for.
    pub(crate) fn start(api: Api, operation: Uuid, command: String) -> Self {
        let (tell, lines) = mpsc::channel(LINES);
        let task = tokio::spawn(async move {
            if let Err(fault) = run(api, operation, &command, &tell).await {
                // Whoever does not look any more is told by the operation's end.
                let _gone = tell.send(Line::Failed(fault)).await;
            }
        });
        Self { task, lines }
    }

    /// The next line; never, once there are no more.
    pub(crate) async fn line(&mut self) -> Line {
        match self.lines.recv().await {
            Some(line) => line,
            None => std::future::pending().await,
        }
    }
}

impl Drop for Runner {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn run(api: Api, operation: Uuid, command: &str, tell: &mpsc::Sender<Line>) -> Result<(), Fault> {
    let mut offer = api.offer_tool(operation).await?;
    // Refused, cancelled, or over before it came to that: the operation's own end says why.
    let Some(start) = offer.start().await? else { return Ok(()) };
    let exit = match serve(api, operation, command, &start, tell).await {
        Ok(exit) => exit,
        Err(fault) => {
            let exit = Exit { output: fault.message.clone(), ..Exit::default() };
            offer.ended(&exit).await?;
            return Err(fault);
        }
    };
    offer.ended(&exit).await
}

/// Runs the tool with a port of its own, to its end.
async fn serve(
    api: Api,
    operation: Uuid,
    command: &str,
    start: &ToolStart,
    tell: &mpsc::Sender<Line>,
) -> Result<Exit, Fault> {
    let failed = |what: &str, e: std::io::Error| {
        Fault::new(Reason::ToolFailed, format!("{what}: {e}")).hint("nothing was changed")
    };
    let listener =
        TcpListener::bind(("127.0.0.1", 0)).await.map_err(|e| failed("no loopback port for the tool", e))?;
    let port = listener.local_addr().map_err(|e| failed("no loopback port for the tool", e))?.port();
    let preset = Preset { operation, port, start };
    let mut child =
        Child::spawn(command, &preset).map_err(|e| failed("the command of --with cannot be run", e))?;
    let mut tunnels = Tunnels::new(api, operation);
    loop {
        tokio::select! {
            biased;
            connected = listener.accept() => match connected {
                Ok((stream, _)) => tunnels.open(stream),
                Err(e) => return Err(failed("the loopback port of the tool broke", e)),
            },
            line = child.line() => if let Some(line) = line {
                // A screen that shows no more is no reason to end the tool.
                let _gone = tell.send(Line::Output(line)).await;
            } else {
                break;
            },
        }
    }
    let exit = child.exit().await.map_err(|e| failed("the end of the command of --with is not known", e))?;
    drop(listener);
    tunnels.end().await;
    Ok(exit)
}
