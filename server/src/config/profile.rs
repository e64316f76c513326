//! `[profile.NAME]`: other values for the keys of a built-in profile, or a new profile that `extends` one. Must not know
//! targets; what the keys are is the table in `model`.

use model::profile::{Builtin, KEYS, Key, Kind, Profile};

use super::problem::{At, Location, Problems};
use super::section::Section;

/// Reads every profile; the built-in ones are there in any case. What is extended has its overrides already.
pub(super) fn parse_all(root: &Section<'_>, problems: &mut Problems) -> Vec<Profile> {
    let mut all: Vec<_> = Builtin::ALL.iter().map(|base| Profile::of(*base)).collect();
    let sections = root.tables("profile", problems);
    let (builtin, new): (Vec<_>, Vec<_>) =
        sections.iter().partition(|section| section.name.parse::<Builtin>().is_ok());
    for section in builtin {
        if section.has("extends") {
            let message = format!("{} is built in and extends nothing", section.title);
            problems.push(section.place_of("extends"), message);
        }
        for profile in all.iter_mut().filter(|profile| profile.name == section.name) {
            fill(profile, section, problems);
        }
    }
    for section in new {
        // A profile that extends nothing known is read all the same, so that its other mistakes are found.
        let base = base(section, problems).unwrap_or(Builtin::Staging);
        let mut profile = all[base as usize].clone().named(&section.name);
        fill(&mut profile, section, problems);
        all.push(profile);
    }
    all
}

fn base(section: &Section<'_>, problems: &mut Problems) -> Option<Builtin> {
    let allowed = Builtin::WORDS.join(", ");
    if !section.has("extends") {
        let message = format!("{} is not built in and must say extends = one of {allowed}", section.title);
        problems.push(section.place, message);
    }
    let text = section.string("extends", problems)?;
    let report = |_| {
        problems.push(
            text.place,
            format!("key \"extends\" in {}: {:?} is not one of {allowed}", section.title, text.value),
        )
    };
    text.value.parse().map_err(report).ok()
}

fn fill(profile: &mut Profile, section: &Section<'_>, problems: &mut Problems) {
    let known: Vec<_> = KEYS.iter().map(|key| key.name).chain(["extends"]).collect();
    section.only(&known, problems);
    for key in KEYS.iter().filter(|key| section.has(key.name)) {
        let Some(text) = text_of(key, section, problems) else { continue };
        if let Err(error) = key.set(profile, &text.value) {
            problems.push(text.place, format!("key {:?} in {}: {error}", key.name, section.title));
        }
    }
    for (key, sentence) in profile.check() {
        problems.push(section.place_of(key), format!("{}: {sentence}", section.title));
    }
}

/// The value as the table of keys reads it.
fn text_of(key: &Key, section: &Section<'_>, problems: &mut Problems) -> Option<At<String>> {
    let place: Location = section.place_of(key.name);
    match key.kind {
        Kind::Flag => {
            let flag = section.flag(key.name, problems)?;
            Some(At { value: if flag { "yes" } else { "no" }.to_owned(), place })
        }
        Kind::Duration { .. } | Kind::DurationOrAuto | Kind::Word(_) | Kind::Count => {
            section.string(key.name, problems)
        }
        Kind::Words(_) | Kind::Names => {
            let list = section.strings(key.name, key.kind == Kind::Names, problems)?;
            Some(At { value: list.into_iter().map(|word| word.value).collect::<Vec<_>>().join(", "), place })
        }
    }
}
