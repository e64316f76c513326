//! Whether the server's lock table has room for a change in one transaction.

use crate::{chain::Chain, finding::Finding, sql};

use super::{LockTable, Observation, Plan};

/// Each object that is dropped takes an entry, or each table that is set aside; and each relation that is created. The
/// entries stay to the commit.
pub(super) fn finding(plan: &Plan, chains: &[Chain], observed: &Observation) -> Option<Finding> {
    let table = observed.locks?;
    let (dropped, to) = match plan.sets_aside() {
        true => (table.aside_entries, "set aside"),
        false => (table.drop_entries, "drop"),
    };
    let created: u64 = plan
        .chains
        .iter()
        .filter_map(|planned| {
            let chain = chains.iter().find(|chain| chain.name == planned.chain)?;
            let pending = chain.revisions.iter().filter(|r| planned.revisions.contains(&r.id));
            Some(pending.flat_map(|r| r.statements.iter().map(|s| created_by(&r.sql, s))).sum::<u64>())
        })
        .sum();
    let needed = dropped + created;
    let room = table.capacity().saturating_sub(table.in_use);
    let text = || {
        format!(
            "the change takes about {needed} locks in one transaction ({dropped} to {to}, {created} to create); there is \
             room for {room} (max_locks_per_transaction {} × (max_connections {} + max_prepared_transactions {}) = {}, of \
             which {} are in use)",
            table.per_transaction,
            table.connections,
            table.prepared_transactions,
            table.capacity(),
            table.in_use
        )
    };
    let slots = (table.connections + table.prepared_transactions).max(1);
    let enough = (needed + table.in_use).div_ceil(slots).next_multiple_of(64);
    let hint = format!(
        "set max_locks_per_transaction to {enough} or more and restart PostgreSQL, or use --scope database, which builds \
         aside and has no such limit"
    );
    let object = "the server's lock table";
    if needed > room {
        return Some(Finding::error("LOCK_BUDGET", object, text(), hint));
    }
    (needed > room / 2).then(|| Finding::warning("LOCK_BUDGET", object, text(), hint))
}

fn created_by(sql: &str, statement: &sql::Statement) -> u64 {
    sql::relations_made(sql.get(statement.range.clone()).unwrap_or_default())
}

impl LockTable {
    /// The entries that PostgreSQL promises room for.
    #[must_use]
    pub fn capacity(&self) -> u64 {
        self.per_transaction * (self.connections + self.prepared_transactions)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    fn found(drop_entries: u64) -> Option<Finding> {
        let locks = LockTable {
            per_transaction: 64,
            connections: 100,
            prepared_transactions: 0,
            in_use: 10,
            drop_entries,
            aside_entries: 0,
        };
        finding(
            &Plan::default(),
            &testing::chains().chains,
            &Observation { locks: Some(locks), ..testing::healthy() },
        )
    }

    #[test]
    fn more_than_there_is_room_for_is_refused_with_the_numbers_and_the_way_out() {
        use crate::finding::Severity;
        assert_eq!(found(3_000), None);
        assert_eq!(found(3_196).map(|f| f.severity), Some(Severity::Warning));
        let error = found(10_000).expect("it does not fit");
        assert_eq!(error.severity, Severity::Error);
        assert!(
            error.message.contains("about 10000 locks") && error.message.contains("= 6400"),
            "{}",
            error.message
        );
        assert!(error.hint.contains("max_locks_per_transaction to 128 or more"), "{}", error.hint);
    }
}
