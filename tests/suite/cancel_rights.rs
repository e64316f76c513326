//! Who may cancel whose operation, over TLS, each with a certificate of their own.

use harness::{
    Authority, Daemon, EventStream, Migrations, Setup, Subject, TestTarget,
    operations::{fault, sleeping},
    request,
    windows::wish,
};
use model::operation::Verb;
use tonic::{Status, transport::Channel};
use uuid::Uuid;
use wire::v1::{
    self, operation_service_client::OperationServiceClient, window_service_client::WindowServiceClient,
};

const PEOPLE: [(&str, &str); 5] = [
    ("alice", "operator"),
    ("bob", "operator"),
    ("carol", "resetter"),
    ("dave", "resetter"),
    ("eve", "admin"),
];

struct Scene {
    target: TestTarget,
    authority: Authority,
    daemon: Daemon,
    _chains: Migrations,
}

impl Scene {
    async fn new(chains: Migrations) -> Self {
        let (target, authority) = (TestTarget::migrated().await, Authority::new());
        let roles = PEOPLE.map(|(who, role)| {
            format!("\n[[role]]\nprincipal = \"cert:{who}\"\ntargets = [\"*\"]\nrole = \"{role}\"\n")
        });
        let setup = Setup::of(&target).migrations(&chains).with(&roles.concat()).tls(&authority);
        let daemon = setup.start().await;
        Self { target, authority, daemon, _chains: chains }
    }

    async fn channel(&self, who: &str) -> Channel {
        let certificate = self.authority.client(who, &Subject::dns(who));
        self.authority.channel(&self.daemon.address, Some(&certificate)).await.expect("a channel")
    }

    async fn begin(&self, who: &str, verb: Verb) -> (Uuid, EventStream) {
        let mut events = EventStream::begin(self.channel(who).await, &request(verb, &self.target)).await;
        (events.until("ACCEPTED").await.operation, events)
    }

    /// The reason of the refusal, or nothing.
    async fn cancel(&self, who: &str, operation: Uuid) -> Option<String> {
        let request = v1::CancelOperationRequest { operation: operation.to_string(), reason: String::new() };
        let answer: Result<_, Status> =
            OperationServiceClient::new(self.channel(who).await).cancel_operation(request).await;
        answer.err().map(|status| fault(&status).reason.name().to_owned())
    }

    async fn reserve(&self, who: &str) -> String {
        let mut windows = WindowServiceClient::new(self.channel(who).await);
        let reply =
            windows.reserve_window(wish(&self.target, 0, 3_600)).await.expect("reserved").into_inner();
        reply.window.expect("a window").id
    }

    async fn release(&self, who: &str, window: String) {
        let request_id = Uuid::new_v4().to_string();
        let request = v1::ReleaseWindowRequest { request_id, window, ..Default::default() };
        let mut windows = WindowServiceClient::new(self.channel(who).await);
        windows.release_window(request).await.expect("released");
    }
}

/// An ended operation is asked for: whoever may cancel it is told that it has ended, nobody else anything but a no.
#[tokio::test]
async fn ones_own_operations_and_others_by_role_and_window() {
    let scene = Scene::new(Migrations::shipped()).await;
    let (operation, mut events) = scene.begin("alice", Verb::Validate).await;
    events.until("FINISHED").await;
    let (yes, no) = (Some("NOT_CANCELLABLE"), Some("PERMISSION_DENIED"));
    let asked = |expected: [(&'static str, Option<&'static str>); 5]| {
        let scene = &scene;
        async move {
            for (who, answer) in expected {
                assert_eq!(scene.cancel(who, operation).await.as_deref(), answer, "{who}");
            }
        }
    };
    asked([("alice", yes), ("bob", no), ("carol", yes), ("dave", yes), ("eve", yes)]).await;
    let window = scene.reserve("alice").await;
    asked([("alice", yes), ("bob", no), ("carol", no), ("dave", no), ("eve", yes)]).await;
    scene.release("alice", window).await;
    let window = scene.reserve("dave").await;
    asked([("alice", yes), ("bob", no), ("carol", no), ("dave", yes), ("eve", yes)]).await;
    scene.release("dave", window).await;
    asked([("alice", yes), ("bob", no), ("carol", yes), ("dave", yes), ("eve", yes)]).await;
    let denied = scene.target.control_rows(
        "SELECT count(*) FROM resetd.audit_record WHERE body LIKE '%CancelOperation%' AND body LIKE \
         '%PERMISSION_DENIED%'",
    );
    // The same refusal again within a minute is counted and not written once more.
    assert_ne!(denied.await, [["0"]]);
}

#[tokio::test]
async fn a_run_in_ones_own_window_is_nobodys_to_end_but_an_admins() {
    let scene = Scene::new(sleeping()).await;
    scene.reserve("alice").await;
    let (operation, mut events) = scene.begin("alice", Verb::Migrate).await;
    events.until("PLANNED").await;
    for who in ["bob", "carol", "dave"] {
        assert_eq!(scene.cancel(who, operation).await.as_deref(), Some("PERMISSION_DENIED"), "{who}");
    }
    assert_eq!(scene.cancel("eve", operation).await, None);
    let end = events.until("FINISHED").await;
    assert!(end.text.contains("cancelled"), "{}", end.text);
    let (operation, mut events) = scene.begin("alice", Verb::Migrate).await;
    events.until("PLANNED").await;
    assert_eq!(scene.cancel("alice", operation).await, None);
    events.until("FINISHED").await;
}
