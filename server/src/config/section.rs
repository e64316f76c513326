//! A TOML table with the places of its keys and values, and typed readers that report what does not fit. Must not know
//! any particular section.

use std::time::Duration;

use model::duration::parse_duration;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::problem::{At, Location, Problems};

/// How far a key may be from a known one to be taken for a slip of the finger (Damerau-Levenshtein).
const SLIP: usize = 3;

/// One table of the file.
pub(super) struct Section<'a> {
    /// How messages name it: `[target.staging]`, or `the top level`.
    pub(super) title: String,
    /// The part of the header after the last dot.
    pub(super) name: String,
    /// Where it begins.
    pub(super) place: Location,
    entries: Vec<Entry<'a>>,
}

struct Entry<'a> {
    key: &'a str,
    place: usize,
    value: &'a Spanned<DeValue<'a>>,
}

impl<'a> Section<'a> {
    /// The whole file.
    pub(super) fn root(table: &'a DeTable<'a>) -> Self {
        Self::new("the top level".to_owned(), "", Some(0), table)
    }

    fn new(title: String, name: &str, place: Location, table: &'a DeTable<'a>) -> Self {
        let entry =
            |(key, value): (&'a Spanned<_>, _)| Entry { key: as_str(key), place: key.span().start, value };
        let mut entries: Vec<_> = table.iter().map(entry).collect();
        entries.sort_by_key(|entry| entry.place);
        Self { title, name: name.to_owned(), place, entries }
    }

    /// Where a key is written, or else where the section begins.
    pub(super) fn place_of(&self, key: &str) -> Location {
        self.entry(key).map_or(self.place, |entry| Some(entry.place))
    }

    pub(super) fn has(&self, key: &str) -> bool {
        self.entry(key).is_some()
    }

    /// Whether a key has a list.
    pub(super) fn is_list(&self, key: &str) -> bool {
        self.entry(key).is_some_and(|entry| entry.value.get_ref().is_array())
    }

    /// Reports every key that is not among the known ones.
    pub(super) fn only(&self, known: &[&str], problems: &mut Problems) {
        for entry in self.entries.iter().filter(|entry| !known.contains(&entry.key)) {
            let message = format!("unknown key {:?} in {}", entry.key, self.title);
            if is_secret(entry.key) {
                let message =
                    format!("key {:?} in {} would put a secret into the file", entry.key, self.title);
                let hint =
                    "name an environment variable with database_url_env or a file with database_url_file";
                problems.hint(Some(entry.place), message, hint);
            } else if let Some(nearest) = nearest(entry.key, known) {
                problems.hint(Some(entry.place), message, format!("did you mean {nearest:?}?"));
            } else {
                problems.hint(Some(entry.place), message, format!("known keys: {}", known.join(", ")));
            }
        }
    }

    pub(super) fn string(&self, key: &str, problems: &mut Problems) -> Option<At<String>> {
        let entry = self.entry(key)?;
        let place = Some(entry.value.span().start);
        let Some(text) = entry.value.get_ref().as_str() else {
            return self.mistyped(entry, "a string", problems);
        };
        if text.is_empty() {
            problems.push(place, format!("key {key:?} in {} is empty", self.title));
            return None;
        }
        Some(At { value: text.to_owned(), place })
    }

    pub(super) fn flag(&self, key: &str, problems: &mut Problems) -> Option<bool> {
        let entry = self.entry(key)?;
        entry.value.get_ref().as_bool().or_else(|| self.mistyped(entry, "true or false", problems))
    }

    pub(super) fn duration(&self, key: &str, problems: &mut Problems) -> Option<Duration> {
        let text = self.string(key, problems)?;
        let parsed = parse_duration(&text.value);
        parsed
            .map_err(|error| problems.push(text.place, format!("key {key:?} in {}: {error}", self.title)))
            .ok()
    }

    /// A list of strings; an empty one is a problem unless `may_be_empty`.
    pub(super) fn strings(
        &self,
        key: &str,
        may_be_empty: bool,
        problems: &mut Problems,
    ) -> Option<Vec<At<String>>> {
        let entry = self.entry(key)?;
        let Some(array) = entry.value.get_ref().as_array() else {
            return self.mistyped(entry, "a list of strings", problems);
        };
        let mut list = Vec::new();
        for element in array.iter() {
            let place = Some(element.span().start);
            match element.get_ref().as_str() {
                Some("") => problems.push(place, format!("key {key:?} in {} has an empty entry", self.title)),
                Some(text) => list.push(At { value: text.to_owned(), place }),
                None => problems.push(place, self.wrong_type(key, "a list of strings", element.get_ref())),
            }
        }
        if array.is_empty() && !may_be_empty {
            problems.push(Some(entry.place), format!("key {key:?} in {} is an empty list", self.title));
        }
        (list.len() == array.len() && (may_be_empty || !list.is_empty())).then_some(list)
    }

    /// The table below a key: `[control]`.
    pub(super) fn table(&self, key: &str, problems: &mut Problems) -> Option<Section<'a>> {
        let entry = self.entry(key)?;
        self.child(entry, format!("[{key}]"), problems)
    }

    /// The table below a key of this one; `title` is how messages name it.
    pub(super) fn inner(&self, key: &str, title: &str, problems: &mut Problems) -> Option<Section<'a>> {
        let entry = self.entry(key)?;
        self.child(entry, title.to_owned(), problems)
    }

    /// The named tables below a key: `[target.NAME]`, in the order of the file.
    pub(super) fn tables(&self, key: &str, problems: &mut Problems) -> Vec<Section<'a>> {
        let Some(parent) = self.table(key, problems) else { return Vec::new() };
        let children = parent.entries.iter();
        children.filter_map(|entry| parent.child(entry, format!("[{key}.{}]", entry.key), problems)).collect()
    }

    /// The tables of an array: `[[role]]`. `title` is how messages name one of them.
    pub(super) fn array(&self, key: &str, title: &str, problems: &mut Problems) -> Vec<Section<'a>> {
        let Some(entry) = self.entry(key) else { return Vec::new() };
        let Some(array) = entry.value.get_ref().as_array() else {
            self.mistyped::<()>(entry, &format!("a list of tables, written {title}"), problems);
            return Vec::new();
        };
        let mut sections = Vec::new();
        for element in array.iter() {
            let place = Some(element.span().start);
            match element.get_ref().as_table() {
                Some(table) => sections.push(Section::new(title.to_owned(), key, place, table)),
                None => problems.push(place, self.wrong_type(key, "a list of tables", element.get_ref())),
            }
        }
        sections
    }

    /// Says that a key is missing; for a key that must be there.
    pub(super) fn missing(&self, key: &str, problems: &mut Problems) {
        problems.push(self.place, format!("key {key:?} is missing in {}", self.title));
    }

    fn child(&self, entry: &Entry<'a>, title: String, problems: &mut Problems) -> Option<Section<'a>> {
        let Some(table) = entry.value.get_ref().as_table() else {
            return self.mistyped(entry, &format!("a table, written {title}"), problems);
        };
        Some(Section::new(title, entry.key, Some(entry.place), table))
    }

    fn entry(&self, key: &str) -> Option<&Entry<'a>> {
        self.entries.iter().find(|entry| entry.key == key)
    }

    fn mistyped<T>(&self, entry: &Entry<'_>, wanted: &str, problems: &mut Problems) -> Option<T> {
        let message = self.wrong_type(entry.key, wanted, entry.value.get_ref());
        problems.push(Some(entry.place), message);
        None
    }

    fn wrong_type(&self, key: &str, wanted: &str, found: &DeValue<'_>) -> String {
        let kind = found.type_str();
        let article = if kind.starts_with(['a', 'i']) { "an" } else { "a" };
        format!("key {key:?} in {} must be {wanted}, not {article} {kind}", self.title)
    }
}

fn as_str<'a>(key: &'a Spanned<toml::de::DeString<'a>>) -> &'a str {
    key.get_ref().as_ref()
}

/// Whether a key looks as if its value were a secret.
fn is_secret(key: &str) -> bool {
    let key = key.to_ascii_lowercase();
    matches!(key.as_str(), "url" | "database_url" | "dsn" | "token" | "secret") || key.contains("password")
}

/// The known word nearest to what was written, when it is near enough to be meant.
pub(super) fn nearest<'k>(word: &str, known: &[&'k str]) -> Option<&'k str> {
    let distance = |candidate: &&str| strsim::damerau_levenshtein(word, candidate);
    let best = known.iter().min_by_key(|candidate| distance(candidate))?;
    (distance(best) <= SLIP.min(word.chars().count() / 2)).then_some(*best)
}
