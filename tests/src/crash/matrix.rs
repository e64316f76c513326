//! The survey of every operation's points, and the cells that follow from it, run on several lanes.

use std::{
    collections::{BTreeMap, VecDeque},
    fs,
    sync::{Arc, Mutex},
};

use super::{
    Cell, Fault, Kind, Lane, Site,
    check::{Picture, Shape},
};

/// A point of an operation's life, and what is there to be struck.
#[derive(Clone, Debug)]
pub struct Point {
    /// The event's number, or the name of a point beside the events.
    pub name: String,
    /// The event's code.
    pub code: String,
    /// A session works in a target.
    works: bool,
    /// Something still goes to the target.
    traffic: bool,
}

/// Every point of an operation, from runs that no fault strikes, and the shapes that its target goes through.
pub async fn survey(lane: &mut Lane, kind: Kind) -> (Vec<Point>, Vec<Shape>) {
    lane.sweep_kept().await;
    lane.clear_holds();
    lane.first().await;
    lane.prepare(kind).await;
    let codes = plain(lane, kind).await;
    let made = Picture::of(lane).await.shape();

    lane.sweep_kept().await;
    lane.prepare(kind).await;
    let mut points = names(&codes, kind);
    let mut shapes = vec![Picture::of(lane).await.shape()];
    fs::write(lane.hold("at"), &points[0].name).expect("a hold can be written");
    let client = crate::Running::start(
        lane.folder.path(),
        &lane.first_daemon().address,
        &kind.words().split_whitespace().collect::<Vec<_>>(),
    );
    let mut bytes = Vec::new();
    for at in 0..points.len() {
        lane.held(&format!("{} of {}", points[at].name, kind.name())).await;
        points[at].works = !lane.workers().await.is_empty();
        bytes.push(lane.proxy.bytes());
        // All others show nothing of what they do until they commit, and hold locks meanwhile.
        if kind == Kind::MigratePhased {
            shapes.push(Picture::of(lane).await.shape());
        }
        fs::remove_file(lane.hold("held")).expect("it was held");
        if let Some(next) = points.get(at + 1) {
            fs::write(lane.hold("at"), &next.name).expect("a hold can be written");
        }
        fs::write(lane.hold(&format!("go-{}", points[at].name)), "").expect("a hold can be lifted");
    }
    client.finish().await.expect(0);
    let all = lane.proxy.bytes();
    for (point, before) in points.iter_mut().zip(bytes) {
        point.traffic = all > before;
    }
    shapes.push(made);
    shapes.dedup();
    (points, shapes)
}

async fn plain(lane: &Lane, kind: Kind) -> Vec<String> {
    let out = lane.first_daemon().ctl(kind.words()).await;
    out.expect(0);
    let sql = format!(
        "SELECT code FROM resetd.event WHERE operation = '{}' ORDER BY sequence",
        out.text("/operation")
    );
    lane.target.control_rows(&sql).await.into_iter().map(|row| row[0].clone()).collect()
}

fn names(codes: &[String], kind: Kind) -> Vec<Point> {
    let mut points = Vec::new();
    let mut add = |name: String, code: &str| {
        points.push(Point { name, code: code.to_owned(), works: false, traffic: false });
    };
    for (at, code) in codes.iter().enumerate() {
        add((at + 1).to_string(), code);
        let beside: &[&str] = match code.as_str() {
            "LOCK_ACQUIRED" => &["recorded"],
            "PLANNED" if kind == Kind::MigratePhased => &["begun"],
            "COMMIT_PREPARED" => &["prepared", "committed"],
            "FINISHED" => &["ended"],
            _ => &[],
        };
        for name in beside {
            add((*name).to_owned(), "");
        }
    }
    points
}

impl Point {
    /// The cells of this point: every fault for which there is something to be struck.
    #[must_use]
    pub fn cells(&self, kind: Kind) -> Vec<Cell> {
        let there = |fault: &Fault| match fault {
            Fault::WorkBackend => self.works,
            // Before it is recorded, nobody knows of it.
            Fault::Cancel => !["1", "2"].contains(&self.name.as_str()),
            fault if fault.by_proxy() => self.traffic,
            _ => true,
        };
        let cell = |fault| Cell { kind, point: self.name.clone(), code: self.code.clone(), fault };
        Fault::ALL.into_iter().filter(there).map(cell).collect()
    }
}

/// What came of a cell.
#[derive(Debug)]
pub struct Outcome {
    /// The cell.
    pub cell: Cell,
    /// What is wrong.
    pub wrong: Vec<String>,
}

/// Runs cells, on one lane per site of `sites`; a site may be named several times, but faults that restart a server need
/// one of their own. `tell` hears of every cell that ended.
pub async fn run(
    sites: &[Arc<Site>],
    cells: Vec<Cell>,
    shapes: &BTreeMap<Kind, Vec<Shape>>,
    tell: fn(&Outcome),
) -> Vec<Outcome> {
    let queue = Arc::new(Mutex::new(VecDeque::from(cells)));
    let outcomes = Arc::new(Mutex::new(Vec::new()));
    let mut lanes = Vec::new();
    for site in sites {
        let (site, queue, outcomes) = (Arc::clone(site), Arc::clone(&queue), Arc::clone(&outcomes));
        let shapes = shapes.clone();
        lanes.push(tokio::spawn(async move {
            let mut lane = Lane::open(&site).await;
            while let Some(cell) = { queue.lock().expect("nobody panics with it").pop_front() } {
                let (shapes, it) = (shapes[&cell.kind].clone(), cell.clone());
                let ran = tokio::spawn(async move {
                    let wrong = it.run(&mut lane, &shapes).await;
                    (lane, wrong)
                });
                let wrong = match ran.await {
                    Ok((back, wrong)) => {
                        lane = back;
                        wrong
                    }
                    // A lane on which something did not come is of no more use.
                    Err(panic) => {
                        lane = Lane::open(&site).await;
                        vec![said(panic)]
                    }
                };
                let outcome = Outcome { cell, wrong };
                tell(&outcome);
                outcomes.lock().expect("nobody panics with it").push(outcome);
            }
            lane.close().await;
        }));
    }
    for lane in lanes {
        lane.await.expect("a lane runs to its end");
    }
    std::mem::take(&mut *outcomes.lock().expect("nobody panics with it"))
}

fn said(panic: tokio::task::JoinError) -> String {
    let Ok(panic) = panic.try_into_panic() else { return "it was cancelled".to_owned() };
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(|s| (*s).to_owned())).unwrap_or_default()
}
