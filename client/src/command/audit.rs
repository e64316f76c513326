//! `audit list|verify`.

use model::{
    audit::{Head, Record},
    fault::{Fault, Reason, exit},
};
use serde_json::Value;
use wire::v1;

use super::{print, print_json};
use crate::{
    args::AuditVerb,
    connection::{self, Connection},
    intent::Destination,
    render::{Screen, admin},
    status::normalise,
    view::broken,
};

const PAGE: u32 = 1_000;

/// `audit …`
///
/// # Errors
/// The daemon cannot be reached or refuses; `AUDIT_BROKEN`.
pub(crate) async fn run(screen: &mut Screen, to: &Destination, verb: &AuditVerb) -> Result<u8, Fault> {
    let connection = Connection::new(to.address.clone());
    match verb {
        AuditVerb::List { limit, list: args } => list(screen, &connection, *limit, args.json).await,
        AuditVerb::Verify { expect, list } => {
            let expected = expect.as_deref().map(head).transpose()?;
            verify(screen, &connection, expected.as_ref(), list.json).await
        }
    }
}

fn head(text: &str) -> Result<Head, Fault> {
    Head::read(text).ok_or_else(|| {
        Fault::new(Reason::InvalidRequest, "--expect takes a number, a colon and 64 hex digits")
            .hint("it is what an earlier `resetctl audit verify` printed")
    })
}

async fn list(screen: &mut Screen, connection: &Connection, limit: u32, as_json: bool) -> Result<u8, Fault> {
    let all = pages(connection, limit).await?;
    if as_json {
        return print_json(screen, &Value::Array(all.iter().map(admin::record).collect()));
    }
    let lines = admin::records(&all, screen.data_width());
    print(screen, &lines)
}

async fn pages(connection: &Connection, limit: u32) -> Result<Vec<(Record, String)>, Fault> {
    let mut client = connection::admin(connection.open().await?);
    let (mut all, mut token) = (Vec::new(), String::new());
    let most = usize::try_from(limit).unwrap_or(usize::MAX);
    loop {
        let left = limit - u32::try_from(all.len()).unwrap_or(limit).min(limit);
        let request = v1::ListAuditRecordsRequest {
            page_size: i32::try_from(left.min(PAGE)).unwrap_or(0),
            page_token: token,
        };
        let reply = client.list_audit_records(request).await.map_err(|s| normalise(&s).fault)?.into_inner();
        let got = reply.records.len();
        for record in reply.records {
            all.push(wire::decode_audit_record(record).map_err(|error| broken(&error.to_string()))?);
        }
        all.truncate(most);
        token = reply.next_page_token;
        if token.is_empty() || all.len() >= most || got == 0 {
            return Ok(all);
        }
    }
}

/// The end of an intact record goes to stdout: it is what the next verification expects.
async fn verify(
    screen: &mut Screen,
    connection: &Connection,
    expected: Option<&Head>,
    as_json: bool,
) -> Result<u8, Fault> {
    let mut client = connection::admin(connection.open().await?);
    let reply = client.verify_audit(wire::encode_expected(expected)).await;
    let verdict = wire::decode_verdict(reply.map_err(|s| normalise(&s).fault)?.into_inner());
    match (as_json, &verdict.broken) {
        (true, _) => print_json(screen, &admin::verdict(&verdict))?,
        (false, None) => print(screen, &[verdict.head.to_string()])?,
        (false, Some(_)) => exit::OK,
    };
    let Some(broken) = verdict.broken else {
        screen.say(&format!("{} records, intact", verdict.records));
        return Ok(exit::OK);
    };
    let (sequence, wrong) = (broken.sequence, broken.wrong.as_str());
    Err(Fault::new(
        Reason::AuditBroken,
        format!("record {sequence} is the first that does not fit: {wrong}; {}", broken.text),
    )
    .hint("find out who wrote to the control database; what was recorded before is as it was written")
    .with("sequence", sequence)
    .with("wrong", wrong))
}
