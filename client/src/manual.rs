//! The man pages, from the same definition as the help: one for the program, one for each verb.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use clap::{Command, CommandFactory as _};
use clap_mangen::{Man, roff};

use crate::args::Args;

/// A page: its file's name, and its text.
pub(crate) struct Page {
    pub(crate) file: String,
    pub(crate) text: Vec<u8>,
}

/// All pages, the program's own first.
///
/// # Errors
/// None in practice: they are written to memory.
pub(crate) fn pages() -> io::Result<Vec<Page>> {
    let mut command = Args::command().disable_help_subcommand(true);
    command.build();
    let mut found = Vec::new();
    collect(&command, &mut found)?;
    Ok(found)
}

/// Writes all pages to a folder, and gives their paths.
///
/// # Errors
/// The folder cannot be made or written to.
pub(crate) fn write(folder: &Path) -> io::Result<Vec<PathBuf>> {
    fs::create_dir_all(folder)?;
    let write = |page: Page| {
        let path = folder.join(&page.file);
        fs::write(&path, page.text).map(|()| path)
    };
    pages()?.into_iter().map(write).collect()
}

fn collect(command: &Command, found: &mut Vec<Page>) -> io::Result<()> {
    found.push(page(command)?);
    command.get_subcommands().filter(|verb| !verb.is_hide_set()).try_for_each(|verb| collect(verb, found))
}

fn page(command: &Command) -> io::Result<Page> {
    let man =
        Man::new(command.clone()).manual("resetd").source(format!("resetd {}", env!("CARGO_PKG_VERSION")));
    let file = man.get_filename();
    let mut text = Vec::new();
    man.render_title(&mut text)?;
    man.render_name_section(&mut text)?;
    man.render_synopsis_section(&mut text)?;
    man.render_description_section(&mut text)?;
    // Examples come first, and a line of theirs stays one.
    if let Some(more) = command.get_after_long_help() {
        as_it_stands(&more.to_string()).to_writer(&mut text)?;
    }
    man.render_options_section(&mut text)?;
    if command.get_subcommands().next().is_some() {
        man.render_subcommands_section(&mut text)?;
    }
    Ok(Page { file, text })
}

/// What stands at the end of the help: each line that begins at the margin and ends with a colon begins a section.
fn as_it_stands(text: &str) -> roff::Roff {
    let mut out = roff::Roff::new();
    let mut open = false;
    for line in text.lines() {
        let heading = line.strip_suffix(':').filter(|it| !it.starts_with(' ') && !it.contains(':'));
        match heading {
            Some(heading) => {
                if open {
                    out.control("fi", []);
                }
                out.control("SH", [heading.to_uppercase().as_str()]);
                out.control("nf", []);
                open = true;
            }
            None => {
                out.text([roff::roman(line)]);
            }
        }
    }
    if open {
        out.control("fi", []);
    }
    out
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    /// What a reader sees of a page, but for its layout.
    fn plain(text: &[u8]) -> String {
        let text = String::from_utf8(text.to_vec()).expect("text");
        let text = text.replace("\\fB", "").replace("\\fI", "").replace("\\fR", "");
        let text = text.replace("\\-", "-").replace("\\*(Aq", "'").replace("\\&", "").replace("\\(aq", "'");
        text.replace("\\e", "\\").replace("\\\\", "\\")
    }

    fn words(text: &str) -> String {
        text.split_whitespace().collect::<Vec<_>>().join(" ")
    }

    fn check(command: &Command, pages: &BTreeMap<String, String>) {
        let name = command.get_display_name().unwrap_or_else(|| command.get_name());
        let page = pages.get(&format!("{name}.1")).unwrap_or_else(|| panic!("no page of {name}"));
        for argument in command.get_arguments().filter(|it| !it.is_hide_set()) {
            if let Some(flag) = argument.get_long() {
                assert!(page.contains(&format!("--{flag}")), "{name}: --{flag} is not in its page\n{page}");
            }
            let help = argument.get_long_help().or_else(|| argument.get_help());
            let help = help.map(ToString::to_string).unwrap_or_default();
            let first = help.lines().next().unwrap_or_default();
            assert!(words(page).contains(&words(first)), "{name}: `{first}` is not in its page\n{page}");
        }
        let more = command.get_after_long_help().map(ToString::to_string).unwrap_or_default();
        for line in more.lines().filter(|line| line.starts_with(' ')) {
            assert!(
                page.lines().any(|it| it.trim() == line.trim()),
                "{name}: `{line}` is not in its page\n{page}"
            );
        }
        for verb in command.get_subcommands() {
            assert!(page.contains(&format!("{name}-{}(1)", verb.get_name())), "{name}: {}", verb.get_name());
            check(verb, pages);
        }
    }

    #[test]
    fn the_pages_say_what_the_help_says() {
        let pages = pages().expect("written to memory");
        let pages: BTreeMap<String, String> =
            pages.into_iter().map(|page| (page.file, plain(&page.text))).collect();
        let mut command = Args::command().disable_help_subcommand(true);
        command.build();
        check(&command, &pages);
        fn count(command: &Command) -> usize {
            1 + command.get_subcommands().map(count).sum::<usize>()
        }
        assert_eq!(pages.len(), count(&command), "no page is without its verb");
    }
}
