//! The connections of a tool: each is a stream of its own to the daemon. Bytes are passed on, each way no faster than they are
//! taken.

use std::time::Duration;

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    task::JoinSet,
};
use uuid::Uuid;

use crate::api::Api;

/// The most connections at a time; the daemon has a limit of its own.
const MOST: usize = 40;
/// The most bytes in one frame.
const FRAME: usize = 32 * 1024;
/// How long connections may take to end when the tool has ended.
const ENDING: Duration = Duration::from_secs(5);

/// The open connections; they end with this.
pub(super) struct Tunnels {
    api: Api,
    operation: Uuid,
    open: JoinSet<()>,
}

impl Tunnels {
    pub(super) fn new(api: Api, operation: Uuid) -> Self {
        Self { api, operation, open: JoinSet::new() }
    }

    /// Carries one connection.
    pub(super) fn open(&mut self, stream: TcpStream) {
        while self.open.try_join_next().is_some() {}
        if self.open.len() < MOST {
            self.open.spawn(carry(self.api.clone(), self.operation, stream));
        }
    }

    /// Lets them end: the tool has ended, and what it sent last is still on its way.
    pub(super) async fn end(mut self) {
        let all = async { while self.open.join_next().await.is_some() {} };
        let _slow = tokio::time::timeout(ENDING, all).await;
    }
}

/// Ends with either side. A daemon that refuses closes the connection, and the operation's end says why.
async fn carry(api: Api, operation: Uuid, mut stream: TcpStream) {
    let _slower = stream.set_nodelay(true);
    let Ok(mut connection) = api.connect_tool(operation).await else { return };
    let (mut from_tool, mut to_tool) = stream.split();
    let sender = connection.sender();
    let asked = async {
        let mut chunk = vec![0; FRAME];
        while let Ok(read @ 1..) = from_tool.read(&mut chunk).await {
            if !sender.send(&chunk[..read]).await {
                return;
            }
        }
        drop(sender);
        // The session's last words are not for whoever closed.
        std::future::pending::<()>().await;
    };
    let answered = async {
        while let Some(bytes) = connection.receive().await {
            if to_tool.write_all(&bytes).await.is_err() {
                return;
            }
        }
        // Whoever has closed already needs no end.
        let _closed = to_tool.shutdown().await;
    };
    tokio::select! {
        () = asked => {}
        () = answered => {}
    }
}
