//! The values of profile keys as they are written: each kind read from its text.
//!
//! This module must not know which key has which kind.

use std::time::Duration;

use super::{Scope, SettingError, keys};
use crate::{authorization::Role, duration::parse_duration};

pub(super) fn flag(text: &str) -> Result<bool, SettingError> {
    match text {
        "yes" => Ok(true),
        "no" => Ok(false),
        _ => Err(SettingError::word(text, &["yes", "no"])),
    }
}

pub(super) fn role(text: &str) -> Result<Role, SettingError> {
    let found = Role::ALL.into_iter().find(|role| role.as_str() == text);
    found.ok_or_else(|| SettingError::word(text, Role::WORDS))
}

pub(super) fn yes_no(value: bool) -> String {
    if value { "yes" } else { "no" }.to_owned()
}

pub(super) fn some_time(text: &str) -> Result<Duration, SettingError> {
    let duration = parse_duration(text)?;
    if duration.is_zero() { Err(SettingError::Zero) } else { Ok(duration) }
}

pub(super) fn some_time_or_auto(text: &str) -> Result<Option<Duration>, SettingError> {
    if text == "auto" { Ok(None) } else { some_time(text).map(Some) }
}

/// `none`, or a whole number, in thousands (k), millions (M) or thousand millions (G).
pub(super) fn count_or_none(text: &str) -> Result<Option<u64>, SettingError> {
    if text == "none" {
        return Ok(None);
    }
    let digits = text.trim_end_matches(['k', 'M', 'G']);
    let unit = match &text[digits.len()..] {
        "" => Some(1),
        "k" => Some(1_000),
        "M" => Some(1_000_000),
        "G" => Some(1_000_000_000),
        _ => None,
    };
    let count = digits.parse::<u64>().ok().zip(unit).and_then(|(n, unit)| n.checked_mul(unit));
    count.map(Some).ok_or_else(|| SettingError::Count(text.to_owned()))
}

/// The same, but for a limit that nothing fits into.
pub(super) fn some_count(text: &str) -> Result<Option<u64>, SettingError> {
    match count_or_none(text)? {
        Some(0) => Err(SettingError::KeepsNothing),
        count => Ok(count),
    }
}

pub(super) fn scope_list(text: &str) -> Result<Vec<Scope>, SettingError> {
    let mut scopes = Vec::new();
    for word in text.split(',').map(str::trim).filter(|word| !word.is_empty()) {
        let scope = word.parse()?;
        if scopes.contains(&scope) {
            return Err(SettingError::Repeated(word.to_owned()));
        }
        scopes.push(scope);
    }
    if scopes.is_empty() { Err(SettingError::EmptyList) } else { Ok(scopes) }
}

pub(super) fn name_list(text: &str) -> Result<Vec<String>, SettingError> {
    let mut names: Vec<String> = Vec::new();
    for name in text.split(',').map(str::trim).filter(|name| !name.is_empty()) {
        if names.iter().any(|known| known == name) {
            return Err(SettingError::Repeated(name.to_owned()));
        }
        names.push(name.to_owned());
    }
    Ok(names)
}

pub(super) fn scope_or_none(text: &str) -> Result<Option<Scope>, SettingError> {
    match text {
        "none" => Ok(None),
        _ => text.parse().map(Some).map_err(|_: SettingError| SettingError::word(text, keys::SCOPE_OR_NONE)),
    }
}
