//! The raw gRPC clients, and event streams as a test reads them.

use std::pin::Pin;

use model::{
    event::EventKind,
    operation::{Request, Verb},
};
use tokio_stream::{Stream, StreamExt as _};
use tonic::{
    Status,
    transport::{Channel, Endpoint},
};
use uuid::Uuid;
use wire::v1::{
    DestructiveOptions, MigrateRequest, OperationEvent, OperationOptions, ResetRequest, RunRequest,
    UndoRequest, ValidateRequest, WatchOperationRequest, admin_service_client::AdminServiceClient,
    operation_service_client::OperationServiceClient, system_service_client::SystemServiceClient,
    target_service_client::TargetServiceClient, window_service_client::WindowServiceClient,
};

use crate::{soon, target::TestTarget};

const LARGEST: usize = 64 * 1024 * 1024;

/// A confirmed request of a verb on a target; change its fields as the test wishes.
#[must_use]
pub fn request(verb: Verb, target: &TestTarget) -> Request {
    // From the wire's defaults, so that a new field needs no change here.
    let options = OperationOptions {
        request_id: Uuid::new_v4().to_string(),
        target: target.name.clone(),
        ..OperationOptions::default()
    };
    let (options, destructive) = (Some(options), Some(DestructiveOptions::default()));
    let empty = match verb {
        Verb::Reset => wire::Request::Reset(ResetRequest { options, destructive }),
        Verb::Run => wire::Request::Run(RunRequest { options, destructive, tool: None }),
        Verb::Migrate => wire::Request::Migrate(MigrateRequest { options, ..MigrateRequest::default() }),
        Verb::Validate => wire::Request::Validate(ValidateRequest { options }),
        Verb::Undo => wire::Request::Undo(UndoRequest { options, destructive, ..UndoRequest::default() }),
    };
    let request = wire::decode_request(empty).expect("the defaults are well formed");
    Request { confirmation: verb.is_destructive().then(|| "RESET".to_owned()), ..request }
}

/// Raw clients on one channel.
#[derive(Clone, Debug)]
pub struct Api {
    /// Operations.
    pub operations: OperationServiceClient<Channel>,
    /// Targets.
    pub targets: TargetServiceClient<Channel>,
    /// The daemon.
    pub system: SystemServiceClient<Channel>,
    /// Windows.
    pub windows: WindowServiceClient<Channel>,
    /// Administration.
    pub admin: AdminServiceClient<Channel>,
    /// The channel itself.
    pub channel: Channel,
}

impl Api {
    /// # Panics
    /// Nobody answers.
    pub(crate) async fn connect(address: &str) -> Self {
        let uri = if address.starts_with("unix:") { address.to_owned() } else { format!("http://{address}") };
        let endpoint = Endpoint::from_shared(uri).expect("a daemon's address is one");
        let channel = soon("a channel to the daemon", endpoint.connect()).await;
        let channel = channel.unwrap_or_else(|error| panic!("the daemon at {address}: {error:?}"));
        Self {
            operations: OperationServiceClient::new(channel.clone())
                .max_decoding_message_size(LARGEST)
                .max_encoding_message_size(LARGEST),
            targets: TargetServiceClient::new(channel.clone()).max_decoding_message_size(LARGEST),
            system: SystemServiceClient::new(channel.clone()),
            windows: WindowServiceClient::new(channel.clone()),
            admin: AdminServiceClient::new(channel.clone()),
            channel,
        }
    }

    /// Sends a request and gives its stream.
    ///
    /// # Errors
    /// The refusal.
    pub async fn begin(&mut self, request: &Request) -> Result<EventStream, Status> {
        begin(&mut self.operations, request).await
    }

    /// Follows an operation from a sequence.
    ///
    /// # Errors
    /// The refusal.
    pub async fn watch(&mut self, operation: Uuid, start_sequence: u64) -> Result<EventStream, Status> {
        let request = WatchOperationRequest { operation: operation.to_string(), start_sequence };
        Ok(EventStream::of(self.operations.watch_operation(request).await?.into_inner(), |r| r.event))
    }

    /// A report's bytes.
    ///
    /// # Errors
    /// There is none yet.
    pub async fn report(&mut self, operation: Uuid) -> Result<Vec<u8>, Status> {
        let request = wire::v1::GetReportRequest { operation: operation.to_string() };
        let mut chunks = self.operations.get_report(request).await?.into_inner();
        let mut bytes = Vec::new();
        while let Some(chunk) = chunks.message().await? {
            bytes.extend(chunk.chunk);
        }
        Ok(bytes)
    }
}

async fn begin(
    client: &mut OperationServiceClient<Channel>,
    request: &Request,
) -> Result<EventStream, Status> {
    Ok(match wire::encode_request(request) {
        wire::Request::Reset(it) => EventStream::of(client.reset(it).await?.into_inner(), |r| r.event),
        wire::Request::Run(it) => EventStream::of(client.run(it).await?.into_inner(), |r| r.event),
        wire::Request::Migrate(it) => EventStream::of(client.migrate(it).await?.into_inner(), |r| r.event),
        wire::Request::Validate(it) => EventStream::of(client.validate(it).await?.into_inner(), |r| r.event),
        wire::Request::Undo(it) => EventStream::of(client.undo(it).await?.into_inner(), |r| r.event),
    })
}

/// One event.
#[derive(Clone, Debug)]
pub struct Event {
    /// 0 for what is not stored.
    pub sequence: u64,
    /// The operation.
    pub operation: Uuid,
    /// UPPER_SNAKE.
    pub code: String,
    /// One line.
    pub text: String,
    /// In the model's words; none for a kind it does not know.
    pub kind: Option<EventKind>,
    /// As it was sent.
    pub raw: OperationEvent,
}

impl Event {
    fn of(raw: OperationEvent) -> Self {
        Self {
            sequence: raw.sequence,
            operation: raw.operation.parse().expect("an operation's id is a UUID"),
            code: raw.code.clone(),
            text: raw.text.clone(),
            kind: wire::decode_event(raw.clone()).expect("an event can be decoded").kind,
            raw,
        }
    }

    /// It is the last one.
    #[must_use]
    pub fn is_terminal(&self) -> bool {
        self.code == "FINISHED"
    }
}

/// The events of one operation, as they come.
pub struct EventStream(Pin<Box<dyn Stream<Item = Result<Event, Status>> + Send>>);

impl std::fmt::Debug for EventStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("EventStream")
    }
}

impl EventStream {
    /// Sends a request on a channel.
    ///
    /// # Panics
    /// It is refused.
    pub async fn begin(channel: Channel, request: &Request) -> Self {
        let client = OperationServiceClient::new(channel).max_decoding_message_size(LARGEST);
        begin(&mut client.max_encoding_message_size(LARGEST), request).await.expect("it is not refused")
    }

    fn of<R: Send + 'static>(
        stream: tonic::Streaming<R>,
        event: impl Fn(R) -> Option<OperationEvent> + Send + 'static,
    ) -> Self {
        let read = move |item: Result<R, Status>| {
            item.map(|r| Event::of(event(r).expect("a response has an event")))
        };
        Self(Box::pin(stream.map(read)))
    }

    /// The next event that is no heartbeat; `None` at the end. Heartbeats come for ever: a stream that brings nothing else
    /// must fail its test.
    pub async fn next(&mut self) -> Option<Result<Event, Status>> {
        let next = async {
            loop {
                match self.0.next().await {
                    Some(Ok(event)) if event.code == "HEARTBEAT" => {}
                    other => return other,
                }
            }
        };
        soon("the next event", next).await
    }

    /// The first event with this code, everything before it dropped.
    ///
    /// # Panics
    /// The stream ends before.
    pub async fn until(&mut self, code: &str) -> Event {
        let mut before = Vec::new();
        while let Some(event) = self.next().await {
            let event =
                event.unwrap_or_else(|status| panic!("{status:?} instead of {code}, after {before:?}"));
            if event.code == code {
                return event;
            }
            before.push(format!("{}: {}", event.code, event.text));
        }
        panic!("the stream ended without {code}, after {before:?}")
    }

    /// Every event up to the end of the stream.
    ///
    /// # Panics
    /// The stream breaks.
    pub async fn rest(&mut self) -> Vec<Event> {
        let mut events = Vec::new();
        while let Some(event) = self.next().await {
            events.push(event.unwrap_or_else(|status| panic!("{status:?}, after {events:?}")));
        }
        events
    }
}

/// Every event of a stream.
///
/// # Panics
/// The stream breaks.
pub async fn collect(mut stream: EventStream) -> Vec<Event> {
    stream.rest().await
}

/// A message with a bearer token.
///
/// # Panics
/// The token fits into no header.
pub fn with_token<T>(token: &str, message: T) -> tonic::Request<T> {
    let mut call = tonic::Request::new(message);
    call.metadata_mut().insert("authorization", format!("Bearer {token}").parse().expect("a header"));
    call
}
