//! `context add|use|list|show|remove`. No daemon is called, and no token is read.

use std::path::PathBuf;

use model::{
    fault::{Fault, Reason, exit},
    text::is_hidden,
};
use serde_json::Value;

use super::{print, print_json};
use crate::{
    args::{Args, ContextVerb},
    destination::{
        address::Address,
        context::{self, By},
        context_file::ContextFile,
        credentials::Credentials,
        flags, no_token,
    },
    render::{Screen, contexts},
    settings::Settings,
};

/// Does what was asked.
///
/// # Errors
/// The file cannot be read or written, or there is no such context.
pub(crate) fn run(screen: &mut Screen, args: &Args, verb: &ContextVerb) -> Result<u8, Fault> {
    if !matches!(verb, ContextVerb::Add { .. }) && flags(args) != Settings::default() {
        let text = "--server, --target and credentials have no meaning here: contexts are names in a file";
        return Err(Fault::new(Reason::InvalidRequest, text)
            .hint("leave them out; `context add` keeps them under a name"));
    }
    match verb {
        ContextVerb::Add { name, make_default, replace } => add(screen, args, name, *make_default, *replace),
        ContextVerb::Use { name, .. } => make_default(screen, name.as_deref()),
        ContextVerb::List(list) => {
            let shown = shown(screen, args)?;
            if list.is_data() {
                return print_json(screen, &Value::Array(shown.iter().map(contexts::json).collect()));
            }
            if shown.is_empty() {
                screen.say("no contexts; make one: resetctl --server ADDR --target NAME context add NAME");
                return Ok(exit::OK);
            }
            print(screen, &contexts::table(&shown, screen.data_width()))
        }
        ContextVerb::Show { name, list } => show(screen, args, name.as_deref(), list.is_data()),
        ContextVerb::Remove { name } => remove(screen, name),
    }
}

fn add(screen: &mut Screen, args: &Args, name: &str, make_default: bool, replace: bool) -> Result<u8, Fault> {
    if name.is_empty() || name.contains(is_hidden) {
        return Err(invalid("a context's name has at least one letter, and none that cannot be seen"));
    }
    let settings = settings(args)?;
    let mut file = ContextFile::open(screen.environment())?;
    let there = file.names().iter().any(|it| it == name);
    if there && !replace {
        return Err(invalid(format!("there is a context `{name}` already, in {}", file.path().display()))
            .hint("add --replace to put this in its place, or choose another name"));
    }
    file.put(name, &settings)?;
    if make_default {
        file.set_default(Some(name));
    }
    let path = file.write()?;
    let done = if there { "replaced" } else { "added" };
    let default = if make_default { ", and is the default" } else { "" };
    screen.say(&format!("context {name} is {done}{default}: {}", path.display()));
    Ok(exit::OK)
}

/// What this command line says, as it holds from every folder.
fn settings(args: &Args) -> Result<Settings, Fault> {
    let mut it = flags(args);
    if it == Settings::default() {
        return Err(invalid("nothing was said that a context could keep")
            .hint("say it with the flags: resetctl --server ADDR --target NAME context add NAME"));
    }
    for path in [&mut it.ca, &mut it.cert, &mut it.key, &mut it.token_file].into_iter().flatten() {
        *path = absolute(path)?;
    }
    if let Some(server) = &mut it.server {
        if let Some(socket) = server.strip_prefix("unix:").filter(|socket| !socket.is_empty()) {
            *server = format!("unix:{}", absolute(&PathBuf::from(socket))?.display());
        }
        let (ca, cert, key) = (it.ca.clone(), it.cert.clone(), it.key.clone());
        let shown = Credentials { ca, cert, key, token_file: it.token_file.clone(), token: None };
        Address::parse(server, shown)?;
    }
    for (flag, text) in [("--server", &it.server), ("--target", &it.target)] {
        no_token(flag, text.as_deref().unwrap_or_default())?;
    }
    Ok(it)
}

fn absolute(path: &PathBuf) -> Result<PathBuf, Fault> {
    std::path::absolute(path).map_err(|error| invalid(format!("{}: {error}", path.display())))
}

fn make_default(screen: &mut Screen, name: Option<&str>) -> Result<u8, Fault> {
    let mut file = ContextFile::open(screen.environment())?;
    if let Some(name) = name {
        known(&file, name)?;
    }
    file.set_default(name);
    file.write()?;
    screen.say(&match name {
        Some(name) => format!("context {name} is the default"),
        None => "there is no default context any more".to_owned(),
    });
    if let (Some(variable), Some(name)) = (screen.environment().context.clone(), name)
        && variable != name
    {
        screen.warn(&format!("RESETCTL_CONTEXT={variable} goes before it in this shell"));
    }
    Ok(exit::OK)
}

fn remove(screen: &mut Screen, name: &str) -> Result<u8, Fault> {
    let mut file = ContextFile::open(screen.environment())?;
    known(&file, name)?;
    let was_default = file.default() == Some(name);
    file.remove(name);
    let path = file.write()?;
    let default = if was_default { "; it was the default, and there is none now" } else { "" };
    screen.say(&format!("context {name} is removed from {}{default}", path.display()));
    Ok(exit::OK)
}

fn known(file: &ContextFile, name: &str) -> Result<(), Fault> {
    let names = file.names();
    match names.iter().any(|it| it == name) {
        true => Ok(()),
        false => Err(context::unknown(file.path(), name, names.iter().map(String::as_str), By::Flag)),
    }
}

fn shown(screen: &Screen, args: &Args) -> Result<Vec<contexts::Shown>, Fault> {
    let environment = screen.environment();
    let all = context::all(environment)?;
    // The file is listed even where somebody names a context that is not in it.
    let used = context::load(environment, args.context.as_deref()).ok().flatten();
    let one = |(name, settings): (String, Settings)| contexts::Shown {
        default: all.default.as_deref() == Some(&name),
        used: used.as_ref().filter(|it| it.name == name).map(|it| it.by),
        name,
        settings,
    };
    Ok(all.context.clone().into_iter().map(one).collect())
}

fn show(screen: &mut Screen, args: &Args, name: Option<&str>, as_json: bool) -> Result<u8, Fault> {
    let wanted = name.or(args.context.as_deref());
    let Some(used) = context::load(screen.environment(), wanted)? else {
        return Err(Fault::new(Reason::InvalidRequest, "no context is in use, and none was named")
            .hint("`resetctl context list` shows them"));
    };
    let found = shown(screen, args)?.into_iter().find(|it| it.name == used.name);
    let found = found.ok_or_else(|| invalid("the file of contexts has changed meanwhile"))?;
    match as_json {
        true => print_json(screen, &contexts::json(&found)),
        false => print(screen, &contexts::lines(&found)),
    }
}

fn invalid(message: impl Into<String>) -> Fault {
    Fault::new(Reason::InvalidRequest, message)
}
