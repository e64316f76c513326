//! How verbs that show data print it.

use clap::ValueEnum;

/// How data is printed.
#[derive(clap::Args, Clone, Copy, Debug)]
pub struct ListArgs {
    /// How it is printed.
    #[arg(short = 'o', long, value_name = "FORMAT", default_value = "table", conflicts_with = "json")]
    pub format: DataFormat,
    /// The same as -o json.
    #[arg(long)]
    pub json: bool,
}

/// The form of data.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, ValueEnum)]
pub enum DataFormat {
    /// For people, as wide as the terminal.
    #[default]
    Table,
    /// For people, with every column, however wide.
    Wide,
    /// For scripts.
    Json,
    /// The same as JSON, in YAML.
    Yaml,
}

impl ListArgs {
    /// What was chosen.
    #[must_use]
    pub fn format(self) -> DataFormat {
        if self.json { DataFormat::Json } else { self.format }
    }

    /// For scripts, not for people.
    #[must_use]
    pub fn is_data(self) -> bool {
        matches!(self.format(), DataFormat::Json | DataFormat::Yaml)
    }
}
