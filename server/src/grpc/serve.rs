//! The server: every service on every listener, health and reflection, until it is told to end.

use std::{sync::Arc, time::Duration};

use model::operation::limits;
use tokio_stream::wrappers::{TcpListenerStream, UnixListenerStream};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tonic::transport::{Server, server::Router};
use wire::v1::{
    FILE_DESCRIPTOR_SET, admin_service_server::AdminServiceServer,
    operation_service_server::OperationServiceServer, system_service_server::SystemServiceServer,
    target_service_server::TargetServiceServer, window_service_server::WindowServiceServer,
};

use super::{
    Bound, Door, admin::Admin, operations::Operations, system::System, targets::Targets, windows::Windows,
};
use crate::engine::Engine;

/// How often a quiet peer is asked whether it lives, and how long it may take to answer.
const KEEPALIVE: (Duration, Duration) = (Duration::from_secs(10), Duration::from_secs(10));

/// Serves until `end`, then lets open calls finish.
///
/// # Errors
/// A listener failed.
pub(crate) async fn serve(
    engine: Arc<Engine>,
    listeners: Vec<Bound>,
    end: CancellationToken,
) -> Result<(), tonic::transport::Error> {
    let router = router(Door::new(engine)).await;
    let tasks = TaskTracker::new();
    let mut running = Vec::new();
    for listener in listeners {
        let (router, end) = (router.clone(), end.clone());
        running.push(tasks.spawn(async move {
            match listener {
                Bound::Tcp(listener, _) => {
                    let incoming = TcpListenerStream::new(listener);
                    router.serve_with_incoming_shutdown(incoming, end.cancelled_owned()).await
                }
                Bound::Unix(listener, _file) => {
                    let incoming = UnixListenerStream::new(listener);
                    router.serve_with_incoming_shutdown(incoming, end.cancelled_owned()).await
                }
            }
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

async fn router(door: Door) -> Router {
    let (health, health_service) = tonic_health::server::health_reporter();
    health.set_serving::<OperationServiceServer<Operations>>().await;
    health.set_serving::<TargetServiceServer<Targets>>().await;
    health.set_serving::<WindowServiceServer<Windows>>().await;
    health.set_serving::<AdminServiceServer<Admin>>().await;
    health.set_serving::<SystemServiceServer<System>>().await;
    let reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(FILE_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .build_v1();
    // The descriptor set is compiled in; the suite asks for it over the wire.
    let reflection = reflection.ok();
    Server::builder()
        .http2_keepalive_interval(Some(KEEPALIVE.0))
        .http2_keepalive_timeout(Some(KEEPALIVE.1))
        .tcp_keepalive(Some(KEEPALIVE.0))
        .tcp_nodelay(true)
        .add_service(health_service)
        .add_optional_service(reflection)
        .add_service(
            OperationServiceServer::new(Operations(door.clone()))
                .max_decoding_message_size(limits::REQUEST_BYTES),
        )
        .add_service(TargetServiceServer::new(Targets(door.clone())))
        .add_service(WindowServiceServer::new(Windows(door.clone())))
        .add_service(AdminServiceServer::new(Admin(door.clone())))
        .add_service(SystemServiceServer::new(System(door)))
}
