//! `token create|list|revoke`.

use std::path::Path;

use model::{
    fault::{Fault, Reason, exit},
    secret::Secret,
    token::{self, New},
};
use serde_json::Value;
use uuid::Uuid;

use super::{print, print_bytes, print_json};
use crate::{
    api::Api,
    args::TokenVerb,
    destination::Destination,
    render::{Screen, admin},
    secret_file::SecretFile,
    time_spec,
};

/// `token …`
///
/// # Errors
/// The daemon cannot be reached or refuses, or the token cannot be written where it should be.
pub(crate) async fn run(screen: &mut Screen, to: &Destination, verb: &TokenVerb) -> Result<u8, Fault> {
    let api = Api::new(to.address.clone());
    match verb {
        TokenVerb::Create { name, lifetime, output, list } => {
            let new = New { request_id: Uuid::new_v4(), name: name.clone(), lifetime: *lifetime };
            create(screen, &api, &new, output.as_deref(), list.is_data()).await
        }
        TokenVerb::List(args) => list(screen, &api, args.is_data()).await,
        TokenVerb::Revoke { id } => revoke(screen, &api, id).await,
    }
}

async fn create(
    screen: &mut Screen,
    api: &Api,
    new: &New,
    output: Option<&Path>,
    as_json: bool,
) -> Result<u8, Fault> {
    new.check()?;
    // Before anything is made: a secret that cannot be written down is lost.
    let file = output.map(SecretFile::prepare).transpose()?;
    let (secret, entry) = api.create_token(new).await?;
    if secret.expose().is_empty() {
        return Err(Fault::new(
            Reason::RequestIdConflict,
            "the token was made before, and its text is shown once",
        )
        .hint(format!("revoke it and make another: resetctl token revoke {}", entry.id)));
    }
    let ends = time_spec::format_time(entry.expires_at, &screen.zone());
    let until = format!("token {} proves token:{} until {ends}", entry.id, entry.name);
    match file {
        Some(file) => {
            let path = file.write(&secret).map_err(|fault| {
                fault.hint(format!("revoke it and make another: resetctl token revoke {}", entry.id))
            })?;
            screen.say(&format!("{until}; it is in {}", path.display()));
        }
        None => screen.say(&format!("{until}; it is shown this once")),
    }
    match (as_json, output) {
        (true, Some(_)) => print_json(screen, &admin::token(&entry)),
        (true, None) => {
            let mut value = admin::token(&entry);
            value["token"] = Value::String(secret.expose().clone());
            print_json(screen, &value)
        }
        (false, Some(_)) => Ok(exit::OK),
        (false, None) => {
            let line = Secret::new(format!("{}\n", secret.expose()));
            print_bytes(screen, line.expose().as_bytes())
        }
    }
}

async fn list(screen: &mut Screen, api: &Api, as_json: bool) -> Result<u8, Fault> {
    let all = api.tokens().await?;
    if as_json {
        return print_json(screen, &Value::Array(all.iter().map(admin::token).collect()));
    }
    if all.is_empty() {
        screen.say("no tokens");
        return Ok(exit::OK);
    }
    let lines = admin::tokens(&all, &screen.zone(), screen.data_width());
    print(screen, &lines)
}

async fn revoke(screen: &mut Screen, api: &Api, id: &str) -> Result<u8, Fault> {
    if !token::is_id(id) {
        return Err(Fault::new(Reason::InvalidRequest, "that is not a token's id")
            .hint("an id has 11 letters and digits; `resetctl token list` shows them"));
    }
    let entry = api.revoke_token(id).await?;
    screen.say(&format!("token {} of token:{} is revoked", entry.id, entry.name));
    Ok(exit::OK)
}
