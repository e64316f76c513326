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
    matrix::{CONTROL_CHAIN, Matrix},
    operation::{ChainFile, limits},
};
use tokio_util::sync::CancellationToken;

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
            let (Some(chain), Some(name), None) = (parts.next(), parts.next(), parts.next()) else {
                return Err(Fault::new(
                    Reason::InvalidRequest,
                    format!("chain file `{}` is not <chain>/<name>.sql", file.path),
                )
                .hint("send the files of one migrations folder")
                .with("field", "options.client_chains"));
            };
            if name.ends_with(".sql") {
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
                let files = read_folder(&migrations, &name).unwrap_or_default();
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
    let all = ChainSet { chains: shelf.values().flatten().cloned().collect() };
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
        match Chain::assemble_unless(&name, files, &|| gone.is_cancelled()) {
            Ok(chain) => set.chains.push(chain),
            Err(found) => faults.extend(found),
        }
    }
    if faults.is_empty() {
        faults.extend(set.check_shared_ids().err().unwrap_or_default());
    }
    if faults.is_empty() { Ok(set) } else { Err(invalid(matrix, &faults)) }
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
    .hint("mend the files that are named, then run it again; nothing was changed")
    .with("faults", faults.len());
    fault.sql.file = faults.first().map(|f| f.file.clone());
    fault.sql.line = faults.first().and_then(|f| f.line);
    fault
}

/// The `.sql` files of one chain; none when its folder is missing.
fn read_folder(migrations: &Path, chain: &str) -> std::io::Result<Files> {
    let entries = match std::fs::read_dir(migrations.join(chain)) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound && migrations.is_dir() => return Ok(Files::new()),
        Err(error) => return Err(error),
    };
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
        files.push((format!("{chain}/{name}"), bytes));
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
