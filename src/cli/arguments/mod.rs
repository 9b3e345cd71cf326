//! What can be typed.

mod models;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

pub(super) use self::models::ModelsCommand;
use crate::access::Scope;

/// Brings a browser extension's pictures to local machine learning, and one verified model cache to both.
///
/// Browsers start framehost-relay, which lies beside it and starts the hub; the commands below are for people.
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
    /// Print what points Python's model clients at the hub, which is started if none runs: eval "$(framehost env)"
    Env(EnvArguments),
    /// List cameras, screens and windows, and what is missing to use more
    Devices(DevicesArguments),
    /// Capture from a camera, a screen or a video file, without a hub
    Capture(CaptureArguments),
    /// Record a stream of the running hub to a video file, until it ends or is interrupted
    Record(RecordArguments),
    /// Tell browsers about this program, for the extensions named
    Install(InstallArguments),
    /// Take that back
    Uninstall(UninstallArguments),
    /// Let an extension use cameras or the screen, or show what it may; holds at once
    Allow(AllowArguments),
    /// Take that back; holds at once, and ends what it captures
    Revoke(RevokeArguments),
    /// Show what the hubs that browsers start have logged; FRAMEHOST_LOG=debug makes them say more
    Logs(LogsArguments),
    /// Print what completes framehost's commands in a shell: framehost completions bash > FILE
    Completions {
        /// For which shell
        shell: clap_complete::Shell,
    },
    /// Write the manual's pages into a directory; for packages
    #[command(hide = true)]
    Manual {
        /// Where; it has to be there
        directory: PathBuf,
    },
    /// Look for what keeps framehost from working, and say what to do about it; ends with 1 if something does
    Doctor(DoctorArguments),
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
pub(super) struct LogsArguments {
    /// The last lines, so many of them
    #[arg(long, short = 'n', value_name = "N", default_value_t = 100)]
    pub(super) lines: usize,

    /// Go on with what is added, until it is interrupted
    #[arg(long, short)]
    pub(super) follow: bool,

    /// Print where the log is, instead
    #[arg(long)]
    pub(super) path: bool,
}

#[derive(Debug, Args)]
pub(super) struct StatusArguments {
    /// For programs
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Debug, Args)]
pub(super) struct EnvArguments {
    /// For which shell
    #[arg(long, value_enum, default_value_t)]
    pub(super) shell: Shell,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum Shell {
    /// sh, bash, zsh
    #[cfg_attr(not(windows), default)]
    Sh,
    /// PowerShell
    #[cfg_attr(windows, default)]
    Powershell,
    /// For programs
    Json,
}

#[derive(Debug, Args)]
pub(super) struct DevicesArguments {
    /// For programs
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Debug, Args)]
pub(super) struct CaptureArguments {
    #[command(subcommand)]
    pub(super) source: CaptureSource,

    /// Stop after so many pictures [default: go on until it ends or is interrupted]
    #[arg(long, global = true, value_name = "N")]
    pub(super) frames: Option<u64>,

    /// Where the pictures go: a video (.mkv, .mp4), a directory (PNG or JPEG files), or - for the bare bytes on standard
    /// output [default: nowhere; --json tells of them]
    #[arg(long, global = true, value_name = "FILE|DIR|-")]
    pub(super) output: Option<PathBuf>,

    /// Overwrite the video if there is one already
    #[arg(long, global = true)]
    pub(super) force: bool,

    /// Raw pictures as H.264 in .mkv, too, and not lossless
    #[arg(long, global = true)]
    pub(super) lossy: bool,

    /// For programs: a line for each picture, on standard error where the pictures are on standard output
    #[arg(long, global = true)]
    pub(super) json: bool,
}

#[derive(Debug, Subcommand)]
pub(super) enum CaptureSource {
    /// A camera
    Camera {
        /// Its index or id, as `framehost devices` shows them
        #[arg(long, default_value = "0")]
        camera: String,
        /// Pixels
        #[arg(long, default_value_t = 640)]
        width: u32,
        /// Pixels
        #[arg(long, default_value_t = 480)]
        height: u32,
        /// Pictures a second
        #[arg(long, default_value_t = 30.0)]
        fps: f64,
        /// rgb, bgr, rgba, bgra, gray, i420, nv12, yuy2, or jpeg for what the camera has coded
        #[arg(long, default_value = "rgb")]
        format: String,
        /// How it is read [default: v4l on Linux, nokhwa elsewhere]
        #[arg(long)]
        backend: Option<CameraBackendArgument>,
    },
    /// A screen, a window, or a part of one
    Screen {
        /// Its id, as `framehost devices` shows it [default: the primary one]
        #[arg(long)]
        screen: Option<String>,
        /// A window's id, as `framehost devices` shows it
        #[arg(long, conflicts_with = "screen")]
        window: Option<String>,
        /// Physical pixels from the top left corner [default: all of it]
        #[arg(long, value_name = "X,Y,WIDTH,HEIGHT", allow_hyphen_values = true)]
        region: Option<String>,
        /// Pictures a second
        #[arg(long, default_value_t = 30.0)]
        fps: f64,
        /// rgb, bgr, rgba, bgra, gray, i420, nv12 or yuy2
        #[arg(long, default_value = "rgb")]
        format: String,
        /// With the pointer
        #[arg(long)]
        cursor: bool,
    },
    /// A video file, as ffmpeg reads it
    File {
        /// The file
        path: PathBuf,
        /// Index of the first picture
        #[arg(long, default_value_t = 0)]
        start_frame: u64,
        /// Index of the first picture that is not wanted any more [default: the end]
        #[arg(long)]
        end_frame: Option<u64>,
        /// rgb, bgr, rgba, bgra, gray, i420, nv12 or yuy2
        #[arg(long, default_value = "rgb")]
        format: String,
        /// At the file's own pace
        #[arg(long)]
        realtime: bool,
    },
}

/// How a camera is read.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(super) enum CameraBackendArgument {
    /// Video4Linux directly
    V4l,
    /// The nokhwa library
    Nokhwa,
}

#[derive(Debug, Args)]
pub(super) struct RecordArguments {
    /// Its name, as `framehost status` shows it
    #[arg(value_name = "STREAM")]
    pub(super) stream_id: String,

    /// A name that ends in .mkv (raw pictures lossless, packets as they are) or .mp4 (raw pictures as H.264)
    #[arg(value_name = "OUT")]
    pub(super) output: PathBuf,

    /// Stop after so many pictures
    #[arg(long, value_name = "N")]
    pub(super) frames: Option<u64>,

    /// Stop so long after the first picture
    #[arg(long, value_name = "S", value_parser = seconds)]
    pub(super) seconds: Option<f64>,

    /// Wait for the stream if nobody has opened it yet
    #[arg(long)]
    pub(super) wait: bool,

    /// Overwrite the file if there is one already
    #[arg(long)]
    pub(super) force: bool,

    /// Raw pictures as H.264 in .mkv, too, and not lossless
    #[arg(long)]
    pub(super) lossy: bool,

    /// For programs
    #[arg(long)]
    pub(super) json: bool,
}

/// More than 0, up to a year.
fn seconds(text: &str) -> Result<f64, String> {
    const MAX: f64 = 366.0 * 86_400.0;
    match text.parse() {
        Ok(seconds) if seconds > 0.0 && seconds <= MAX => Ok(seconds),
        Ok(_) | Err(_) => Err(format!("seconds are more than 0, and at most {MAX}")),
    }
}

#[derive(Debug, Args)]
pub(super) struct InstallArguments {
    /// An extension that may start framehost, as chrome://extensions shows its id; may be repeated
    #[arg(long = "extension-id", value_name = "ID")]
    pub(super) extension_ids: Vec<String>,

    /// The same for Firefox and its like: name@example.org or {GUID}, as about:debugging shows it; may be repeated
    #[arg(long = "firefox-id", value_name = "ID")]
    pub(super) firefox_ids: Vec<String>,

    /// For packages: the program that browsers start, where it will be [default: the relay beside this one]
    #[arg(long, value_name = "FILE")]
    pub(super) binary: Option<PathBuf>,

    #[command(flatten)]
    pub(super) target: TargetArguments,
}

#[derive(Debug, Args)]
pub(super) struct AllowArguments {
    /// The extension, as chrome://extensions or about:debugging shows its id [default: list all that were named]
    pub(super) extension_id: Option<String>,

    /// frames (send pictures, watch streams), models, devices (know which there are), camera, screen [default: show what
    /// it may]
    #[arg(value_name = "SCOPE", value_parser = scope, requires = "extension_id")]
    pub(super) scopes: Vec<Scope>,

    /// For programs
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Debug, Args)]
pub(super) struct RevokeArguments {
    /// The extension
    pub(super) extension_id: String,

    /// What it may no longer: frames, models, devices, camera, screen [default: all of them]
    #[arg(value_name = "SCOPE", value_parser = scope)]
    pub(super) scopes: Vec<Scope>,

    /// For programs
    #[arg(long)]
    pub(super) json: bool,
}

fn scope(word: &str) -> Result<Scope, String> {
    let known = || Scope::ALL.map(Scope::as_str).join(", ");
    Scope::parse(word).ok_or_else(|| format!("expected one of {}", known()))
}

#[derive(Debug, Args)]
pub(super) struct DoctorArguments {
    /// An extension that is to be able to start framehost, as chrome://extensions shows its id; may be repeated
    #[arg(long = "extension-id", value_name = "ID")]
    pub(super) extension_ids: Vec<String>,

    /// The same for Firefox and its like; may be repeated
    #[arg(long = "firefox-id", value_name = "ID")]
    pub(super) firefox_ids: Vec<String>,

    /// For programs
    #[arg(long)]
    pub(super) json: bool,

    /// A browser that is started with --user-data-dir=DIR, too; may be repeated
    #[arg(long = "user-data-dir", value_name = "DIR")]
    pub(super) user_data_dirs: Vec<PathBuf>,

    /// Another folder than / for what is the machine's
    #[arg(long, value_name = "DIR", default_value = "/")]
    pub(super) root: PathBuf,
}

#[derive(Debug, Args)]
pub(super) struct UninstallArguments {
    /// For packages: leave manifests that start another framehost than this one
    #[arg(long)]
    pub(super) own: bool,

    #[command(flatten)]
    pub(super) target: TargetArguments,
}

#[derive(Debug, Args)]
pub(super) struct TargetArguments {
    /// Only this browser: chrome, chromium, edge, brave, firefox, …; an unknown one is answered with all; may be repeated
    /// [default: those that you have; all for the whole system]
    #[arg(long = "browser", value_name = "NAME")]
    pub(super) browsers: Vec<String>,

    /// For you alone, or for everybody on this machine (as root)
    #[arg(long, value_enum, default_value_t)]
    pub(super) scope: ScopeArgument,

    /// A browser that is started with --user-data-dir=DIR; may be repeated
    #[arg(long = "user-data-dir", value_name = "DIR")]
    pub(super) user_data_dirs: Vec<PathBuf>,

    /// For packages: the folder that will be /
    #[arg(long, value_name = "DIR", default_value = "/")]
    pub(super) root: PathBuf,

    /// Show what would be done, and do nothing
    #[arg(long)]
    pub(super) dry_run: bool,
}

/// For whom.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum ScopeArgument {
    /// You alone
    #[default]
    User,
    /// Everybody on this machine
    System,
}
