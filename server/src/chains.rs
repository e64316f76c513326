//! The chains of a matrix, read from the daemon's disk at each operation, never cached, or taken from the request. They are
//! read apart from the runtime's threads, and no longer than somebody waits for them.

use std::{
    collections::BTreeMap,
    io::ErrorKind,
    path::{Path, PathBuf},
};

use model::{
    chain::{Chain, ChainFault, ChainSet},
    fault::{Fault, Reason},
    matrix::{CONTROL_CHAIN, Matrix, Scripts},
    operation::{ChainFile, limits},
    revision::{self, Revision},
};
use tokio_util::sync::CancellationToken;

/// The folder of a chain's seeds.
const SEEDS: &str = "seeds";

/// Files by their path below the migrations folder.
type Files = Vec<(String, Vec<u8>)>;

/// One chain on the daemon's disk: the chain, or what is wrong with it.
pub(crate) type Shelf = BTreeMap<String, Result<Chain, Vec<ChainFault>>>;

/// Reads a matrix's chains from disk.
///
/// # Errors
/// `CHAINS_INVALID` with what is wrong, by file and line.
pub(crate) async fn from_disk(
    migrations: PathBuf,
    matrix: &Matrix,
    gone: CancellationToken,
) -> Result<ChainSet, Fault> {
    let matrix = matrix.clone();
    apart(move || {
        let mut folders = Vec::new();
        for chain in &matrix.chains {
            let files = read_folder(&migrations, &chain.name)
                .map_err(|e| unreadable(&migrations.join(&chain.name), &e))?;
            folders.push((chain.name.clone(), files));
        }
        assemble(folders, &matrix, &gone)
    })
    .await
}

/// Takes a matrix's chains from a request.
///
/// # Errors
/// As [`from_disk`]; also paths that are not `<chain>/<name>.sql`.
pub(crate) async fn from_request(
    files: Vec<ChainFile>,
    matrix: &Matrix,
    gone: CancellationToken,
) -> Result<ChainSet, Fault> {
    let matrix = matrix.clone();
    apart(move || {
        let mut folders: BTreeMap<String, Files> = BTreeMap::new();
        for file in files {
            let mut parts = file.path.split('/');
            let (Some(chain), Some(name), seed, None) =
                (parts.next(), parts.next(), parts.next(), parts.next())
            else {
                return Err(Fault::new(
                    Reason::InvalidRequest,
                    format!("chain file `{}` is not <chain>/<name>.sql", file.path),
                )
                .hint("send the files of one migrations folder")
                .with("field", "options.client_chains"));
            };
            let fits = seed.map_or(name.ends_with(".sql"), |seed| name == SEEDS && seed.ends_with(".sql"));
            if fits {
                folders.entry(chain.to_owned()).or_default().push((file.path, file.content));
            }
        }
        let wanted = matrix.chains.iter().map(|c| {
            let files = folders.remove(c.name.as_str()).unwrap_or_default();
            (c.name.clone(), files)
        });
        assemble(wanted.collect(), &matrix, &gone)
    })
    .await
}

/// On a thread for such work.
async fn apart(read: impl FnOnce() -> Result<ChainSet, Fault> + Send + 'static) -> Result<ChainSet, Fault> {
    let read = tokio::task::spawn_blocking(read).await;
    read.map_err(|e| Fault::new(Reason::Internal, format!("reading the chains: {e}")))?
}

/// Every chain folder on disk, for showing.
pub(crate) async fn shelf(migrations: PathBuf) -> Shelf {
    let read = tokio::task::spawn_blocking(move || {
        let Ok(entries) = std::fs::read_dir(&migrations) else { return Shelf::new() };
        entries
            .flatten()
            .filter(|entry| entry.path().is_dir())
            .filter_map(|entry| entry.file_name().into_string().ok())
            .filter(|name| name != CONTROL_CHAIN && !name.starts_with('.'))
            .map(|name| {
                let mut files = read_folder(&migrations, &name).unwrap_or_default();
                files.retain(|(file, _)| !is_seed(file));
                let chain = Chain::assemble(&name, files);
                (name, chain)
            })
            .collect()
    });
    read.await.unwrap_or_default()
}

/// Compares chains with the fingerprint that a caller expects.
///
/// # Errors
/// `CHAINS_DIFFER` with both fingerprints.
pub(crate) fn expect(chains: &ChainSet, expected: Option<&str>, shelf: &Shelf) -> Result<(), Fault> {
    let Some(expected) = expected else { return Ok(()) };
    let used = chains.fingerprint();
    let all = ChainSet { chains: shelf.values().flatten().cloned().collect(), ..ChainSet::default() };
    if expected == used || expected == all.fingerprint() {
        return Ok(());
    }
    Err(Fault::new(
        Reason::ChainsDiffer,
        format!("the chains have fingerprint {used}, expected was {expected}"),
    )
    .hint("deploy the same migrations to the daemon, or expect what it has (`resetctl status` shows it)")
    .with("expected", expected)
    .with("fingerprint", used))
}

fn assemble(
    folders: Vec<(String, Files)>,
    matrix: &Matrix,
    gone: &CancellationToken,
) -> Result<ChainSet, Fault> {
    let mut set = ChainSet::default();
    let mut faults: Vec<ChainFault> = Vec::new();
    for (name, files) in folders {
        let (seeds, files): (Files, Files) = files.into_iter().partition(|(file, _)| is_seed(file));
        match (Chain::assemble_unless(&name, files, &|| gone.is_cancelled()), revision::scripts(seeds)) {
            (Ok(chain), Ok(seeds)) => set.chains.push(Chain { seeds, ..chain }),
            (chain, seeds) => faults.extend(chain.err().into_iter().chain(seeds.err()).flatten()),
        }
    }
    if faults.is_empty() {
        let meet = |one: &str, other: &str| matrix.chains_meet(one, other);
        faults.extend(set.check_shared_ids(meet).err().unwrap_or_default());
    }
    if faults.is_empty() { Ok(set) } else { Err(invalid(matrix, &faults)) }
}

/// `CHAIN/seeds/NAME.sql`.
fn is_seed(file: &str) -> bool {
    file.split('/').nth(1) == Some(SEEDS) && file.split('/').count() == 3
}

/// Reads scripts of a matrix; `key` names them there.
///
/// # Errors
/// `CHAINS_INVALID`: there is none, or what is wrong with them.
pub(crate) async fn scripts(
    matrix: &Matrix,
    key: &'static str,
    scripts: Option<&Scripts>,
) -> Result<Vec<Revision>, Fault> {
    let Some(scripts) = scripts.cloned() else { return Ok(Vec::new()) };
    let matrix = matrix.clone();
    let read = tokio::task::spawn_blocking(move || {
        let (folder, pattern) = scripts.files.rsplit_once('/').unwrap_or((".", &scripts.files));
        let folder = PathBuf::from(folder);
        let mut files = read_sql(&folder, "").map_err(|e| unreadable_scripts(key, &folder, &e))?;
        files.retain(|(name, _)| fits(name, pattern));
        if files.is_empty() {
            let error = std::io::Error::other(format!("no file is called {pattern}"));
            return Err(unreadable_scripts(key, &folder, &error));
        }
        let named = |(name, bytes)| (folder.join(name).display().to_string(), bytes);
        revision::scripts(files.into_iter().map(named).collect()).map_err(|faults| invalid(&matrix, &faults))
    });
    read.await.map_err(|e| Fault::new(Reason::Internal, format!("reading the {key} scripts: {e}")))?
}

/// Whether a file is meant by a name with `*` in it.
fn fits(name: &str, pattern: &str) -> bool {
    let Some((before, after)) = pattern.split_once('*') else { return name == pattern };
    let Some(rest) = name.strip_prefix(before) else { return false };
    (0..=rest.len()).any(|at| rest.is_char_boundary(at) && fits(&rest[at..], after))
}

fn unreadable_scripts(key: &str, folder: &Path, error: &std::io::Error) -> Fault {
    Fault::new(
        Reason::ChainsInvalid,
        format!("the {key} scripts in {} cannot be read: {error}", folder.display()),
    )
    .hint(format!("`{key}` in the target's matrix names them, from the daemon's working directory"))
    .with("folder", folder.display())
}

/// What is said of chains with faults: the first ones.
pub(crate) fn invalid(matrix: &Matrix, faults: &[ChainFault]) -> Fault {
    let mut lines: Vec<String> = faults.iter().take(limits::FAULTS).map(ToString::to_string).collect();
    if faults.len() >= limits::FAULTS {
        lines.push("there may be more".to_owned());
    }
    let mut fault = Fault::new(
        Reason::ChainsInvalid,
        format!("the chains of matrix {} cannot be replayed: {}", matrix.name, lines.join("; ")),
    )
    .hint("fix the files that are named, then run it again; nothing was changed")
    .with("faults", faults.len());
    fault.sql.file = faults.first().map(|f| f.file.clone());
    fault.sql.line = faults.first().and_then(|f| f.line);
    fault
}

/// The `.sql` files of one chain with its seeds; none when its folder is missing.
fn read_folder(migrations: &Path, chain: &str) -> std::io::Result<Files> {
    let mut files = Files::new();
    for folder in [chain.to_owned(), format!("{chain}/{SEEDS}")] {
        match read_sql(&migrations.join(&folder), &format!("{folder}/")) {
            Ok(found) => files.extend(found),
            Err(error) if error.kind() == ErrorKind::NotFound && migrations.is_dir() => {}
            Err(error) => return Err(error),
        }
    }
    Ok(files)
}

/// The `.sql` files of a folder, with what is put before their names.
fn read_sql(folder: &Path, before: &str) -> std::io::Result<Files> {
    let entries = std::fs::read_dir(folder)?;
    let mut files = Files::new();
    let mut room = limits::REQUEST_BYTES;
    for entry in entries {
        let entry = entry?;
        let Ok(name) = entry.file_name().into_string() else { continue };
        if !name.ends_with(".sql") || name.starts_with('.') {
            continue;
        }
        let bytes = std::fs::read(entry.path())?;
        room = room.checked_sub(bytes.len()).ok_or_else(|| {
            std::io::Error::other(format!("the chain is larger than {} bytes", limits::REQUEST_BYTES))
        })?;
        files.push((format!("{before}{name}"), bytes));
    }
    Ok(files)
}

fn unreadable(folder: &Path, error: &std::io::Error) -> Fault {
    Fault::new(
        Reason::ChainsInvalid,
        format!("the chain folder {} cannot be read: {error}", folder.display()),
    )
    .hint("`migrations` in the daemon's configuration names the folder that holds the chains")
    .with("folder", folder.display())
}
