//! What all calls have in common: the daemon, one reply, page after page.

use model::fault::Fault;
use tonic::{Response, Status};

use super::{connection::Connection, rpc_error::RpcError, view};
use crate::destination::address::Address;

/// The most entries that are asked for at once.
const PAGE: usize = 1_000;

/// One daemon. Each call has a channel of its own, so that a cancel never waits behind a stream.
#[derive(Clone, Debug)]
pub(crate) struct Api {
    pub(super) connection: Connection,
}

impl Api {
    pub(crate) fn new(address: Address) -> Self {
        Self { connection: Connection::new(address) }
    }
}

/// The message of a reply.
pub(super) fn message<T>(reply: Result<Response<T>, Status>) -> Result<T, Fault> {
    reply.map(Response::into_inner).map_err(|status| RpcError::from(&status).fault)
}

/// What the contract promises.
pub(super) fn promised<T>(value: Option<T>, what: &str) -> Result<T, Fault> {
    value.ok_or_else(|| view::unreadable(&format!("no {what}")))
}

/// Reads page after page, up to `limit` entries. A page is what `read` gives for a size and a token: entries, and the token of
/// the next page (empty: there is none).
pub(super) async fn pages<T>(
    limit: usize,
    mut read: impl AsyncFnMut(i32, String) -> Result<(Vec<T>, String), Fault>,
) -> Result<Vec<T>, Fault> {
    let (mut all, mut token) = (Vec::new(), String::new());
    loop {
        let size = i32::try_from((limit - all.len()).min(PAGE)).unwrap_or(i32::MAX);
        let (entries, next) = read(size, token).await?;
        let nothing = entries.is_empty();
        all.extend(entries);
        all.truncate(limit);
        token = next;
        if token.is_empty() || all.len() == limit || nothing {
            return Ok(all);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Seven entries in pages of at most three.
    async fn read(limit: usize) -> (Vec<usize>, usize) {
        let mut reads = 0;
        let read = async |size: i32, token: String| {
            reads += 1;
            let from: usize = token.parse().unwrap_or(0);
            let to = 7.min(from + 3.min(usize::try_from(size).expect("a size")));
            let next = if to < 7 { to.to_string() } else { String::new() };
            Ok(((from..to).collect(), next))
        };
        (pages(limit, read).await.expect("read"), reads)
    }

    #[tokio::test]
    async fn pages_are_read_until_the_limit_or_the_end() {
        assert_eq!(read(usize::MAX).await, ((0..7).collect(), 3));
        assert_eq!(read(7).await, ((0..7).collect(), 3));
        assert_eq!(read(4).await, ((0..4).collect(), 2));
        assert_eq!(read(1).await, (vec![0], 1));
    }

    #[tokio::test]
    async fn an_empty_page_ends_the_reading() {
        let all = pages(5, async |_, _| Ok((Vec::<u8>::new(), "more".to_owned()))).await;
        assert_eq!(all.expect("read"), Vec::<u8>::new());
    }
}
