//! IDs that can be used: by their beginning, by `@last`, and whole wherever they are shown.

use harness::{Setup, TestTarget};
use serde_json::Value;

#[tokio::test]
async fn an_operation_is_named_by_its_beginning_or_as_the_last_one() {
    let target = TestTarget::migrated().await;
    let daemon = Setup::of(&target).spawn().await;
    let out = daemon.ctl("validate").await;
    let id = out.expect(0).text("/operation").to_owned();
    // In the first line and in the last one.
    let lines: Vec<&str> = out.stderr.lines().collect();
    assert!(lines.first().unwrap().contains(&id) && lines.last().unwrap().contains(&id), "{out}");
    let beginning = &id[..18];
    for word in ["@last", beginning, &id] {
        for line in ["operations show", "report get", "operations watch"] {
            let out = daemon.ctl(&format!("{line} {word}")).await;
            out.expect(0);
            assert!(out.to_string().contains(&id), "{out}");
        }
    }
    daemon.ctl("validate").await.expect(0);
    let out = daemon.ctl("operations show --json @last").await;
    let newest: Value = serde_json::from_str(&out.expect(0).stdout).unwrap();
    assert_ne!(newest["id"], id, "the newest");
    // A beginning that fits several names them; one that fits none is exit 6.
    let same = newest["id"].as_str().unwrap().chars().zip(id.chars()).take_while(|(a, b)| a == b).count();
    if same >= 4 {
        let out = daemon.ctl(&format!("operations show {}", &id[..same])).await;
        assert!(out.expect(2).stderr.contains(&id), "{out}");
    }
    daemon.ctl("operations show ffffffff").await.expect(6);
    daemon.ctl("operations show 7").await.expect(2);
    daemon.ctl("operations show nonsense").await.expect(2);
    // A window as well.
    let window = daemon.ctl("window reserve --for 1m --reason why").await.expect(0).stdout.trim().to_owned();
    for word in ["@last", &window[..20]] {
        let out = daemon.ctl(&format!("window show {word}")).await;
        assert!(out.expect(0).stdout.contains(&window), "{out}");
    }
}

#[tokio::test]
async fn an_undo_takes_the_beginning_of_an_id() {
    let target = TestTarget::migrated().await;
    let daemon = Setup::of(&target).spawn().await;
    let out = daemon.ctl("run --scope database --confirm-destructive-reset RESET").await;
    let id = out.expect(0).text("/operation").to_owned();
    let out = daemon.ctl(&format!("undo {} --dry-run", &id[..20])).await;
    assert!(out.expect(0).stdout.contains("brings back"), "{out}");
}
