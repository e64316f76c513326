//! Faults that strike exactly at an event, and what is found afterwards. `make crash-matrix` runs every cell; a fixed
//! sample runs here. `RESETD_TEST_CELLS` chooses one operation of the matrix by its name in the table.

use std::{collections::BTreeMap, io::Write as _, sync::Arc};

use harness::crash::{Cell, Fault, Kind, Lane, Outcome, Shape, Site, run, survey};
use resetd::config::process_env;

fn tell(outcome: &Outcome) {
    let verdict = if outcome.wrong.is_empty() { "ok".to_owned() } else { outcome.wrong.join("\n  ") };
    // A closed stderr has nobody who reads it.
    let _nobody = writeln!(std::io::stderr(), "{}: {verdict}", outcome.cell);
}

fn quiet(_: &Outcome) {}

/// Points that are where the code is.
fn sample() -> Vec<(Kind, &'static str, Fault)> {
    vec![
        (Kind::Run, "COMMIT_PREPARED", Fault::Kill),
        (Kind::Run, "committed", Fault::Kill),
        (Kind::Run, "prepared", Fault::Stop),
        (Kind::Run, "PLANNED", Fault::LockBackend),
        (Kind::Run, "prepared", Fault::WorkBackend),
        (Kind::Run, "SCHEMA_RESET", Fault::Reset),
        (Kind::Reset, "recorded", Fault::Client),
        (Kind::RunDatabase, "DATABASE_BUILT", Fault::Kill),
        (Kind::RunDatabase, "DATABASE_SWAPPED", Fault::Stop),
        (Kind::RunDatabase, "ended", Fault::Kill),
        (Kind::Undo, "DATABASE_SWAPPED", Fault::LockBackend),
        (Kind::UndoSchemas, "prepared", Fault::Kill),
        (Kind::UndoSchemas, "committed", Fault::Kill),
        (Kind::UndoSchemas, "SCHEMA_RETURNED", Fault::Stop),
        (Kind::Reset, "committed", Fault::Kill),
        (Kind::MigratePhased, "begun", Fault::Kill),
        (Kind::Validate, "VALIDATED", Fault::Cancel),
        (Kind::Run, "COMMIT_PREPARED", Fault::Cancel),
        (Kind::Run, "prepared", Fault::RestartImmediate),
    ]
}

async fn surveyed(site: &Arc<Site>) -> (Vec<Cell>, BTreeMap<Kind, Vec<Shape>>) {
    let mut lane = Lane::open(site).await;
    let (mut cells, mut shapes) = (Vec::new(), BTreeMap::new());
    for kind in Kind::ALL {
        let (points, through) = survey(&mut lane, kind).await;
        cells.extend(points.iter().flat_map(|point| point.cells(kind)));
        shapes.insert(kind, through);
    }
    lane.close().await;
    (cells, shapes)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sample_of_the_crash_matrix() {
    let site = Site::start().await;
    let (all, shapes) = surveyed(&site).await;
    let wanted = sample();
    let mut cells = Vec::new();
    for (kind, point, fault) in &wanted {
        let at = |cell: &&Cell| {
            cell.kind == *kind && cell.fault == *fault && (cell.code == *point || cell.point == *point)
        };
        let cell = all.iter().find(at).unwrap_or_else(|| panic!("no cell {kind:?} {point} {fault:?}"));
        cells.push(cell.clone());
    }
    // What restarts the server waits until nothing else is under way.
    let (restarts, others): (Vec<Cell>, Vec<Cell>) = cells.into_iter().partition(|c| c.fault.restarts());
    let mut outcomes = run(&vec![Arc::clone(&site); 3], others, &shapes, quiet).await;
    outcomes.extend(run(&[Arc::clone(&site)], restarts, &shapes, quiet).await);
    site.stop().await;
    assert_eq!(outcomes.len(), wanted.len());
    let wrong: Vec<String> = outcomes
        .iter()
        .filter(|o| !o.wrong.is_empty())
        .map(|o| format!("{}\n  {}", o.cell, o.wrong.join("\n  ")))
        .collect();
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

/// How many cells each operation had under each fault.
fn table(outcomes: &[&Outcome]) -> String {
    let count = |kind: Option<Kind>, fault: Option<Fault>| {
        let mine =
            |o: &&&Outcome| kind.is_none_or(|k| o.cell.kind == k) && fault.is_none_or(|f| o.cell.fault == f);
        outcomes.iter().filter(mine).count()
    };
    let mut text = String::from("| |");
    for kind in Kind::ALL {
        text.push_str(&format!(" {} |", kind.name()));
    }
    text.push_str(" all |\n");
    for fault in Fault::ALL.map(Some).into_iter().chain([None]) {
        text.push_str(&format!("| {} |", fault.map_or("all", Fault::name)));
        for kind in Kind::ALL.map(Some).into_iter().chain([None]) {
            text.push_str(&format!(" {} |", count(kind, fault)));
        }
        text.push('\n');
    }
    text
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "make crash-matrix: every cell takes about 15 minutes"]
async fn every_cell_of_the_crash_matrix() {
    let site = Site::start().await;
    let (mut cells, shapes) = surveyed(&site).await;
    let chosen = process_env("RESETD_TEST_CELLS");
    cells.retain(|cell| chosen.as_deref().is_none_or(|name| cell.kind.name() == name));
    let (restarts, others): (Vec<Cell>, Vec<Cell>) = cells.into_iter().partition(|c| c.fault.restarts());
    let own = [Site::start().await, Site::start().await];
    let shared = vec![Arc::clone(&site); 5];
    let (one, two) = tokio::join!(run(&shared, others, &shapes, tell), run(&own, restarts, &shapes, tell));
    drop(shared);
    site.stop().await;
    for site in own {
        site.stop().await;
    }
    let outcomes: Vec<&Outcome> = one.iter().chain(&two).collect();
    let violations = outcomes.iter().filter(|o| !o.wrong.is_empty()).count();
    write!(std::io::stdout(), "{}", table(&outcomes)).unwrap();
    writeln!(std::io::stdout(), "cells {}, violations {violations}", outcomes.len()).unwrap();
    assert!(outcomes.len() >= if chosen.is_some() { 50 } else { 300 });
    assert_eq!(violations, 0);
}
