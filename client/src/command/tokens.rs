//! `token create|list|revoke`.

use std::path::Path;

use model::{
    fault::{Fault, Reason, exit},
    secret::Secret,
    token::{self, Entry, New},
};
use serde_json::Value;
use uuid::Uuid;
use wire::v1;

use super::{print, print_bytes, print_json, promised};
use crate::{
    args::TokenVerb,
    connection::{self, Connection},
    intent::Destination,
    render::{Screen, admin},
    secret_file::SecretFile,
    status::normalise,
    view::broken,
};

/// `token …`
///
/// # Errors
/// The daemon cannot be reached or refuses, or the token cannot be written where it should be.
pub(crate) async fn run(screen: &mut Screen, to: &Destination, verb: &TokenVerb) -> Result<u8, Fault> {
    let connection = Connection::new(to.address.clone());
    match verb {
        TokenVerb::Create { name, lifetime, output, list } => {
            let new = New { request_id: Uuid::new_v4(), name: name.clone(), lifetime: *lifetime };
            create(screen, &connection, &new, output.as_deref(), list.json).await
        }
        TokenVerb::List(args) => list(screen, &connection, args.json).await,
        TokenVerb::Revoke { id } => revoke(screen, &connection, id).await,
    }
}

async fn create(
    screen: &mut Screen,
    connection: &Connection,
    new: &New,
    output: Option<&Path>,
    as_json: bool,
) -> Result<u8, Fault> {
    new.check()?;
    // Before anything is made: a secret that cannot be written down is lost.
    let file = output.map(SecretFile::prepare).transpose()?;
    let mut client = connection::admin(connection.open().await?);
    let reply = client.create_token(wire::encode_new_token(new)).await.map_err(|s| normalise(&s).fault)?;
    let reply = reply.into_inner();
    let (secret, entry) = (Secret::new(reply.secret), entry(promised(reply.token, "token")?)?);
    if secret.expose().is_empty() {
        return Err(Fault::new(
            Reason::RequestIdConflict,
            "the token was made before, and its text is shown once",
        )
        .hint(format!("revoke it and make another: resetctl token revoke {}", entry.id)));
    }
    let until = format!("token {} proves token:{} until {:.0}", entry.id, entry.name, entry.expires_at);
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

async fn list(screen: &mut Screen, connection: &Connection, as_json: bool) -> Result<u8, Fault> {
    let mut client = connection::admin(connection.open().await?);
    let reply = client.list_tokens(v1::ListTokensRequest {}).await.map_err(|s| normalise(&s).fault)?;
    let all: Vec<Entry> = reply.into_inner().tokens.into_iter().map(entry).collect::<Result<_, _>>()?;
    if as_json {
        return print_json(screen, &Value::Array(all.iter().map(admin::token).collect()));
    }
    if all.is_empty() {
        screen.say("no tokens");
        return Ok(exit::OK);
    }
    let lines = admin::tokens(&all, screen.data_width());
    print(screen, &lines)
}

async fn revoke(screen: &mut Screen, connection: &Connection, id: &str) -> Result<u8, Fault> {
    if !token::is_id(id) {
        return Err(Fault::new(Reason::InvalidRequest, "that is not a token's id")
            .hint("an id has 11 letters and digits; `resetctl token list` shows them"));
    }
    let request = v1::RevokeTokenRequest { request_id: Uuid::new_v4().to_string(), id: id.to_owned() };
    let mut client = connection::admin(connection.open().await?);
    let reply = client.revoke_token(request).await.map_err(|s| normalise(&s).fault)?.into_inner();
    let entry = entry(promised(reply.token, "token")?)?;
    screen.say(&format!("token {} of token:{} is revoked", entry.id, entry.name));
    Ok(exit::OK)
}

fn entry(it: v1::Token) -> Result<Entry, Fault> {
    wire::decode_token(it).map_err(|error| broken(&error.to_string()))
}
