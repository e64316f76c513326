//! What a tool's migrations are, as far as can be told from outside: the git commit of the folder that it runs in, and a hash
//! over the files that the caller names.

use std::{
    fs, io,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use model::{
    fault::{Fault, Reason},
    tool::Tool,
};

/// What tools write beside their migrations, and git its own.
const PASSED_OVER: [&str; 2] = [".git", "__pycache__"];
/// The most files of a folder.
const MOST: usize = 20_000;

/// A command with its fingerprint.
///
/// # Errors
/// The named folder cannot be read.
pub(crate) fn of(command: &str, files: Option<&Path>) -> Result<Tool, Fault> {
    let commit = git(&["rev-parse", "HEAD"]).filter(|commit| commit.len() <= 64);
    let clean =
        commit.as_ref().and_then(|_| git(&["status", "--porcelain"])).map(|changes| changes.is_empty());
    let files_sha256 = files.map(hash).transpose()?;
    Ok(Tool { commit, clean, files_sha256, ..Tool::of(command) })
}

/// What git says of the working folder; `None` where it says nothing.
fn git(words: &[&str]) -> Option<String> {
    let output = Command::new("git").args(words).stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// `sha256:…` over the paths and contents of all files below a folder, in the order of their paths.
fn hash(folder: &Path) -> Result<String, Fault> {
    let unreadable = |e: io::Error| {
        Fault::new(Reason::InvalidRequest, format!("--with-files {}: {e}", folder.display()))
            .hint("name a folder with the migrations in it")
    };
    let mut files = Vec::new();
    collect(folder, &mut files).map_err(unreadable)?;
    files.sort();
    let mut text = String::new();
    for path in &files {
        let name = path.strip_prefix(folder).unwrap_or(path).to_string_lossy();
        let content = model::hex_sha256(fs::read(path).map_err(unreadable)?);
        text.push_str(&format!("{content} {name:?}\n"));
    }
    Ok(format!("sha256:{}", model::hex_sha256(text)))
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        if PASSED_OVER.iter().any(|name| entry.file_name() == *name) {
            continue;
        }
        if kind.is_dir() {
            collect(&entry.path(), files)?;
        } else if entry.path().is_file() {
            files.push(entry.path());
        }
        if files.len() > MOST {
            return Err(io::Error::other(format!("more than {MOST} files are in it")));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_over_names_and_contents_and_nothing_that_a_tool_leaves() {
        let folder = tempfile::tempdir().expect("a folder");
        let write = |name: &str, text: &str| {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().expect("a parent")).expect("made");
            fs::write(path, text).expect("written");
        };
        write("versions/a.py", "one");
        let first = hash(folder.path()).expect("a hash");
        write("versions/__pycache__/a.pyc", "bytes");
        assert_eq!(hash(folder.path()).expect("a hash"), first);
        write("versions/a.py", "two");
        let second = hash(folder.path()).expect("a hash");
        assert_ne!(first, second);
        write("versions/b.py", "");
        assert_ne!(hash(folder.path()).expect("a hash"), second);
        assert!(hash(&folder.path().join("absent")).is_err());
    }
}
