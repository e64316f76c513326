//! The server's preface: an HTTP/2 server speaks as soon as it has accepted a connection, so whoever waits for its first bytes
//! learns what it talks to before anything is asked. It must not understand what is said.

use std::{io, time::Duration};

use tokio::{
    io::{AsyncBufRead, AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

/// How long the first word may take; then the connection is used without it.
const LIMIT: Duration = Duration::from_secs(1);
/// What an HTTP/2 client says first: its preface and empty settings.
const CLIENT_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
/// The kinds of record with which TLS answers what is no TLS: an alert, or its handshake.
const TLS: [u8; 2] = [0x15, 0x16];

/// Waits for the first word, without taking it; true when it came.
///
/// # Errors
/// The connection was refused, or ended.
pub(crate) async fn received(stream: &mut (impl AsyncBufRead + Unpin)) -> io::Result<bool> {
    match timeout(LIMIT, stream.fill_buf()).await {
        Err(_) => Ok(false),
        Ok(Ok([])) => Err(io::ErrorKind::UnexpectedEof.into()),
        Ok(first) => first.map(|_| true),
    }
}

/// Whether what listens there, and did not speak first, answers with TLS.
pub(crate) async fn speaks_tls(host_port: &str) -> bool {
    let ask = async {
        let mut stream = TcpStream::connect(host_port).await?;
        stream.write_all(CLIENT_PREFACE).await?;
        stream.read_u8().await
    };
    matches!(timeout(LIMIT, ask).await, Ok(Ok(first)) if TLS.contains(&first))
}
