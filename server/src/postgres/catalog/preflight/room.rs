//! Whether the disk has room to build a database aside. PostgreSQL does not tell, so the daemon looks at the volume itself,
//! where it can be sure that it is the server's: on the same machine, with a role that may see the server's files.

use std::{
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use model::{fault::Fault, finding::Finding};
use nix::sys::statvfs::statvfs;
use sqlx::PgConnection;

use crate::postgres::sql::error::ControlError;

/// Two segments of the write-ahead log, which a copy of a template and the first revisions fill.
const LOG: u64 = 32 * 1024 * 1024;

/// What is known about the room for a database in a tablespace.
#[derive(Clone, Copy, Debug)]
struct Room {
    /// Bytes that the server may still write.
    free: u64,
    /// Bytes of the template, which are copied, logged, and written once more by any revisions.
    template: u64,
    /// Bytes of the database that is replaced.
    old: u64,
}

impl Room {
    fn least(self) -> u64 {
        3 * self.template + LOG
    }

    fn finding(self, folder: &Path) -> Option<Finding> {
        let object = format!("volume of {}", folder.display());
        let mib = |bytes: u64| format!("{} MiB", bytes.div_ceil(1024 * 1024));
        if self.free < self.least() {
            return Some(Finding::error(
                "DISK_SHORT",
                object,
                format!(
                    "has {} free; building a database aside takes {} at least",
                    mib(self.free),
                    mib(self.least())
                ),
                "make room there: a previous database that is kept may go first (`resetctl status` shows them)",
            ));
        }
        (self.free < self.old).then(|| {
            Finding::warning(
                "DISK_TIGHT",
                object,
                format!(
                    "has {} free, less than the database holds now ({}); the build fails, with nothing changed, where the \
                     new one grows beyond that",
                    mib(self.free),
                    mib(self.old)
                ),
                "make room there if the revisions fill tables",
            )
        })
    }
}

/// What is found about the room for a new database in the old one's tablespace. Nothing where it cannot be known.
pub(crate) async fn findings(connection: &mut PgConnection, database: u32) -> Result<Vec<Finding>, Fault> {
    let Some((folder, seconds, template, old)) = ask(connection, database).await? else {
        return Ok(Vec::new());
    };
    let room = |free| Room { free, template: template.unsigned_abs(), old: old.unsigned_abs() };
    let finding = free_in(&folder, seconds).and_then(|free| room(free).finding(&folder));
    Ok(finding.into_iter().collect())
}

/// The folder that the new database will lie in, when it was last changed, and the sizes; `None` where the role may not know.
async fn ask(
    connection: &mut PgConnection,
    database: u32,
) -> Result<Option<(PathBuf, i64, i64, i64)>, ControlError> {
    let may: bool = sqlx::query_scalar(
        "SELECT has_function_privilege('pg_stat_file(text,boolean)', 'EXECUTE')
            AND pg_has_role('pg_read_server_files', 'USAGE')
            AND EXISTS (SELECT FROM pg_settings WHERE name = 'data_directory')",
    )
    .fetch_one(&mut *connection)
    .await?;
    if !may {
        return Ok(None);
    }
    let row: Option<(String, Option<i64>, i64, i64)> = sqlx::query_as(
        "WITH place AS (
            SELECT CASE WHEN t.location = '' THEN d.directory
                        WHEN t.location LIKE '/%' THEN t.location ELSE d.directory || '/' || t.location END AS folder
              FROM (SELECT coalesce(pg_tablespace_location(dattablespace), '') AS location
                      FROM pg_database WHERE oid = $1::oid) t,
                   (SELECT setting AS directory FROM pg_settings WHERE name = 'data_directory') d)
         SELECT folder, (SELECT extract(epoch FROM f.modification)::int8 FROM pg_stat_file(folder, true) f),
                pg_database_size('template0'), pg_database_size($1::oid) FROM place",
    )
    .bind(i64::from(database))
    .fetch_optional(connection)
    .await?;
    Ok(row.and_then(|(folder, seconds, template, old)| Some((folder.into(), seconds?, template, old))))
}

/// What is free on the volume of a folder, if the folder is the one that the server means: in a container, or on another
/// machine, there is none of that name, or one that was changed at another time.
fn free_in(folder: &Path, seconds: i64) -> Option<u64> {
    let same = fs::metadata(folder).is_ok_and(|here| here.mtime() == seconds);
    let volume = statvfs(folder).ok().filter(|_| same)?;
    volume.blocks_available().checked_mul(volume.fragment_size())
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1024 * 1024;

    #[test]
    fn too_little_is_an_error_and_less_than_there_was_a_warning() {
        let code = |free: u64, old: u64| {
            let finding =
                Room { free: free * MIB, template: 8 * MIB, old: old * MIB }.finding(Path::new("/data"));
            finding.map(|f| f.code)
        };
        assert_eq!(code(55, 10).as_deref(), Some("DISK_SHORT"));
        assert_eq!(code(56, 10), None);
        assert_eq!(code(56, 57).as_deref(), Some("DISK_TIGHT"));
    }

    #[test]
    fn a_folder_that_is_not_the_servers_tells_nothing() {
        let folder = tempfile::tempdir().expect("a folder");
        let changed = fs::metadata(folder.path()).expect("it is there").mtime();
        assert!(free_in(folder.path(), changed).is_some());
        assert_eq!(free_in(folder.path(), changed - 1), None);
        assert_eq!(free_in(&folder.path().join("none"), changed), None);
    }
}
