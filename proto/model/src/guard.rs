//! The guards that are decided from the request, the configuration and nothing else, before an operation exists.

use crate::{
    fault::{Fault, Reason},
    matrix::Matrix,
    operation::{Request, Verb, limits},
    profile::{Profile, Scope},
};

/// The word that confirms a destructive verb.
pub const CONFIRMATION: &str = "RESET";

/// Databases that are never changed, whoever asks.
pub const PROTECTED_DATABASES: [&str; 3] = ["postgres", "template0", "template1"];

/// A request that passed every guard; it can only be had from [`check`].
#[derive(Clone, Debug)]
pub struct Guarded(Request);

impl Guarded {
    /// The request.
    #[must_use]
    pub fn request(&self) -> &Request {
        &self.0
    }
}

/// Checks a request against the rules of its target.
///
/// # Errors
/// The first guard that refuses, the most final one first.
pub fn check(request: Request, database: &str, profile: &Profile, matrix: &Matrix) -> Result<Guarded, Fault> {
    check_limits(&request)?;
    if request.verb.is_destructive() {
        check_protected(&request, database, profile)?;
        check_production_name(&request, database)?;
        check_scope(&request, profile)?;
        check_schemas(&request, matrix)?;
        check_tool(&request, matrix)?;
        check_confirmation(&request, database)?;
    }
    if !request.client_chains.is_empty() && !request.reads_only() {
        // Whoever sends revisions says what is executed: the guards of the destructive verbs hold.
        check_protected(&request, database, profile)?;
        check_production_name(&request, database)?;
    }
    if !request.client_chains.is_empty() && !profile.client_chains {
        return Err(Fault::new(
            Reason::ClientChainsForbidden,
            format!("profile {} replays the daemon's own chains only", profile.name),
        )
        .hint("leave out --chains, or deploy the chains to the daemon")
        .with("profile", &profile.name));
    }
    Ok(Guarded(request))
}

fn check_limits(request: &Request) -> Result<(), Fault> {
    let too_large = |what: String| {
        Err(Fault::new(Reason::LimitExceeded, what)
            .hint("`resetctl status` and GetServerInfo show the limits"))
    };
    if request.labels.len() > limits::LABELS {
        return too_large(format!("{} labels, at most {} are kept", request.labels.len(), limits::LABELS));
    }
    if let Some((key, _)) = request
        .labels
        .iter()
        .find(|(k, v)| k.is_empty() || k.len() > limits::LABEL_KEY || v.len() > limits::LABEL_VALUE)
    {
        return too_large(format!(
            "label `{}`: a key has 1 to {} bytes and a value at most {}",
            key.chars().take(80).collect::<String>(),
            limits::LABEL_KEY,
            limits::LABEL_VALUE
        ));
    }
    if request.client_chains.len() > limits::CHAIN_FILES {
        return too_large(format!(
            "{} chain files, at most {}",
            request.client_chains.len(),
            limits::CHAIN_FILES
        ));
    }
    Ok(())
}

fn check_protected(request: &Request, database: &str, profile: &Profile) -> Result<(), Fault> {
    if PROTECTED_DATABASES.contains(&database) {
        return Err(Fault::new(
            Reason::TargetProtected,
            format!("database {database} belongs to the cluster itself"),
        )
        .hint("name another database in the target's URL")
        .with("database", database));
    }
    if profile.protected {
        return Err(Fault::new(
            Reason::TargetProtected,
            format!("target {} is protected by profile {}", request.target, profile.name),
        )
        .hint("`protected = true` in the daemon's configuration refuses every destructive verb")
        .with("target", &request.target));
    }
    Ok(())
}

fn check_production_name(request: &Request, database: &str) -> Result<(), Fault> {
    if request.allow_production_db_name || !database.to_lowercase().contains("prod") {
        return Ok(());
    }
    Err(Fault::new(Reason::ProductionName, format!("the name of database {database} contains `prod`"))
        .hint("if it really is no production database: --allow-production-db-name")
        .with("database", database))
}

/// What only a database that is built aside has.
fn check_scope_of_flags(request: &Request) -> Result<(), Fault> {
    let flags = [
        (request.terminate_sessions, "--terminate-sessions", "destructive.terminate_sessions"),
        (request.jobs > 0, "--jobs", "destructive.jobs"),
    ];
    match flags.iter().find(|(said, ..)| *said) {
        None => Ok(()),
        Some((_, flag, field)) => {
            Err(Fault::new(Reason::ScopeConflict, format!("{flag} has a meaning with scope database only"))
                .hint(format!("leave out {flag}, or use --scope database"))
                .with("field", field))
        }
    }
}

fn check_scope(request: &Request, profile: &Profile) -> Result<(), Fault> {
    let Some(scope) = request.scope else { return Ok(()) };
    if let Some(usual) = profile.default_scope.filter(|_| !request.scope_named) {
        return Err(Fault::new(
            Reason::InvalidRequest,
            format!("profile {} usually resets scope {usual}, and the request names none", profile.name),
        )
        .hint("say it: --scope managed-schemas or --scope database")
        .with("field", "destructive.scope")
        .with("profile", &profile.name));
    }
    if scope == Scope::Database && !request.managed_schemas.is_empty() {
        return Err(Fault::new(
            Reason::ScopeConflict,
            "single schemas can be named with scope managed-schemas only",
        )
        .hint("leave out --managed-schema, or use --scope managed-schemas")
        .with("field", "destructive.managed_schemas"));
    }
    if scope == Scope::ManagedSchemas {
        check_scope_of_flags(request)?;
    }
    if !profile.scopes.contains(&scope) {
        return Err(Fault::new(
            Reason::ScopeForbidden,
            format!("profile {} does not allow scope {scope}", profile.name),
        )
        .hint("`scopes` in the profile lists the allowed ones")
        .with("scope", scope)
        .with("profile", &profile.name));
    }
    Ok(())
}

/// A matrix that a tool fills is filled by one; any other by none. Within the target only schemas that can be managed are filled.
fn check_tool(request: &Request, matrix: &Matrix) -> Result<(), Fault> {
    let refused = |text: String, hint: &str| {
        Err(Fault::new(Reason::InvalidRequest, text).hint(hint).with("matrix", &matrix.name))
    };
    match (&request.tool, &matrix.tool) {
        (Some(_), _) if request.verb != Verb::Run => {
            refused("--with belongs to `run`: a tool fills a new database".to_owned(), "leave out --with")
        }
        (Some(_), None) => refused(
            format!("matrix {} is not filled by a migration tool", matrix.name),
            "an admin allows it with [matrix.NAME.tool]: docs/migration-tools.md",
        ),
        (Some(_), Some(tool))
            if request.scope != Some(Scope::Database) && tool.schemas.iter().any(|s| s == "public") =>
        {
            refused(
                "the migration tool fills schema public, which cannot be managed: it needs a new database"
                    .to_owned(),
                "add --scope database, or let the tool fill a schema of its own: [matrix.NAME.tool]",
            )
        }
        (Some(_), Some(_)) if !request.managed_schemas.is_empty() => refused(
            "--with and --managed-schema exclude each other: a tool fills all of its schemas".to_owned(),
            "leave one of the two out",
        ),
        (None, Some(_)) if request.verb == Verb::Run => refused(
            format!("matrix {} is filled by a migration tool, and the request has none", matrix.name),
            "name its command: --with 'alembic upgrade head'",
        ),
        _ => Ok(()),
    }
}

fn check_schemas(request: &Request, matrix: &Matrix) -> Result<(), Fault> {
    let managed = matrix.managed_schemas();
    let Some(unknown) = request.managed_schemas.iter().find(|s| !managed.contains(&s.as_str())) else {
        return Ok(());
    };
    Err(Fault::new(
        Reason::UnknownSchema,
        format!("schema {unknown} is not managed by matrix {}", matrix.name),
    )
    .hint(format!("managed are: {}", managed.join(", ")))
    .with("schema", unknown)
    .with("field", "destructive.managed_schemas"))
}

fn check_confirmation(request: &Request, database: &str) -> Result<(), Fault> {
    if request.dry_run || request.confirmation.as_deref() == Some(CONFIRMATION) {
        return Ok(());
    }
    let given = match request.confirmation.as_deref() {
        None | Some("") => "no confirmation was given".to_owned(),
        Some(_) => "the confirmation is not exactly `RESET`".to_owned(),
    };
    Err(Fault::new(
        Reason::ConfirmationMissing,
        format!("{} of {database} is destructive and {given}", request.verb.as_str()),
    )
    .hint("--confirm-destructive-reset RESET (or --dry-run to see the plan)")
    .with("database", database))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    fn refused(request: Request, database: &str, profile: &Profile) -> Reason {
        check(request, database, profile, &Matrix::builtin_default()).expect_err("refused").reason
    }

    #[test]
    fn a_confirmed_reset_passes() {
        let profile = testing::profile();
        assert!(
            check(testing::request(Verb::Reset), "butlers", &profile, &Matrix::builtin_default()).is_ok()
        );
    }

    #[test]
    fn the_confirmation_is_exactly_reset() {
        for given in [None, Some(""), Some("reset"), Some("RESET "), Some("yes")] {
            let request = Request { confirmation: given.map(str::to_owned), ..testing::request(Verb::Run) };
            assert_eq!(refused(request.clone(), "butlers", &testing::profile()), Reason::ConfirmationMissing);
            let dry = Request { dry_run: true, ..request };
            assert!(check(dry, "butlers", &testing::profile(), &Matrix::builtin_default()).is_ok());
        }
    }

    #[test]
    fn name_and_protection_guards_refuse_dry_runs_too() {
        let dry = Request { dry_run: true, ..testing::request(Verb::Reset) };
        for name in PROTECTED_DATABASES {
            assert_eq!(refused(dry.clone(), name, &testing::profile()), Reason::TargetProtected);
        }
        for name in ["prod", "butlers_PROD", "reproduction"] {
            assert_eq!(refused(dry.clone(), name, &testing::profile()), Reason::ProductionName);
            let allowed = Request { allow_production_db_name: true, ..dry.clone() };
            assert!(check(allowed, name, &testing::profile(), &Matrix::builtin_default()).is_ok());
        }
        let protected = Profile { protected: true, ..testing::profile() };
        assert_eq!(refused(dry, "butlers", &protected), Reason::TargetProtected);
    }

    #[test]
    fn only_destructive_verbs_are_guarded_by_name() {
        for verb in [Verb::Migrate, Verb::Validate] {
            let profile = Profile { protected: true, ..testing::profile() };
            assert!(check(testing::request(verb), "prod", &profile, &Matrix::builtin_default()).is_ok());
        }
    }

    #[test]
    fn schemas_must_be_managed_and_exclude_scope_database() {
        let with = |schema: &str, scope| Request {
            managed_schemas: vec![schema.to_owned()],
            scope: Some(scope),
            ..testing::request(Verb::Reset)
        };
        let profile = testing::profile();
        assert_eq!(
            refused(with("public", Scope::ManagedSchemas), "butlers", &profile),
            Reason::UnknownSchema
        );
        assert_eq!(refused(with("general", Scope::Database), "butlers", &profile), Reason::ScopeConflict);
        let only = Profile { scopes: vec![Scope::ManagedSchemas], ..profile };
        let database = Request { scope: Some(Scope::Database), ..testing::request(Verb::Reset) };
        assert_eq!(refused(database, "butlers", &only), Reason::ScopeForbidden);
    }

    #[test]
    fn a_profile_with_a_usual_scope_wants_it_named() {
        let profile = Profile { default_scope: Some(Scope::Database), ..testing::profile() };
        let request = Request { scope_named: false, ..testing::request(Verb::Run) };
        assert_eq!(refused(request.clone(), "butlers", &profile), Reason::InvalidRequest);
        assert!(check(request, "butlers", &testing::profile(), &Matrix::builtin_default()).is_ok());
        assert!(check(testing::request(Verb::Run), "butlers", &profile, &Matrix::builtin_default()).is_ok());
    }

    #[test]
    fn limits_and_client_chains() {
        let profile = testing::profile();
        let labels = (0..33).map(|n| (n.to_string(), String::new())).collect();
        let request = Request { labels, ..testing::request(Verb::Validate) };
        assert_eq!(refused(request, "butlers", &profile), Reason::LimitExceeded);
        let file = crate::operation::ChainFile { path: "core/a.sql".to_owned(), content: Vec::new() };
        let request = Request { client_chains: vec![file], ..testing::request(Verb::Migrate) };
        let strict = Profile { client_chains: false, ..profile };
        assert_eq!(refused(request, "butlers", &strict), Reason::ClientChainsForbidden);
    }
}
