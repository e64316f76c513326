//! Chains in a local folder: read within bounds, fingerprinted as the daemon does, compared with the daemon's.
//!
//! It must not know how a request travels.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use model::{
    chain::{Chain, ChainSet},
    fault::{Fault, Reason},
    operation::{ChainFile, limits},
};
use wire::v1::ChainInfo;

/// The daemon's own chain: compiled in there, never the caller's.
const CONTROL: &str = "control";

/// What a request needs beside the files.
const HEADROOM: usize = 64 * 1024;

/// Every `DIR/<chain>/*.sql` and `DIR/<chain>/seeds/*.sql`, chain by chain in order of path.
///
/// # Errors
/// The folder cannot be read, holds no revision, or more than a request may hold.
pub(crate) fn read(folder: &Path) -> Result<Vec<ChainFile>, Fault> {
    let mut files = Vec::new();
    let mut bytes = 0;
    for (name, path) in entries(folder)? {
        if name == CONTROL || name.starts_with('.') || !path.is_dir() {
            continue;
        }
        let seeds = path.join("seeds");
        let mut found = entries(&path)?;
        if seeds.is_dir() {
            found.extend(entries(&seeds)?.into_iter().map(|(file, path)| (format!("seeds/{file}"), path)));
        }
        for (file, path) in found {
            if !file.ends_with(".sql") || !path.is_file() {
                continue;
            }
            let length = fs::metadata(&path).map_or(0, |m| usize::try_from(m.len()).unwrap_or(usize::MAX));
            bytes = usize::saturating_add(bytes, length);
            if files.len() >= limits::CHAIN_FILES || bytes > limits::REQUEST_BYTES - HEADROOM {
                return Err(too_much(folder));
            }
            let content = fs::read(&path).map_err(|e| unreadable(&path, &e))?;
            files.push(ChainFile { path: format!("{name}/{file}"), content });
        }
    }
    match files.is_empty() {
        true => Err(Fault::new(
            Reason::InvalidRequest,
            format!("{} holds no chains: no <chain>/*.sql below it", folder.display()),
        )
        .hint("name the folder that holds one folder per chain, for example ./migrations")),
        false => Ok(files),
    }
}

/// The chains of a folder, sorted by name.
///
/// # Errors
/// The folder cannot be read, or a chain is faulty.
pub(crate) fn assemble(folder: &Path) -> Result<ChainSet, Fault> {
    let mut by_chain: BTreeMap<String, Vec<(String, Vec<u8>)>> = BTreeMap::new();
    for file in read(folder)? {
        if file.path.split('/').count() > 2 {
            continue;
        }
        let chain = file.path.split('/').next().unwrap_or_default().to_owned();
        by_chain.entry(chain).or_default().push((file.path, file.content));
    }
    let mut chains = Vec::new();
    for (name, files) in by_chain {
        chains.push(Chain::assemble(&name, files).map_err(|faults| {
            let lines: Vec<String> = faults.iter().map(ToString::to_string).collect();
            Fault::new(
                Reason::ChainsInvalid,
                format!("the chains in {} are faulty: {}", folder.display(), lines.join("; ")),
            )
        })?);
    }
    Ok(ChainSet { chains, ..ChainSet::default() })
}

/// One line when chains in `folder` differ from the daemon's (name → fingerprint); `None` when they do not, when there is
/// no such folder, or when it has nothing to do with them.
pub(crate) fn difference(folder: &Path, daemon: &BTreeMap<String, String>) -> Option<String> {
    let local = assemble(folder).ok()?;
    let differing: Vec<&str> = local
        .chains
        .iter()
        .filter(|chain| daemon.get(&chain.name).is_some_and(|f| *f != chain.fingerprint()))
        .map(|chain| chain.name.as_str())
        .collect();
    (!differing.is_empty()).then(|| {
        format!(
            "{} differs from the daemon's chains ({}): the daemon's are used; --chains {0} sends yours, --expect-chains {0} refuses a difference",
            folder.display(),
            differing.join(", ")
        )
    })
}

/// Each difference between the chains in `folder` and the daemon's, by file; none where the folder cannot be compared.
pub(crate) fn differences(folder: &Path, daemon: &[ChainInfo]) -> Vec<String> {
    let Ok(local) = assemble(folder) else { return Vec::new() };
    let mut found = Vec::new();
    for chain in &local.chains {
        match daemon.iter().find(|it| it.name == chain.name) {
            None => found.push(format!("chain {}: the daemon has none", chain.name)),
            Some(theirs) => found.extend(by_file(chain, theirs)),
        }
    }
    let missing = daemon.iter().filter(|it| it.replayed && !local.chains.iter().any(|c| c.name == it.name));
    found.extend(missing.map(|it| format!("chain {}: only the daemon has it", it.name)));
    found
}

fn by_file(chain: &Chain, theirs: &ChainInfo) -> Vec<String> {
    if !theirs.fault.is_empty() {
        return vec![format!("chain {}: the daemon's is faulty: {}", chain.name, theirs.fault)];
    }
    if theirs.files.is_empty() && theirs.fingerprint != chain.fingerprint() {
        return vec![format!("chain {}: head {} here, {} there", chain.name, chain.head().id, theirs.head)];
    }
    let mut found = Vec::new();
    for revision in &chain.revisions {
        match theirs.files.iter().find(|it| it.revision == revision.id) {
            None => found.push(format!("{}: only here", revision.file)),
            Some(it) if it.checksum != revision.checksum => {
                found.push(format!("{}: edited on one side (revision {})", revision.file, revision.id));
            }
            Some(_) => {}
        }
    }
    let only_there = theirs.files.iter().filter(|it| chain.position(&it.revision).is_none());
    found.extend(only_there.map(|it| format!("{}: only with the daemon", it.file)));
    found
}

fn entries(folder: &Path) -> Result<Vec<(String, PathBuf)>, Fault> {
    let mut all = Vec::new();
    for entry in fs::read_dir(folder).map_err(|e| unreadable(folder, &e))? {
        let path = entry.map_err(|e| unreadable(folder, &e))?.path();
        // A name that is not UTF-8 cannot be a chain's or travel in a request.
        if let Some(name) = path.file_name().and_then(|n| n.to_str()) {
            all.push((name.to_owned(), path.clone()));
        }
    }
    all.sort();
    Ok(all)
}

fn unreadable(path: &Path, error: &std::io::Error) -> Fault {
    Fault::new(Reason::InvalidRequest, format!("{} cannot be read: {error}", path.display()))
        .hint("name a folder of chains: DIR/<chain>/*.sql")
}

fn too_much(folder: &Path) -> Fault {
    let (files, mib) = (limits::CHAIN_FILES, limits::REQUEST_BYTES / 1024 / 1024);
    Fault::new(
        Reason::LimitExceeded,
        format!("{} is more than a request may hold: {files} files and {mib} MiB", folder.display()),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().expect("a folder");
        for (path, text) in files {
            let path = folder.path().join(path);
            fs::create_dir_all(path.parent().expect("a parent")).expect("made");
            fs::write(path, text).expect("written");
        }
        folder
    }

    const CORE: &str = "-- revision: core_001\n-- revises: none\nCREATE TABLE a (id int);\n";
    const MEMORY: &str = "-- revision: mem_001\n-- revises: none\nCREATE TABLE b (id int);\n";

    #[test]
    fn only_sql_files_of_chains_are_read_and_never_control() {
        let it = folder(&[
            ("memory/mem_001.sql", MEMORY),
            ("core/core_001.sql", CORE),
            ("core/README.md", "x"),
            ("control/c.sql", CORE),
            (".git/x.sql", CORE),
            ("notes.sql", CORE),
        ]);
        let paths: Vec<String> = read(it.path()).expect("read").into_iter().map(|f| f.path).collect();
        assert_eq!(paths, ["core/core_001.sql", "memory/mem_001.sql"]);
        let names: Vec<String> =
            assemble(it.path()).expect("assembled").chains.into_iter().map(|c| c.name).collect();
        assert_eq!(names, ["core", "memory"]);
    }

    #[test]
    fn an_empty_a_missing_and_a_too_large_folder_are_refused() {
        assert_eq!(read(folder(&[]).path()).expect_err("empty").reason, Reason::InvalidRequest);
        assert_eq!(read(Path::new("/no/such/folder")).expect_err("missing").reason, Reason::InvalidRequest);
        let large = folder(&[("core/a.sql", "")]);
        let file = fs::File::create(large.path().join("core/b.sql")).expect("made");
        file.set_len(limits::REQUEST_BYTES as u64 + 1).expect("grown");
        assert_eq!(read(large.path()).expect_err("too large").reason, Reason::LimitExceeded);
    }

    #[test]
    fn differences_are_named_by_file() {
        let it = folder(&[
            ("core/core_001.sql", CORE),
            ("memory/mem_001.sql", MEMORY),
            ("new/new_001.sql", "-- revision: new_001\n-- revises: none\nSELECT 1;\n"),
        ]);
        let info = |name: &str, files: &[(&str, &str)]| ChainInfo {
            name: name.into(),
            replayed: true,
            files: files
                .iter()
                .map(|(file, text)| wire::v1::RevisionInfo {
                    revision: file[..file.len() - 4].into(),
                    file: format!("{name}/{file}"),
                    checksum: model::hex_sha256(text.as_bytes()),
                    ..wire::v1::RevisionInfo::default()
                })
                .collect(),
            ..ChainInfo::default()
        };
        let daemon = [
            info("core", &[("core_001.sql", CORE), ("core_002.sql", "")]),
            info("memory", &[("mem_001.sql", "other")]),
            info("old", &[]),
        ];
        assert_eq!(
            differences(it.path(), &daemon),
            [
                "core/core_002.sql: only with the daemon",
                "memory/mem_001.sql: edited on one side (revision mem_001)",
                "chain new: the daemon has none",
                "chain old: only the daemon has it",
            ]
        );
    }

    #[test]
    fn a_faulty_chain_is_named_with_its_file() {
        let it = folder(&[("core/core_001.sql", "CREATE TABLE a (id int);\n")]);
        let fault = assemble(it.path()).expect_err("no header");
        assert!(
            fault.reason == Reason::ChainsInvalid && fault.message.contains("core/core_001.sql"),
            "{fault}"
        );
    }

    #[test]
    fn a_difference_is_one_line_and_foreign_folders_are_passed_over() {
        let it = folder(&[("core/core_001.sql", CORE), ("memory/mem_001.sql", MEMORY)]);
        let same: BTreeMap<String, String> = assemble(it.path())
            .expect("assembled")
            .chains
            .iter()
            .map(|c| (c.name.clone(), c.fingerprint()))
            .collect();
        assert_eq!(difference(it.path(), &same), None);
        let mut other = same.clone();
        other.insert("core".into(), "sha256:other".into());
        let line = difference(it.path(), &other).expect("differs");
        assert!(line.contains("(core)") && !line.contains('\n'), "{line}");
        assert_eq!(difference(it.path(), &BTreeMap::from([("app".into(), "sha256:x".into())])), None);
        assert_eq!(difference(Path::new("/no/such/folder"), &other), None);
    }
}
