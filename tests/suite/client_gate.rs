//! `gate` and `wait`: verbs for what must not begin before a target is as it should be.

use harness::{Gate, Migrations, Setup, TestTarget, commands::RUN};
use serde_json::Value;

#[tokio::test]
async fn the_gate_is_open_only_after_a_valid_run_of_these_chains_with_nothing_since() {
    let (target, chains) = (TestTarget::migrated().await, Migrations::shipped());
    let daemon = Setup::of(&target).migrations(&chains).start().await;
    let mine = chains.path().display().to_string();
    let gate = async |folder: &str| daemon.ctl_args(&["gate", "--chains", folder]).await;
    let closed = async |folder: &str, why: &str| {
        let out = gate(folder).await;
        assert!(out.expect(4).stderr.contains("GATE_CLOSED") && out.stderr.contains(why), "{why}\n{out}");
    };
    closed(&mine, "no operation on record").await;
    let id = daemon.ctl(RUN).await.expect(0).text("/operation").to_owned();
    let out = gate(&mine).await;
    assert!(out.expect(0).stdout.contains(&id), "{out}");
    let json = daemon.ctl_args(&["gate", "--chains", &mine, "--json"]).await;
    let json: Value = serde_json::from_str(&json.expect(0).stdout).unwrap();
    assert_eq!((&json["open"], json["operation"].as_str()), (&Value::Bool(true), Some(&*id)), "{json}");
    // What changes nothing closes nothing: a dry run, a refusal, a validation.
    daemon.ctl("run --dry-run").await.expect(0);
    daemon.ctl("run").await.expect(4);
    gate(&mine).await.expect(0);
    // Other chains than these.
    let other = Migrations::shipped();
    other.revision("core/core_900.sql", "core_900", "core_001", "CREATE TABLE extra (n int)");
    closed(&other.path().display().to_string(), "chain core").await;
    // A chain that the daemon does not have.
    other.remove("core/core_900.sql");
    other.revision("billing/billing_001.sql", "billing_001", "none", "CREATE TABLE bills (n int)");
    closed(&other.path().display().to_string(), "no chain billing").await;
    // Something that happened behind the daemon's back.
    target.sql("DROP TABLE general.state CASCADE").await;
    closed(&mine, "changed since").await;
    daemon.ctl(RUN).await.expect(0);
    gate(&mine).await.expect(0);
    // Another verb was last.
    daemon.ctl("reset --confirm-destructive-reset RESET").await.expect(0);
    closed(&mine, "not a run").await;
    // While something runs there is no answer.
    let hold = Gate::before(&target, "PLANNED").await;
    let running = daemon.ctl_spawn(RUN);
    hold.reached().await;
    assert!(gate(&mine).await.expect(9).stderr.contains("TARGET_LOCKED"));
    hold.open().await;
    running.finish().await.expect(0);
    gate(&mine).await.expect(0);
}

#[tokio::test]
async fn a_state_is_waited_for_until_it_comes_or_the_time_is_over() {
    let target = TestTarget::migrated().await;
    let daemon = Setup::of(&target).start().await;
    for state in ["free", "valid"] {
        daemon.ctl(&format!("wait --for={state} --timeout 20s")).await.expect(0);
    }
    daemon.ctl("wait --for=window --timeout 1s").await.expect(9);
    daemon.ctl("wait --for=nothing").await.expect(2);
    // Held, then given back.
    let hold = Gate::before(&target, "PLANNED").await;
    let running = daemon.ctl_spawn(RUN);
    hold.reached().await;
    let out = daemon.ctl("wait --for=free --timeout 1s").await;
    assert!(out.expect(9).stderr.contains("WAIT_EXPIRED"), "{out}");
    let waits = daemon.ctl_spawn("wait --for=free");
    hold.open().await;
    running.finish().await.expect(0);
    waits.finish().await.expect(0);
    // A window of one's own that comes.
    let waits = daemon.ctl_spawn("wait --for=window");
    daemon.ctl("window reserve --for 1m --start +1s --reason why").await.expect(0);
    waits.finish().await.expect(0);
    // Not valid, then mended.
    target.sql("DROP TABLE general.state CASCADE").await;
    let waits = daemon.ctl_spawn("wait --for=valid");
    daemon.ctl(RUN).await.expect(0);
    waits.finish().await.expect(0);
}

#[tokio::test]
async fn the_state_of_each_chain_in_each_schema_is_shown() {
    let (target, chains) = (TestTarget::empty().await, Migrations::shipped());
    let daemon = Setup::of(&target).migrations(&chains).start().await;
    daemon.ctl(RUN).await.expect(0);
    let rows = async || -> Vec<Value> {
        let out = daemon.ctl("migrations status --json").await;
        serde_json::from_str(&out.expect(0).stdout).unwrap()
    };
    assert!(rows().await.iter().all(|row| row["state"] == "up-to-date"), "{:?}", rows().await);
    // A new revision is pending, an edited one differs from what was applied, a stranger's is unknown.
    chains.revision("core/core_900.sql", "core_900", "core_001", "CREATE TABLE extra (n int)");
    let pending = rows().await;
    let general = |rows: &[Value]| {
        rows.iter().find(|row| row["schema"] == "general" && row["chain"] == "core").unwrap().clone()
    };
    assert_eq!(general(&pending)["pending"], serde_json::json!(["core/core_900.sql"]), "{pending:?}");
    let text = chains.read("core/core_001.sql");
    chains.write("core/core_001.sql", &format!("{text}\n-- edited\n"));
    let edited = rows().await;
    assert_eq!(general(&edited)["edited"], serde_json::json!(["core/core_001.sql"]), "{edited:?}");
    target.sql("INSERT INTO general.alembic_version VALUES ('stranger')").await;
    let unknown = rows().await;
    assert_eq!(general(&unknown)["unknown"], serde_json::json!(["stranger"]), "{unknown:?}");
    let table = daemon.ctl("migrations status").await;
    for part in ["core/core_900.sql", "edited after", "stranger", "unknown revisions"] {
        assert!(table.expect(0).stdout.contains(part), "{part}\n{table}");
    }
    let list = daemon.ctl("migrations list").await;
    assert!(list.expect(0).stdout.contains("core/core_900.sql"), "{list}");
}

#[tokio::test]
async fn the_doctor_says_what_is_wrong_and_what_to_do() {
    let target = TestTarget::migrated().await;
    let daemon = Setup::of(&target).listen("unix:socket").start().await;
    let out = daemon.ctl("doctor").await;
    for part in ["daemon", "RESETCTL_SERVER", "you are", "unix:", &target.name] {
        assert!(out.expect(0).stdout.contains(part), "{part}\n{out}");
    }
    let who = daemon.ctl("whoami").await;
    assert!(who.expect(0).stdout.starts_with("unix:"), "{who}");
    let json: Value = serde_json::from_str(&daemon.ctl("doctor --json").await.expect(0).stdout).unwrap();
    assert!(json.as_array().unwrap().iter().all(|step| step["health"] != "error"), "{json}");
    let yaml = daemon.ctl("doctor -o yaml").await;
    assert!(yaml.expect(0).stdout.starts_with("- step: \"daemon\"\n"), "{yaml}");
    // Nobody there, and no such target.
    let out = daemon.ctl("--server unix:/tmp/no/such/resetd.sock doctor").await;
    assert!(out.expect(11).stdout.contains("error") && out.stdout.contains("what to do"), "{out}");
    let out = daemon.ctl("--target nosuch doctor").await;
    assert!(out.expect(6).stdout.contains("TARGET_NOT_FOUND"), "{out}");
}
