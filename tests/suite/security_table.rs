//! Every method of the contract with every kind of identity, against a table written by hand. The methods are those of the
//! descriptor set: a new one fails here until it has a row.

use std::fmt;

use harness::{Api, Authority, Certificate, Daemon, EventStream, Setup, Subject, TestTarget, raw, request};
use model::operation::Verb;
use prost::Message as _;
use prost_types::FileDescriptorSet;
use tonic::{Code, Status, transport::Channel};
use uuid::Uuid;
use wire::v1;

/// What comes of a call, as far as permission goes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Outcome {
    /// There was no connection to ask on.
    NoConnection,
    /// `UNAUTHENTICATED`.
    Unknown,
    /// `PERMISSION_DENIED`.
    Denied,
    /// Anything else: who may ask gets an answer, if only that the request is wrong.
    Passed,
}
use Outcome::{Denied, NoConnection, Passed, Unknown};

/// What an identity amounts to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Standing {
    /// The handshake fails.
    Strange,
    /// Nothing is proved, or something false was said.
    Nobody,
    /// Somebody, without any role.
    Guest,
    /// A viewer, operator, resetter or admin of every target.
    Role(u8),
    /// An admin of another target.
    Elsewhere,
}

const ROLES: [&str; 4] = ["viewer", "operator", "resetter", "admin"];
const VIEWER: u8 = 0;
const OPERATOR: u8 = 1;
const RESETTER: u8 = 2;
const ADMIN: u8 = 3;

/// What a row of the table asks for.
#[derive(Clone, Copy, Debug)]
enum Least {
    /// Health: whoever is connected.
    Anybody,
    /// Whoever is somebody.
    Somebody,
    /// This role on the target asked about.
    Here(u8),
    /// This role on any target: the answer holds what may be seen.
    Somewhere(u8),
    /// This role on every target.
    Everywhere(u8),
}
use Least::{Anybody, Everywhere, Here, Somebody, Somewhere};

/// By hand, from the documentation of the roles; not from the daemon's own table. ` dry` is the method's dry run.
const TABLE: &[(&str, Least)] = &[
    ("resetd.v1.OperationService/Reset", Here(RESETTER)),
    ("resetd.v1.OperationService/Reset dry", Here(OPERATOR)),
    ("resetd.v1.OperationService/Run", Here(RESETTER)),
    ("resetd.v1.OperationService/Run dry", Here(OPERATOR)),
    ("resetd.v1.OperationService/Undo", Here(RESETTER)),
    ("resetd.v1.OperationService/Undo dry", Here(OPERATOR)),
    ("resetd.v1.OperationService/Migrate", Here(OPERATOR)),
    ("resetd.v1.OperationService/Migrate chains", Here(RESETTER)),
    ("resetd.v1.OperationService/Validate", Here(OPERATOR)),
    ("resetd.v1.OperationService/WatchOperation", Here(VIEWER)),
    ("resetd.v1.OperationService/GetOperation", Here(VIEWER)),
    ("resetd.v1.OperationService/ListOperations", Somewhere(VIEWER)),
    // Somebody else's, with no window about; one's own: `cancel_rights`.
    ("resetd.v1.OperationService/CancelOperation", Here(RESETTER)),
    ("resetd.v1.OperationService/GetReport", Here(VIEWER)),
    ("resetd.v1.GatewayService/OpenGateway", Here(RESETTER)),
    ("resetd.v1.WindowService/ReserveWindow", Here(OPERATOR)),
    ("resetd.v1.WindowService/GetWindow", Here(VIEWER)),
    ("resetd.v1.WindowService/ListWindows", Somewhere(VIEWER)),
    ("resetd.v1.WindowService/ExtendWindow", Here(OPERATOR)),
    ("resetd.v1.WindowService/ReleaseWindow", Here(OPERATOR)),
    ("resetd.v1.TargetService/ListTargets", Somewhere(VIEWER)),
    ("resetd.v1.TargetService/GetTarget", Here(VIEWER)),
    ("resetd.v1.TargetService/WatchTargets", Somewhere(VIEWER)),
    ("resetd.v1.TargetService/EnrollTarget", Here(ADMIN)),
    ("resetd.v1.TargetService/ForceUnlockTarget", Here(ADMIN)),
    ("resetd.v1.TargetService/DropKept", Here(RESETTER)),
    ("resetd.v1.AdminService/CreateToken", Everywhere(ADMIN)),
    ("resetd.v1.AdminService/ListTokens", Everywhere(ADMIN)),
    ("resetd.v1.AdminService/RevokeToken", Everywhere(ADMIN)),
    ("resetd.v1.AdminService/ListAuditRecords", Everywhere(ADMIN)),
    ("resetd.v1.AdminService/VerifyAudit", Everywhere(ADMIN)),
    ("resetd.v1.SystemService/GetServerInfo", Somebody),
    ("grpc.health.v1.Health/Check", Anybody),
    ("grpc.health.v1.Health/List", Anybody),
    ("grpc.health.v1.Health/Watch", Anybody),
    ("grpc.reflection.v1.ServerReflection/ServerReflectionInfo", Somebody),
    // No method at all: only who is somebody learns that.
    ("resetd.v1.OperationService/NoSuchMethod", Somebody),
    ("no.such.Service/Method", Somebody),
];

fn expected(standing: Standing, least: Least) -> Outcome {
    let enough = |wanted: u8, has: u8| if has >= wanted { Passed } else { Denied };
    match (standing, least) {
        (Standing::Strange, _) => NoConnection,
        (_, Anybody) => Passed,
        (Standing::Nobody, _) => Unknown,
        (_, Somebody) => Passed,
        (Standing::Guest, _) => Denied,
        (Standing::Role(has), Here(wanted) | Somewhere(wanted) | Everywhere(wanted)) => enough(wanted, has),
        (Standing::Elsewhere, Somewhere(_)) => Passed,
        (Standing::Elsewhere, Here(_) | Everywhere(_)) => Denied,
    }
}

/// Every method of every service that the daemon serves.
fn methods() -> Vec<String> {
    let sets = [
        v1::FILE_DESCRIPTOR_SET,
        tonic_health::pb::FILE_DESCRIPTOR_SET,
        tonic_reflection::pb::v1::FILE_DESCRIPTOR_SET,
    ];
    let mut all = Vec::new();
    for set in sets {
        for file in FileDescriptorSet::decode(set).expect("the build made it").file {
            for service in &file.service {
                let of = |m: &prost_types::MethodDescriptorProto| {
                    format!("{}.{}/{}", file.package(), service.name(), m.name())
                };
                all.extend(service.method.iter().map(of));
            }
        }
    }
    all
}

/// The target asked about, and an operation of it that has ended.
struct World {
    target: TestTarget,
    operation: String,
}

impl World {
    /// A request that changes nothing whoever sends it: what is allowed is refused for another reason.
    fn message(&self, row: &str) -> Vec<u8> {
        let (method, variant) = row.split_once(' ').unwrap_or((row, ""));
        let name = || self.target.name.clone();
        let operation = || self.operation.clone();
        let id = || Uuid::new_v4().to_string();
        match method.rsplit_once('/').map_or(method, |(_, name)| name) {
            "Reset" => self.verb(Verb::Reset, variant),
            "Run" => self.verb(Verb::Run, variant),
            "Undo" => self.verb(Verb::Undo, variant),
            "Migrate" => self.verb(Verb::Migrate, variant),
            "Validate" => self.verb(Verb::Validate, variant),
            "WatchOperation" => {
                v1::WatchOperationRequest { operation: operation(), start_sequence: 1 }.encode_to_vec()
            }
            "GetOperation" => v1::GetOperationRequest { operation: operation() }.encode_to_vec(),
            "CancelOperation" => {
                v1::CancelOperationRequest { operation: operation(), ..Default::default() }.encode_to_vec()
            }
            "OpenGateway" => {
                let offer = v1::ToolOffer { operation: operation() };
                let frame = Some(v1::open_gateway_request::Frame::Offer(offer));
                v1::OpenGatewayRequest { frame }.encode_to_vec()
            }
            "GetReport" => v1::GetReportRequest { operation: operation() }.encode_to_vec(),
            "ReserveWindow" => {
                v1::ReserveWindowRequest { request_id: id(), target: name(), ..Default::default() }
                    .encode_to_vec()
            }
            "GetWindow" => v1::GetWindowRequest { window: id() }.encode_to_vec(),
            "ExtendWindow" => {
                v1::ExtendWindowRequest { request_id: id(), window: id(), ..Default::default() }
                    .encode_to_vec()
            }
            "ReleaseWindow" => {
                v1::ReleaseWindowRequest { request_id: id(), window: id(), ..Default::default() }
                    .encode_to_vec()
            }
            "GetTarget" => v1::GetTargetRequest { target: name() }.encode_to_vec(),
            "EnrollTarget" => v1::EnrollTargetRequest {
                request_id: id(),
                target: name(),
                database_confirmation: "another".to_owned(),
            }
            .encode_to_vec(),
            "ForceUnlockTarget" => {
                v1::ForceUnlockTargetRequest { target: name(), ..Default::default() }.encode_to_vec()
            }
            "DropKept" => v1::DropKeptRequest { target: name(), ..Default::default() }.encode_to_vec(),
            // About no target in particular, or about nothing at all.
            _ => Vec::new(),
        }
    }

    fn verb(&self, verb: Verb, variant: &str) -> Vec<u8> {
        let mut request = request(verb, &self.target);
        request.confirmation = None;
        request.dry_run = variant == "dry";
        // No chains have this fingerprint.
        request.expect_chains = Some(format!("sha256:{}", "0".repeat(64)));
        if variant == "chains" {
            let content = b"-- revision: x\n-- revises: none\nSELECT 1;\n".to_vec();
            request.client_chains =
                vec![model::operation::ChainFile { path: "core/x.sql".to_owned(), content }];
        }
        match wire::encode_request(&request) {
            wire::Request::Reset(it) => it.encode_to_vec(),
            wire::Request::Run(it) => it.encode_to_vec(),
            wire::Request::Undo(it) => it.encode_to_vec(),
            wire::Request::Migrate(it) => it.encode_to_vec(),
            wire::Request::Validate(it) => it.encode_to_vec(),
        }
    }
}

fn outcome(answer: Result<(), Status>) -> Outcome {
    let Err(status) = answer else { return Passed };
    match wire::decode_status(&status).map(|fault| fault.reason) {
        Some(model::fault::Reason::Unauthenticated) => Unknown,
        Some(model::fault::Reason::PermissionDenied) => Denied,
        Some(_) => Passed,
        // Health and reflection have words of their own; everything else that is no fault was said by the transport.
        None => match status.code() {
            Code::NotFound | Code::Unimplemented | Code::InvalidArgument => Passed,
            _ => NoConnection,
        },
    }
}

/// One way to call.
struct Identity {
    name: String,
    channel: Option<Channel>,
    authorization: Option<String>,
    standing: Standing,
}

/// The pairs that were tried, and those that came out otherwise.
#[derive(Default)]
struct Count {
    checked: usize,
    unexpected: Vec<String>,
}

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (method, identity) pairs checked, {} unexpected", self.checked, self.unexpected.len())
    }
}

async fn check(world: &World, identities: &[Identity], count: &mut Count) {
    for identity in identities {
        for (row, least) in TABLE {
            let method = row.split(' ').next().unwrap();
            let found = match identity.channel.clone() {
                None => NoConnection,
                Some(channel) => {
                    let authorization = identity.authorization.as_deref();
                    outcome(raw::call(channel, method, world.message(row), authorization).await)
                }
            };
            let expected = expected(identity.standing, *least);
            count.checked += 1;
            if found != expected {
                count.unexpected.push(format!("{row} as {}: {found:?}, not {expected:?}", identity.name));
            }
        }
    }
}

/// The listeners of the daemon of the test: its socket, plaintext on loopback, TLS.
struct Doors<'a> {
    authority: &'a Authority,
    daemon: &'a Daemon,
}

impl Doors<'_> {
    async fn tls(&self, shown: Option<&Certificate>) -> Option<Channel> {
        let port = self.daemon.addresses[2].rsplit_once(':').unwrap().1;
        self.authority.channel(&format!("127.0.0.1:{port}"), shown).await.ok()
    }

    async fn plain(&self) -> Option<Channel> {
        let endpoint =
            tonic::transport::Endpoint::from_shared(format!("http://{}", self.daemon.addresses[1]));
        endpoint.unwrap().connect().await.ok()
    }

    async fn certificate(&self, name: &str, says: &Subject, standing: Standing) -> Identity {
        let certificate = self.authority.client(name, says);
        let channel = self.tls(Some(&certificate)).await;
        Identity { name: format!("certificate {name}"), channel, authorization: None, standing }
    }

    async fn bearer(&self, name: &str, token: &str, standing: Standing) -> Identity {
        let channel = self.tls(None).await;
        let authorization = Some(format!("Bearer {token}"));
        Identity { name: format!("token {name}"), channel, authorization, standing }
    }
}

async fn token(admin: &mut Api, name: &str) -> v1::CreateTokenResponse {
    let request = v1::CreateTokenRequest {
        request_id: Uuid::new_v4().to_string(),
        name: name.to_owned(),
        lifetime: Some(prost_types::Duration { seconds: 3_600, nanos: 0 }),
    };
    admin.admin.create_token(request).await.expect("an admin may").into_inner()
}

fn me() -> String {
    let user = nix::unistd::User::from_uid(nix::unistd::geteuid()).expect("looked up");
    user.map_or_else(|| format!("#{}", nix::unistd::geteuid()), |user| user.name)
}

fn role(principal: &str, targets: &str, role: &str) -> String {
    format!("\n[[role]]\nprincipal = \"{principal}\"\ntargets = [\"{targets}\"]\nrole = \"{role}\"\n")
}

/// The configured roles: each role by certificate and by token, an admin of the other target, viewers on loopback.
fn roles(other: &TestTarget) -> String {
    let mut text = role(&format!("unix:{}", me()), "*", "admin") + &role("loopback:anonymous", "*", "viewer");
    for name in ROLES {
        text += &role(&format!("cert:{name}.example.org"), "*", name);
        text += &role(&format!("token:{name}"), "*", name);
    }
    text += &role("cert:elsewhere.example.org", &other.name, "admin");
    text + &role("token:elsewhere", &other.name, "admin")
}

async fn with_certificates(doors: &Doors<'_>, stranger: &Authority) -> Vec<Identity> {
    let dns = |name: &str| Subject::dns(&format!("{name}.example.org"));
    let mut all = vec![
        Identity {
            name: "nothing over TLS".to_owned(),
            channel: doors.tls(None).await,
            authorization: None,
            standing: Standing::Nobody,
        },
        Identity {
            name: "a certificate of another CA".to_owned(),
            channel: doors.tls(Some(&stranger.client("foreign", &dns("admin")))).await,
            authorization: None,
            standing: Standing::Strange,
        },
    ];
    let expired = Subject { expired: true, ..dns("admin") };
    all.push(doors.certificate("expired", &expired, Standing::Strange).await);
    let common = Subject { common: "admin.example.org".to_owned(), ..Subject::default() };
    all.push(doors.certificate("common name only", &common, Standing::Nobody).await);
    all.push(doors.certificate("guest", &dns("guest"), Standing::Guest).await);
    all.push(doors.certificate("elsewhere", &dns("elsewhere"), Standing::Elsewhere).await);
    for (rank, name) in (0..).zip(ROLES) {
        all.push(doors.certificate(name, &dns(name), Standing::Role(rank)).await);
    }
    all
}

async fn with_tokens(doors: &Doors<'_>, world: &World) -> Vec<Identity> {
    let mut api = doors.daemon.api().await;
    let mut all = Vec::new();
    for (rank, name) in (0..).zip(ROLES) {
        let secret = token(&mut api, name).await.secret;
        all.push(doors.bearer(name, &secret, Standing::Role(rank)).await);
        // Over the socket a token that was sent goes before who opened the socket.
        let authorization = Some(format!("Bearer {secret}"));
        let channel = Some(api.channel.clone());
        let name = format!("token {name} over the socket");
        all.push(Identity { name, channel, authorization, standing: Standing::Role(rank) });
    }
    let guest = token(&mut api, "guest").await.secret;
    all.push(doors.bearer("guest", &guest, Standing::Guest).await);
    let elsewhere = token(&mut api, "elsewhere").await.secret;
    all.push(doors.bearer("elsewhere", &elsewhere, Standing::Elsewhere).await);

    let admin = token(&mut api, "admin").await.secret;
    let spoilt: String = admin.chars().rev().collect();
    let changed = admin.replace("rsd_", "rsd-");
    for (name, wrong) in
        [("empty", ""), ("no token", "hunter2"), ("backwards", &spoilt), ("changed", &changed)]
    {
        all.push(doors.bearer(name, wrong, Standing::Nobody).await);
    }
    let mut another_scheme = doors.bearer("basic", "", Standing::Nobody).await;
    another_scheme.authorization = Some(format!("Basic {admin}"));
    all.push(another_scheme);
    // A bad token never falls back to what else is proved.
    let certificate = doors.authority.client("admin again", &Subject::dns("admin.example.org"));
    let bad = || Some("Bearer rsd_no_such_token".to_owned());
    let beside = [
        ("a bad token beside an admin's certificate", doors.tls(Some(&certificate)).await, bad()),
        ("a bad token over the admin's socket", Some(api.channel.clone()), bad()),
        ("an admin's token in plaintext", doors.plain().await, Some(format!("Bearer {admin}"))),
    ];
    for (name, channel, authorization) in beside {
        all.push(Identity { name: name.to_owned(), channel, authorization, standing: Standing::Nobody });
    }

    let revoked = token(&mut api, "revoked").await;
    let id = revoked.token.expect("a token").id;
    let request = v1::RevokeTokenRequest { request_id: Uuid::new_v4().to_string(), id };
    api.admin.revoke_token(request).await.expect("an admin may");
    all.push(doors.bearer("revoked", &revoked.secret, Standing::Nobody).await);
    let expired = token(&mut api, "expired").await;
    let id = expired.token.expect("a token").id;
    let sql = format!(
        "UPDATE resetd.token SET expires_at = clock_timestamp() - interval '1 second' WHERE id = '{id}'"
    );
    world.target.control_sql(&sql).await;
    all.push(doors.bearer("expired", &expired.secret, Standing::Nobody).await);
    all
}

async fn with_sockets(world: &World, authority: &Authority, count: &mut Count) {
    for (rank, name) in (0..).zip(ROLES) {
        let setup = Setup::of(&world.target).with(&role(&format!("unix:{}", me()), "*", name));
        let daemon = setup.tls(authority).listen("unix:socket").start().await;
        let channel = Some(daemon.api().await.channel);
        let (name, standing) = (format!("{name} on the socket"), Standing::Role(rank));
        check(world, &[Identity { name, channel, authorization: None, standing }], count).await;
        daemon.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_method_with_every_identity() {
    let missing: Vec<String> =
        methods().into_iter().filter(|method| !TABLE.iter().any(|(row, _)| row == method)).collect();
    assert!(missing.is_empty(), "no row for {missing:?}");

    let (target, other) = (TestTarget::migrated().await, TestTarget::empty().await);
    let (authority, stranger) = (Authority::new(), Authority::named("another authority"));
    let setup = Setup::of(&target).and(&other).with(&roles(&other)).tls(&authority).insecure_loopback();
    let daemon =
        setup.listen("unix:socket").listen_also("127.0.0.1:0").listen_also("0.0.0.0:0").start().await;
    let doors = Doors { authority: &authority, daemon: &daemon };
    // Nobody else who is asked below: what is one's own may be cancelled.
    let begun_by = authority.client("begun by", &Subject::dns("admin.example.org"));
    let channel = doors.tls(Some(&begun_by)).await.expect("a channel");
    let mut events = EventStream::begin(channel, &request(Verb::Validate, &target)).await;
    let operation = events.rest().await[0].operation.to_string();
    let world = World { target, operation };
    let before = (world.target.state().await, other.state().await);

    let mut count = Count::default();
    let mut identities = with_certificates(&doors, &stranger).await;
    identities.extend(with_tokens(&doors, &world).await);
    identities.push(Identity {
        name: "anybody on loopback".to_owned(),
        channel: doors.plain().await,
        authorization: None,
        standing: Standing::Role(VIEWER),
    });
    check(&world, &identities, &mut count).await;
    with_sockets(&world, &authority, &mut count).await;

    // Beside the harness's capture, so that `make test` shows it.
    use std::io::Write as _;
    writeln!(std::io::stderr(), "{count}").expect("standard error is open");
    assert!(count.unexpected.is_empty(), "{count}\n{}", count.unexpected.join("\n"));
    assert_eq!((world.target.state().await, other.state().await), before, "and nothing was changed");
}
