//! `resetd setup`: the recommended database roles as SQL, printed or executed. Must not know any SQL.

use std::path::PathBuf;

use model::fault::{Fault, Reason};

use crate::{
    config::{Config, DatabaseUrl},
    postgres::change::two_roles::{Owner, TwoRoles},
};

/// Where the URL of a superuser is.
#[derive(Clone, Debug)]
pub enum Admin {
    /// In a variable of the environment.
    Variable(String),
    /// In a file.
    File(PathBuf),
}

/// The SQL of the roles that a configuration names.
///
/// # Errors
/// The configuration does not name two roles.
pub fn script(config: &Config) -> Result<String, Fault> {
    Ok(two_roles(config)?.script())
}

/// Executes it as a superuser, and says what still needs a person.
///
/// # Errors
/// The configuration does not name two roles; the superuser's URL cannot be had; what PostgreSQL said.
pub async fn apply(
    config: &Config,
    admin: &Admin,
    env: &dyn Fn(&str) -> Option<String>,
) -> Result<String, Fault> {
    let roles = two_roles(config)?;
    roles.apply(&admin_url(admin, env)?.connect_options()).await
}

fn admin_url(admin: &Admin, env: &dyn Fn(&str) -> Option<String>) -> Result<DatabaseUrl, Fault> {
    let (place, text) = match admin {
        Admin::Variable(name) => (format!("variable {name}"), env(name)),
        Admin::File(path) => (format!("file {}", path.display()), std::fs::read_to_string(path).ok()),
    };
    let wrong = |what: String| {
        Fault::new(Reason::InvalidRequest, what).hint(
            "--apply takes a superuser's URL from --admin-url-env NAME or --admin-url-file FILE; without it the SQL is printed",
        )
    };
    let text = text.filter(|text| !text.trim().is_empty());
    let text = text.ok_or_else(|| wrong(format!("{place} holds no URL of a superuser")))?;
    DatabaseUrl::parse(text.trim()).map_err(|error| wrong(format!("{place}: {error}")))
}

/// Who is to own what, by the URLs of the configuration.
fn two_roles(config: &Config) -> Result<TwoRoles, Fault> {
    let invalid = |what: String, hint: &str| Fault::new(Reason::InvalidRequest, what).hint(hint);
    let Some(control) = &config.control.url else {
        return Err(invalid(
            "an embedded cluster has one role, PostgreSQL's superuser".to_owned(),
            "setup is for a PostgreSQL that others use: name its databases with database_url_env or database_url_file",
        ));
    };
    let mut targets = Vec::new();
    for target in &config.targets {
        let Some(url) = target.source.url() else { continue };
        if url.user() == control.user() {
            return Err(invalid(
                format!("[control] and [target.{}] have one role, {}", target.name, url.user()),
                "give [control] a URL of its own (database_url_env or database_url_file) with another role",
            ));
        }
        targets.push(Owner {
            role: url.user().to_owned(),
            database: url.database().to_owned(),
            schemas: target.matrix.managed_schemas().into_iter().map(str::to_owned).collect(),
        });
    }
    let control = Owner {
        role: control.user().to_owned(),
        database: control.database().to_owned(),
        schemas: vec!["resetd".to_owned()],
    };
    Ok(TwoRoles { control, targets })
}
