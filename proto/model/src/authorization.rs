//! Who asks, what they may do, and a type that shows it was decided.
//!
//! It must not know how a principal is proved on the wire.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::fault::{Fault, Reason};

/// How a principal was authenticated.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum PrincipalKind {
    /// Peer credentials of a unix socket.
    Unix,
    /// A client certificate.
    Cert,
    /// A bearer token.
    Token,
    /// Plaintext on a loopback address: nobody in particular.
    Loopback,
}

impl PrincipalKind {
    /// The word before the colon.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unix => "unix",
            Self::Cert => "cert",
            Self::Token => "token",
            Self::Loopback => "loopback",
        }
    }

    /// How it was proved, in words.
    #[must_use]
    pub fn auth_method(self) -> &'static str {
        match self {
            Self::Unix => "peer credentials",
            Self::Cert => "client certificate",
            Self::Token => "bearer token",
            Self::Loopback => "loopback address",
        }
    }
}

impl FromStr for PrincipalKind {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text {
            "unix" => Ok(Self::Unix),
            "cert" => Ok(Self::Cert),
            "token" => Ok(Self::Token),
            "loopback" => Ok(Self::Loopback),
            _ => Err(()),
        }
    }
}

/// Who asks: an authentication method and a name.
#[derive(Clone, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
pub struct Principal {
    /// The kind of auth_method.
    pub kind: PrincipalKind,
    /// The name that was proved.
    pub name: String,
    /// The daemon's own user, or root, on its socket.
    #[serde(default)]
    pub owner: bool,
}

impl Principal {
    /// Nobody in particular, on a loopback address.
    #[must_use]
    pub fn anonymous() -> Self {
        Self { kind: PrincipalKind::Loopback, name: "anonymous".to_owned(), owner: false }
    }
}

impl fmt::Display for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.kind.as_str(), self.name)
    }
}

/// What a principal may do on a target; each role may do what those before it may.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Sees.
    Viewer,
    /// Validates, migrates, plans, reserves windows.
    Operator,
    /// Resets, runs, undoes.
    Resetter,
    /// Enrolls, forces, manages tokens.
    Admin,
}

impl Role {
    /// Every role, least first.
    pub const ALL: [Self; 4] = [Self::Viewer, Self::Operator, Self::Resetter, Self::Admin];

    /// Every word, least first.
    pub const WORDS: &[&str] = &["viewer", "operator", "resetter", "admin"];

    /// The word in the configuration.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Operator => "operator",
            Self::Resetter => "resetter",
            Self::Admin => "admin",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// What a method needs: a role on its target, or only that the caller is known.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Need {
    /// Anybody who reached the daemon.
    Anybody,
    /// At least this role on the target that the request is about.
    OnTarget(Role),
    /// At least this role on some target; the answer is filtered by target.
    Somewhere(Role),
    /// At least this role on every target.
    Everywhere(Role),
}

/// Every method of the contract with what it needs. A dry run of a destructive method needs [`Role::Operator`].
pub const METHODS: &[(&str, Need)] = &[
    ("resetd.v1.OperationService/Reset", Need::OnTarget(Role::Resetter)),
    ("resetd.v1.OperationService/Migrate", Need::OnTarget(Role::Operator)),
    ("resetd.v1.OperationService/Validate", Need::OnTarget(Role::Operator)),
    ("resetd.v1.OperationService/Run", Need::OnTarget(Role::Resetter)),
    ("resetd.v1.OperationService/Undo", Need::OnTarget(Role::Resetter)),
    ("resetd.v1.OperationService/WatchOperation", Need::OnTarget(Role::Viewer)),
    ("resetd.v1.OperationService/GetOperation", Need::OnTarget(Role::Viewer)),
    ("resetd.v1.OperationService/ListOperations", Need::Somewhere(Role::Viewer)),
    ("resetd.v1.OperationService/CancelOperation", Need::OnTarget(Role::Operator)),
    ("resetd.v1.OperationService/GetReport", Need::OnTarget(Role::Viewer)),
    ("resetd.v1.GatewayService/OpenGateway", Need::OnTarget(Role::Resetter)),
    ("resetd.v1.WindowService/ReserveWindow", Need::OnTarget(Role::Operator)),
    ("resetd.v1.WindowService/GetWindow", Need::OnTarget(Role::Viewer)),
    ("resetd.v1.WindowService/ListWindows", Need::Somewhere(Role::Viewer)),
    ("resetd.v1.WindowService/ExtendWindow", Need::OnTarget(Role::Operator)),
    ("resetd.v1.WindowService/ReleaseWindow", Need::OnTarget(Role::Operator)),
    ("resetd.v1.TargetService/ListTargets", Need::Somewhere(Role::Viewer)),
    ("resetd.v1.TargetService/GetTarget", Need::OnTarget(Role::Viewer)),
    ("resetd.v1.TargetService/WatchTargets", Need::Somewhere(Role::Viewer)),
    ("resetd.v1.TargetService/EnrollTarget", Need::OnTarget(Role::Admin)),
    ("resetd.v1.TargetService/ForceUnlockTarget", Need::OnTarget(Role::Admin)),
    ("resetd.v1.TargetService/DropKept", Need::OnTarget(Role::Resetter)),
    ("resetd.v1.AdminService/CreateToken", Need::Everywhere(Role::Admin)),
    ("resetd.v1.AdminService/ListTokens", Need::Everywhere(Role::Admin)),
    ("resetd.v1.AdminService/RevokeToken", Need::Everywhere(Role::Admin)),
    ("resetd.v1.AdminService/ListAuditRecords", Need::Everywhere(Role::Admin)),
    ("resetd.v1.AdminService/VerifyAudit", Need::Everywhere(Role::Admin)),
    ("resetd.v1.SystemService/GetServerInfo", Need::Anybody),
];

/// The methods that have a dry run, for which [`Role::Operator`] is enough.
const DRY_RUNS: [&str; 3] =
    ["resetd.v1.OperationService/Reset", "resetd.v1.OperationService/Run", "resetd.v1.OperationService/Undo"];

/// Whether the contract has a method of this full name.
#[must_use]
pub fn is_method(method: &str) -> bool {
    METHODS.iter().any(|(name, _)| *name == method)
}

/// One `[[role]]` of the configuration.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Grant {
    /// The kind of principal.
    pub kind: PrincipalKind,
    /// The name; `*` matches any run of characters.
    pub name: String,
    /// Target names; `*` matches any run of characters.
    pub targets: Vec<String>,
    /// What is granted.
    pub role: Role,
}

/// A decision in favour: it can only be had from [`Policy::authorize`].
#[derive(Clone, Debug)]
pub struct Authorization {
    principal: Principal,
    role: Option<Role>,
}

impl Authorization {
    /// Who was let through.
    #[must_use]
    pub fn principal(&self) -> &Principal {
        &self.principal
    }

    /// The role that let them through; `None` where none was needed.
    #[must_use]
    pub fn role(&self) -> Option<Role> {
        self.role
    }
}

/// A target as far as permission goes.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Subject {
    /// The target's name.
    pub target: String,
    /// Its profile is (or extends) `local`.
    pub local: bool,
}

/// The rules in force. Denies by default.
#[derive(Clone, Debug, Default)]
pub struct Policy {
    /// The configured grants; when there are none the built-in rules apply.
    pub grants: Vec<Grant>,
}

impl Policy {
    /// The role that a principal has on a target, if any.
    #[must_use]
    pub fn role(&self, principal: &Principal, subject: &Subject) -> Option<Role> {
        if self.grants.is_empty() {
            return built_in_role(principal, subject);
        }
        self.grants.iter().filter(|g| grant_applies(g, principal, &subject.target)).map(|g| g.role).max()
    }

    /// Whether there is any target on which `principal` could call `method`: what can be said before the request is read.
    ///
    /// # Errors
    /// `PERMISSION_DENIED`, in the words of [`Policy::authorize`].
    pub fn could(&self, method: &str, principal: &Principal, subjects: &[Subject]) -> Result<(), Fault> {
        let dry_run = DRY_RUNS.contains(&method).then_some(Role::Operator);
        let about_some = |subject| self.authorize(method, principal, Some(subject), subjects, dry_run);
        // Without any target there is still the answer about none.
        let about_none = || self.authorize(method, principal, None, subjects, dry_run);
        let answer = subjects.iter().map(about_some).find(Result::is_ok).unwrap_or_else(about_none);
        // What is told is the role that the method itself needs: whether it is a dry run is not known yet.
        let known: Vec<&Subject> = subjects.iter().filter(|s| self.role(principal, s).is_some()).collect();
        let only = <[&Subject; 1]>::try_from(known).ok().map(|[only]| only);
        let told = |_| self.authorize(method, principal, only, subjects, None).map(|_| ());
        answer.map(|_| ()).or_else(told)
    }

    /// Decides whether `principal` may call `method` about `subject`; `subjects` are all targets, for methods that are
    /// about none or all of them. `lesser` is the role that suffices in this case (a dry run), if there is one.
    ///
    /// # Errors
    /// `PERMISSION_DENIED`, with the same words whether or not the target exists.
    pub fn authorize(
        &self,
        method: &str,
        principal: &Principal,
        subject: Option<&Subject>,
        subjects: &[Subject],
        lesser: Option<Role>,
    ) -> Result<Authorization, Fault> {
        let need = METHODS.iter().find(|(name, _)| *name == method).map(|(_, need)| *need);
        let roles = || subjects.iter().filter_map(|s| self.role(principal, s));
        let (needed, role, place) = match need.ok_or_else(|| unknown(method, principal))? {
            Need::Anybody => return Ok(Authorization { principal: principal.clone(), role: None }),
            Need::OnTarget(needed) => (
                needed,
                subject.and_then(|s| self.role(principal, s)),
                subject.map_or(Place::Any, |s| Place::Target(&s.target)),
            ),
            Need::Somewhere(needed) => (needed, roles().max(), Place::Any),
            Need::Everywhere(needed) => {
                let everywhere = roles().count() == subjects.len();
                (needed, roles().min().filter(|_| everywhere), Place::All)
            }
        };
        let needed = lesser.map_or(needed, |l| l.min(needed));
        if role.is_some_and(|role| role >= needed) {
            Ok(Authorization { principal: principal.clone(), role })
        } else {
            // About no target: the best role on any of them is what the caller has.
            let has = role.or_else(|| roles().max().filter(|_| matches!(place, Place::Any)));
            Err(self.denied(method, principal, needed, has, place))
        }
    }

    /// The role that is missing, the one that is there, and the lines that would grant it.
    fn denied(
        &self,
        method: &str,
        principal: &Principal,
        needed: Role,
        has: Option<Role>,
        place: Place<'_>,
    ) -> Fault {
        let (on, targets) = match place {
            Place::Target(name) => (format!("on target {name}"), name),
            Place::Any => ("on a target".to_owned(), "*"),
            Place::All => ("on every target".to_owned(), "*"),
        };
        let had = has.map_or("none".to_owned(), |role| format!("the role {role}"));
        let call = method.strip_prefix("resetd.v1.").unwrap_or(method);
        let lines =
            format!("[[role]] principal = \"{principal}\", targets = [\"{targets}\"], role = \"{needed}\"");
        let beside = match self.grants.is_empty() {
            true => " (the first [[role]] ends the built-in rules: give the daemon's own user one as well)",
            false => "",
        };
        let fault = Fault::new(
            Reason::PermissionDenied,
            format!("{call} needs the role {needed} {on}, and {principal} has {had}"),
        )
        .hint(format!("ask an admin of the daemon for these lines of its configuration: {lines}{beside}"))
        .with("principal", principal)
        .with("method", method)
        .with("role_needed", needed);
        let fault = match has {
            Some(role) => fault.with("role", role),
            None => fault,
        };
        match place {
            Place::Target(name) => fault.with("target", name),
            Place::Any | Place::All => fault,
        }
    }
}

/// Where a role is needed.
#[derive(Clone, Copy)]
enum Place<'a> {
    Target(&'a str),
    Any,
    All,
}

fn unknown(method: &str, principal: &Principal) -> Fault {
    Fault::new(Reason::PermissionDenied, format!("{principal} may not call {method}"))
        .hint("this version of the daemon has no such method")
        .with("principal", principal)
        .with("method", method)
}

fn built_in_role(principal: &Principal, subject: &Subject) -> Option<Role> {
    match principal.kind {
        PrincipalKind::Unix if principal.owner => Some(Role::Admin),
        PrincipalKind::Loopback if subject.local => Some(Role::Resetter),
        PrincipalKind::Loopback => Some(Role::Viewer),
        _ => None,
    }
}

fn grant_applies(grant: &Grant, principal: &Principal, target: &str) -> bool {
    grant.kind == principal.kind
        && matches(&grant.name, &principal.name)
        && grant.targets.iter().any(|pattern| matches(pattern, target))
}

/// Whether `text` matches `pattern`, where `*` stands for any run of characters.
#[must_use]
pub fn matches(pattern: &str, text: &str) -> bool {
    let Some((head, rest)) = pattern.split_once('*') else { return pattern == text };
    let Some(text) = text.strip_prefix(head) else { return false };
    let mut tail = text;
    loop {
        if matches(rest, tail) {
            return true;
        }
        let mut chars = tail.chars();
        if chars.next().is_none() {
            return false;
        }
        tail = chars.as_str();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unix(name: &str, owner: bool) -> Principal {
        Principal { kind: PrincipalKind::Unix, name: name.to_owned(), owner }
    }

    fn subject(target: &str, local: bool) -> Subject {
        Subject { target: target.to_owned(), local }
    }

    const RESET: &str = "resetd.v1.OperationService/Reset";

    #[test]
    fn a_star_matches_any_run() {
        for (pattern, text, expected) in [
            ("*", "", true),
            ("staging*", "staging-eu", true),
            ("staging*", "stagin", false),
            ("*-db", "a-db", true),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "a-c-b", false),
            ("exact", "exact", true),
            ("exact", "exactly", false),
        ] {
            assert_eq!(matches(pattern, text), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn without_grants_the_owner_is_admin_and_loopback_depends_on_the_profile() {
        let policy = Policy::default();
        let (local, shared) = (subject("a", true), subject("b", false));
        assert_eq!(policy.role(&unix("root", true), &shared), Some(Role::Admin));
        assert_eq!(policy.role(&unix("alice", false), &local), None);
        assert_eq!(policy.role(&Principal::anonymous(), &local), Some(Role::Resetter));
        assert_eq!(policy.role(&Principal::anonymous(), &shared), Some(Role::Viewer));
    }

    #[test]
    fn grants_replace_the_built_in_rules_and_the_highest_wins() {
        let grant = |name: &str, targets: &[&str], role| Grant {
            kind: PrincipalKind::Unix,
            name: name.to_owned(),
            targets: targets.iter().map(|t| (*t).to_owned()).collect(),
            role,
        };
        let policy =
            Policy { grants: vec![grant("*", &["*"], Role::Viewer), grant("al*", &["st*"], Role::Resetter)] };
        assert_eq!(policy.role(&unix("root", true), &subject("a", true)), Some(Role::Viewer));
        assert_eq!(policy.role(&unix("alice", false), &subject("staging", false)), Some(Role::Resetter));
        assert_eq!(policy.role(&Principal::anonymous(), &subject("a", true)), None);
    }

    #[test]
    fn a_dry_run_needs_less_and_unknown_methods_are_denied() {
        let policy = Policy {
            grants: vec![Grant {
                kind: PrincipalKind::Unix,
                name: "op".to_owned(),
                targets: vec!["t".to_owned()],
                role: Role::Operator,
            }],
        };
        let (op, t) = (unix("op", false), subject("t", false));
        let all = [t.clone()];
        assert!(policy.authorize(RESET, &op, Some(&t), &all, None).is_err());
        assert!(policy.authorize(RESET, &op, Some(&t), &all, Some(Role::Operator)).is_ok());
        assert!(policy.authorize("resetd.v1.Nothing/Here", &op, Some(&t), &all, None).is_err());
    }

    #[test]
    fn what_nobody_could_be_allowed_is_known_before_the_request_is_read() {
        let grant = |name: &str, target: &str, role| Grant {
            kind: PrincipalKind::Unix,
            name: name.to_owned(),
            targets: vec![target.to_owned()],
            role,
        };
        let grants = vec![grant("op", "a", Role::Operator), grant("view", "b", Role::Viewer)];
        let (policy, all) = (Policy { grants }, [subject("a", false), subject("b", false)]);
        let could = |name: &str, method: &str| policy.could(method, &unix(name, false), &all).is_ok();
        assert!(could("op", RESET), "its dry run");
        assert!(!could("view", RESET) && !could("nobody", RESET));
        assert!(could("view", "resetd.v1.OperationService/GetReport"));
        assert!(!could("op", "resetd.v1.AdminService/CreateToken"));
        assert!(could("nobody", "resetd.v1.SystemService/GetServerInfo"));
        assert!(!could("op", "resetd.v1.Nothing/Here"));
        assert!(DRY_RUNS.iter().all(|method| is_method(method)));
    }

    #[test]
    fn a_missing_target_is_denied_in_the_same_words() {
        let policy = Policy::default();
        let nobody = unix("mallory", false);
        let there =
            policy.authorize(RESET, &nobody, Some(&subject("there", true)), &[], None).expect_err("denied");
        let missing =
            policy.authorize(RESET, &nobody, Some(&subject("missing", true)), &[], None).expect_err("denied");
        assert_eq!(format!("{there:?}"), format!("{missing:?}").replace("missing", "there"));
        let text =
            "OperationService/Reset needs the role resetter on target there, and unix:mallory has none";
        assert_eq!(there.message, text);
    }

    #[test]
    fn a_denial_names_both_roles_and_the_lines_that_would_grant_it() {
        let grants = vec![Grant {
            kind: PrincipalKind::Token,
            name: "ci".to_owned(),
            targets: vec!["*".to_owned()],
            role: Role::Viewer,
        }];
        let ci = Principal { kind: PrincipalKind::Token, name: "ci".to_owned(), owner: false };
        let t = subject("staging", false);
        let fault = Policy { grants }
            .authorize(RESET, &ci, Some(&t), std::slice::from_ref(&t), None)
            .expect_err("denied");
        let text = "OperationService/Reset needs the role resetter on target staging, and token:ci has the role viewer";
        assert_eq!(fault.message, text);
        let lines = "[[role]] principal = \"token:ci\", targets = [\"staging\"], role = \"resetter\"";
        assert!(fault.hint.as_deref().is_some_and(|hint| hint.contains(lines)), "{fault:?}");
        assert_eq!((&*fault.metadata["role_needed"], &*fault.metadata["role"]), ("resetter", "viewer"));
    }
}
