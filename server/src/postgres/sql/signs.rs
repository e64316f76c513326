//! What tells that something of a generated name is the daemon's to drop or to bring back.
//!
//! An oid alone names nothing: it may be another one's by now, and people rename what they find. Cluster, oid, generated name
//! and the daemon's comment must fit, and it must be closed; a schema's owner as well.

use uuid::Uuid;

/// The comment by which what an operation set aside, a database or a schema, is known to be the daemon's.
pub(crate) fn marker(operation: Uuid) -> String {
    format!(
        "resetd: set aside by operation {operation}; dropped when its time is over, unless this comment is changed"
    )
}

/// An SQL expression: why what the ledger knows as `k` is not the daemon's any more; NULL: by every sign it is. The signs of
/// what is there are columns, and `s` is `pg_control_system()`.
macro_rules! why_not {
    (oid: $oid:literal, name: $name:literal, opened: $opened:literal, told: $told:literal, comment: $comment:literal) => {
        concat!(
            "CASE WHEN k.system_identifier <> s.system_identifier::pg_catalog.text THEN 'it was kept in another cluster'
                  WHEN ",
            $oid,
            " IS NULL THEN 'it is gone'
                  WHEN ",
            $name,
            " <> k.name THEN pg_catalog.format('it is called %I now', ",
            $name,
            ") WHEN ",
            $opened,
            " THEN '",
            $told,
            "' WHEN k.marker <> coalesce(",
            $comment,
            ", '') THEN 'its comment was changed' END"
        )
    };
}
pub(crate) use why_not;
