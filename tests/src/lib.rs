//! The harness: everything a test of the suite needs to run resetd on a real, private PostgreSQL.
//!
//! Nothing here knows what is tested. Everything is async and belongs in `#[tokio::test]`; nothing blocks the thread, so
//! that a daemon in the test's own process goes on.
//!
//! # PostgreSQL
//! [`Postgres::shared`]: one private server per test process, on 127.0.0.1 (and a socket), started at the first use and ended by
//! its watchdog when the process ends, however it ends. [`Postgres::private`] is one of your own, to be killed or restarted.
//!
//! # Targets
//! ```text
//! let target = TestTarget::migrated().await;              // six schemas at their heads, with a few rows; superuser
//! let target = TestTarget::empty().await;                 // a new database
//! let target = TestTarget::make(Make::least()).await;     // two roles with the least privileges, as RESETD_TEST_ROLE=least
//!                                                         // makes them for every test that does not say otherwise
//! let target = TestTarget::make(Make { named: Some("x_prod"), restricted: true, ..Make::migrated() }).await;
//! target.name; target.database;                           // unique; the target is named after its database
//! target.url(); target.tcp_url();                         // what a daemon gets: over the socket; over TCP (slower)
//! target.control; target.control_rows("SELECT … FROM resetd.operation").await      // its own control database
//! target.sql("INSERT …; DROP …").await;                   // any number of statements, as the superuser
//! target.rows("SELECT …").await                           // Vec<Vec<String>>, text as psql shows it, NULL as "NULL"
//! target.column("SELECT …").await; target.value("SELECT …").await; target.try_sql("…").await
//! target.holds("SELECT EXISTS (…)").await                 // bool, now
//! target.until("SELECT EXISTS (…)").await                 // waits, bounded, until it is true (pg_locks, pg_stat_activity)
//! let mut session = target.session().await;               // a connection held open: session.sql("BEGIN; LOCK …").await
//! target.psql(script).await; target.globals().await        // by psql as the daemon's role; pg_dumpall --globals-only
//! target.dump().await                                     // pg_dump with data, schema properties and database-level settings
//! target.snapshot().await                                 // relations with oids, file nodes and row counts
//! target.state().await                                    // both: compare with assert_eq before and after
//! ```
//!
//! # Daemons
//! ```text
//! let daemon = Setup::of(&target).start().await;          // in this process: fast
//! let daemon = Setup::of(&target).spawn().await;          // target/debug/resetd (`make test` builds it first)
//! Setup::of(&target).plain()                              // no file: only BUTLERS_DATABASE_URL and ./migrations
//! Setup::of(&target).with("[profile.local]\nprotected = true\n")   // more TOML after the standard text
//! Setup::of(&target).config(text).env("NAME", url).migrations(&chains).listen("unix:/tmp/x.sock").profile("staging")
//! Setup::of(&target).and(&other)                          // two targets, one daemon
//! daemon.address; daemon.folder(); daemon.log();          // log: of a spawned one
//! daemon.kill().await; daemon.terminate().await; daemon.pause(); daemon.resume();   // SIGKILL, SIGTERM, SIGSTOP, SIGCONT
//! daemon.stop().await                                     // orderly, both kinds; a drop ends it too, at once
//! Setup::of(&target).resetd(&["check"]).await             // resetd with this configuration, to its end: Said
//! ```
//! Two daemons on one target share its control database: build both from the same target.
//!
//! # TLS
//! ```text
//! let authority = Authority::new();                       // a CA; files in authority.folder(), its certificate authority.ca()
//! let alice = authority.client("alice", &Subject::dns("alice.example"));     // alice.cert, alice.key
//! let daemon = Setup::of(&target).tls(&authority).start().await;          // daemon.address is https://127.0.0.1:PORT
//! daemon.ctl_tls(&authority, Some(&alice), "targets").await       // resetctl with --ca, --cert, --key
//! authority.channel(&daemon.address, Some(&alice)).await  // a raw channel, or why there is none
//! ```
//!
//! # Chains
//! `Migrations::shipped()` is a copy of `migrations/` in a folder of its own: `.write("core/core_002.sql", text)`,
//! `.revision("core/core_002.sql", "core_002", "core_001", "CREATE TABLE …")`, `.remove(…)`, `.read(…)`, `.path()`.
//!
//! # Clients
//! ```text
//! let out = daemon.ctl("run --confirm-destructive-reset RESET").await;    // words are split at spaces
//! let out = daemon.ctl_args(&["run", "--label", "note=two words"]).await;
//! out.code; out.stdout; out.stderr; out.report();         // Value; verbs of operations get --report-path by themselves
//! out.expect(0)                                           // &out, or a panic that shows everything
//! out.at("/details/scope"); out.text("/error_detail/reason")              // JSON pointers into the report
//! let mut running = daemon.ctl_spawn("run …"); running.said("words on stderr").await; running.signal(Signal::SIGINT);
//! let out = running.finish().await;
//! let mut api = daemon.api().await;                       // Api { operations, targets, system, windows, admin }: raw clients
//! let mut events = api.begin(&request(Verb::Run, &target)).await?;   // EventStream; also api.watch(id, from).await
//! events.until("PLANNED").await; events.rest().await; events.next().await; collect(events).await
//! ```
//!
//! # Holding a daemon still
//! ```text
//! let gate = Gate::before(&target, "REVISION_APPLIED").await;             // the daemon runs already
//! gate.reached().await; …; gate.open().await;
//! let hold = Hold::new(); let daemon = hold.setup(Setup::of(&target)).spawn().await;      // at a point of its own code
//! hold.at("prepared"); …; let operation = hold.reached().await; …; hold.open("prepared");
//! ```
//!
//! # What tests share
//! `commands::{RUN, RESET, UNDO, CONFIRMED}` and, with scope database, `database::{RUN, RESET}`; `operations::{sleeping, asleep, …}`: an
//! operation in the middle of its work; `windows::Two`: two principals; `Scene`; `Frozen`: a backend that is stopped; `world::World`: a
//! random database. Files of the suite import nothing from each other.
//!
//! # Waiting
//! `eventually("what", || async { condition }).await`: polls with a bound (30 s) and says what did not come. Never sleep.

mod api;
pub mod aside;
mod certificates;
mod cleanup;
mod client;
pub mod commands;
pub mod crash;
mod daemon;
pub mod database;
mod failpoint;
mod frozen;
mod gate;
pub mod migrations;
pub mod operations;
mod postgres;
mod process;
mod program;
pub mod raw;
pub mod rust_text;
mod scene;
mod snapshot;
mod sql;
mod target;
mod terminal;
mod wait;
pub mod windows;
pub mod world;

pub use api::{Api, Event, EventStream, collect, request, with_token};
pub use certificates::{Authority, Certificate, Subject, over, secured};
pub use client::{Output, Running, finding};
pub use daemon::{Daemon, Setup};
pub use failpoint::Hold;
pub use frozen::Frozen;
pub use gate::Gate;
pub use migrations::Migrations;
pub use nix::sys::signal::Signal;
pub use postgres::{Newer, Postgres};
pub use process::{binary, test_venv};
pub use program::Said;
pub use scene::Scene;
pub use snapshot::{Relation, State};
pub use sql::Session;
pub use target::{Because, Make, Roles, TestTarget};
pub use terminal::Terminal;
pub use wait::{eventually, soon};

/// A digest of the right form that is no plan's and no chains'.
pub const OTHER_DIGEST: &str = "sha256:0000000000000000000000000000000000000000000000000000000000000000";
