//! Logging in to the server for a tool. The driver proves who the daemon is, whatever the server asks for; the startup packet
//! is not the driver's but the one that was made for the tool, and the session is taken over once the server has let it in.

use std::{io, time::Duration};

use sqlx::{
    PgConnection,
    postgres::{PgConnectOptions, PgSslMode},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::UnixListener,
};

use super::frame::{self, Message};
use crate::postgres::{
    session::relay::{self, ServerStream},
    sql::error::message,
};

/// How long it may take.
const LIMIT: Duration = Duration::from_secs(10);
/// The authentication request that says: you are in.
const IN: u32 = 0;
/// The last word of SCRAM, to which there is no answer.
const LAST_OF_SCRAM: u32 = 12;

/// Why there is no session.
#[derive(Debug)]
pub(super) enum Refused {
    /// The server said so.
    Server(Message),
    /// It cannot be reached, or says something else than it should.
    Lost(String),
}

impl From<io::Error> for Refused {
    fn from(error: io::Error) -> Self {
        Self::Lost(error.to_string())
    }
}

/// Whether the daemon would have to encrypt its way to the server, which the gateway cannot.
pub(super) fn needs_tls(options: &PgConnectOptions) -> bool {
    let host = options.get_host();
    let local = options.get_socket().is_some()
        || host.starts_with('/')
        || host == "localhost"
        || host.parse().is_ok_and(|address: std::net::IpAddr| address.is_loopback());
    match options.get_ssl_mode() {
        PgSslMode::Disable | PgSslMode::Allow => false,
        PgSslMode::Prefer => !local,
        _ => true,
    }
}

/// A session that begins with this startup packet: what the server says next are its parameters.
pub(super) async fn open(options: &PgConnectOptions, startup: &[u8]) -> Result<ServerStream, Refused> {
    let opened = async {
        let (listener, through) = relay::private_listener(&options.clone().ssl_mode(PgSslMode::Disable))?;
        let server = relay::server(options).await?;
        use sqlx::Connection as _;
        tokio::select! {
            biased;
            taken = take_over(listener, server, startup) => taken,
            driver = PgConnection::connect_with(&through) => Err(match driver {
                Ok(_) => Refused::Lost("the driver was let in by nobody".to_owned()),
                Err(error) => Refused::Lost(message(&error)),
            }),
        }
    };
    match tokio::time::timeout(LIMIT, opened).await {
        Ok(opened) => opened,
        Err(_) => Err(Refused::Lost(format!("no answer within {} s", LIMIT.as_secs()))),
    }
}

async fn take_over(
    listener: UnixListener,
    mut server: ServerStream,
    startup: &[u8],
) -> Result<ServerStream, Refused> {
    let mut driver = relay::own_process(&listener).await?;
    let _the_drivers_own = frame::read_startup(&mut driver).await?;
    server.write_all(startup).await?;
    server.flush().await?;
    loop {
        let said = frame::read(&mut server).await?;
        match said.kind {
            b'E' => return Err(Refused::Server(said)),
            b'R' => {}
            _ => continue,
        }
        let kind = said.body.first_chunk().map(|kind| u32::from_be_bytes(*kind));
        if kind == Some(IN) {
            return Ok(server);
        }
        driver.write_all(&said.encode()).await?;
        if kind != Some(LAST_OF_SCRAM) {
            let answer = frame::read(&mut driver).await?;
            server.write_all(&answer.encode()).await?;
            server.flush().await?;
        }
    }
}

/// Ends a session that is not used after all.
pub(super) async fn leave(mut server: ServerStream) {
    let goodbye = async {
        server.write_all(&Message::new(b'X', Vec::new()).encode()).await?;
        server.flush().await?;
        // The server closes, and has nothing more to say.
        let mut rest = [0; 256];
        while server.read(&mut rest).await? > 0 {}
        Ok::<_, io::Error>(())
    };
    if let Ok(Err(error)) = tokio::time::timeout(LIMIT, goodbye).await {
        tracing::debug!(%error, "a session of the gateway ended by itself");
    }
}
