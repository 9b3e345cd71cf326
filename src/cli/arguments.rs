//! What can be typed.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

/// Brings a browser extension's pictures to local machine learning, and one verified model cache to both.
///
/// Browsers start this program by themselves; the commands below are for people.
#[derive(Debug, Parser)]
#[command(version, arg_required_else_help = true)]
pub(super) struct Arguments {
    #[command(subcommand)]
    pub(super) command: Command,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Run the hub in the foreground, until it is interrupted
    Hub(HubArguments),
    /// Show the running hub: address, sessions, streams, subscribers
    Status(StatusArguments),
    /// Work with the model cache that Python and the extension share
    #[command(subcommand)]
    Models(ModelsCommand),
    /// Tell browsers about this program, for the extensions named
    Install(InstallArguments),
    /// Take that back
    Uninstall(UninstallArguments),
}

#[derive(Debug, Args)]
pub(super) struct HubArguments {
    /// Leave after this many seconds without anything to do [default: stay]
    #[arg(long, value_name = "SECONDS")]
    pub(super) idle_exit: Option<u32>,

    /// Started by a relay: a session of its own, logs to a file
    #[arg(long, hide = true)]
    pub(super) detached: bool,
}

#[derive(Debug, Args)]
pub(super) struct StatusArguments {
    /// For programs
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Debug, Subcommand)]
pub(super) enum ModelsCommand {
    /// Take a directory into the cache, as if it had been downloaded
    Import {
        /// The directory with the model's files
        directory: PathBuf,
        /// The name it gets: org/name
        model_id: String,
        /// The branch or tag it gets
        #[arg(long, default_value = "main")]
        revision: String,
        /// Move the branch or tag if it stands for something else
        #[arg(long)]
        force: bool,
    },
    /// List the models in the cache
    List {
        /// Only this one
        model_id: Option<String>,
        /// For programs
        #[arg(long)]
        json: bool,
    },
    /// Print where a model, or one file of it, is
    Path {
        /// org/name
        model_id: String,
        /// Checked against its digest first
        file_path: Option<String>,
        /// Branch, tag or commit
        #[arg(long, default_value = "main")]
        revision: String,
    },
}

#[derive(Debug, Args)]
pub(super) struct InstallArguments {
    /// An extension that may start framehost, as chrome://extensions shows its id; may be repeated
    #[arg(long = "extension-id", value_name = "ID", required = true)]
    pub(super) extension_ids: Vec<String>,

    #[command(flatten)]
    pub(super) target: TargetArguments,
}

#[derive(Debug, Args)]
pub(super) struct UninstallArguments {
    #[command(flatten)]
    pub(super) target: TargetArguments,
}

#[derive(Debug, Args)]
pub(super) struct TargetArguments {
    /// Only this browser: chromium, chrome, chrome-beta, chrome-unstable; may be repeated [default: those that you have]
    #[arg(long = "browser", value_name = "NAME")]
    pub(super) browsers: Vec<String>,

    /// A browser that is started with --user-data-dir=DIR; may be repeated
    #[arg(long = "user-data-dir", value_name = "DIR")]
    pub(super) user_data_dirs: Vec<PathBuf>,

    /// Show what would be done, and do nothing
    #[arg(long)]
    pub(super) dry_run: bool,
}
