//! Values for the pure tests of this crate.

use std::collections::BTreeMap;

use uuid::Uuid;

use crate::{
    operation::{Request, Verb, Wait},
    profile::{Profile, Scope},
};

pub(crate) fn profile() -> Profile {
    Profile::builtin("local").expect("a built-in profile")
}

pub(crate) fn request(verb: Verb) -> Request {
    Request {
        request_id: Uuid::from_u128(1),
        verb,
        target: "butlers".to_owned(),
        labels: BTreeMap::new(),
        wait: Wait::No,
        timeout: None,
        expect_chains: None,
        client_chains: Vec::new(),
        scope: verb.resets().then_some(Scope::ManagedSchemas),
        scope_named: true,
        managed_schemas: Vec::new(),
        dry_run: false,
        confirmation: Some("RESET".to_owned()),
        allow_production_db_name: false,
        plan_digest: None,
        terminate_sessions: false,
        allow_phased: false,
        undoes: None,
    }
}
