//! Windows between people on other machines: each has a token, and everything goes over TLS through the real client.

use harness::{
    Authority, Daemon, Migrations, Output, Running, Setup, TestTarget, commands::RUN, operations::queue_of,
};

const PEOPLE: [&str; 3] = ["alice", "bob", "carol"];

/// The words of one of them; the token lies in a file of their own.
fn words(authority: &Authority, who: &str, line: &str) -> Vec<String> {
    let mut words = Daemon::with(authority, None, "--token-file");
    words.push(format!("{who}.token"));
    words.extend(line.split_whitespace().map(str::to_owned));
    words
}

struct Team {
    authority: Authority,
    daemon: Daemon,
}

impl Team {
    async fn of(setup: Setup) -> Self {
        let authority = Authority::new();
        let role = |who: &str| {
            format!("\n[[role]]\nprincipal = \"token:{who}\"\ntargets = [\"*\"]\nrole = \"resetter\"\n")
        };
        let mut roles: String = PEOPLE.iter().map(|who| role(who)).collect();
        roles += "\n[[role]]\nprincipal = \"unix:*\"\ntargets = [\"*\"]\nrole = \"admin\"\n";
        let daemon = setup.with(&roles).tls(&authority).listen_also("unix:socket").spawn().await;
        for who in PEOPLE {
            let file = format!("{who}.token");
            daemon.ctl_at(1, &["token", "create", who, "--output", &file]).finish().await.expect(0);
        }
        Self { authority, daemon }
    }

    fn start(&self, who: &str, line: &str) -> Running {
        let words = words(&self.authority, who, line);
        self.daemon.ctl_at(0, &words.iter().map(String::as_str).collect::<Vec<_>>())
    }

    async fn ctl(&self, who: &str, line: &str) -> Output {
        self.start(who, line).finish().await
    }
}

#[tokio::test]
async fn a_token_reserves_others_are_told_and_wait_in_the_order_of_coming() {
    let target = TestTarget::migrated().await;
    let team = Team::of(Setup::of(&target)).await;
    let before = target.state().await;
    let reserved = team.ctl("alice", "window reserve --for 45m --reason release-rehearsal").await;
    reserved.expect(0);
    let end = team.ctl("bob", "window list --json").await;
    let end: serde_json::Value = serde_json::from_str(&end.expect(0).stdout).unwrap();
    let end = end[0]["ends_at"].as_str().unwrap().to_owned();

    let out = team.ctl("bob", RUN).await;
    out.expect(9).refused("WINDOW_HELD");
    for told in ["token:alice", "release-rehearsal", &end[..19]] {
        assert!(out.stderr.contains(told), "{told}\n{out}");
    }
    assert_eq!(before, target.state().await);
    team.ctl("carol", "window release --reason impatience").await.expect(6);

    let mut waiting = Vec::new();
    for (n, who) in ["bob", "carol", "bob"].into_iter().enumerate() {
        let running = team.start(who, &format!("{RUN} --wait --label n={n}"));
        queue_of(&target, n + 1).await;
        waiting.push(running);
    }
    team.ctl("alice", RUN).await.expect(0);
    team.ctl("alice", "window release").await.expect(0);
    for running in waiting {
        let out = running.finish().await;
        out.expect(0);
        assert!(out.stderr.contains("token:alice"), "it says whom it waited for\n{out}");
    }
    let order = "SELECT principal || coalesce(' ' || (labels ->> 'n'), '') FROM resetd.operation
                  WHERE outcome = 'succeeded' ORDER BY started_at";
    let order: Vec<String> = target.control_rows(order).await.into_iter().map(|row| row[0].clone()).collect();
    assert_eq!(order, ["token:alice", "token:bob 0", "token:carol 1", "token:bob 2"]);
    team.daemon.stop().await;
}

#[tokio::test]
async fn a_run_of_one_token_is_rolled_back_where_the_window_of_another_begins() {
    let target = TestTarget::migrated().await;
    let chains = Migrations::shipped();
    chains.revision("core/zz_sleep.sql", "core_999", "core_001", "SELECT pg_sleep(3600);");
    let team = Team::of(Setup::of(&target).migrations(&chains)).await;
    let before = target.state().await;
    let reserved = "window reserve --start +5s --for 10m --reason demo";
    team.ctl("alice", reserved).await.expect(0);
    let out = team.ctl("bob", RUN).await;
    out.expect(9).refused("WINDOW_HELD");
    assert!(out.stderr.contains("token:alice") && out.stderr.contains("rolled back"), "{out}");
    assert_eq!(before, target.state().await);
    let started = "SELECT finished_at >= lower(period) AND started_at < lower(period)
                     FROM resetd.operation, resetd.reset_window";
    assert_eq!(target.control_rows(started).await, [["t"]], "it had begun, and ended at the edge");
    team.ctl("alice", "window list").await.expect(0);
    team.daemon.stop().await;
}
