//! TLS and who is proved by it: certificates, their names, what is refused, and what a person is told.

use harness::{Authority, Output, Setup, Subject, TestTarget};

/// A role for each of these principals on every target.
fn roles(all: &[(&str, &str)]) -> String {
    let role = |(principal, role): &(&str, &str)| {
        format!("\n[[role]]\nprincipal = \"{principal}\"\ntargets = [\"*\"]\nrole = \"{role}\"\n")
    };
    all.iter().map(role).collect()
}

#[track_caller]
fn denied(out: &Output, code: u8, words: &[&str]) {
    out.expect(code);
    for word in words {
        assert!(out.stderr.contains(word), "says {word}\n{out}");
    }
}

#[tokio::test]
async fn a_remote_client_runs_over_tls_as_the_name_in_its_certificate() {
    let target = TestTarget::migrated().await;
    let authority = Authority::new();
    let ci = authority.client("ci", &Subject::uri("spiffe://example.org/ci"));
    let viewer = authority.client("viewer", &Subject::dns("viewer.example.org"));
    let roles = roles(&[("cert:spiffe://example.org/ci", "resetter"), ("cert:*.example.org", "viewer")]);
    let daemon = Setup::of(&target).with(&roles).tls(&authority).spawn().await;

    let out = daemon.ctl_tls(&authority, Some(&ci), "run --confirm-destructive-reset RESET").await;
    out.expect(0);
    assert_eq!(out.text("/principal/name"), "cert:spiffe://example.org/ci", "{out}");
    assert_eq!(out.text("/principal/auth_method"), "client certificate", "{out}");

    daemon.ctl_tls(&authority, Some(&viewer), "status").await.expect(0);
    let out = daemon.ctl_tls(&authority, Some(&viewer), "validate").await;
    denied(&out, 3, &["PERMISSION_DENIED", "cert:viewer.example.org"]);

    let out = daemon.ctl_tls(&authority, None, "status").await;
    denied(&out, 3, &["UNAUTHENTICATED", "--cert", "--token-file"]);
}

#[tokio::test]
async fn a_certificate_without_a_name_that_counts_is_nobody() {
    let target = TestTarget::migrated().await;
    let authority = Authority::new();
    let named = Subject { common: "admin".to_owned(), ..Subject::default() };
    let certificate = authority.client("common", &named);
    let daemon = Setup::of(&target).with(&roles(&[("cert:*", "admin")])).tls(&authority).start().await;
    let out = daemon.ctl_tls(&authority, Some(&certificate), "status").await;
    denied(&out, 3, &["UNAUTHENTICATED", "the common name does not count"]);
    let certificate = authority.client("bare", &Subject::uri("client.example.org"));
    let out = daemon.ctl_tls(&authority, Some(&certificate), "status").await;
    denied(&out, 3, &["UNAUTHENTICATED", "has no scheme"]);
}

#[tokio::test]
async fn what_is_wrong_between_client_and_daemon_is_said_with_what_to_do() {
    let target = TestTarget::migrated().await;
    let (authority, stranger) = (Authority::new(), Authority::named("another authority"));
    let good = authority.client("good", &Subject::dns("good.example.org"));
    let roles = roles(&[("cert:*", "viewer")]);
    let daemon = Setup::of(&target).with(&roles).tls(&authority).start().await;
    let address = daemon.address.trim_start_matches("https://").to_owned();

    let expired = authority.client("expired", &Subject { expired: true, ..Subject::dns("good.example.org") });
    let out = daemon.ctl_tls(&authority, Some(&expired), "status").await;
    denied(&out, 3, &["UNAUTHENTICATED", "it has expired", "expired.pem"]);

    // An authority of another name, and one of the same name with another key: what is left of an old one.
    for stranger in [&stranger, &Authority::new()] {
        let foreign = stranger.client("foreign", &Subject::dns("good.example.org"));
        let out = daemon.ctl_tls(&authority, Some(&foreign), "status").await;
        denied(&out, 3, &["UNAUTHENTICATED", "CA is not known there"]);
        let out = daemon.ctl_tls(stranger, Some(&good), "status").await;
        denied(&out, 11, &["DAEMON_UNREACHABLE", "a CA that is not known here"]);
    }
    let out = daemon.ctl("status").await;
    denied(&out, 11, &["DAEMON_UNREACHABLE", "name the daemon's CA: --ca FILE"]);

    let out = daemon.ctl(&format!("--server http://{address} status")).await;
    denied(&out, 11, &["speaks TLS", &format!("--server https://{address}")]);
    let port = address.rsplit_once(':').unwrap().1;
    let ca = authority.ca();
    let out = daemon.ctl(&format!("--server https://127.0.0.2:{port} --ca {} status", ca.display())).await;
    denied(&out, 11, &["127.0.0.2"]);

    let missing = daemon.ctl(&format!("--cert {} status", good.cert.display())).await;
    denied(&missing, 2, &["--cert was given without --key"]);
    let out = daemon.ctl("--ca /no/such/file status").await;
    denied(&out, 2, &["/no/such/file cannot be read"]);
}

#[tokio::test]
async fn a_daemon_whose_certificate_does_not_hold_is_not_believed() {
    let target = TestTarget::migrated().await;
    for (names, expired, words) in [
        (["other.example.org"].as_slice(), false, "not for `127.0.0.1`"),
        (["127.0.0.1"].as_slice(), true, "its certificate has expired"),
    ] {
        let authority = Authority::new();
        let setup = Setup::of(&target).tls(&authority);
        let _replaced = authority.daemon_as("daemon", names, expired);
        let daemon = setup.start().await;
        let out = daemon.ctl_tls(&authority, None, "status").await;
        denied(&out, 11, &["DAEMON_UNREACHABLE", words]);
    }
}

#[tokio::test]
async fn tls_to_a_plaintext_daemon_says_so() {
    let target = TestTarget::migrated().await;
    let daemon = Setup::of(&target).start().await;
    let out = daemon.ctl(&format!("--server https://{} status", daemon.address)).await;
    denied(&out, 11, &["does not speak TLS"]);
}
