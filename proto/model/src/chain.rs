//! A chain: the revisions of one folder in the one order that `revises` gives them.
//!
//! This module must not know schemas, databases or where files come from.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    hex_sha256,
    matrix::Matrix,
    operation::limits,
    revision::{self, Reading, Revision},
    sql::Budget,
};

pub use fault::{ChainFault, ChainFaultKind};
pub use obstacle::{Obstacle, ObstacleKind};

mod fault;
mod obstacle;

/// An ordered list of revisions, replayed per schema.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chain {
    /// The name, which is that of its folder.
    pub name: String,
    /// In order, base first; [`Chain::assemble`] never leaves it empty.
    pub revisions: Vec<Revision>,
    /// Scripts that fill a valid schema with data, in order of name; no part of the fingerprint.
    pub seeds: Vec<Revision>,
}

impl Chain {
    /// Puts files (name relative to the migrations folder, bytes) in order. Files that do not end in `.sql` are passed
    /// over.
    ///
    /// # Errors
    /// What is wrong with the files and their order, at once: the first [`limits::FAULTS`], by file and line.
    pub fn assemble(name: &str, files: Vec<(String, Vec<u8>)>) -> Result<Self, Vec<ChainFault>> {
        Self::assemble_unless(name, files, &|| false)
    }

    /// The same, given up once `stop` says so.
    ///
    /// # Errors
    /// As [`Chain::assemble`].
    pub fn assemble_unless(
        name: &str,
        mut files: Vec<(String, Vec<u8>)>,
        stop: &dyn Fn() -> bool,
    ) -> Result<Self, Vec<ChainFault>> {
        files.retain(|(file, _)| file.ends_with(".sql"));
        files.sort();
        if files.is_empty() {
            let kind = ChainFaultKind::NoFiles { chain: name.to_owned() };
            return Err(vec![ChainFault::of(name, kind)]);
        }
        let mut budget = Budget::new(stop);
        let readings: Vec<Reading> =
            files.iter().map(|(file, bytes)| revision::read(file, bytes, &mut budget)).collect();
        let links = Links::of(&files, &readings);
        let complete = links.list.len() == files.len();
        let mut faults = links.faults(complete);
        let mut revisions = Vec::new();
        for reading in readings {
            match reading.revision {
                Ok(revision) => revisions.push(revision),
                Err(found) => faults.extend(found),
            }
        }
        if !faults.is_empty() {
            faults.sort_by(|a, b| (&a.file, a.line).cmp(&(&b.file, b.line)));
            faults.truncate(limits::FAULTS);
            return Err(faults);
        }
        Ok(Self { name: name.to_owned(), revisions: in_order(revisions), seeds: Vec::new() })
    }

    /// The last revision.
    ///
    /// # Panics
    /// When the chain was made by hand without revisions.
    pub fn head(&self) -> &Revision {
        self.revisions.last().expect("an assembled chain has at least one revision")
    }

    /// The index of a revision.
    pub fn position(&self, id: &str) -> Option<usize> {
        self.revisions.iter().position(|revision| revision.id == id)
    }

    /// `sha256:…` over ids and checksums in order: the same for the same files, whatever their names.
    pub fn fingerprint(&self) -> String {
        let lines: String = self
            .revisions
            .iter()
            .map(|revision| format!("{} {}\n", revision.id, revision.checksum))
            .collect();
        format!("sha256:{}", hex_sha256(lines.as_bytes()))
    }

    /// What comes after `present`: everything for none, nothing for an id that is not in the chain (nobody knows
    /// what is there then).
    pub fn pending(&self, present: Option<&str>) -> &[Revision] {
        let from = match present {
            None => 0,
            Some(id) => self.position(id).map_or(self.revisions.len(), |at| at + 1),
        };
        &self.revisions[from..]
    }

    /// Every extension the chain needs, in order, each once, with the schema it wants it in.
    pub fn extensions(&self) -> Vec<(&str, Option<&str>)> {
        revision::each_once(self.revisions.iter().flat_map(Revision::extensions))
    }

    /// What forbids one transaction for the whole chain.
    pub fn transaction_obstacles(&self) -> Vec<Obstacle> {
        obstacle::of(&self.revisions)
    }
}

/// The fingerprint of a set of chains, from the names and fingerprints of its chains.
pub fn set_fingerprint(chains: impl IntoIterator<Item = (String, String)>) -> String {
    let mut lines: Vec<String> =
        chains.into_iter().map(|(name, print)| format!("{name} {print}\n")).collect();
    lines.sort();
    format!("sha256:{}", hex_sha256(lines.concat().as_bytes()))
}

/// The chains of one migrations folder.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ChainSet {
    /// In the order of the matrix.
    pub chains: Vec<Chain>,
    /// Scripts that are run first in a new database, in order of name.
    pub bootstrap: Vec<Revision>,
    /// The matrix's own seeds, in order of name.
    pub seeds: Vec<Revision>,
}

impl ChainSet {
    /// The chain of a name.
    pub fn get(&self, name: &str) -> Option<&Chain> {
        self.chains.iter().find(|chain| chain.name == name)
    }

    /// Every extension that the chains need, each once, with the schema where it is to be created: where a chain says so and
    /// no reset would drop it, else the matrix's own for extensions.
    pub fn extensions<'a>(&'a self, matrix: &'a Matrix) -> Vec<(&'a str, &'a str)> {
        let said = |schema: Option<&'a str>| schema.filter(|schema| !matrix.manages(schema));
        let all = self.chains.iter().flat_map(Chain::extensions).map(|(name, schema)| (name, said(schema)));
        let home = |(name, schema): (&'a str, Option<&'a str>)| {
            (name, schema.unwrap_or(matrix.extensions_schema.as_str()))
        };
        revision::each_once(all).into_iter().map(home).collect()
    }

    /// `sha256:…` over names and fingerprints; the order of the chains does not matter.
    pub fn fingerprint(&self) -> String {
        set_fingerprint(self.chains.iter().map(|chain| (chain.name.clone(), chain.fingerprint())))
    }

    /// Chains replayed in one schema share its `alembic_version`, so an id may be in one of them only. `meet` says whether
    /// two chains have a schema in common.
    ///
    /// # Errors
    /// Each id that is in two such chains, with both files.
    pub fn check_shared_ids(&self, meet: impl Fn(&str, &str) -> bool) -> Result<(), Vec<ChainFault>> {
        let mut owners: BTreeMap<&str, Vec<(&str, &str)>> = BTreeMap::new();
        let mut faults = Vec::new();
        for chain in &self.chains {
            for revision in &chain.revisions {
                let of_id = owners.entry(&revision.id).or_default();
                if let Some((_, file)) = of_id.iter().find(|(owner, _)| meet(owner, &chain.name)) {
                    let kind = ChainFaultKind::SharedId { id: revision.id.clone() };
                    faults.push(ChainFault::between(file, &revision.file, kind));
                }
                of_id.push((&chain.name, &revision.file));
            }
        }
        if faults.is_empty() { Ok(()) } else { Err(faults) }
    }
}

/// What the headers say about the order.
struct Links<'a> {
    list: Vec<Link<'a>>,
    /// By id; the first of a file that says the same.
    by_id: BTreeMap<&'a str, Link<'a>>,
}

#[derive(Clone, Copy)]
struct Link<'a> {
    file: &'a str,
    id: &'a str,
    revises: Option<&'a str>,
}

impl<'a> Links<'a> {
    fn of(files: &'a [(String, Vec<u8>)], readings: &'a [Reading]) -> Self {
        let link = |((file, _), reading): (&'a (String, Vec<u8>), &'a Reading)| {
            let (id, revises) = reading.place.as_ref()?;
            Some(Link { file, id, revises: revises.as_deref() })
        };
        let list: Vec<Link<'a>> = files.iter().zip(readings).filter_map(link).collect();
        let by_id = list.iter().rev().map(|link| (link.id, *link)).collect();
        Self { list, by_id }
    }

    fn find(&self, id: &str) -> Option<&Link<'a>> {
        self.by_id.get(id)
    }

    /// Faults of order. Gaps are looked for only when every header could be read: the missing one may be the unreadable.
    fn faults(&self, complete: bool) -> Vec<ChainFault> {
        let mut faults = Vec::new();
        let mut ids: BTreeMap<&str, &str> = BTreeMap::new();
        let mut followers: BTreeMap<Option<&str>, &str> = BTreeMap::new();
        for link in &self.list {
            if faults.len() >= limits::FAULTS {
                break;
            }
            let first = *ids.entry(link.id).or_insert(link.file);
            if first != link.file {
                let kind = ChainFaultKind::Duplicate { id: link.id.to_owned() };
                faults.push(ChainFault::between(first, link.file, kind));
                continue;
            }
            let first = *followers.entry(link.revises).or_insert(link.file);
            if first != link.file {
                let kind = match link.revises {
                    None => ChainFaultKind::TwoBases,
                    Some(revises) => ChainFaultKind::TwoHeads { revises: revises.to_owned() },
                };
                faults.push(ChainFault::between(first, link.file, kind));
            }
            faults.extend(self.gap(link).filter(|_| complete));
        }
        faults.extend(self.cycles());
        faults
    }

    fn gap(&self, link: &Link<'a>) -> Option<ChainFault> {
        let revises = link.revises.filter(|id| self.find(id).is_none())?;
        let nearest = self
            .list
            .iter()
            .filter(|other| other.id != link.id)
            .map(|other| (strsim::osa_distance(other.id, revises), other.id))
            .filter(|(distance, _)| *distance <= 2)
            .min()
            .map(|(_, id)| id.to_owned());
        Some(ChainFault::of(link.file, ChainFaultKind::Gap { revises: revises.to_owned(), nearest }))
    }

    /// Each ring once, reported for its first file.
    fn cycles(&self) -> Vec<ChainFault> {
        let mut faults = Vec::new();
        let mut done: BTreeSet<&str> = BTreeSet::new();
        for start in &self.list {
            let mut path: Vec<&Link<'a>> = Vec::new();
            let mut next = Some(start);
            while let Some(link) = next.filter(|link| !done.contains(&link.id)) {
                if let Some(at) = path.iter().position(|seen| seen.id == link.id) {
                    faults.push(ring(&path[at..]));
                    break;
                }
                path.push(link);
                next = link.revises.and_then(|id| self.find(id));
            }
            done.extend(path.iter().map(|link| link.id));
        }
        faults
    }
}

fn ring(links: &[&Link<'_>]) -> ChainFault {
    let ids = links.iter().chain(links.first()).map(|link| link.id.to_owned()).collect();
    let mut files: Vec<&str> = links.iter().map(|link| link.file).collect();
    files.sort_unstable();
    let kind = ChainFaultKind::Cycle { ids };
    match files[..] {
        [first, second, ..] => ChainFault::between(first, second, kind),
        _ => ChainFault::of(files.first().copied().unwrap_or_default(), kind),
    }
}

/// The order of revisions without any fault of order.
fn in_order(revisions: Vec<Revision>) -> Vec<Revision> {
    let mut ordered: Vec<Revision> = Vec::with_capacity(revisions.len());
    let mut after: BTreeMap<Option<String>, Revision> =
        revisions.into_iter().map(|revision| (revision.revises.clone(), revision)).collect();
    while let Some(next) = after.remove(&ordered.last().map(|last| last.id.clone())) {
        ordered.push(next);
    }
    ordered
}

#[cfg(test)]
mod tests;
