//! The verbs: each takes what is meant, talks to the daemon, shows the result, and gives the exit code.

use model::{
    fault::{Fault, exit},
    text::visible,
};

use crate::{
    api::Api,
    args::{
        Args, AuditVerb, ContextVerb, KeptVerb, ListArgs, MigrationsVerb, OperationsVerb, ReportVerb,
        TargetVerb, TokenVerb, Verb, WindowVerb,
    },
    destination::Destination,
    intent::Operate,
    render::Screen,
};

mod advise;
mod audit;
mod context;
mod doctor;
mod explain;
mod gate;
mod ids;
mod kept;
mod look;
mod migrations;
mod operate;
mod operations;
mod present;
mod report;
mod settle;
mod status;
mod targets;
mod tokens;
mod wait;
mod window;

/// Does what was asked.
pub(crate) async fn dispatch(args: Args, mut screen: Screen) -> u8 {
    let title = title(&args.verb);
    match run(args, &mut screen).await {
        Ok(code) => code,
        Err(fault) => {
            screen.fault(title, &fault);
            fault.reason.exit_code()
        }
    }
}

async fn run(args: Args, screen: &mut Screen) -> Result<u8, Fault> {
    match &args.verb {
        Verb::Explain { code } => return explain::run(screen, code.as_deref()),
        Verb::Completions { shell } => return explain::completions(screen, *shell),
        Verb::Man { dir } => return explain::man(screen, dir.as_deref()),
        Verb::Context(verb) => {
            if let ContextVerb::List(list) | ContextVerb::Show { list, .. } = verb {
                screen.format(list.format());
            }
            return context::run(screen, &args, verb);
        }
        Verb::Report(ReportVerb::List { limit, list }) => {
            screen.format(list.format());
            return report::list(screen, *limit, list.is_data());
        }
        _ => {}
    }
    choose_progress(&args.verb, screen);
    if let Some(list) = list_args(&args.verb) {
        screen.format(list.format());
    }
    if let (Verb::Audit(_), Some(target)) = (&args.verb, &args.target) {
        let text = format!("--target {target} has no meaning here: the audit record is about all targets");
        return Err(Fault::new(model::fault::Reason::InvalidRequest, text)
            .hint("leave it out, and choose with: resetctl audit list --json | jq '.[] | select(.target == \"NAME\")'"));
    }
    let to = Destination::of(&args, screen.environment())?;
    match at(&args.verb, &to, screen).await {
        Err(fault) => Err(advise::advised(&Api::new(to.address.clone()), fault).await),
        done => done,
    }
}

/// The verbs that call a daemon.
async fn at(verb: &Verb, to: &Destination, screen: &mut Screen) -> Result<u8, Fault> {
    match verb {
        Verb::Reset(it) => {
            operate::run(screen, to, Operate::reset(model::operation::Verb::Reset, it, &to.target)?).await
        }
        Verb::Run(it) => {
            operate::run(screen, to, Operate::reset(model::operation::Verb::Run, it, &to.target)?).await
        }
        Verb::Undo(it) => {
            let api = Api::new(to.address.clone());
            let which = ids::maybe_operation(&api, &to.target, it.operation.as_deref()).await?;
            operate::run(screen, to, Operate::undo(it, which, &to.target)?).await
        }
        Verb::Migrate(it) => operate::run(screen, to, Operate::migrate(it, &to.target)?).await,
        Verb::Validate(it) => operate::run(screen, to, Operate::validate(it, &to.target)?).await,
        Verb::Whoami(list) => doctor::whoami(screen, to, list.is_data()).await,
        Verb::Doctor(list) => doctor::run(screen, to, list.is_data()).await,
        Verb::Migrations(verb) => migrations::run(screen, to, verb).await,
        Verb::Gate { chains, list } => gate::run(screen, to, chains, list.is_data()).await,
        Verb::Wait { what, timeout } => wait::run(screen, to, *what, *timeout).await,
        Verb::Operations(verb) => match verb {
            OperationsVerb::List { active, limit, list } => {
                operations::list(screen, to, *active, *limit, list.is_data()).await
            }
            OperationsVerb::Show { id, list } => operations::show(screen, to, id, list.is_data()).await,
            OperationsVerb::Watch { id, from, follow } => {
                operations::watch(screen, to, id.as_deref(), *from, &follow.try_into()?).await
            }
            OperationsVerb::Cancel { id, reason } => {
                operations::cancel(screen, to, id.as_deref(), reason).await
            }
        },
        Verb::Report(ReportVerb::Get { id, report_path }) => {
            report::get(screen, to, id, report_path.as_deref()).await
        }
        Verb::Status { watch: false, list } => status::once(screen, to, list.is_data()).await,
        Verb::Status { watch: true, list } => status::watch(screen, to, list.is_data()).await,
        Verb::Window(verb) => window::run(screen, to, verb).await,
        Verb::Targets(list) => targets::list(screen, to, list.is_data()).await,
        Verb::Target(TargetVerb::Enroll { name, confirm_database }) => {
            targets::enroll(screen, to, name, confirm_database.as_deref()).await
        }
        Verb::Target(TargetVerb::Unlock { name, operation, reason }) => {
            let api = Api::new(to.address.clone());
            let operation = ids::maybe_operation(&api, name, operation.as_deref()).await?;
            targets::unlock(screen, to, name, operation, reason).await
        }
        Verb::Kept(KeptVerb::List(list)) => kept::list(screen, to, list.is_data()).await,
        Verb::Kept(KeptVerb::Drop { operation }) => {
            let api = Api::new(to.address.clone());
            kept::drop(screen, to, ids::operation(&api, &to.target, operation).await?).await
        }
        Verb::Token(verb) => tokens::run(screen, to, verb).await,
        Verb::Audit(verb) => audit::run(screen, to, verb).await,
        Verb::Explain { .. }
        | Verb::Completions { .. }
        | Verb::Man { .. }
        | Verb::Context(_)
        | Verb::Report(ReportVerb::List { .. }) => Ok(exit::OK),
    }
}

/// Before anything can go wrong, so that even the first fault has the form that was asked for.
fn choose_progress(verb: &Verb, screen: &mut Screen) {
    let mode = match verb {
        Verb::Reset(it) | Verb::Run(it) => it.common.follow.progress,
        Verb::Undo(it) => it.common.follow.progress,
        Verb::Migrate(it) => it.common.follow.progress,
        Verb::Validate(it) => it.common.follow.progress,
        Verb::Operations(OperationsVerb::Watch { follow, .. }) => follow.progress,
        _ => return,
    };
    screen.progress(mode);
}

/// How the verb prints data, where it does.
fn list_args(verb: &Verb) -> Option<ListArgs> {
    Some(match verb {
        Verb::Operations(OperationsVerb::List { list, .. } | OperationsVerb::Show { list, .. })
        | Verb::Report(ReportVerb::List { list, .. })
        | Verb::Status { list, .. }
        | Verb::Targets(list)
        | Verb::Kept(KeptVerb::List(list))
        | Verb::Whoami(list)
        | Verb::Doctor(list)
        | Verb::Gate { list, .. }
        | Verb::Migrations(MigrationsVerb::List { list } | MigrationsVerb::Status { list })
        | Verb::Token(TokenVerb::Create { list, .. } | TokenVerb::List(list))
        | Verb::Audit(AuditVerb::List { list, .. } | AuditVerb::Verify { list, .. })
        | Verb::Window(
            WindowVerb::Reserve { list, .. }
            | WindowVerb::List { list, .. }
            | WindowVerb::Show { list, .. }
            | WindowVerb::Extend { list, .. }
            | WindowVerb::Release { list, .. },
        ) => *list,
        _ => return None,
    })
}

fn title(verb: &Verb) -> &'static str {
    match verb {
        Verb::Reset(_) => "reset",
        Verb::Run(_) => "run",
        Verb::Undo(_) => "undo",
        Verb::Migrate(_) => "migrate",
        Verb::Validate(_) => "validate",
        Verb::Migrations(MigrationsVerb::Status { .. }) => "migrations status",
        Verb::Migrations(MigrationsVerb::List { .. }) => "migrations list",
        Verb::Whoami(_) => "whoami",
        Verb::Doctor(_) => "doctor",
        Verb::Gate { .. } => "gate",
        Verb::Wait { .. } => "wait",
        Verb::Operations(OperationsVerb::List { .. }) => "operations list",
        Verb::Operations(OperationsVerb::Show { .. }) => "operations show",
        Verb::Operations(OperationsVerb::Watch { .. }) => "operations watch",
        Verb::Operations(OperationsVerb::Cancel { .. }) => "operations cancel",
        Verb::Report(ReportVerb::Get { .. }) => "report get",
        Verb::Report(ReportVerb::List { .. }) => "report list",
        Verb::Status { .. } => "status",
        Verb::Window(verb) => window_title(verb),
        Verb::Targets(_) => "targets",
        Verb::Target(TargetVerb::Enroll { .. }) => "target enroll",
        Verb::Target(TargetVerb::Unlock { .. }) => "target unlock",
        Verb::Kept(KeptVerb::List(_)) => "kept list",
        Verb::Kept(KeptVerb::Drop { .. }) => "kept drop",
        Verb::Token(TokenVerb::Create { .. }) => "token create",
        Verb::Token(TokenVerb::List(_)) => "token list",
        Verb::Token(TokenVerb::Revoke { .. }) => "token revoke",
        Verb::Audit(AuditVerb::List { .. }) => "audit list",
        Verb::Audit(AuditVerb::Verify { .. }) => "audit verify",
        Verb::Context(_) => "context",
        Verb::Explain { .. } => "explain",
        Verb::Completions { .. } => "completions",
        Verb::Man { .. } => "man",
    }
}

fn window_title(verb: &WindowVerb) -> &'static str {
    match verb {
        WindowVerb::Reserve { .. } => "window reserve",
        WindowVerb::List { .. } => "window list",
        WindowVerb::Show { .. } => "window show",
        WindowVerb::Extend { .. } => "window extend",
        WindowVerb::Release { .. } => "window release",
    }
}

/// Lines of data, to stdout.
fn print(screen: &mut Screen, lines: &[String]) -> Result<u8, Fault> {
    let text: String = lines.iter().map(|line| format!("{}\n", visible(line))).collect();
    print_bytes(screen, text.as_bytes())
}

/// Data for scripts, as JSON or as YAML.
fn print_json(screen: &mut Screen, value: &serde_json::Value) -> Result<u8, Fault> {
    let text = match screen.is_yaml() {
        true => crate::render::yaml::document(value),
        false => format!("{value:#}\n"),
    };
    print_bytes(screen, model::text::json(&text).as_bytes())
}

fn print_bytes(screen: &mut Screen, bytes: &[u8]) -> Result<u8, Fault> {
    written(screen.data(bytes))
}

fn written(written: std::io::Result<()>) -> Result<u8, Fault> {
    written.map(|()| exit::OK).map_err(|e| {
        Fault::new(model::fault::Reason::ReportUnwritable, format!("standard output cannot be written: {e}"))
    })
}
