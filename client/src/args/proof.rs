//! The words about trust: whom the client believes, and what it shows. It must not open what they name.

use std::path::PathBuf;

/// How the daemon is trusted, and how the caller proves who they are. A token is never a flag: everybody on the machine can read
/// flags.
#[derive(clap::Args, Clone, Debug)]
pub struct ProofArgs {
    /// The CA of the daemon's certificate (PEM), in place of the public ones.
    #[arg(long, global = true, value_name = "FILE", env = "RESETCTL_CA", hide_env_values = true)]
    pub ca: Option<PathBuf>,
    /// Your client certificate (PEM); with --key.
    #[arg(long, global = true, value_name = "FILE", env = "RESETCTL_CERT", hide_env_values = true)]
    pub cert: Option<PathBuf>,
    /// The private key of --cert (PEM).
    #[arg(long, global = true, value_name = "FILE", env = "RESETCTL_KEY", hide_env_values = true)]
    pub key: Option<PathBuf>,
    /// A file with your bearer token, which nobody else may read (mode 0600); or the token itself in RESETCTL_TOKEN.
    #[arg(long, global = true, value_name = "FILE", env = "RESETCTL_TOKEN_FILE", hide_env_values = true)]
    pub token_file: Option<PathBuf>,
}
