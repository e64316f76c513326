//! `GatewayService`: a caller's migration tool, and its connections. Bytes go through as they are.

use std::pin::Pin;

use model::{
    audit::Decision,
    fault::{Fault, Reason},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream},
    sync::mpsc,
};
use tokio_stream::{Stream, wrappers::ReceiverStream};
use tonic::{Request, Response, Status, Streaming};
use wire::v1::{
    self, OpenGatewayRequest, OpenGatewayResponse, gateway_service_server::GatewayService,
    open_gateway_request::Frame as Asked, open_gateway_response::Frame as Told,
};

use super::{About, Api, limits::REQUEST, status};
use crate::engine::Offer;

/// The service.
#[derive(Clone)]
pub(super) struct Gateway(pub(super) Api);

const METHOD: &str = "GatewayService/OpenGateway";
/// The most bytes in one frame.
const FRAME: usize = 32 * 1024;
/// How many frames may wait for a caller who takes none.
const WAITING: usize = 4;

type Frames = Streaming<OpenGatewayRequest>;
type Answers = Pin<Box<dyn Stream<Item = Result<OpenGatewayResponse, Status>> + Send>>;
type Answer = mpsc::Sender<Result<OpenGatewayResponse, Status>>;

fn told(frame: Told) -> Result<OpenGatewayResponse, Status> {
    Ok(OpenGatewayResponse { frame: Some(frame) })
}

#[tonic::async_trait]
impl GatewayService for Gateway {
    type OpenGatewayStream = Answers;

    async fn open_gateway(&self, call: Request<Frames>) -> Result<Response<Answers>, Status> {
        let (metadata, extensions, mut frames) = call.into_parts();
        let call = Request::from_parts(metadata, extensions, ());
        let first = match tokio::time::timeout(REQUEST, frames.message()).await {
            Ok(first) => first?.and_then(|message| message.frame),
            Err(_) => None,
        };
        let operation = match &first {
            Some(Asked::Offer(it)) => it.operation.clone(),
            Some(Asked::Connection(it)) => it.operation.clone(),
            _ => String::new(),
        };
        let known = match wire::parse_operation_id(&operation) {
            Ok(id) => self.0.engine.operation(id).await,
            Err(error) => Err(Fault::from(error)),
        };
        let target = known.as_ref().map(|it| it.target.clone()).unwrap_or_default();
        let (authorization, asked) = self.0.decide(METHOD, &call, About::Known(&target), None).await?;
        let id = known.as_ref().ok().map(|it| it.id);
        let asked = Decision { operation: id, ..asked };
        let principal = authorization.principal().to_string();
        let (answer, answers) = mpsc::channel(WAITING);
        // A tool that is refused below was allowed to ask.
        self.0.engine.record(asked).await.map_err(status)?;
        let opened = match (known, first) {
            (Err(fault), _) => Err(fault),
            (Ok(it), Some(Asked::Offer(_))) => self.0.engine.offer_tool(it.id, &principal).map(Opened::Tool),
            (Ok(it), _) => {
                let (ours, theirs) = tokio::io::duplex(FRAME);
                self.0.engine.connect_tool(it.id, &principal, theirs).map(|()| Opened::Connection(ours))
            }
        };
        match opened.map_err(status)? {
            Opened::Tool(offer) => drop(tokio::spawn(tool(offer, frames, answer))),
            Opened::Connection(stream) => drop(tokio::spawn(connection(stream, frames, answer))),
        }
        Ok(Response::new(Box::pin(ReceiverStream::new(answers))))
    }
}

/// What a stream turned out to be for.
enum Opened {
    Tool(Offer),
    Connection(DuplexStream),
}

/// Says when the tool may begin, and hears how it ended. A stream that ends before that is a tool that is lost.
async fn tool(offer: Offer, mut frames: Frames, answer: Answer) {
    let mut begun = false;
    loop {
        tokio::select! {
            biased;
            () = offer.over() => return,
            start = offer.start(), if !begun => {
                let Some(start) = start else { return };
                begun = true;
                let start = v1::ToolStart {
                    user: start.user,
                    password: start.password.expose().clone(),
                    database: start.database,
                    schema: start.schema,
                };
                if answer.send(told(Told::Start(start))).await.is_err() {
                    return;
                }
            }
            frame = frames.message() => match frame {
                Ok(Some(OpenGatewayRequest { frame: Some(Asked::Exit(exit)) })) => {
                    return offer.ended(wire::decode_exit(&exit));
                }
                Ok(Some(_)) => {
                    let fault = Fault::new(Reason::InvalidRequest, "a tool's stream holds its end and nothing else");
                    // Whoever does not listen any more sees the stream's end.
                    let _gone = answer.send(Err(status(fault))).await;
                    return;
                }
                Ok(None) | Err(_) => return,
            },
        }
    }
}

/// Passes bytes on, each way no faster than they are taken.
async fn connection(stream: DuplexStream, mut frames: Frames, answer: Answer) {
    let (mut from_server, mut to_server) = tokio::io::split(stream);
    let asked = async {
        while let Ok(Some(OpenGatewayRequest { frame: Some(Asked::Data(bytes)) })) = frames.message().await {
            if to_server.write_all(&bytes).await.is_err() {
                break;
            }
        }
        // The session's end is told by the other direction; nobody to tell it to is one as well.
        let _closed = to_server.shutdown().await;
    };
    let answered = async {
        let mut chunk = vec![0; FRAME];
        while let Ok(read @ 1..) = from_server.read(&mut chunk).await {
            if answer.send(told(Told::Data(chunk[..read].to_vec().into()))).await.is_err() {
                break;
            }
        }
    };
    tokio::pin!(answered);
    tokio::select! {
        () = &mut answered => {}
        () = asked => answered.await,
    }
}
