//! The effective values as text for `resetd check`: TOML, with what the file cannot say as comments. Must not show a secret.

use std::fmt::Display;

use model::authorization::Grant;
use model::duration::format_duration;
use model::matrix::{Matrix, Order};
use model::profile::{KEYS, Kind, Profile};

use super::{Config, Target, TargetSource, Tls};

/// Every value that is in force, every key of every profile in use included.
pub(super) fn effective(config: &Config) -> String {
    let mut parts = vec![top(config)];
    parts.extend(config.tls.iter().map(tls));
    parts.extend([control(config), audit(config)]);
    parts.extend(config.targets.iter().map(target));
    parts.extend(
        unique(&config.targets, |target| &target.profile.name).map(|target| profile(&target.profile)),
    );
    parts.extend(unique(&config.targets, |target| &target.matrix.name).map(|target| matrix(&target.matrix)));
    parts.extend(config.roles.iter().map(role));
    if config.roles.is_empty() {
        parts.push("# no [[role]]: root and the daemon's own user are admin on the socket\n".to_owned());
    }
    parts.join("\n")
}

fn top(config: &Config) -> String {
    let mut text = match &config.file {
        Some(file) => format!("# from {}\n", file.display()),
        None => "# without a configuration file\n".to_owned(),
    };
    if let Some(embedded) = &config.embedded {
        let dir =
            embedded.dir.as_ref().map_or("a temporary folder".to_owned(), |dir| dir.display().to_string());
        text.push_str(&format!("# embedded PostgreSQL in {dir}\n"));
    }
    text.push_str(&line("listen", list(config.listen.iter().map(ToString::to_string))));
    if config.activated {
        text.push_str("# and on the sockets that the service manager handed over\n");
    }
    text.push_str(&line("insecure_loopback", config.insecure_loopback));
    if let Some(group) = &config.socket_group {
        text.push_str(&line("socket_group", quoted(group)));
    }
    if let Some(file) = &config.port_file {
        text.push_str(&line("port_file", quoted(file.display())));
    }
    text.push_str(&line("migrations", quoted(config.migrations.display())));
    text + &line("shutdown_grace", quoted(format_duration(config.shutdown_grace)))
}

fn tls(tls: &Tls) -> String {
    let text = "[tls]\n".to_owned()
        + &line("certificate_file", quoted(tls.certificate_file.display()))
        + &line("key_file", quoted(tls.key_file.display()));
    let client_ca = tls.client_ca_file.iter().map(|file| line("client_ca_file", quoted(file.display())));
    text + &client_ca.collect::<String>()
}

fn control(config: &Config) -> String {
    let text = "[control]\n".to_owned() + &line("database", quoted(&config.control.database));
    text + &config.control.url.iter().map(|url| format!("# at {url}\n")).collect::<String>()
}

fn audit(config: &Config) -> String {
    let mut text = "[audit]\n".to_owned();
    if let Some(file) = &config.audit.file {
        text.push_str(&line("file", quoted(file.display())));
    }
    if let Some((file, _)) = &config.audit.seal {
        text.push_str(&line("key_file", quoted(file.display())));
    }
    text + &line("stderr", config.audit.stderr)
}

fn target(target: &Target) -> String {
    let mut text = format!("[target.{}]\n", key(&target.name));
    text.push_str(&match &target.source {
        TargetSource::Url(url) => format!("# at {url}\n"),
        TargetSource::Embedded { database } => line("database", quoted(database)),
    });
    text + &line("profile", quoted(&target.profile.name)) + &line("matrix", quoted(&target.matrix.name))
}

fn profile(profile: &Profile) -> String {
    let mut text = format!("[profile.{}]\n", key(&profile.name));
    if profile.name != profile.base.as_str() {
        text.push_str(&line("extends", quoted(profile.base)));
    }
    for key in KEYS {
        let value = key.get(profile);
        let value = match key.kind {
            Kind::Flag => (value == "yes").to_string(),
            Kind::Words(_) | Kind::Names => list(value.split(", ").filter(|word| !word.is_empty())),
            Kind::Duration { .. } | Kind::DurationOrAuto | Kind::Word(_) | Kind::Count => quoted(value),
        };
        let set = format!("{} = {value}", key.name);
        text.push_str(&format!("{set:<44} # {}\n", key.meaning));
    }
    text
}

fn matrix(matrix: &Matrix) -> String {
    let counts = matrix.counts();
    let mut text = format!("[matrix.{}]\n", key(&matrix.name));
    text.push_str(&format!(
        "# {} schemas, {} tables, {} revisions\n",
        counts.schemas, counts.tables, counts.revisions
    ));
    text.push_str(&line("shared_schemas", list(&matrix.shared_schemas)));
    text.push_str(&line("search_path_suffix", list(&matrix.search_path_suffix)));
    text.push_str(&line("extensions_schema", quoted(&matrix.extensions_schema)));
    text.push_str(&line(
        "order",
        match &matrix.order {
            Order::Chain => quoted("chain"),
            Order::Schema => quoted("schema"),
            Order::Cells(cells) => list(cells.iter().map(|(chain, schema)| format!("{chain} in {schema}"))),
        },
    ));
    let scripts = [("bootstrap", "bootstrap_as", &matrix.bootstrap), ("seeds", "seeds_as", &matrix.seeds)];
    for (key, key_as, scripts) in scripts {
        let Some(scripts) = scripts else { continue };
        text.push_str(&line(key, quoted(&scripts.files)));
        text.extend(scripts.role.as_ref().map(|role| line(key_as, quoted(role))));
    }
    for chain in &matrix.chains {
        text.push_str(&format!("\n[[matrix.{}.chain]]\n", key(&matrix.name)));
        text.push_str(&line("name", quoted(&chain.name)));
        text.push_str(&line("schemas", list(&chain.schemas)));
        // An empty list is refused where it is read: leaving the key out says the same.
        if !chain.tables.is_empty() {
            text.push_str(&line("tables", list(&chain.tables)));
        }
        text.extend(chain.replay_as.as_ref().map(|role| line("replay_as", quoted(role))));
    }
    text
}

fn role(rule: &Grant) -> String {
    let principal = quoted(format!("{}:{}", rule.kind.as_str(), rule.name));
    let targets = list(&rule.targets);
    "[[role]]\n".to_owned()
        + &line("principal", principal)
        + &line("targets", targets)
        + &line("role", quoted(rule.role.as_str()))
}

fn unique(targets: &[Target], name: fn(&Target) -> &String) -> impl Iterator<Item = &Target> {
    let first = move |index: usize, target: &Target| {
        !targets[..index].iter().any(|other| name(other) == name(target))
    };
    targets.iter().enumerate().filter(move |(index, target)| first(*index, target)).map(|(_, target)| target)
}

fn line(key: &str, value: impl Display) -> String {
    format!("{key} = {value}\n")
}

fn list(entries: impl IntoIterator<Item = impl Display>) -> String {
    format!("[{}]", entries.into_iter().map(quoted).collect::<Vec<_>>().join(", "))
}

fn quoted(text: impl Display) -> String {
    toml::Value::String(text.to_string()).to_string()
}

/// A part of a header, quoted where TOML needs it.
fn key(name: &str) -> String {
    let bare = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || "_-".contains(c));
    if bare { name.to_owned() } else { quoted(name) }
}
