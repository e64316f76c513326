//! PgBouncer in transaction mode before the cluster: refused at the start, in words.

use std::{fs, net::TcpListener, os::unix::fs::PermissionsExt as _, path::Path};

use harness::{Because, Make, Postgres, Roles, Setup, TestTarget, eventually};
use tokio::process::{Child, Command};

/// PgBouncer's port, for as long as the process lives.
async fn pgbouncer(folder: &Path, postgres: &Postgres, more: &str) -> (Child, u16) {
    let port = TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).unwrap().port();
    let text = format!(
        "[databases]\n* = host=127.0.0.1 port={} user=postgres password={}\n[pgbouncer]\nlisten_addr = 127.0.0.1\n\
         listen_port = {port}\nunix_socket_dir =\nauth_type = any\npool_mode = transaction\n{more}\n",
        postgres.port, postgres.password
    );
    // It refuses to be root, and whoever it becomes reads this.
    fs::set_permissions(folder, fs::Permissions::from_mode(0o755)).unwrap();
    let file = folder.join("pgbouncer.ini");
    fs::write(&file, text).unwrap();
    let mut command = Command::new("pgbouncer");
    let path = resetd::config::process_env("PATH").unwrap_or_default();
    command.env("PATH", format!("{path}:/usr/sbin")).arg("-q");
    if nix::unistd::geteuid().is_root() {
        command.args(["-u", "nobody"]);
    }
    let child = command.arg(&file).kill_on_drop(true).spawn();
    let child = child.expect("PgBouncer can be run (`make setup-tests` installs it)");
    eventually("PgBouncer answers", || async {
        tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_ok()
    })
    .await;
    (child, port)
}

async fn refused(more: &str) {
    let target =
        TestTarget::make(Make { roles: Roles::Superuser(Because::ItHasOneRole), ..Make::default() }).await;
    // The control database is there: nothing else is wrong.
    Setup::of(&target).start().await.stop().await;
    let folder = tempfile::tempdir().unwrap();
    let (_pgbouncer, port) = pgbouncer(folder.path(), &target.postgres, more).await;
    let url = format!("postgres://postgres:x@127.0.0.1:{port}/{}?sslmode=disable", target.database);
    let config = Setup::of(&target).env("BUTLERS_DATABASE_URL", &url);
    let config = config.env(&format!("URL_OF_{}", target.name.to_uppercase()), &url).load().unwrap();
    let error = match resetd::daemon::Daemon::start(config).await {
        Err(resetd::daemon::DaemonError::Database(fault)) => fault,
        Err(other) => panic!("{other:?}"),
        Ok(_) => panic!("a pooler was not noticed ({more})"),
    };
    assert_eq!(error.reason, model::fault::Reason::PoolerDetected, "{error:?}");
    assert!(error.message.contains("pooler"), "{error:?}");
    assert!(error.hint.is_some_and(|hint| hint.contains("PostgreSQL itself")));
}

#[tokio::test]
async fn a_pooler_that_refuses_the_startup_settings_is_named() {
    refused("").await;
}

#[tokio::test]
async fn a_pooler_that_drops_the_startup_settings_is_named() {
    refused("ignore_startup_parameters = options,extra_float_digits").await;
}

#[tokio::test]
async fn a_pooler_in_session_mode_is_named_as_well() {
    refused("pool_mode = session\nignore_startup_parameters = options,extra_float_digits").await;
}
