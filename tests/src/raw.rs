//! Any method of any service, by its path, with the bytes of its request: for tests that must not forget one.

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
};

use http_body::Frame;
use tokio_stream::{Stream, StreamExt as _};
use tokio_util::bytes::{Buf as _, BufMut as _, Bytes};
use tonic::{
    Request, Status,
    body::Body,
    client::Grpc,
    codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
    codegen::http::uri::PathAndQuery,
    transport::Channel,
};

use tower::{Service as _, ServiceExt as _};

use crate::soon;

/// Bytes as they are.
#[derive(Clone, Copy, Debug, Default)]
struct AsIs;

impl Codec for AsIs {
    type Encode = Vec<u8>;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for AsIs {
    type Item = Vec<u8>;
    type Error = Status;

    fn encode(&mut self, item: Vec<u8>, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put_slice(&item);
        Ok(())
    }
}

impl Decoder for AsIs {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(buffer.copy_to_bytes(buffer.remaining())))
    }
}

/// Calls `/path` with these bytes, and waits for the first thing that comes back.
///
/// # Errors
/// What the server, or the way to it, said.
pub async fn call(
    channel: Channel,
    path: &str,
    message: Vec<u8>,
    authorization: Option<&str>,
) -> Result<(), Status> {
    stream(channel, path, tokio_stream::once(message), authorization).await
}

/// The same with a stream of messages.
///
/// # Errors
/// What the server, or the way to it, said.
pub async fn stream(
    channel: Channel,
    path: &str,
    messages: impl Stream<Item = Vec<u8>> + Send + 'static,
    authorization: Option<&str>,
) -> Result<(), Status> {
    let mut grpc = Grpc::new(channel);
    let ready = soon("the channel", grpc.ready()).await;
    ready.map_err(|error| Status::unavailable(format!("{error:?}")))?;
    let mut request = Request::new(messages);
    if let Some(value) = authorization {
        request.metadata_mut().insert("authorization", value.parse().expect("a header"));
    }
    let path: PathAndQuery = format!("/{}", path.trim_start_matches('/')).parse().expect("a path");
    let answer = soon("an answer", grpc.streaming(request, path, AsIs)).await?;
    soon("what is answered", answer.into_inner().next()).await.transpose().map(|_| ())
}

/// A body that is known from the beginning.
struct Whole(Option<Bytes>);

impl http_body::Body for Whole {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.0.take().map(|bytes| Ok(Frame::data(bytes))))
    }
}

/// Sends one HTTP/2 request with exactly these headers, and gives what is answered at first.
///
/// # Panics
/// The connection broke.
pub async fn send(
    channel: &Channel,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: Vec<u8>,
) -> http::Response<Body> {
    let mut request = http::Request::builder().method(method).uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(Body::new(Whole(Some(body.into())))).expect("a request");
    let mut channel = channel.clone();
    let ready = soon("the channel", channel.ready()).await.expect("a channel");
    soon("an answer", ready.call(request)).await.expect("an answer")
}
