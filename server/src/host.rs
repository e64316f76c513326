//! What an admin does on the daemon's own machine, also while no daemon runs: tokens, and the control database itself,
//! directly and on its audit record. Who may read the configuration and its secrets may do this.
//!
//! It must not print: what is to be shown is given back.

use std::{
    fs, io,
    io::Write as _,
    path::{Path, PathBuf},
    time::Duration,
};

use jiff::Timestamp;
use model::{
    audit::Decision,
    authorization::{Principal, PrincipalKind},
    fault::{Fault, Reason},
    secret::Secret,
    token::{self, Entry, New},
};
use nix::unistd::{Uid, User};
use uuid::Uuid;

use crate::{
    config::Config,
    daemon,
    engine::admin::tokens::{mint, told_of_new, told_of_revoked},
    ledger::Ledger,
    postgres::control::{adopt, tokens},
};

/// What is to be done with tokens.
#[derive(Clone, Debug)]
pub enum TokenWork {
    /// Make one.
    Create {
        /// The principal will be `token:NAME`.
        name: String,
        /// How long it is good for.
        lifetime: Duration,
        /// Where the secret goes, in place of the result.
        output: Option<PathBuf>,
    },
    /// List them.
    List,
    /// Make one useless.
    Revoke {
        /// Its public id.
        id: String,
    },
}

/// Does it and gives what is to be shown on standard output, and what is to be said beside it.
///
/// # Errors
/// The control database cannot be had, the audit record cannot be written, or the request is wrong.
pub async fn token(config: &Config, work: &TokenWork) -> Result<(Secret<String>, String), Fault> {
    let ledger = Ledger { control: daemon::control(config).await?, lines: config.audit.clone() };
    let principal = myself();
    let asked = |method: &str| Decision {
        principal: Some(principal.clone()),
        peer: "the daemon's machine".to_owned(),
        method: format!("resetd.v1.AdminService/{method}"),
        allowed: true,
        ..Decision::default()
    };
    let by = principal.to_string();
    match work {
        TokenWork::Create { name, lifetime, output } => {
            let new = New { request_id: Uuid::new_v4(), name: name.clone(), lifetime: *lifetime };
            create(&ledger, &new, &by, output.as_deref(), asked("CreateToken")).await
        }
        TokenWork::List => {
            ledger.write(&[(asked("ListTokens"), 1)]).await?;
            let all = tokens::list(&ledger.control.pool).await?;
            Ok((Secret::new(all.iter().map(line).collect()), String::new()))
        }
        TokenWork::Revoke { id } => {
            if !token::is_id(id) {
                return Err(Fault::new(Reason::InvalidRequest, "that is not a token's id")
                    .hint("an id has 11 letters and digits; `resetd token list` shows them"));
            }
            let entry = tokens::get(&ledger.control.pool, id).await?;
            let detail = Some(told_of_revoked(&entry));
            ledger.write(&[(Decision { detail, ..asked("RevokeToken") }, 1)]).await?;
            let entry = tokens::revoke(&ledger.control.pool, id, &by).await?;
            Ok((Secret::new(String::new()), format!("token {} of token:{} is revoked", entry.id, entry.name)))
        }
    }
}

/// Makes the control database that of the cluster where it is now, and gives what is to be said.
///
/// # Errors
/// The control database cannot be had, a daemon runs on it, or the audit record cannot be written.
pub async fn adopt(config: &Config) -> Result<String, Fault> {
    let control = daemon::foreign_control(config).await?;
    let ledger = Ledger { control: control.clone(), lines: config.audit.clone() };
    let asked = Decision {
        principal: Some(myself()),
        peer: "the daemon's machine".to_owned(),
        method: "resetd control adopt".to_owned(),
        allowed: true,
        detail: Some(format!("for cluster {}", control.system_identifier)),
        ..Decision::default()
    };
    if adopt::is_here(&control).await? {
        return Ok("the control database is this cluster's own: nothing was to be done".to_owned());
    }
    ledger.write(&[(asked, 1)]).await?;
    let forgotten = adopt::adopt(&control).await?;
    let mut said = "the control database is this cluster's now; enroll its targets again".to_owned();
    for (name, operation) in forgotten {
        said.push_str(&format!(
            "\nforgot database {name} of operation {operation}: if it is here, it is yours to drop"
        ));
    }
    Ok(said)
}

async fn create(
    ledger: &Ledger,
    new: &New,
    by: &str,
    output: Option<&Path>,
    asked: Decision,
) -> Result<(Secret<String>, String), Fault> {
    new.check()?;
    // Before anything is made: a secret that cannot be written down is lost.
    let file = output.map(prepared).transpose()?;
    let token = mint()?;
    let detail = Some(told_of_new(token.id(), new));
    ledger.write(&[(Decision { detail, ..asked }, 1)]).await?;
    let (tokens::Made::New(entry) | tokens::Made::Before(entry)) =
        tokens::create(&ledger.control.pool, new, by, &token).await?;
    let told = format!("token {} proves token:{} until {:.0}", entry.id, entry.name, entry.expires_at);
    let text = Secret::new(format!("{}\n", token.text().expose()));
    match file.zip(output) {
        None => Ok((text, told)),
        Some((mut file, path)) => {
            let written = file.write_all(text.expose().as_bytes()).and_then(|()| {
                file.as_file().sync_all()?;
                file.persist_noclobber(path).map(|_| ()).map_err(|e| e.error)
            });
            written
                .map_err(|e| unwritable(path, &e, &format!("revoke token {} and make another", entry.id)))?;
            Ok((Secret::new(String::new()), format!("{told}; it is in {}", path.display())))
        }
    }
}

/// A file beside the one that is wanted, which only its owner may read.
fn prepared(path: &Path) -> Result<tempfile::NamedTempFile, Fault> {
    let folder = path.parent().filter(|f| !f.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let made = match fs::metadata(path) {
        Ok(there) if !there.is_file() => Err(io::Error::other("something that is no file is there")),
        Ok(_) => Err(io::Error::other("a file is there already, maybe with a token that is still good")),
        _ => tempfile::NamedTempFile::new_in(folder),
    };
    made.map_err(|e| unwritable(path, &e, "choose another file; no token was made"))
}

fn unwritable(path: &Path, error: &io::Error, hint: &str) -> Fault {
    let what = format!("the token cannot be written to {}: {error}", path.display());
    Fault::new(Reason::ReportUnwritable, what).hint(hint)
}

fn line(it: &Entry) -> String {
    let time = |at: Option<Timestamp>| at.map_or_else(|| "never".to_owned(), |at| format!("{at:.0}"));
    format!(
        "{}  {}  {}  until {:.0}  used {}\n",
        it.id,
        it.state(),
        it.name,
        it.expires_at,
        time(it.last_used_at)
    )
}

/// The user that this program runs as.
fn myself() -> Principal {
    let uid = Uid::effective();
    let name = match User::from_uid(uid) {
        Ok(Some(user)) => user.name,
        Ok(None) | Err(_) => format!("#{uid}"),
    };
    Principal { kind: PrincipalKind::Unix, name, owner: true }
}
