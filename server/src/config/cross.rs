//! What must hold between sections: one cluster, each database once, the control database apart. Must not parse anything.

use super::control::Control;
use super::problem::{At, Location, Problems};
use super::target::Target;
use super::url::DatabaseUrl;

/// A socket and a host name may lead to one cluster, and nobody knows it from the words.
const ONE_CLUSTER: &str = "one daemon serves one cluster; write host and port the same way";

/// Reports what contradicts between the targets and the control database.
pub(super) fn check(
    targets: &[At<Target>],
    control: &Control,
    control_place: Location,
    problems: &mut Problems,
) {
    for (index, target) in targets.iter().enumerate() {
        same_cluster(&targets[0], target, problems);
        one_database(&targets[..index], target, problems);
        if same_place(target.value.source.url(), control.url.as_ref())
            && target.value.source.database() == control.database
        {
            let message =
                format!("target {:?} is the control database {:?}", target.value.name, control.database);
            problems.hint(target.place, message, "name another one with database in [control]");
        }
    }
    let first = targets.first().and_then(|target| target.value.source.url());
    if let (Some(target), Some(control)) = (first, control.url.as_ref())
        && target.cluster() != control.cluster()
    {
        let message = format!(
            "the control database is in another cluster ({}) than the first target ({})",
            address(control),
            address(target)
        );
        problems.hint(control_place, message, ONE_CLUSTER);
    }
}

fn same_cluster(first: &At<Target>, target: &At<Target>, problems: &mut Problems) {
    let (Some(one), Some(other)) = (first.value.source.url(), target.value.source.url()) else { return };
    if one.cluster() != other.cluster() {
        let message = format!(
            "target {:?} is in another cluster ({}) than target {:?} ({})",
            target.value.name,
            address(other),
            first.value.name,
            address(one)
        );
        problems.hint(target.place, message, ONE_CLUSTER);
    }
}

fn one_database(before: &[At<Target>], target: &At<Target>, problems: &mut Problems) {
    let database = target.value.source.database();
    let twin = before.iter().find(|other| {
        other.value.source.database() == database
            && same_place(other.value.source.url(), target.value.source.url())
    });
    if let Some(twin) = twin {
        let names = (&twin.value.name, &target.value.name);
        problems.push(
            target.place,
            format!("targets {:?} and {:?} are one database, {database:?}", names.0, names.1),
        );
    }
}

/// Whether two URLs lead to one cluster; where one is not known yet, both are the embedded one.
fn same_place(one: Option<&DatabaseUrl>, other: Option<&DatabaseUrl>) -> bool {
    match (one, other) {
        (Some(one), Some(other)) => one.cluster() == other.cluster(),
        _ => true,
    }
}

fn address(url: &DatabaseUrl) -> String {
    format!("{}:{}", url.host(), url.port())
}
