//! Daemons of a test: in its own process, or as the real binary.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use resetd::config::{Config, ServeOptions};
use tempfile::TempDir;
use tokio::process::Child;

use crate::{
    api::Api,
    certificates::Authority,
    client::{Output, Running},
    eventually,
    migrations::Migrations,
    process, soon,
    target::TestTarget,
};

/// What a daemon is started with.
#[derive(Debug)]
pub struct Setup {
    folder: TempDir,
    text: Option<String>,
    env: BTreeMap<String, String>,
    listen: Vec<String>,
    insecure_loopback: bool,
    profile: Option<String>,
    migrations: Option<PathBuf>,
    targets: Vec<TestTarget>,
}

impl Setup {
    /// A daemon for a target, with the target's own control database, on a loopback port, on a copy of the shipped chains.
    #[must_use]
    pub fn of(target: &TestTarget) -> Self {
        let control = target.control_url();
        let text = target.control_section();
        let it = Self {
            folder: tempfile::tempdir().expect("a temporary folder"),
            text: Some(text),
            env: control.map(|url| ("CONTROL_URL".to_owned(), url)).into_iter().collect(),
            listen: vec!["127.0.0.1:0".to_owned()],
            insecure_loopback: true,
            profile: None,
            migrations: None,
            targets: Vec::new(),
        };
        it.env("BUTLERS_DATABASE_URL", &target.url()).and(target)
    }

    /// One more target.
    #[must_use]
    pub fn and(mut self, target: &TestTarget) -> Self {
        self.targets.push(target.clone());
        let variable = format!("URL_OF_{}", target.name.to_uppercase());
        let section = format!("\n[target.{}]\ndatabase_url_env = \"{variable}\"\n", target.name);
        self.env(&variable, &target.url()).with(&section)
    }

    /// No configuration file: only `BUTLERS_DATABASE_URL`, and `./migrations` for a spawned daemon. Its control database is
    /// `resetd`, which all such daemons share.
    #[must_use]
    pub fn plain(mut self) -> Self {
        self.text = None;
        self
    }

    /// More text at the end of the configuration. The last section before it is `[target.NAME]`: a bare key goes there.
    #[must_use]
    pub fn with(mut self, more: &str) -> Self {
        self.text.get_or_insert_default().push_str(more);
        self
    }

    /// Another configuration altogether.
    #[must_use]
    pub fn config(mut self, text: &str) -> Self {
        self.text = Some(text.to_owned());
        self
    }

    /// A variable of the daemon's environment.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.env.insert(name.to_owned(), value.to_owned());
        self
    }

    /// Reaches the first target and its control database over TCP.
    #[must_use]
    pub fn over_tcp(self, target: &TestTarget) -> Self {
        let url = target.tcp_url();
        let variable = format!("URL_OF_{}", target.name.to_uppercase());
        let it = self.env("BUTLERS_DATABASE_URL", &url).env(&variable, &url);
        match target.control_tcp_url() {
            Some(control) => it.env("CONTROL_URL", &control),
            None => it,
        }
    }

    /// Other chains than the shipped ones. They must live as long as the daemon.
    #[must_use]
    pub fn migrations(mut self, migrations: &Migrations) -> Self {
        self.migrations = Some(migrations.path().to_owned());
        self
    }

    /// Listens here instead; `unix:socket` is a path in the daemon's folder.
    #[must_use]
    pub fn listen(mut self, address: &str) -> Self {
        let place = match address {
            "unix:socket" => format!("unix:{}", self.folder.path().join("resetd.sock").display()),
            address => address.to_owned(),
        };
        self.listen = vec![place];
        self
    }

    /// Listens here as well; the daemon's address stays the first one.
    #[must_use]
    pub fn listen_also(self, address: &str) -> Self {
        let before = self.listen.clone();
        let mut it = self.listen(address);
        it.listen.splice(0..0, before);
        it
    }

    /// TLS on loopback, with a certificate of this authority, which signs the clients' certificates, too.
    #[must_use]
    pub fn tls(mut self, authority: &Authority) -> Self {
        self.insecure_loopback = false;
        let certificate = authority.daemon("daemon");
        self.with(&format!(
            "\n[tls]\ncertificate_file = {:?}\nkey_file = {:?}\nclient_ca_file = {:?}\n",
            certificate.cert,
            certificate.key,
            authority.ca()
        ))
    }

    /// Plaintext on loopback after all, beside TLS elsewhere.
    #[must_use]
    pub fn insecure_loopback(mut self) -> Self {
        self.insecure_loopback = true;
        self
    }

    /// `--profile NAME`.
    #[must_use]
    pub fn profile(mut self, name: &str) -> Self {
        self.profile = Some(name.to_owned());
        self
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn environment(&self) -> &BTreeMap<String, String> {
        &self.env
    }

    /// The configuration file, where there is one.
    pub(crate) fn write_config(&self) -> Option<PathBuf> {
        let text = self.text.as_ref()?;
        let path = self.folder.path().join("resetd.toml");
        fs::write(&path, text).expect("a configuration can be written");
        Some(path)
    }

    fn options(&self) -> ServeOptions {
        ServeOptions {
            config: self.write_config(),
            listen: self.listen.clone(),
            insecure_loopback: self.insecure_loopback,
            port_file: Some(self.folder.path().join("port")),
            migrations: self.migrations.clone(),
            profile: self.profile.clone(),
            embedded: None,
        }
    }

    /// The first target's control role serves the others as well.
    async fn serve_all(&self) {
        let Some((first, others)) = self.targets.split_first() else { return };
        for other in others.iter().filter(|other| other.role != first.role) {
            first.serve_as_well(other).await;
        }
    }

    /// The copy of the shipped chains that is used when no others were named.
    fn own_chains(&self) -> Migrations {
        let chains = Migrations::shipped();
        std::os::unix::fs::symlink(chains.path(), self.folder.path().join("migrations")).expect("a link");
        chains
    }

    /// The checked configuration, or everything that is wrong with it.
    pub fn load(&self) -> Result<Config, Vec<String>> {
        let env = |name: &str| self.env.get(name).cloned();
        Config::load(&self.options(), &env)
            .map_err(|problems| problems.iter().map(ToString::to_string).collect())
    }

    /// Starts it in this process.
    ///
    /// # Panics
    /// It does not start.
    pub async fn start(mut self) -> Daemon {
        self.serve_all().await;
        let chains = self.own_chains();
        self.migrations.get_or_insert_with(|| chains.path().to_owned());
        let config = self.load().unwrap_or_else(|problems| panic!("{}", problems.join("\n")));
        let daemon = soon("a daemon's start", resetd::daemon::Daemon::start(config)).await;
        let daemon = daemon.unwrap_or_else(|error| panic!("the daemon does not start: {error:?}"));
        let addresses = daemon.addresses().to_vec();
        let address = named(&addresses[0], self.insecure_loopback);
        Daemon {
            address,
            addresses,
            folder: self.folder,
            _chains: chains,
            body: Body::Within(Box::new(daemon)),
            _targets: self.targets,
        }
    }

    /// Starts the binary and waits until it answers.
    ///
    /// # Panics
    /// It was not built, or does not start.
    pub async fn spawn(self) -> Daemon {
        self.serve_all().await;
        let chains = self.own_chains();
        let mut command = process::command(process::binary("resetd"));
        let options = self.options();
        command.current_dir(self.folder.path()).envs(&self.env).arg("serve");
        if self.insecure_loopback {
            command.arg("--insecure-loopback");
        }
        for address in &options.listen {
            command.arg("--listen").arg(address);
        }
        let paths = [
            ("--config", &options.config),
            ("--port-file", &options.port_file),
            ("--migrations", &options.migrations),
        ];
        for (flag, path) in paths {
            if let Some(path) = path {
                command.arg(flag).arg(path);
            }
        }
        if let Some(profile) = &options.profile {
            command.arg("--profile").arg(profile);
        }
        let log = File::create(self.folder.path().join("log")).expect("a log can be made");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        let child = command.spawn().expect("resetd can be run");
        let body = Body::Apart(Box::new(tokio::sync::Mutex::new(child)));
        let mut daemon = Daemon {
            address: String::new(),
            addresses: Vec::new(),
            folder: self.folder,
            _chains: chains,
            body,
            _targets: self.targets,
        };
        daemon.addresses = daemon.port().await;
        daemon.address = named(&daemon.addresses[0], self.insecure_loopback);
        daemon
    }
}

/// An address as a client needs it said.
fn named(address: &str, plaintext: bool) -> String {
    if address.starts_with("unix:") || plaintext { address.to_owned() } else { format!("https://{address}") }
}

enum Body {
    Within(Box<resetd::daemon::Daemon>),
    Apart(Box<tokio::sync::Mutex<Child>>),
}

/// A daemon that runs. A drop ends a spawned one at once, as SIGKILL does; one in this process ends with the test's runtime.
pub struct Daemon {
    /// `HOST:PORT`, `https://HOST:PORT` or `unix:PATH`: the first one that it listens on.
    pub address: String,
    /// All of them, as it names them.
    pub addresses: Vec<String>,
    folder: TempDir,
    _chains: Migrations,
    body: Body,
    /// After the body: their databases are dropped with the last owner.
    _targets: Vec<TestTarget>,
}

impl Daemon {
    async fn port(&self) -> Vec<String> {
        let path = self.folder.path().join("port");
        eventually("the daemon writes its port file", || async {
            if let Body::Apart(child) = &self.body
                && let Ok(Some(status)) = child.lock().await.try_wait()
            {
                panic!("the daemon ended: {status}\n{}", self.log());
            }
            path.exists()
        })
        .await;
        let text = fs::read_to_string(path).expect("the port file can be read");
        text.lines().map(str::to_owned).collect()
    }

    /// Its folder: where its client works, too.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// What a spawned daemon said.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// Runs `resetctl` with words that are split at spaces.
    pub async fn ctl(&self, line: &str) -> Output {
        self.ctl_spawn(line).finish().await
    }

    /// Runs `resetctl`.
    pub async fn ctl_args(&self, words: &[&str]) -> Output {
        Running::start(self.folder.path(), &self.address, words).finish().await
    }

    /// Runs `resetctl` in the daemon's folder, which is its home, with these variables and no other of its own.
    pub async fn ctl_with(&self, env: &[(&str, &str)], words: &[&str]) -> Output {
        self.ctl_spawn_with(env, words).finish().await
    }

    /// Starts `resetctl` in the daemon's folder, which is its home, with these variables and no other of its own.
    #[must_use]
    pub fn ctl_spawn_with(&self, env: &[(&str, &str)], words: &[&str]) -> Running {
        Running::start_with(self.folder.path(), env, words)
    }

    /// Starts `resetctl` at another of the daemon's addresses: another principal.
    #[must_use]
    pub fn ctl_at(&self, address: usize, words: &[&str]) -> Running {
        Running::start(self.folder.path(), &self.addresses[address], words)
    }

    /// Raw clients at another of the daemon's addresses.
    pub async fn api_at(&self, address: usize) -> Api {
        Api::connect(&self.addresses[address]).await
    }

    /// The process of a spawned one.
    pub async fn pid(&self) -> u32 {
        self.child().lock().await.id().expect("it runs")
    }

    /// Starts `resetctl`.
    #[must_use]
    pub fn ctl_spawn(&self, line: &str) -> Running {
        let words: Vec<&str> = line.split_whitespace().collect();
        Running::start(self.folder.path(), &self.address, &words)
    }

    /// Raw clients on a new channel.
    pub async fn api(&self) -> Api {
        Api::connect(&self.address).await
    }

    fn child(&self) -> &tokio::sync::Mutex<Child> {
        match &self.body {
            Body::Apart(child) => child,
            Body::Within(_) => panic!("a daemon in the test's own process has no signals: use spawn()"),
        }
    }

    /// A signal to a spawned one.
    pub async fn signal(&self, signal: Signal) {
        let pid = self.child().lock().await.id().and_then(|pid| i32::try_from(pid).ok()).expect("it runs");
        kill(Pid::from_raw(pid), signal).expect("a child can be signalled");
    }

    async fn ended(&self) -> ExitStatus {
        let mut child = self.child().lock().await;
        soon("the daemon's end", child.wait()).await.expect("a child can be waited for")
    }

    /// SIGKILL, and waits for its end.
    pub async fn kill(&self) {
        self.signal(Signal::SIGKILL).await;
        self.ended().await;
    }

    /// SIGTERM, and waits for its end.
    pub async fn terminate(&self) -> ExitStatus {
        self.end_by(Signal::SIGTERM).await
    }

    /// A signal, and waits for its end.
    pub async fn end_by(&self, signal: Signal) -> ExitStatus {
        self.signal(signal).await;
        self.ended().await
    }

    /// SIGSTOP.
    pub async fn pause(&self) {
        self.signal(Signal::SIGSTOP).await;
    }

    /// SIGCONT.
    pub async fn resume(&self) {
        self.signal(Signal::SIGCONT).await;
    }

    /// Ends it in order.
    ///
    /// # Panics
    /// It does not end well.
    pub async fn stop(self) {
        match self.body {
            Body::Within(daemon) => {
                soon("the daemon's end", daemon.shut_down()).await.expect("the daemon ends well");
            }
            Body::Apart(_) => {
                let status = self.terminate().await;
                assert!(status.success(), "{status}\n{}", self.log());
            }
        }
    }
}
