//! What is wrong with a configuration, and where. Problems are collected, never thrown: all of them are reported at
//! once. Must not know any section or key.

use std::fmt;
use std::path::{Path, PathBuf};

/// One thing that is wrong. `Display` is one line: `resetd.toml:12: what is wrong; what to do`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The configuration file, as it was named; `None` for what comes from the command line or the environment.
    pub file: Option<PathBuf>,
    /// The line in the file, from 1.
    pub line: Option<usize>,
    /// The column in characters, from 1.
    pub column: Option<usize>,
    /// What is wrong. Never holds a secret.
    pub message: String,
    /// What to do.
    pub hint: Option<String>,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(file) = &self.file {
            write!(f, "{}:", file.display())?;
            if let Some(line) = self.line {
                write!(f, "{line}:")?;
            }
            f.write_str(" ")?;
        }
        f.write_str(&self.message)?;
        self.hint.iter().try_for_each(|hint| write!(f, "; {hint}"))
    }
}

/// A place in the file, as a byte offset; [`NOWHERE`] for what was not written in a file.
pub(super) type Location = Option<usize>;

/// Said on the command line, in the environment, or not at all.
pub(super) const NOWHERE: Location = None;

/// A value and where it was written.
#[derive(Debug, Clone)]
pub(super) struct At<T> {
    pub(super) value: T,
    pub(super) place: Location,
}

impl<T> At<T> {
    /// A value that no file holds.
    pub(super) fn nowhere(value: T) -> Self {
        Self { value, place: NOWHERE }
    }
}

/// The problems found so far, and the text they are found in.
#[derive(Default)]
pub(super) struct Problems {
    file: Option<PathBuf>,
    text: String,
    found: Vec<Problem>,
}

impl Problems {
    /// From here on places are offsets into this text.
    pub(super) fn reading(&mut self, file: &Path, text: &str) {
        (self.file, self.text) = (Some(file.to_owned()), text.to_owned());
    }

    /// A problem whose message says all.
    pub(super) fn push(&mut self, place: Location, message: impl Into<String>) {
        self.add(place, message.into(), None);
    }

    /// A problem and what to do about it.
    pub(super) fn hint(&mut self, place: Location, message: impl Into<String>, hint: impl Into<String>) {
        self.add(place, message.into(), Some(hint.into()));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    /// All problems in the order of the file; those without a place first.
    pub(super) fn into_sorted(mut self) -> Vec<Problem> {
        self.found.sort_by_key(|problem| (problem.line, problem.column));
        self.found
    }

    fn add(&mut self, place: Location, message: String, hint: Option<String>) {
        let file = self.file.clone().filter(|_| place.is_some());
        let position = place.filter(|_| file.is_some()).map(|offset| self.position(offset));
        let (line, column) = (position.map(|p| p.0), position.map(|p| p.1));
        let problem = Problem { file, line, column, message, hint };
        if !self.found.contains(&problem) {
            self.found.push(problem);
        }
    }

    fn position(&self, offset: usize) -> (usize, usize) {
        let before = &self.text[..self.text.floor_char_boundary(offset)];
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
    }
}
