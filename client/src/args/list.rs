//! How verbs that show data print it.

/// How data is printed.
#[derive(clap::Args, Clone, Copy, Debug)]
pub struct ListArgs {
    /// Print JSON instead of a table.
    #[arg(long)]
    pub json: bool,
}
