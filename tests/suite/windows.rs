//! Windows: reserved, kept apart, shown; who may change a target in one, and who may not. Also the tools that the other
//! files about windows share.

use std::path::Path;

use harness::{
    Setup, TestTarget,
    commands::RUN,
    operations::fault,
    request,
    windows::{GUEST, Two, extend, prost_duration, refused, release, reserve, wish},
};
use jiff::Timestamp;
use model::operation::Verb;
use tonic::Code;
use uuid::Uuid;
use wire::v1;

#[tokio::test]
async fn the_second_one_is_told_holder_end_and_reason() {
    let two = Two::new("").await;
    let before = two.target.state().await;
    let out = two.own(&["window", "reserve", "--for", "45m", "--reason", "rehearsal of 12"]).await;
    let id = out.expect(0).stdout.trim().to_owned();
    assert!(out.stderr.contains("window reserved"), "{out}");
    let listed = two.daemon.ctl("window list --json").await;
    let listed: serde_json::Value = serde_json::from_str(&listed.stdout).unwrap();
    assert_eq!((listed[0]["id"].as_str(), listed[0]["principal"].as_str()), (Some(&*id), Some(&*two.me)));
    for line in [RUN, "reset --confirm-destructive-reset RESET", "migrate"] {
        for scope in ["", " --scope database"] {
            if line == "migrate" && !scope.is_empty() {
                continue;
            }
            let out = two.daemon.ctl(&format!("{line}{scope}")).await;
            out.refused("WINDOW_HELD").expect(9);
            let end: &str = listed[0]["ends_at"].as_str().unwrap();
            for word in [&two.me, "rehearsal of 12", &end[..19]] {
                assert!(out.stderr.contains(word), "{word}: {out}");
            }
        }
    }
    assert_eq!(before, two.target.state().await);
    // Looking is allowed, and the owner goes on.
    two.daemon.ctl("validate").await.expect(0);
    let dry = two.daemon.ctl("run --dry-run").await;
    assert_eq!(dry.expect(0).text("/plan/refusal/reason"), "WINDOW_HELD", "{dry}");
    two.own(&RUN.split(' ').collect::<Vec<_>>()).await.expect(0);
    let released = two.own(&["window", "release"]).await;
    assert!(released.expect(0).stderr.contains("window released"), "{released}");
    two.daemon.ctl(RUN).await.expect(0);
    two.own(&["window", "release"]).await.expect(6);
    two.own(&["window", "show", &id]).await.expect(0);
    two.daemon.stop().await;
}

#[tokio::test]
async fn where_a_window_is_required_the_command_that_reserves_one_is_said() {
    let two = Two::new("[profile.local]\nwindow = \"required\"\n").await;
    let before = two.target.state().await;
    for line in [
        RUN,
        "reset --scope database --confirm-destructive-reset RESET",
        "migrate",
        "undo --confirm-destructive-reset RESET",
        "run --wait=10s --confirm-destructive-reset RESET",
    ] {
        let out = two.daemon.ctl(line).await;
        out.refused("WINDOW_REQUIRED").expect(4);
        assert!(out.stderr.contains("window reserve --for 45m"), "{out}");
    }
    two.daemon.ctl("validate").await.expect(0);
    two.daemon.ctl("migrate --dry-run").await.expect(0);
    assert_eq!(before, two.target.state().await);
    let command = format!("--target {} window reserve --for 45m --reason TEXT", two.target.name);
    two.daemon.ctl(&command).await.expect(0);
    two.daemon.ctl(RUN).await.expect(0);
    // The owner's right does not follow from the guest's window, and does not come by waiting for its end.
    let wait = ["run", "--wait", "--confirm-destructive-reset", "RESET"];
    for words in [&RUN.split(' ').collect::<Vec<_>>()[..], &wait] {
        let out = two.own(words).await;
        out.refused("WINDOW_REQUIRED").expect(4);
        assert!(out.at("/operation").is_null(), "refused before it waits\n{out}");
        assert!(out.stderr.contains(GUEST) && out.stderr.contains("window reserve --start"), "{out}");
    }
    // Nor by waiting for one that begins too late; one that begins in time is waited for.
    let start = ["window", "reserve", "--start", "+2h", "--for", "20m", "--reason", "later"];
    two.own(&start).await.expect(0);
    two.own(&wait.map(|word| if word == "--wait" { "--wait=1s" } else { word }))
        .await
        .refused("WAIT_EXPIRED");
    let mine = two.daemon.ctl("window list --json").await;
    let mine: serde_json::Value = serde_json::from_str(&mine.stdout).unwrap();
    two.daemon.ctl_args(&["window", "release", mine[0]["id"].as_str().unwrap()]).await.expect(0);
    let out = two.own(&wait.map(|word| if word == "--wait" { "--wait=1h" } else { word })).await;
    out.refused("WINDOW_REQUIRED").expect(4);
    assert!(out.at("/operation").is_null(), "{out}");
    two.daemon.stop().await;
}

#[tokio::test]
async fn windows_are_kept_apart_and_may_touch() {
    let mut two = Two::new("").await;
    let first = reserve(&mut two.owner, wish(&two.target, 600, 600)).await.unwrap();
    let at = |start: Timestamp| v1::ReserveWindowRequest {
        starts_at: Some(wire::timestamp(start)),
        starts_in: None,
        ..wish(&two.target, 0, 600)
    };
    let second = reserve(&mut two.guest, at(first.ends_at)).await.unwrap();
    let third = reserve(&mut two.owner, at(second.ends_at)).await.unwrap();
    assert_eq!((first.ends_at, second.ends_at), (second.starts_at, third.starts_at));
    // Every one that is in the way is named.
    let all = v1::ReserveWindowRequest { duration: Some(prost_duration(3600)), ..at(first.starts_at) };
    let (reason, message) = refused(reserve(&mut two.guest, all).await);
    assert_eq!(reason, "WINDOW_CONFLICT");
    for window in [&first, &second, &third] {
        assert!(message.contains(&window.phrase()), "{message}");
    }
    let (reason, message) = refused(extend(&mut two.owner, &first, second.ends_at).await);
    assert_eq!(reason, "WINDOW_CONFLICT");
    assert!(message.contains(&second.phrase()) && !message.contains(&first.phrase()), "{message}");
    release(&mut two.guest, &second, false, "").await.unwrap();
    let extended = extend(&mut two.owner, &first, second.ends_at).await.unwrap();
    assert_eq!((extended.ends_at, extended.etag == first.etag), (second.ends_at, false));
    // The etag that was read before is not the window's any more.
    assert_eq!(refused(extend(&mut two.owner, &first, first.ends_at).await).0, "WINDOW_CONFLICT");
    assert_eq!(refused(extend(&mut two.guest, &extended, first.ends_at).await).0, "PERMISSION_DENIED");
    assert_eq!(refused(release(&mut two.guest, &extended, false, "").await).0, "PERMISSION_DENIED");
    two.daemon.stop().await;
}

#[tokio::test]
async fn what_is_wrong_with_a_reservation_is_said() {
    let mut two = Two::new("[profile.local]\nlead_time = \"1m\"\nmax_window = \"1h\"\n").await;
    let past = Timestamp::now() - jiff::SignedDuration::from_hours(1);
    let base = || wish(&two.target, 120, 60);
    for (wish, word) in [
        (v1::ReserveWindowRequest { duration: None, ..base() }, "duration"),
        (v1::ReserveWindowRequest { duration: Some(prost_duration(0)), ..base() }, "longer than nothing"),
        (
            v1::ReserveWindowRequest {
                duration: Some(prost_types::Duration { seconds: -60, nanos: 0 }),
                ..base()
            },
            "negative",
        ),
        (v1::ReserveWindowRequest { duration: Some(prost_duration(3601)), ..base() }, "1h that are allowed"),
        (v1::ReserveWindowRequest { starts_in: Some(prost_duration(59)), ..base() }, "at least 1m ahead"),
        (v1::ReserveWindowRequest { starts_in: None, ..base() }, "at least 1m ahead"),
        (
            v1::ReserveWindowRequest { starts_in: None, starts_at: Some(wire::timestamp(past)), ..base() },
            "past",
        ),
        (v1::ReserveWindowRequest { starts_at: Some(wire::timestamp(past)), ..base() }, "excludes"),
        (v1::ReserveWindowRequest { reason: " ".into(), ..base() }, "reason"),
        (v1::ReserveWindowRequest { request_id: "x".into(), ..base() }, "request_id"),
    ] {
        let (reason, message) = refused(reserve(&mut two.owner, wish).await);
        assert!(reason == "INVALID_REQUEST" && message.contains(word), "{word}: {reason} {message}");
    }
    for (words, code) in [
        (vec!["window", "reserve", "--reason", "x"], 2),
        (vec!["window", "reserve", "--for", "0s", "--reason", "x"], 2),
        (vec!["window", "reserve", "--for", "-5m", "--reason", "x"], 2),
        (vec!["window", "reserve", "--for", "5m"], 2),
        (vec!["window", "reserve", "--for", "5m", "--reason", "x", "--start", "later"], 2),
        (vec!["window", "show", "x"], 2),
        (vec!["window", "show", "0197c9d2-7f3a-7cc3-98c4-dc0c0c07398f"], 6),
        (vec!["window", "release"], 6),
        (vec!["--target", "nosuch", "window", "list"], 6),
    ] {
        two.own(&words).await.expect(code);
    }
    assert_eq!(two.target.control_rows("SELECT count(*) FROM resetd.reset_window").await[0][0], "0");
    reserve(&mut two.owner, wish(&two.target, 60, 3600)).await.unwrap();
    two.daemon.stop().await;
}

#[tokio::test]
async fn the_same_request_reserves_once() {
    let mut two = Two::new("").await;
    let asked = wish(&two.target, 60, 60);
    let (mut guest, mut again) = (two.daemon.api_at(1).await, two.daemon.api_at(1).await);
    let (first, second) =
        tokio::join!(reserve(&mut guest, asked.clone()), reserve(&mut again, asked.clone()));
    let (first, second) = (first.unwrap(), second.unwrap());
    assert_eq!(first, second);
    let other = v1::ReserveWindowRequest { reason: "another".into(), ..asked.clone() };
    assert_eq!(refused(reserve(&mut two.owner, other).await).0, "REQUEST_ID_CONFLICT");
    assert_eq!(refused(reserve(&mut two.guest, asked).await).0, "REQUEST_ID_CONFLICT");
    // A repeated extension or release finds its window as it is.
    let request = v1::ReleaseWindowRequest {
        request_id: Uuid::new_v4().to_string(),
        window: first.id.to_string(),
        reason: String::new(),
        etag: first.etag.to_string(),
        force: false,
    };
    let once = two.owner.windows.release_window(request.clone()).await.unwrap().into_inner();
    let twice = two.owner.windows.release_window(request).await.unwrap().into_inner();
    assert_eq!(once, twice);
    assert_eq!(two.target.control_rows("SELECT count(*) FROM resetd.reset_window").await[0][0], "1");
    two.daemon.stop().await;
}

#[tokio::test]
async fn of_many_who_ask_for_the_same_time_one_gets_it() {
    let two = Two::new("").await;
    let there = Setup::of(&two.target).listen_also("unix:socket").start().await;
    let mut asking = Vec::new();
    for n in 0..20 {
        let daemon = if n % 2 == 0 { &two.daemon } else { &there };
        let (mut api, wish) = (daemon.api_at(n / 2 % 2).await, wish(&two.target, 60, 60));
        asking.push(tokio::spawn(async move { reserve(&mut api, wish).await }));
    }
    let (mut won, mut lost) = (0, 0);
    for asked in asking {
        match asked.await.unwrap() {
            Ok(_) => won += 1,
            Err(status) => {
                let fault = fault(&status);
                assert_eq!(
                    (status.code(), fault.reason.name()),
                    (Code::FailedPrecondition, "WINDOW_CONFLICT")
                );
                lost += 1;
            }
        }
    }
    assert_eq!((won, lost), (1, 19));
    there.stop().await;
    two.daemon.stop().await;
}

#[tokio::test]
async fn a_thousand_windows_are_listed_and_judged() {
    let mut two = Two::new("").await;
    let first = reserve(&mut two.owner, wish(&two.target, 0, 30)).await.unwrap();
    two.target
        .control_sql(
            "INSERT INTO resetd.reset_window (id, request_id, target_id, principal, reason, period)
             SELECT gen_random_uuid(), gen_random_uuid(), target_id, 'unix:bob', 'n' || n,
                    tstzrange(upper(period) + n * interval '1 minute', upper(period) + (n + 1) * interval '1 minute', '[)')
               FROM resetd.reset_window, generate_series(0, 998) n",
        )
        .await;
    let listed = two.daemon.ctl("window list --json").await;
    let listed: Vec<serde_json::Value> = serde_json::from_str(&listed.expect(0).stdout).unwrap();
    assert_eq!(listed.len(), 1000);
    let starts: Vec<&str> = listed.iter().map(|w| w["starts_at"].as_str().unwrap()).collect();
    assert!(starts.is_sorted(), "by start");
    let mut token = String::new();
    let mut seen = std::collections::BTreeSet::new();
    loop {
        let request = v1::ListWindowsRequest { page_size: 300, page_token: token, ..Default::default() };
        let page = two.guest.windows.list_windows(request).await.unwrap().into_inner();
        seen.extend(page.windows.into_iter().map(|w| w.id));
        token = page.next_page_token;
        if token.is_empty() {
            break;
        }
    }
    assert_eq!(seen.len(), 1000, "each once");
    two.daemon.ctl(RUN).await.refused("WINDOW_HELD");
    two.own(&RUN.split(' ').collect::<Vec<_>>()).await.expect(0);
    let status = two.daemon.ctl("status --json").await;
    let status: serde_json::Value = serde_json::from_str(&status.stdout).unwrap();
    assert_eq!(status["targets"][0]["window"]["id"], first.id.to_string());
    assert_eq!(status["targets"][0]["next_windows"].as_array().unwrap().len(), 5);
    two.daemon.stop().await;
}

#[tokio::test]
async fn a_database_is_one_whatever_daemons_call_it() {
    let mut two = Two::new("").await;
    let text = format!(
        "{}[target.other_name]\ndatabase_url_env = \"BUTLERS_DATABASE_URL\"\n",
        two.target.control_section()
    );
    let there = Setup::of(&two.target).config(&text).start().await;
    reserve(&mut two.owner, wish(&two.target, 0, 600)).await.unwrap();
    let out = there.ctl(RUN).await;
    out.refused("WINDOW_HELD");
    assert!(out.stderr.contains("target other_name is reserved"), "{out}");
    let listed = there.ctl("window list --json").await;
    assert!(listed.stdout.contains("\"target\": \"other_name\""), "{listed}");
    there.stop().await;
    two.daemon.stop().await;
}

#[tokio::test]
async fn a_target_is_enrolled_before_it_is_reserved() {
    let target = TestTarget::migrated().await;
    let setup = Setup::of(&target).with("[profile.local]\nself_enroll = false\n");
    let mut two = Two::with(target, setup).await;
    let before = request(Verb::Run, &two.target);
    assert_eq!(refused(two.owner.begin(&before).await).0, "TARGET_NOT_ENROLLED");
    let wish = wish(&two.target, 0, 60);
    assert_eq!(refused(reserve(&mut two.owner, wish.clone()).await).0, "TARGET_NOT_ENROLLED");
    let (name, database) = (&two.target.name, &two.target.database);
    two.own(&["target", "enroll", name, "--confirm-database", database]).await.expect(0);
    reserve(&mut two.owner, wish).await.unwrap();
    two.daemon.stop().await;
}

/// A daemon whose clock is wrong decides nothing by it: what judges windows never asks for the time here.
#[test]
fn the_databases_clock_decides() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    for file in [
        "server/src/engine/operation/window_deadline.rs",
        "server/src/engine/admin/windows.rs",
        "server/src/engine/operation/submit.rs",
        "server/src/postgres/control/window_guard.rs",
        "server/src/postgres/control/commit_deadline.rs",
        "server/src/postgres/control/windows.rs",
        "server/src/postgres/control/windows/within.rs",
        "proto/model/src/window.rs",
        "proto/model/src/window/rules.rs",
    ] {
        let text = std::fs::read_to_string(root.join(file)).unwrap();
        for clock in ["Timestamp::now", "SystemTime", "Zoned::now"] {
            assert!(!text.contains(clock), "{file} asks its own clock: {clock}");
        }
    }
}
