//! Bearer tokens: made once, kept as a hash, good until they expire or are revoked, on every daemon at once.

use std::{fs, os::unix::fs::PermissionsExt as _, process::Stdio};

use harness::{Api, Daemon, Setup, TestTarget, binary, soon, with_token as with};
use model::fault::Reason;
use tonic::Status;
use uuid::Uuid;
use wire::v1;

/// A daemon on a unix socket, where tokens may be sent and this user is admin.
async fn daemon(target: &TestTarget) -> Daemon {
    Setup::of(target).listen("unix:socket").start().await
}

/// Who a token proves, or why it proves nobody.
async fn whoami(api: &mut Api, token: &str) -> Result<String, Status> {
    let reply = api.system.get_server_info(with(token, v1::GetServerInfoRequest {})).await?;
    Ok(reply.into_inner().principal)
}

#[track_caller]
fn refused(outcome: Result<String, Status>, words: &str) {
    let status = outcome.expect_err("it proves nobody");
    let fault = wire::decode_status(&status).expect("a fault of the contract");
    assert_eq!(fault.reason, Reason::Unauthenticated, "{fault:?}");
    assert!(fault.message.contains(words), "{fault:?}");
    assert!(fault.hint.is_some(), "{fault:?}");
}

async fn made(daemon: &Daemon, words: &str) -> String {
    let out = daemon.ctl(&format!("token create {words}")).await;
    out.expect(0);
    assert!(out.stderr.contains("token:"), "{out}");
    let token = out.stdout.trim_end().to_owned();
    assert_eq!(out.stdout, format!("{token}\n"), "nothing but the token");
    model::token::Token::parse(&token).unwrap_or_else(|error| panic!("{error}\n{out}"));
    token
}

fn id(token: &str) -> &str {
    token.split('_').nth(1).unwrap()
}

#[tokio::test]
async fn a_token_lives_from_its_making_to_its_revocation() {
    let target = TestTarget::empty().await;
    let (one, two) = (daemon(&target).await, daemon(&target).await);
    let token = made(&one, "deploy --for 30d").await;
    let (mut here, mut there) = (one.api().await, two.api().await);
    assert_eq!(whoami(&mut here, &token).await.unwrap(), "token:deploy");
    assert_eq!(whoami(&mut there, &token).await.unwrap(), "token:deploy");

    let list = one.ctl("token list --json").await;
    let list: serde_json::Value = serde_json::from_str(&list.expect(0).stdout).unwrap();
    assert_eq!((&list[0]["name"], &list[0]["state"]), (&"deploy".into(), &"valid".into()));
    assert_eq!(list[0]["id"], id(&token));
    assert!(list[0]["last_used_at"].is_string(), "{list}");
    let days = "SELECT round(extract(epoch FROM expires_at - created_at) / 86400) FROM resetd.token";
    assert_eq!(target.control_rows(days).await[0][0], "30");
    // Written once a minute at most.
    let used = "SELECT last_used_at::text || xmin::text FROM resetd.token";
    let before = target.control_rows(used).await;
    whoami(&mut here, &token).await.unwrap();
    assert_eq!(target.control_rows(used).await, before);

    // The next one, while the first is still good; a third is one too many.
    let next = made(&one, "deploy").await;
    assert_eq!(whoami(&mut there, &next).await.unwrap(), "token:deploy");
    assert_eq!(whoami(&mut there, &token).await.unwrap(), "token:deploy");
    let third = one.ctl("token create deploy").await;
    third.expect(2);
    assert!(third.stderr.contains("LIMIT_EXCEEDED") && third.stderr.contains(id(&token)), "{third}");

    // Revoked at one daemon, useless at both with the very next call.
    one.ctl(&format!("token revoke {}", id(&token))).await.expect(0);
    refused(whoami(&mut there, &token).await, "revoked");
    refused(whoami(&mut here, &token).await, "revoked");
    assert_eq!(whoami(&mut there, &next).await.unwrap(), "token:deploy");
    one.ctl(&format!("token revoke {}", id(&token))).await.expect(0);
    made(&one, "deploy").await;

    let table = one.ctl("token list").await;
    assert!(table.expect(0).stdout.contains("revoked") && table.stdout.contains("valid"), "{table}");
    let gone = one.ctl("token revoke 00000000000").await;
    gone.expect(6);
    assert!(gone.stderr.contains("TOKEN_NOT_FOUND"), "{gone}");
}

#[tokio::test]
async fn what_is_expired_wrong_or_no_token_proves_nobody() {
    let target = TestTarget::empty().await;
    let daemon = daemon(&target).await;
    let mut api = daemon.api().await;
    let (token, other) = (made(&daemon, "deploy").await, made(&daemon, "other").await);
    target.control_sql("UPDATE resetd.token SET expires_at = clock_timestamp() WHERE name = 'deploy'").await;
    refused(whoami(&mut api, &token).await, "expired");
    // Nobody learns by a wrong secret that the id is known, nor that it expired.
    let parts: Vec<&str> = token.split('_').collect();
    let foreign = model::token::Token::mint([1; model::token::NUMBERS]);
    refused(whoami(&mut api, foreign.text().expose()).await, "not known");
    target
        .control_sql(&format!("UPDATE resetd.token SET id = '{}' WHERE name = 'other'", foreign.id()))
        .await;
    refused(whoami(&mut api, foreign.text().expose()).await, "not known");
    refused(whoami(&mut api, &other).await, "not known");
    refused(whoami(&mut api, "").await, "no bearer token");
    for wrong in [
        "x",
        "rsd_",
        &token[..token.len() - 1],
        &format!("{token}x"),
        &format!("rsd_{}_{}_{}", parts[2], parts[1], parts[3]),
        &format!("rsd_{}_{}_000000", parts[1], parts[2]),
        &"x".repeat(4_000),
    ] {
        refused(whoami(&mut api, wrong).await, "cannot be used");
    }
    // The socket's owner is admin, but whoever shows a bad token is nobody.
    let call = with("rsd_x", v1::ListTokensRequest {});
    assert_eq!(api.admin.list_tokens(call).await.unwrap_err().code(), tonic::Code::Unauthenticated);
}

#[tokio::test]
async fn a_request_makes_one_token() {
    let target = TestTarget::empty().await;
    let daemon = daemon(&target).await;
    let mut api = daemon.api().await;
    let lifetime = Some(duration(3_600));
    let request = v1::CreateTokenRequest {
        request_id: Uuid::new_v4().to_string(),
        name: "deploy".to_owned(),
        lifetime,
    };
    let first = api.admin.create_token(request.clone()).await.unwrap().into_inner();
    let again = api.admin.create_token(request.clone()).await.unwrap().into_inner();
    assert!(!first.secret.is_empty() && again.secret.is_empty(), "shown once");
    assert_eq!(first.token.unwrap().id, again.token.unwrap().id);
    for other in [
        v1::CreateTokenRequest { name: "other".to_owned(), ..request.clone() },
        v1::CreateTokenRequest { lifetime: Some(duration(7_200)), ..request.clone() },
    ] {
        let status = api.admin.create_token(other).await.unwrap_err();
        assert_eq!(wire::decode_status(&status).unwrap().reason, Reason::RequestIdConflict);
    }
    let fresh = |name: &str, seconds| v1::CreateTokenRequest {
        request_id: Uuid::new_v4().to_string(),
        name: name.to_owned(),
        lifetime: Some(duration(seconds)),
    };
    for wrong in [fresh("", 60), fresh("a b", 60), fresh("a*", 60), fresh("a", 0), fresh("a", 366 * 86_400)] {
        let status = api.admin.create_token(wrong).await.unwrap_err();
        assert_eq!(wire::decode_status(&status).unwrap().reason, Reason::InvalidRequest, "{status:?}");
    }
    assert_eq!(target.control_rows("SELECT count(*) FROM resetd.token").await[0][0], "1");
    // Many at once: two get through.
    let mut crowd = tokio::task::JoinSet::new();
    for _ in 0..12 {
        let (mut api, request) = (api.clone(), fresh("crowd", 60));
        crowd.spawn(async move { api.admin.create_token(request).await.is_ok() });
    }
    let made = crowd.join_all().await.into_iter().filter(|ok| *ok).count();
    assert_eq!(made, model::token::VALID_AT_ONCE);
}

fn duration(seconds: u64) -> prost_types::Duration {
    prost_types::Duration::try_from(std::time::Duration::from_secs(seconds)).unwrap()
}

#[tokio::test]
async fn a_token_may_what_its_role_says() {
    let target = TestTarget::migrated().await;
    let role = |principal: &str, role: &str| {
        format!("\n[[role]]\nprincipal = \"{principal}\"\ntargets = [\"*\"]\nrole = \"{role}\"\n")
    };
    let text = role("unix:*", "admin") + &role("token:reader-*", "viewer");
    let daemon = Setup::of(&target).with(&text).listen("unix:socket").start().await;
    let mut api = daemon.api().await;
    let (reader, stranger) = (made(&daemon, "reader-1").await, made(&daemon, "stranger").await);
    let get = || v1::GetTargetRequest { target: target.name.clone() };
    api.targets.get_target(with(&reader, get())).await.unwrap();
    let denied = api.targets.get_target(with(&stranger, get())).await.unwrap_err();
    assert_eq!(denied.code(), tonic::Code::PermissionDenied);
    let denied = api.admin.list_tokens(with(&reader, v1::ListTokensRequest {})).await.unwrap_err();
    assert_eq!(denied.code(), tonic::Code::PermissionDenied);
}

#[tokio::test]
async fn a_token_goes_to_a_file_that_only_its_owner_may_read() {
    let target = TestTarget::empty().await;
    let daemon = daemon(&target).await;
    let path = daemon.folder().join("deploy.token");
    let out = daemon.ctl("token create deploy --output deploy.token --json").await;
    let shown: serde_json::Value = serde_json::from_str(&out.expect(0).stdout).unwrap();
    assert_eq!(shown["name"], "deploy");
    assert!(!out.stdout.contains("rsd_") && !out.stderr.contains("rsd_"), "{out}");
    let token = fs::read_to_string(&path).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let mut api = daemon.api().await;
    assert_eq!(whoami(&mut api, token.trim_end()).await.unwrap(), "token:deploy");
    // Where it cannot be written, none is made.
    let out = daemon.ctl("token create lost --output no/such/folder/token").await;
    out.expect(1);
    assert_eq!(target.control_rows("SELECT count(*) FROM resetd.token").await[0][0], "1");
}

/// Runs `resetd token …` on the daemon's machine.
async fn on_the_host(target: &TestTarget, folder: &std::path::Path, words: &[&str]) -> (i32, String, String) {
    let config = folder.join("host.toml");
    let text = format!(
        "{}\n[audit]\nfile = \"{}\"\n\n[target.{}]\ndatabase_url_env = \"URL\"\n",
        target.control_section(),
        folder.join("audit.jsonl").display(),
        target.name
    );
    fs::write(&config, text).unwrap();
    let mut command = tokio::process::Command::new(binary("resetd"));
    command.arg("token").args(words).arg("--config").arg(&config).current_dir(folder);
    command.envs(target.control_url().map(|url| ("CONTROL_URL", url)));
    command.env("URL", target.url()).stdin(Stdio::null()).kill_on_drop(true);
    let output = soon("the end of resetd token", command.output()).await.unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

#[tokio::test]
async fn on_the_daemons_machine_it_works_without_a_daemon() {
    let target = TestTarget::empty().await;
    let folder = tempfile::tempdir().unwrap();
    let (code, token, said) = on_the_host(&target, folder.path(), &["create", "first", "--for", "1h"]).await;
    assert_eq!(code, 0, "{said}");
    let token = token.trim_end();
    assert!(said.contains("token:first") && !said.contains(token), "{said}");
    let (code, list, _) = on_the_host(&target, folder.path(), &["list"]).await;
    assert_eq!((code, list.contains(id(token)), list.contains(token)), (0, true, false), "{list}");

    let daemon = daemon(&target).await;
    let mut api = daemon.api().await;
    assert_eq!(whoami(&mut api, token).await.unwrap(), "token:first");
    let (code, _, said) = on_the_host(&target, folder.path(), &["revoke", id(token)]).await;
    assert_eq!(code, 0, "{said}");
    refused(whoami(&mut api, token).await, "revoked");

    for (words, code) in [
        (&["create", "a b"][..], 2),
        (&["create", "a", "--for", "9999d"], 2),
        (&["revoke", "x"], 2),
        (&["revoke", "00000000000"], 6),
        (&["create", "x", "--output", "no/such/token"], 1),
    ] {
        let (got, _, said) = on_the_host(&target, folder.path(), words).await;
        assert_eq!(got, code, "{words:?}: {said}");
        assert!(said.contains("resetd: "), "{said}");
    }
    // It is on record, in the control database and in the file.
    daemon.ctl("audit verify").await.expect(0);
    let records = daemon.ctl("audit list --json").await.stdout.clone();
    let lines = fs::read_to_string(folder.path().join("audit.jsonl")).unwrap();
    for text in [&records, &lines] {
        assert!(text.contains("makes token") && text.contains("revokes token"), "{text}");
        assert!(text.contains("the daemon's machine") && !text.contains(token), "{text}");
    }
}

/// Who sends tokens by the hundred has few turns at the control database, and others do not wait for theirs.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_tokens_does_not_use_up_the_control_database() {
    let target = TestTarget::empty().await;
    let daemon = daemon(&target).await;
    let token = made(&daemon, "flood").await;
    let mut lock = target.control_session().await;
    lock.sql("BEGIN; LOCK TABLE resetd.token IN ACCESS EXCLUSIVE MODE").await;
    let (sender, mut ended) = tokio::sync::mpsc::unbounded_channel();
    for _ in 0..5 {
        let api = daemon.api().await;
        for _ in 0..20 {
            let (mut system, token, sender) = (api.system.clone(), token.clone(), sender.clone());
            tokio::spawn(async move {
                let answer = system.get_server_info(with(&token, v1::GetServerInfoRequest {})).await;
                sender.send(answer.map(|_| ())).expect("somebody counts");
            });
        }
    }
    for _ in 0..36 {
        let status = soon("a refusal", ended.recv()).await.expect("a call").expect_err("too many wait");
        assert_eq!(wire::decode_status(&status).expect("a fault").reason, Reason::LimitExceeded);
    }
    // Who proves it otherwise does not stand in that queue, and finds the control database free.
    daemon.ctl("status").await.expect(0);
    lock.sql("COMMIT").await;
    for _ in 0..64 {
        soon("an answer", ended.recv()).await.expect("a call").expect("the token is good");
    }
}
