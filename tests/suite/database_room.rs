//! Scope database on a disk that is too small: told before anything starts where it can be known, and harmless where not.
//!
//! A small disk is a memory file system of the test's own, which only root can make.

use std::{fs::File, io::Write as _, path::Path, process::Command};

use harness::{
    Because, Make, Migrations, Postgres, Setup, TestTarget,
    database::{RUN, generated, oid},
    finding,
};
use nix::{sys::statvfs::statvfs, unistd::Uid};
use tempfile::TempDir;

const MIB: u64 = 1024 * 1024;

/// A volume that goes when this is dropped.
struct Volume(TempDir);

impl Volume {
    fn make() -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let mount = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=350m,mode=755", "resetd-tests"])
            .arg(folder.path())
            .status();
        (Uid::effective().is_root() && mount.is_ok_and(|m| m.success())).then(|| Self(folder))
    }

    fn free(&self) -> u64 {
        let volume = statvfs(self.0.path()).unwrap();
        volume.blocks_available() * volume.fragment_size()
    }

    /// Leaves this much room.
    fn fill(&self, leave: u64) {
        let path = self.0.path().join("filler");
        drop(std::fs::remove_file(&path));
        let bytes = vec![1; usize::try_from(self.free() - leave).unwrap()];
        File::create(&path).unwrap().write_all(&bytes).unwrap();
    }
}

impl Drop for Volume {
    fn drop(&mut self) {
        // A server that still ends holds it; it goes with the last file.
        drop(Command::new("umount").arg("--lazy").arg(self.0.path()).status());
    }
}

fn own(folder: &Path) {
    std::fs::create_dir(folder).unwrap();
}

#[tokio::test]
async fn a_disk_that_is_too_small_is_told_before_and_harmless_on_the_way() {
    let Some(volume) = Volume::make() else {
        let said = b"scope database on a small disk: not tested, only root can make one\n";
        std::io::stderr().write_all(said).unwrap();
        return;
    };
    let data = volume.0.path().join("data");
    own(&data);
    let (_cluster, postgres) = Postgres::private_in(&data).await;
    let target = TestTarget::make_on(&postgres, Make::superuser(Because::ItLooksAtTheDisk)).await;
    let chains = Migrations::shipped();
    let daemon = Setup::of(&target).migrations(&chains).start().await;
    daemon.ctl("validate").await.expect(0);
    let before = (target.state().await, oid(&target).await);

    volume.fill(30 * MIB);
    let out = daemon.ctl(RUN).await;
    out.refused("PREFLIGHT_FAILED");
    assert!(finding(&out, "DISK_SHORT")["object"].to_string().contains("data"), "{out}");
    assert_eq!(before, (target.state().await, oid(&target).await));
    assert_eq!(generated(&target, "new").await, [""; 0]);

    // Enough to begin with, and too little for what a revision writes.
    volume.fill(110 * MIB);
    let much = "CREATE TABLE much AS SELECT repeat(md5(n::text), 100) AS t FROM generate_series(1, 40000) n;
                ALTER TABLE much ALTER COLUMN t SET STORAGE EXTERNAL;
                INSERT INTO much SELECT t || 'more' FROM much";
    chains.revision("core/zz_much.sql", "core_999", "core_001", much);
    let out = daemon.ctl(RUN).await;
    out.refused("REVISION_FAILED");
    assert_eq!(out.text("/error_detail/sqlstate"), "53100", "{out}");
    assert_eq!(before, (target.state().await, oid(&target).await));
    assert_eq!(generated(&target, "new").await, [""; 0], "what was built is dropped");

    chains.remove("core/zz_much.sql");
    daemon.ctl(RUN).await.expect(0);
    assert_ne!(before.1, oid(&target).await);
}
