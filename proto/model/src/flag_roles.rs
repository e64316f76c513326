//! Flags that need a higher role, and the role that a profile wants for each. It must not know who asks.

use crate::{
    authorization::Role,
    fault::{Fault, Reason},
    operation::Request,
    profile::Profile,
};

/// One flag that needs a role of its own.
struct FlagRole {
    /// The flag, as a person types it.
    flag: &'static str,
    /// The profile's key with the role.
    key: &'static str,
    /// Whether a request has it.
    raised: fn(&Request) -> bool,
    /// The role that the profile wants.
    role: fn(&Profile) -> Role,
}

/// What can be told from the request. What a digest lets go is known with the plan only: [`outside`].
const FLAG_ROLES: &[FlagRole] = &[
    FlagRole {
        flag: "--allow-production-db-name",
        key: "role_production_name",
        raised: |request| request.allow_production_db_name,
        role: |profile| profile.role_production_name,
    },
    FlagRole {
        flag: "--terminate-sessions",
        key: "role_terminate_sessions",
        raised: |request| request.terminate_sessions,
        role: |profile| profile.role_terminate_sessions,
    },
    FlagRole {
        flag: "--chains",
        key: "role_client_chains",
        raised: |request| !request.client_chains.is_empty(),
        role: |profile| profile.role_client_chains,
    },
];

/// Whether a role is enough for every such flag of a request. What changes nothing needs none.
///
/// # Errors
/// `PERMISSION_DENIED`, with the flag and the role.
pub fn check(request: &Request, profile: &Profile, role: Option<Role>) -> Result<(), Fault> {
    if request.reads_only() {
        return Ok(());
    }
    let beyond = |stake: &&FlagRole| (stake.raised)(request) && role < Some((stake.role)(profile));
    match FLAG_ROLES.iter().find(beyond) {
        None => Ok(()),
        Some(stake) => Err(denied(stake.flag, stake.key, (stake.role)(profile), profile)),
    }
}

/// Whether a role is enough to let objects outside the managed schemas go by the plan's digest.
///
/// # Errors
/// `PERMISSION_DENIED`, with the role.
pub fn outside(profile: &Profile, role: Option<Role>) -> Result<(), Fault> {
    match role < Some(profile.role_outside_digest) {
        false => Ok(()),
        true => Err(denied(
            "--plan-digest over objects outside the managed schemas",
            "role_outside_digest",
            profile.role_outside_digest,
            profile,
        )),
    }
}

fn denied(flag: &str, key: &str, role: Role, profile: &Profile) -> Fault {
    Fault::new(Reason::PermissionDenied, format!("{flag} needs the role {role} in profile {}", profile.name))
        .hint(format!(
            "ask somebody with the role {role}, or leave it out; `{key}` in the profile says which role"
        ))
        .with("flag", flag)
        .with("role", role)
        .with("profile", &profile.name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        operation::{ChainFile, Verb},
        testing,
    };

    fn requests() -> [Request; 3] {
        let plain = || testing::request(Verb::Run);
        let file = ChainFile { path: "core/a.sql".to_owned(), content: Vec::new() };
        [
            Request { allow_production_db_name: true, ..plain() },
            Request { terminate_sessions: true, ..plain() },
            Request { client_chains: vec![file], ..plain() },
        ]
    }

    #[test]
    fn each_flag_needs_the_role_of_its_own_key() {
        let mut strict = [testing::profile(), testing::profile(), testing::profile()];
        strict[0].role_production_name = Role::Admin;
        strict[1].role_terminate_sessions = Role::Admin;
        strict[2].role_client_chains = Role::Admin;
        for (n, request) in requests().iter().enumerate() {
            for (m, profile) in strict.iter().enumerate() {
                let allowed = check(request, profile, Some(Role::Resetter)).is_ok();
                assert_eq!(allowed, n != m, "{} with {}", FLAG_ROLES[n].flag, FLAG_ROLES[m].key);
                assert!(check(request, profile, Some(Role::Admin)).is_ok());
            }
        }
    }

    #[test]
    fn without_a_word_in_the_profile_a_resetter_may() {
        for request in requests() {
            assert!(check(&request, &testing::profile(), Some(Role::Resetter)).is_ok());
            for less in [None, Some(Role::Viewer), Some(Role::Operator)] {
                assert!(check(&request, &testing::profile(), less).is_err());
                let dry = Request { dry_run: true, ..request.clone() };
                assert!(check(&dry, &testing::profile(), less).is_ok(), "nothing is staked");
            }
        }
    }

    #[test]
    fn a_digest_over_an_outside_list_has_its_own_key() {
        let strict = Profile { role_outside_digest: Role::Admin, ..testing::profile() };
        assert!(outside(&testing::profile(), Some(Role::Resetter)).is_ok());
        let fault = outside(&strict, Some(Role::Resetter)).expect_err("not enough");
        assert_eq!(fault.reason, Reason::PermissionDenied);
        assert!(fault.message.contains("needs the role admin"), "{fault}");
        assert!(outside(&strict, Some(Role::Admin)).is_ok());
    }
}
