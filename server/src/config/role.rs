//! `[[role]]`: who may do what on which targets. Must not know how a principal is proved.

use model::authorization::{Grant, PrincipalKind, Role, matches};

use super::problem::{At, Problems};
use super::section::Section;
use super::target::unknown;

const KEYS: &[&str] = &["principal", "targets", "role"];

/// The kinds of principal: the part of `unix:alice` before the colon.
const KINDS: &[PrincipalKind] =
    &[PrincipalKind::Unix, PrincipalKind::Cert, PrincipalKind::Token, PrincipalKind::Loopback];

/// Reads every `[[role]]`. `known` are the names of the targets.
pub(super) fn parse_all(root: &Section<'_>, known: &[&str], problems: &mut Problems) -> Vec<Grant> {
    let sections = root.array("role", "[[role]]", problems);
    sections.iter().filter_map(|section| parse(section, known, problems)).collect()
}

fn parse(section: &Section<'_>, known: &[&str], problems: &mut Problems) -> Option<Grant> {
    section.only(KEYS, problems);
    for key in KEYS.iter().filter(|key| !section.has(key)) {
        section.missing(key, problems);
    }
    let principal = section.string("principal", problems).and_then(|text| principal(&text, problems));
    let targets = section.strings("targets", false, problems);
    // A pattern may wait for its target; a plain name without one is a typing error.
    for target in targets.iter().flatten().filter(|target| !target.value.contains('*')) {
        if !known.contains(&target.value.as_str()) {
            unknown("target", target, "[[role]]", known.to_vec(), problems);
        }
    }
    let role = section.string("role", problems).and_then(|text| role(&text, problems));
    let ((kind, name), targets, role) = (principal?, targets?, role?);
    Some(Grant { kind, name, targets: targets.into_iter().map(|target| target.value).collect(), role })
}

fn principal(text: &At<String>, problems: &mut Problems) -> Option<(PrincipalKind, String)> {
    let (word, name) = text.value.split_once(':').unwrap_or((&text.value, ""));
    let kind = KINDS.iter().find(|kind| kind.as_str() == word).copied();
    let message = match kind {
        None => format!(
            "principal {:?} is of no known kind (unix:NAME, cert:NAME, token:NAME, loopback:anonymous)",
            text.value
        ),
        Some(_) if name.is_empty() => {
            format!("principal {:?} has no name; \"{word}:*\" means everyone of this kind", text.value)
        }
        Some(PrincipalKind::Loopback) if !matches(name, "anonymous") => {
            format!(
                "principal {:?} does not exist: on loopback everyone is \"loopback:anonymous\"",
                text.value
            )
        }
        Some(kind) => return Some((kind, name.to_owned())),
    };
    problems.push(text.place, message);
    None
}

fn role(text: &At<String>, problems: &mut Problems) -> Option<Role> {
    let found = Role::ALL.into_iter().find(|role| role.as_str() == text.value);
    if found.is_none() {
        let allowed = Role::ALL.map(Role::as_str).join(", ");
        problems.push(text.place, format!("role {:?} is not one of {allowed}", text.value));
    }
    found
}
