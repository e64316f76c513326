//! `audit list|verify`.

use model::{
    audit::Head,
    fault::{Fault, Reason, exit},
};
use serde_json::Value;

use super::{print, print_json};
use crate::{
    api::Api,
    args::AuditVerb,
    destination::Destination,
    render::{Screen, admin},
};

/// `audit …`
///
/// # Errors
/// The daemon cannot be reached or refuses; `AUDIT_BROKEN`.
pub(crate) async fn run(screen: &mut Screen, to: &Destination, verb: &AuditVerb) -> Result<u8, Fault> {
    let api = Api::new(to.address.clone());
    match verb {
        AuditVerb::List { limit, list: args } => list(screen, &api, *limit, args.is_data()).await,
        AuditVerb::Verify { expect, list } => {
            let expected = expect.as_deref().map(head).transpose()?;
            verify(screen, &api, expected.as_ref(), list.is_data()).await
        }
    }
}

fn head(text: &str) -> Result<Head, Fault> {
    Head::read(text).ok_or_else(|| {
        Fault::new(Reason::InvalidRequest, "--expect takes a number, a colon and 64 hex digits")
            .hint("it is what an earlier `resetctl audit verify` printed")
    })
}

async fn list(screen: &mut Screen, api: &Api, limit: u32, as_json: bool) -> Result<u8, Fault> {
    let all = api.audit_records(usize::try_from(limit).unwrap_or(usize::MAX)).await?;
    if as_json {
        return print_json(screen, &Value::Array(all.iter().map(admin::record).collect()));
    }
    let lines = admin::records(&all, &screen.zone(), screen.data_width());
    print(screen, &lines)
}

/// The end of an intact record goes to stdout: it is what the next verification expects.
async fn verify(screen: &mut Screen, api: &Api, expected: Option<&Head>, as_json: bool) -> Result<u8, Fault> {
    let verdict = api.verify_audit(expected).await?;
    let whole = verdict.broken.is_none() && verdict.guard.is_none();
    match (as_json, whole) {
        (true, _) => print_json(screen, &admin::verdict(&verdict))?,
        (false, true) => print(screen, &[verdict.head.to_string()])?,
        (false, false) => exit::OK,
    };
    let Some(broken) = verdict.broken else {
        let Some(guard) = verdict.guard else {
            screen.say(&format!("{} records, intact", verdict.records));
            return Ok(exit::OK);
        };
        return Err(Fault::new(
            Reason::AuditBroken,
            format!("{guard}; the {} records fit together, which whoever did it can see to", verdict.records),
        )
        .hint(
            "compare with an end that you kept (--expect) or with the file of the record, then put it back",
        ));
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
