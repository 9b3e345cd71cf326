//! What can be typed.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

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
    #[default]
    Sh,
    /// PowerShell
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
    /// Fetch a model, verified, as upstream has it now
    Pull {
        /// org/name
        model_id: String,
        /// Branch, tag or commit
        #[arg(long, default_value = "main")]
        revision: String,
        /// Only files that match: "*.safetensors", "onnx/*"; can be given several times
        #[arg(long, value_name = "PATTERN")]
        include: Vec<String>,
        /// No files that match; can be given several times
        #[arg(long, value_name = "PATTERN")]
        exclude: Vec<String>,
        /// For programs: a line for each step
        #[arg(long)]
        json: bool,
    },
    /// List the models in the cache
    List {
        /// Only this one
        model_id: Option<String>,
        /// For programs
        #[arg(long)]
        json: bool,
    },
    /// Show what of a model can be run: its variants, by the headers of its files
    Show {
        /// org/name
        model_id: String,
        /// Branch, tag or commit [default: each that is here]
        #[arg(long)]
        revision: Option<String>,
        /// For programs
        #[arg(long)]
        json: bool,
    },
    /// Read every file of a model, or of all, and compare it with its digest and its commit's listing
    ///
    /// Ends with 1 if anything is damaged or missing. Of a model that was pulled in part, the rest is missing.
    Verify {
        /// Only this one
        model_id: Option<String>,
        /// Fetch anew what is damaged or missing
        #[arg(long)]
        repair: bool,
        /// For programs
        #[arg(long)]
        json: bool,
    },
    /// Remove a model, or one revision of it; what others link to stays
    Remove {
        /// org/name
        model_id: String,
        /// Branch, tag or commit [default: all of it]
        #[arg(long)]
        revision: Option<String>,
    },
    /// Clear away what nobody can ask for any more and, above a limit, the models that were used longest ago
    Gc {
        /// What the models may take, as 50GB or 20GiB [default: models_max_bytes of config.json, else no limit]
        #[arg(long, value_name = "SIZE", value_parser = size)]
        max_size: Option<u64>,
        /// Show what would go, and do nothing
        #[arg(long)]
        dry_run: bool,
        /// For programs
        #[arg(long)]
        json: bool,
    },
    /// Keep a model, or one revision of it, from being cleared away; list what is kept so
    Pin {
        /// org/name [default: list what is pinned]
        model_id: Option<String>,
        /// Branch, tag or commit [default: all of it]
        #[arg(long, requires = "model_id")]
        revision: Option<String>,
    },
    /// Take that back
    Unpin {
        /// org/name
        model_id: String,
        /// The revision that was pinned [default: the pin of all of it]
        #[arg(long)]
        revision: Option<String>,
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

/// Bytes: `50GB` of 1000, `20GiB` of 1024, or bare.
fn size(text: &str) -> Result<u64, String> {
    const UNITS: [(&str, u64); 9] = [
        ("KIB", 1 << 10),
        ("MIB", 1 << 20),
        ("GIB", 1 << 30),
        ("TIB", 1 << 40),
        ("KB", 1000),
        ("MB", 1_000_000),
        ("GB", 1_000_000_000),
        ("TB", 1_000_000_000_000),
        ("B", 1),
    ];
    let upper = text.trim().to_ascii_uppercase();
    let unit = UNITS.iter().find_map(|(name, bytes)| Some((upper.strip_suffix(name)?, *bytes)));
    let (number, bytes) = unit.unwrap_or((&upper, 1));
    let problem = || format!("{text:?} is no size: 50GB, 20GiB, 1000000");
    let (whole, fraction) = number.trim().split_once('.').unwrap_or((number.trim(), ""));
    let whole: u64 = whole.parse().map_err(|_| problem())?;
    let mut size = whole.checked_mul(bytes).ok_or_else(problem)?;
    let mut place = bytes;
    for digit in fraction.chars() {
        place /= 10;
        let digit = digit.to_digit(10).ok_or_else(problem)?;
        size = size.checked_add(place * u64::from(digit)).ok_or_else(problem)?;
    }
    Ok(size)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_in_the_units_that_people_write() {
        let check = |text: &str, bytes: Option<u64>| assert_eq!(size(text).ok(), bytes, "{text:?}");
        check("0", Some(0));
        check("1234", Some(1234));
        check("50GB", Some(50_000_000_000));
        check("20 GiB", Some(20 << 30));
        check("1.5gb", Some(1_500_000_000));
        check("1KiB", Some(1024));
        for wrong in ["", "GB", "-1", "1XB", "1.x", "99999999999TB"] {
            check(wrong, None);
        }
    }
}
