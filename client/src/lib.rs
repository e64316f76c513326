//! `resetctl`, the remote client of `resetd`: it starts operations, shows their progress and keeps their reports.
//!
//! argv → [`args::Args`] → intent → request ⇒ daemon ⇒ events → `render/`, report file, exit code. It must not know
//! PostgreSQL, and holds no rule that the daemon decides.

use std::ffi::OsString;

use clap::Parser as _;

pub mod args;

mod api;
mod chains;
mod command;
mod completion;
mod confirm;
mod destination;
mod environment;
mod exit;
mod follow;
mod gateway;
mod intent;
mod invocation;
mod io;
mod manual;
mod render;
mod report_file;
#[cfg(test)]
mod scripted;
mod secret_file;
mod settings;
mod signals;
mod similar;
mod time_spec;

pub use environment::Environment;
pub use io::Io;
pub use render::{ColorChoice, Colours};

/// Runs the client with these arguments (the program's name first) and gives its exit code.
pub async fn main_with(args: Vec<OsString>, io: Io) -> u8 {
    let mut screen = render::Screen::new(io);
    if let Some(shell) = screen.environment().complete.clone() {
        let answer = completion::answer(&shell, &args, screen.environment()).await;
        // A shell that is gone wants no answer.
        let _ = screen.data(&answer);
        return model::fault::exit::OK;
    }
    match args::Args::try_parse_from(&args) {
        Ok(args) => {
            screen.colour(args.color);
            if args.no_input {
                screen.no_input();
            }
            command::dispatch(args, screen).await
        }
        Err(error) => {
            let help = !error.use_stderr();
            screen.usage(&args::with_advice(error, &args).render(), help);
            if help { model::fault::exit::OK } else { model::fault::exit::USAGE }
        }
    }
}
