//! The server: every service on every listener, health and reflection, until it is told to end.

use std::sync::Arc;

use model::operation::limits::REQUEST_BYTES;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tonic::transport::{Server, server::Router};
use tower::layer::util::{Identity, Stack};
use wire::v1::{
    FILE_DESCRIPTOR_SET, admin_service_server::AdminServiceServer,
    gateway_service_server::GatewayServiceServer, operation_service_server::OperationServiceServer,
    system_service_server::SystemServiceServer, target_service_server::TargetServiceServer,
    window_service_server::WindowServiceServer,
};

use super::{
    Api, Bound, Certificates,
    acceptor::Acceptor,
    admin::Admin,
    auth::AuthLayer,
    gateway::Gateway,
    limits::{
        CALLS_PER_CONNECTION, Counter, HEADER_BYTES, HEALTH_REQUEST, KEEPALIVE, RESETS, SMALL_REQUEST,
        TCP_CONNECTIONS, UNIX_CONNECTIONS, WINDOWS,
    },
    operations::Operations,
    system::System,
    targets::Targets,
    windows::Windows,
};
use crate::engine::Engine;

/// Serves until `end`, then lets open calls finish.
///
/// # Errors
/// A listener failed.
pub(crate) async fn serve(
    engine: Arc<Engine>,
    listeners: Vec<Bound>,
    certificates: Option<Arc<Certificates>>,
    end: CancellationToken,
) -> Result<(), tonic::transport::Error> {
    let router = router(Api::new(engine)).await;
    let acceptor = Acceptor::new(Counter::new(TCP_CONNECTIONS), Counter::new(UNIX_CONNECTIONS), certificates);
    let tasks = TaskTracker::new();
    let mut running = Vec::new();
    for bound in listeners {
        let (listener, file) = bound.into_parts();
        let incoming = Arc::clone(&acceptor).open(listener, end.clone(), &tasks);
        let (router, end) = (router.clone(), end.clone());
        running.push(tasks.spawn(async move {
            let incoming = ReceiverStream::new(incoming);
            let served = router.serve_with_incoming_shutdown(incoming, end.cancelled_owned()).await;
            drop(file);
            served
        }));
    }
    tasks.close();
    tasks.wait().await;
    for listener in running {
        if let Ok(ended) = listener.await {
            ended?;
        }
    }
    Ok(())
}

async fn router(api: Api) -> Router<Stack<AuthLayer, Identity>> {
    let (health, health_service) = tonic_health::server::health_reporter();
    health.set_serving::<OperationServiceServer<Operations>>().await;
    health.set_serving::<TargetServiceServer<Targets>>().await;
    health.set_serving::<WindowServiceServer<Windows>>().await;
    health.set_serving::<AdminServiceServer<Admin>>().await;
    health.set_serving::<GatewayServiceServer<Gateway>>().await;
    health.set_serving::<SystemServiceServer<System>>().await;
    // The descriptor set is compiled in; the suite asks for it over the wire. Python's client speaks v1alpha only.
    let reflection = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(FILE_DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    let (v1, v1alpha) = (reflection().build_v1(), reflection().build_v1alpha());
    Server::builder()
        .http2_keepalive_interval(Some(KEEPALIVE.0))
        .http2_keepalive_timeout(Some(KEEPALIVE.1))
        .max_concurrent_streams(CALLS_PER_CONNECTION)
        .initial_stream_window_size(WINDOWS.0)
        .initial_connection_window_size(WINDOWS.1)
        .http2_max_header_list_size(HEADER_BYTES)
        .http2_max_pending_accept_reset_streams(Some(RESETS.0))
        .http2_max_local_error_reset_streams(Some(RESETS.1))
        .layer(AuthLayer::new(api.clone()))
        .add_service(health_service.max_decoding_message_size(HEALTH_REQUEST))
        .add_optional_service(v1.ok().map(|it| it.max_decoding_message_size(SMALL_REQUEST)))
        .add_optional_service(v1alpha.ok().map(|it| it.max_decoding_message_size(SMALL_REQUEST)))
        .add_service(
            OperationServiceServer::new(Operations(api.clone())).max_decoding_message_size(REQUEST_BYTES),
        )
        .add_service(TargetServiceServer::new(Targets(api.clone())).max_decoding_message_size(SMALL_REQUEST))
        .add_service(WindowServiceServer::new(Windows(api.clone())).max_decoding_message_size(SMALL_REQUEST))
        .add_service(AdminServiceServer::new(Admin(api.clone())).max_decoding_message_size(SMALL_REQUEST))
        .add_service(
            GatewayServiceServer::new(Gateway(api.clone())).max_decoding_message_size(2 * SMALL_REQUEST),
        )
        .add_service(SystemServiceServer::new(System(api)).max_decoding_message_size(SMALL_REQUEST))
}
