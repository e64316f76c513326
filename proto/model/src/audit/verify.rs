//! Whether a chain of records is what was written: a fold over the records in their order, which names the first place that
//! does not fit and what is wrong there.
//!
//! It must not know where the records come from.

use super::{Chained, Head, Record, SealKey, link};

/// What was done to a record.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Wrong {
    /// It is not what was written.
    Changed,
    /// It is gone.
    Removed,
    /// It stands in another place.
    Reordered,
    /// It was not written by a daemon.
    Inserted,
}

impl Wrong {
    /// Every kind.
    pub const ALL: [Self; 4] = [Self::Changed, Self::Removed, Self::Reordered, Self::Inserted];

    /// The word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Changed => "changed",
            Self::Removed => "removed",
            Self::Reordered => "reordered",
            Self::Inserted => "inserted",
        }
    }
}

/// The first place that does not fit.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Break {
    /// The place.
    pub sequence: u64,
    /// What was done.
    pub wrong: Wrong,
    /// In words.
    pub text: String,
}

/// What came of a verification.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct AuditVerdict {
    /// Records read.
    pub records: u64,
    /// The last record that fits.
    pub head: Head,
    /// `None`: all of it is what was written.
    pub broken: Option<Break>,
    /// What is wrong with what keeps the record from being changed; `None`: nothing.
    pub guard: Option<String>,
}

/// The fold.
#[derive(Debug)]
pub struct Verifier {
    records: u64,
    head: Head,
    /// What somebody remembers of an earlier end.
    expected: Option<Head>,
    /// The daemons' key, where they have one.
    key: Option<SealKey>,
    /// A sealed record was seen: all that follow are.
    sealed: bool,
    /// It does not fit; what was done to it shows in the record behind it.
    suspect: Option<Chained>,
    broken: Option<Break>,
}

fn broken(sequence: u64, wrong: Wrong, text: impl Into<String>) -> Break {
    Break { sequence, wrong, text: text.into() }
}

impl Verifier {
    /// Begins with nothing read. `expected` is an end that was seen earlier: that record must still be there.
    #[must_use]
    pub fn new(expected: Option<Head>) -> Self {
        Self {
            records: 0,
            head: Head::genesis(),
            expected,
            key: None,
            sealed: false,
            suspect: None,
            broken: None,
        }
    }

    /// With the key of the daemons: from the first sealed record on, and behind the expected end, every record has a seal.
    #[must_use]
    pub fn sealed_with(self, key: Option<SealKey>) -> Self {
        Self { key, ..self }
    }

    /// Nothing that follows can change the verdict.
    #[must_use]
    pub fn is_decided(&self) -> bool {
        self.broken.is_some()
    }

    /// The next record, by its place.
    pub fn absorb(&mut self, it: &Chained) {
        if self.is_decided() {
            return;
        }
        if let Some(suspect) = self.suspect.take() {
            self.broken = Some(self.diagnose(&suspect, Some(it)));
            return;
        }
        self.records += 1;
        let next = self.head.sequence + 1;
        if it.sequence != next {
            self.broken = Some(gap(next, it.sequence));
        } else if !self.fits(it) {
            self.suspect = Some(it.clone());
        } else if self.expected.as_ref().is_some_and(|e| e.sequence == next && e.hash != it.hash) {
            self.broken = Some(broken(next, Wrong::Changed, "its hash is not the expected one"));
        } else if let Some(text) = self.unsealed(it) {
            self.broken = Some(broken(next, Wrong::Inserted, text));
        } else {
            self.head = Head { sequence: next, hash: it.hash.clone() };
        }
    }

    /// What tells that no daemon wrote a record.
    fn unsealed(&mut self, it: &Chained) -> Option<&'static str> {
        let key = self.key.as_ref()?;
        let behind = self.expected.as_ref().is_some_and(|e| it.sequence > e.sequence);
        match &it.seal {
            Some(seal) if key.fits(&it.hash, seal) => {
                self.sealed = true;
                None
            }
            Some(_) => Some("its seal is not one of the daemons' key: no daemon wrote it"),
            None => {
                (self.sealed || behind).then_some("it has no seal of the daemons' key: no daemon wrote it")
            }
        }
    }

    /// The verdict, once every record was read. `anchor` is the end as the daemons noted it beside the records.
    #[must_use]
    pub fn finish(mut self, anchor: Option<&Head>) -> AuditVerdict {
        if let Some(suspect) = self.suspect.take() {
            self.broken = Some(self.diagnose(&suspect, None));
        }
        let at_end = || self.at_end(anchor);
        let broken = self.broken.clone().or_else(at_end);
        AuditVerdict { records: self.records, head: self.head, broken, guard: None }
    }

    fn fits(&self, it: &Chained) -> bool {
        it.hash == link(&self.head.hash, &it.body)
            && Record::read(&it.body).is_some_and(|r| r.sequence == it.sequence && r.at == it.at)
    }

    /// Every record fits to the one before it: whether it is all of them.
    fn at_end(&self, anchor: Option<&Head>) -> Option<Break> {
        let next = self.head.sequence + 1;
        let Some(anchor) = anchor else {
            return Some(broken(next, Wrong::Removed, "the note of the record's end is gone"));
        };
        let last = self.expected.as_ref().map_or(anchor.sequence, |e| e.sequence.max(anchor.sequence));
        if last > self.head.sequence {
            let text = match last == next {
                true => "the newest record is gone".to_owned(),
                false => format!("records {next} to {last}, the newest, are gone"),
            };
            return Some(broken(next, Wrong::Removed, text));
        }
        if anchor.sequence < self.head.sequence {
            let text = format!("the daemons wrote {} records, not {}", anchor.sequence, self.head.sequence);
            return Some(broken(anchor.sequence + 1, Wrong::Inserted, text));
        }
        (anchor.hash != self.head.hash).then(|| {
            broken(
                anchor.sequence,
                Wrong::Changed,
                "its hash is not the one that was noted when it was written",
            )
        })
    }

    /// What was done to a record that does not follow from the one before it.
    fn diagnose(&self, it: &Chained, next: Option<&Chained>) -> Break {
        let here = it.sequence;
        let Some(record) = Record::read(&it.body) else {
            return broken(here, Wrong::Changed, "its text is not that of a record");
        };
        let written = record.sequence;
        let behind = next.and_then(|n| Record::read(&n.body)).map(|r| r.sequence);
        if written > here {
            let text = format!("what stands here was written as record {written}");
            return match behind.is_some_and(|b| b < written) {
                true => broken(here, Wrong::Reordered, text),
                false => broken(here, Wrong::Removed, text),
            };
        }
        if next.is_some_and(|n| n.hash == link(&self.head.hash, &n.body)) {
            return broken(here, Wrong::Inserted, "the record behind it follows from the one before it");
        }
        if written < here {
            let text = format!("what stands here was written as record {written}");
            return broken(here, Wrong::Inserted, format!("{text}: one before it is not the daemons'"));
        }
        if it.hash == link(&self.head.hash, &it.body) {
            return broken(here, Wrong::Changed, "its time is not the one that was written");
        }
        let text = match here {
            1 => "its text or its hash is not what was written".to_owned(),
            _ => {
                format!("it does not follow from record {}: one of the two is not what was written", here - 1)
            }
        };
        broken(here, Wrong::Changed, text)
    }
}

fn gap(next: u64, found: u64) -> Break {
    if found < next {
        return broken(found, Wrong::Inserted, "its place is taken twice");
    }
    let text = match found - next {
        1 => "it is missing".to_owned(),
        _ => format!("records {next} to {} are missing", found - 1),
    };
    broken(next, Wrong::Removed, text)
}
