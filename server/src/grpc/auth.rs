//! The layer that every call passes before any handler: who asks is proved here, and whether they could do anything at all
//! with the method; what one principal may hold open is counted here. Whether they may do it to this target is decided by
//! [`Api::authorize`], which alone gives an authorization.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use http::{HeaderMap, Request, Response, header::AUTHORIZATION};
use model::{
    audit::Decision,
    authorization::{self, Principal},
    fault::{Fault, Reason},
};
use tokio::sync::{Semaphore, SemaphorePermit};
use tonic::{Code, Status, body::Body};
use tower::{Layer, Service};

use super::{
    Api,
    body::{Received, Told},
    connection::Peer,
    framing,
    identity::{self, Caller},
    limits::{self, Bytes, CALLS, Counted, Counter, HEALTH_CALLS, Held, PROVING, UNPROVED_CALLS},
    status,
};

/// Health is for load balancers, which prove nothing.
const HEALTH: &str = "/grpc.health.v1.Health/";
/// The contract itself: for everybody who is somebody.
const GATEWAY: &str = "/resetd.v1.GatewayService/";
const REFLECTION: &str = "/grpc.reflection.";

/// The layer.
#[derive(Clone)]
pub(super) struct AuthLayer {
    api: Api,
    calls: Arc<Counter>,
    health: Arc<Counter>,
    unproved: Arc<Counter>,
    proving: Arc<Semaphore>,
    bytes: Arc<Bytes>,
}

/// A call that was let in.
struct Admitted {
    counted: Counted,
    /// What its request holds of everybody's bytes; `None` where its messages are small by the service's own limit.
    held: Option<Arc<Held>>,
}

impl AuthLayer {
    pub(super) fn new(api: Api) -> Self {
        Self {
            api,
            calls: Counter::new(CALLS),
            health: Counter::new(HEALTH_CALLS),
            unproved: Counter::new(UNPROVED_CALLS),
            proving: Arc::new(Semaphore::new(PROVING)),
            bytes: Arc::default(),
        }
    }

    /// Lets a call through with its caller written into it.
    async fn admit(&self, peer: &Peer, request: &mut Request<Body>) -> Result<Admitted, Fault> {
        let path = request.uri().path().to_owned();
        if path.starts_with(HEALTH) {
            let counted = count(&self.health, &peer.origin)?;
            return Ok(Admitted { counted, held: None });
        }
        let method = path.trim_start_matches('/');
        let principal = self.proved(peer, method, request.headers()).await?;
        if !path.starts_with(REFLECTION) {
            let policy = &self.api.engine.policy;
            if !authorization::is_method(method) {
                return Err(unknown_method(method));
            }
            if let Err(fault) = policy.could(method, &principal, &self.api.engine.subjects()) {
                return Err(self.denied(peer, Some(principal), method, fault).await);
            }
        }
        let whose = principal.to_string();
        let counted = count(&self.calls, &whose)?;
        request.extensions_mut().insert(Caller { principal, peer: peer.address.clone() });
        // A stream without an end would hold the bytes of what was answered long ago.
        let held = (!is_endless(&path)).then(|| self.bytes.hold(whose));
        Ok(Admitted { counted, held })
    }

    /// Who calls. What strangers can make the control database do is bounded: looking tokens up, and recording refusals.
    async fn proved(&self, peer: &Peer, method: &str, headers: &HeaderMap) -> Result<Principal, Fault> {
        let permit = match headers.contains_key(AUTHORIZATION) {
            true => Some(self.permit(peer).await?),
            false => None,
        };
        let fault = match identity::prove(&self.api.engine, peer, headers).await {
            Ok(principal) => return Ok(principal),
            Err(fault) => fault,
        };
        let _permit = match permit {
            Some(permit) => permit,
            None => self.permit(peer).await?,
        };
        Err(self.denied(peer, None, method, fault).await)
    }

    /// A stranger's permit to ask the control database. Nobody closes the semaphore: a permit always comes in the end.
    async fn permit(&self, peer: &Peer) -> Result<(Counted, Option<SemaphorePermit<'_>>), Fault> {
        let origin = &peer.origin;
        let counted = self.unproved.enter(origin).map_err(|full| limits::too_many_unproved(origin, full))?;
        Ok((counted, self.proving.acquire().await.ok()))
    }

    /// A refusal, on record. It stands whether or not it can be written down.
    async fn denied(&self, peer: &Peer, principal: Option<Principal>, method: &str, fault: Fault) -> Fault {
        // What a stranger sends as a method is theirs to choose.
        let method = if authorization::is_method(method) { method } else { "unknown" };
        tracing::info!(peer = peer.address, method, reason = %fault.reason, "denied: {fault}");
        let decision = Decision {
            principal,
            peer: peer.address.clone(),
            method: method.to_owned(),
            reason: Some(fault.reason),
            ..Decision::default()
        };
        if let Err(error) = self.api.engine.record(decision).await {
            tracing::warn!(%error, "a refusal is not on the audit record");
        }
        fault
    }
}

/// Reflection and a tool's connections talk back and forth; every other request is one message that has to arrive.
fn is_endless(path: &str) -> bool {
    path.starts_with(REFLECTION) || path.starts_with(GATEWAY)
}

fn count(counter: &Arc<Counter>, whose: &str) -> Result<Counted, Fault> {
    counter.enter(whose).map_err(|full| limits::too_many_calls(whose, full))
}

fn unknown_method(method: &str) -> Fault {
    let shown: String = method.chars().filter(|c| c.is_ascii_graphic()).take(100).collect();
    Fault::new(Reason::NotImplemented, format!("this version has no method {shown}"))
        .hint("compare the versions of client and daemon: `resetctl status` shows the daemon's")
        .with("method", shown)
}

impl<S> Layer<S> for AuthLayer {
    type Service = Guarded<S>;

    fn layer(&self, inner: S) -> Guarded<S> {
        Guarded { auth: self.clone(), inner }
    }
}

/// A service behind the auth layer.
#[derive(Clone)]
pub(super) struct Guarded<S> {
    auth: AuthLayer,
    inner: S,
}

type Answer<E> = Pin<Box<dyn Future<Output = Result<Response<Body>, E>> + Send>>;

impl<S> Service<Request<Body>> for Guarded<S>
where
    S: Service<Request<Body>, Response = Response<Body>> + Clone + Send + 'static,
    S::Future: Send,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = Answer<S::Error>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        // The one that is ready goes into the future; its clone stays for the next call.
        let clone = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, clone);
        let auth = self.auth.clone();
        Box::pin(async move {
            let Some(peer) = request.extensions().get::<Arc<Peer>>().cloned() else {
                return Ok(status(Fault::new(Reason::Internal, "the connection is not known")).into_http());
            };
            let open = peer.call();
            if let Some(refusal) = framing::refusal(&request) {
                return Ok(Told::wrap(refusal, open, None));
            }
            let Admitted { counted, held } = match auth.admit(&peer, &mut request).await {
                Ok(admitted) => admitted,
                Err(fault) => return Ok(Told::wrap(status(fault).into_http(), open, None)),
            };
            let endless = is_endless(request.uri().path());
            let ours =
                !request.uri().path().starts_with(REFLECTION) && !request.uri().path().starts_with(HEALTH);
            let request = request.map(|body| Received::wrap(body, held.clone(), !endless));
            let mut response = inner.call(request).await?;
            if ours {
                response = in_our_words(response);
            }
            drop(held);
            Ok(Told::wrap(response, open, Some(counted)))
        })
    }
}

/// What the framework refuses by itself (a message too large, one that cannot be decoded) gets a reason of the table.
fn in_our_words(response: Response<Body>) -> Response<Body> {
    if response.headers().contains_key("grpc-status-details-bin") {
        return response;
    }
    let Some(found) = Status::from_header_map(response.headers()) else { return response };
    let (reason, hint) = match found.code() {
        Code::OutOfRange | Code::ResourceExhausted => {
            (Reason::LimitExceeded, "send less: GetServerInfo shows the limits")
        }
        Code::Internal | Code::InvalidArgument => {
            (Reason::InvalidRequest, "compare the versions of client and daemon: `resetctl status`")
        }
        Code::Unimplemented => (Reason::NotImplemented, "send the request as plain, uncompressed gRPC"),
        _ => return response,
    };
    status(Fault::new(reason, found.message()).hint(hint)).into_http()
}
