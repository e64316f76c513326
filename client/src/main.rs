//! The process around the client: it hands over the arguments and the terminal, and ends with the exit code.

use std::process::ExitCode;

fn main() -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(_) => return ExitCode::FAILURE,
    };
    let code =
        runtime.block_on(resetctl::main_with(std::env::args_os().collect(), resetctl::Io::of_process()));
    runtime.shutdown_background();
    ExitCode::from(code)
}
