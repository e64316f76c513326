//! The embedded PostgreSQL on the machine's real server binaries: what it starts works, and what it leaves behind is
//! nothing. Runs as root and as an ordinary user.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use resetd::embedded::{Cluster, EmbeddedError, EmbeddedOptions, StopMode};
use sqlx::postgres::PgConnection;
use sqlx::{ConnectOptions as _, Connection as _, Executor as _};

fn alive(pid: u32) -> bool {
    let state = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    !state.is_empty() && !state.contains(") Z ")
}

fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !holds() {
        assert!(begin.elapsed() < Duration::from_secs(20), "not within 20 seconds: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

async fn connect(cluster: &Cluster) -> PgConnection {
    cluster.connect_options().connect().await.unwrap()
}

async fn number(connection: &mut PgConnection, sql: &'static str) -> i32 {
    sqlx::query_scalar(sql).fetch_one(connection).await.unwrap()
}

/// A folder for kept data that the server's user can reach, also where the tests run as root.
fn folder() -> (tempfile::TempDir, PathBuf) {
    use std::os::unix::fs::PermissionsExt as _;
    let parent = tempfile::tempdir().unwrap();
    std::fs::set_permissions(parent.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let data = parent.path().join("data");
    (parent, data)
}

fn kept(data: &Path) -> EmbeddedOptions {
    EmbeddedOptions { data_dir: Some(data.to_owned()), ..EmbeddedOptions::default() }
}

#[tokio::test]
async fn temporary_cluster_works_and_leaves_nothing() {
    let settings = vec![("wal_level".to_owned(), "logical".to_owned())];
    let mut cluster =
        Cluster::start(EmbeddedOptions { settings, ..EmbeddedOptions::default() }).await.unwrap();
    let (pid, home) = (cluster.pid().unwrap(), cluster.socket_dir().to_owned());
    assert!(cluster.is_running() && alive(pid) && cluster.log_path().exists());

    let mut connection = connect(&cluster).await;
    assert_eq!(number(&mut connection, "select 1").await, 1);
    let show = |name: &'static str| sqlx::query_scalar::<_, String>(name);
    assert_eq!(show("show wal_level").fetch_one(&mut connection).await.unwrap(), "logical");
    assert_eq!(show("show listen_addresses").fetch_one(&mut connection).await.unwrap(), "");
    assert_eq!(show("show server_encoding").fetch_one(&mut connection).await.unwrap(), "UTF8");
    connection.close().await.unwrap();

    cluster.stop(StopMode::Fast).await.unwrap();
    assert!(!alive(pid) && !home.exists());
}

#[tokio::test]
async fn dropping_a_cluster_ends_it() {
    let cluster = Cluster::start(EmbeddedOptions::default()).await.unwrap();
    let (pid, home) = (cluster.pid().unwrap(), cluster.socket_dir().to_owned());
    drop(cluster);
    assert!(!alive(pid) && !home.exists());
}

#[tokio::test]
async fn tcp_asks_for_the_password() {
    let options = EmbeddedOptions { tcp: true, ..EmbeddedOptions::default() };
    let cluster = Cluster::start(options).await.unwrap();
    let password = cluster.password().unwrap();
    let url =
        |password: &str| format!("postgres://postgres:{password}@127.0.0.1:{}/postgres", cluster.port());
    let mut connection = PgConnection::connect(&url(password)).await.unwrap();
    assert_eq!(number(&mut connection, "select 1").await, 1);
    connection.close().await.unwrap();
    assert!(PgConnection::connect(&url("wrong")).await.is_err());
    cluster.stop(StopMode::Immediate).await.unwrap();
}

#[tokio::test]
async fn restart_keeps_committed_data_in_both_modes() {
    let mut cluster = Cluster::start(EmbeddedOptions::default()).await.unwrap();
    connect(&cluster).await.execute("create table kept as select 42 as n").await.unwrap();
    for mode in [StopMode::Fast, StopMode::Immediate] {
        let before = cluster.pid();
        cluster.restart(mode).await.unwrap();
        assert_ne!(cluster.pid(), before);
        assert_eq!(number(&mut connect(&cluster).await, "select n from kept").await, 42);
    }
    cluster.stop(StopMode::Immediate).await.unwrap();
}

#[tokio::test]
async fn kept_folder_keeps_its_data_and_is_refused_while_used() {
    let (_parent, data) = folder();
    let cluster = Cluster::start(kept(&data)).await.unwrap();
    connect(&cluster).await.execute("create table kept as select 42 as n").await.unwrap();

    let refused = Cluster::start(kept(&data)).await.unwrap_err();
    assert!(matches!(refused, EmbeddedError::InUse { .. }), "{refused}");
    assert_eq!(number(&mut connect(&cluster).await, "select n from kept").await, 42);

    let home = cluster.socket_dir().to_owned();
    cluster.stop(StopMode::Fast).await.unwrap();
    assert!(data.join("PG_VERSION").exists() && !home.exists());

    // The second time over TCP, with the password of the first.
    let again = Cluster::start(EmbeddedOptions { tcp: true, ..kept(&data) }).await.unwrap();
    let url =
        format!("postgres://postgres:{}@127.0.0.1:{}/postgres", again.password().unwrap(), again.port());
    let mut connection = PgConnection::connect(&url).await.unwrap();
    assert_eq!(number(&mut connection, "select n from kept").await, 42);
    assert_eq!(sqlx::query_scalar::<_, String>("show fsync").fetch_one(&mut connection).await.unwrap(), "on");
    drop(again);
    assert!(data.join("PG_VERSION").exists() && !data.join("postmaster.pid").exists());
}

#[tokio::test]
async fn folders_that_cannot_be_used_are_refused_untouched() {
    let (_parent, data) = folder();
    std::fs::create_dir(&data).unwrap();
    std::fs::write(data.join("letter.txt"), "dear reader").unwrap();
    let refused = Cluster::start(kept(&data)).await.unwrap_err();
    assert!(matches!(refused, EmbeddedError::NotACluster { .. }), "{refused}");
    assert_eq!(std::fs::read_dir(&data).unwrap().count(), 1);

    std::fs::write(data.join("PG_VERSION"), "9.6\n").unwrap();
    let refused = Cluster::start(kept(&data)).await.unwrap_err();
    assert!(
        matches!(refused, EmbeddedError::OtherMajor { .. } | EmbeddedError::NotWritable { .. }),
        "{refused}"
    );

    let options = EmbeddedOptions { bin_dir: Some(data), ..EmbeddedOptions::default() };
    let refused = Cluster::start(options).await.unwrap_err();
    assert!(matches!(refused, EmbeddedError::NoBinariesIn(_)), "{refused}");
}

#[tokio::test]
async fn a_server_that_does_not_start_shows_its_log() {
    let settings = vec![("no_such_setting".to_owned(), "1".to_owned())];
    let failed =
        Cluster::start(EmbeddedOptions { settings, ..EmbeddedOptions::default() }).await.unwrap_err();
    assert!(matches!(failed, EmbeddedError::Ended { .. }), "{failed}");
    assert!(failed.to_string().contains("no_such_setting"), "{failed}");
}

/// The other half of the next test: a process of its own, which is killed.
#[tokio::test]
#[ignore = "started by the test of the killed daemon"]
#[expect(clippy::print_stdout, reason = "it tells the other process where it is")]
async fn victim() {
    let marker = std::env::current_dir().unwrap().join("keep");
    let options = if marker.exists() { kept(&marker.join("data")) } else { EmbeddedOptions::default() };
    let cluster = Cluster::start(options).await.unwrap();
    println!("\nvictim {} {}", cluster.pid().unwrap(), cluster.socket_dir().display());
    std::future::pending::<()>().await;
}

fn kill_a_daemon(current_dir: &Path) -> (u32, PathBuf) {
    let mut daemon = Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "victim", "--nocapture"])
        .current_dir(current_dir)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(daemon.stdout.take().unwrap()).lines();
    let said = lines.map_while(Result::ok).find_map(|line| line.strip_prefix("victim ").map(str::to_owned));
    daemon.kill().unwrap();
    daemon.wait().unwrap();
    let said = said.expect("the victim starts");
    let (pid, home) = said.split_once(' ').unwrap();
    (pid.parse().unwrap(), home.into())
}

#[test]
fn a_killed_daemon_leaves_no_server_and_no_temporary_folder() {
    let (parent, _) = folder();
    let (pid, home) = kill_a_daemon(parent.path());
    wait_until("the server ends", || !alive(pid));
    wait_until("the folder goes", || !home.exists());
}

#[tokio::test]
async fn a_killed_daemon_ends_a_kept_cluster_cleanly() {
    use std::os::unix::fs::PermissionsExt as _;
    let (parent, _) = folder();
    let keep = parent.path().join("keep");
    std::fs::create_dir(&keep).unwrap();
    std::fs::set_permissions(&keep, std::fs::Permissions::from_mode(0o755)).unwrap();
    let (pid, home) = kill_a_daemon(parent.path());
    // Started again at once, it waits for the old server instead of refusing.
    let cluster = Cluster::start(kept(&keep.join("data"))).await.unwrap();
    wait_until("the old server ends", || !alive(pid));
    wait_until("the socket's folder goes", || !home.exists());
    cluster.stop(StopMode::Fast).await.unwrap();
}
