//! What people have set: the configuration file, and variables.

use std::{
    ffi::OsString,
    fs, io,
    net::{SocketAddr, TcpStream, ToSocketAddrs as _},
    path::Path,
    time::Duration,
};

use super::{
    Access, Finding, Whose, aside, closed, closed_to_all, open_to_all, outermost_closed, quoted, system, unlocked,
};
use crate::{
    access::Scope,
    config::{self, CACHE_VARIABLES, Config, ConfigError, Paths},
    install::{ExtensionId, FirefoxId},
    models::Upstream,
    proxy, telemetry, user,
};

/// What to do where the directory cannot be the user's.
const ELSEWHERE: &str = "name a folder of yours by FRAMEHOST_CONFIG_DIR or XDG_CONFIG_HOME, or unset them";

/// What `config.json` may hold. What else is there another version may have written, or it is a word misspelt.
const MEMBERS: &str = "cache_dir, upstream, models_max_bytes, ffmpeg, video_dirs, extensions";

/// How long this machine's own address may take to answer.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// The configuration file, and the directory that it is in.
pub fn check_config(paths: &Paths) -> Vec<Finding> {
    let file = paths.config_file();
    let subject = file.display();
    let mut findings = Vec::new();
    match Config::read(paths) {
        Ok(config) => check_members(&config, paths, &mut findings),
        // Below: what it says is a stranger's, and nothing to be made readable.
        Err(_) if fs::metadata(&file).is_ok_and(|metadata| user::is_strangers(&metadata)) => {}
        Err(problem) => {
            let advice = readable(&problem, paths);
            findings.push(Finding::error("config_unreadable", &subject, problem, advice));
        }
    }
    if let Ok(metadata) = fs::metadata(&file) {
        let wrong = system::wrong_configuration(&file, &metadata);
        findings.extend(wrong.map(|(problem, advice)| Finding::error("config_permissions", &subject, problem, advice)));
    }
    let real = fs::canonicalize(&file).unwrap_or_else(|_| file.clone());
    if let Some(folder) = open_to_all(&file).or_else(|| open_to_all(&real)) {
        let problem =
            "everybody on this machine could put another configuration there, and so decide what extensions may";
        let advice = closed_to_all(folder, ELSEWHERE);
        findings.push(Finding::error("config_permissions", folder.display(), problem, advice));
    }
    if findings.is_empty() {
        findings.extend(check_changeable(paths));
    }
    if findings.is_empty() {
        findings.push(Finding::ok("config", subject, "it can be read, or there is none"));
    }
    findings
}

/// What makes the file one that can be read.
fn readable(problem: &ConfigError, paths: &Paths) -> String {
    let file = paths.config_file();
    let another = || format!("{}; or correct it: no hub starts with it", aside(&file));
    let ConfigError::Unreadable { source, .. } = problem else { return another() };
    match source.kind() {
        io::ErrorKind::PermissionDenied => {
            let closed = outermost_closed(&file);
            match system::whose(closed) {
                Whose::Own => system::open_up(&paths.config_dir, &file),
                // The folder and its lock are of the same sudo.
                Whose::InOwnPlace if closed == file => system::take_over(&paths.config_dir),
                Whose::InOwnPlace | Whose::AboveHome | Whose::Others => unlocked(closed, "u+rwX", source, ELSEWHERE),
            }
        }
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => {
            unlocked(user::nearest(&file).unwrap_or(&file), "u+rwx", source, ELSEWHERE)
        }
        // It is something else than a file.
        _ => another(),
    }
}

/// Whether the file can be changed, which is another one then.
fn check_changeable(paths: &Paths) -> Option<Finding> {
    let lock = paths.config_lock();
    // One that is a link is written where it leads to.
    let real = fs::canonicalize(paths.config_file()).ok();
    let folders = [Some(paths.config_dir.as_path()), real.as_deref().and_then(Path::parent)];
    if let Some((folder, error)) = folders.into_iter().flatten().find_map(closed) {
        let problem =
            format!("framehost allow and revoke cannot write there, and no cache or upstream is remembered: {error}");
        let advice = unlocked(folder, "u+rwx", &error, ELSEWHERE);
        return Some(Finding::warning("config_dir_unwritable", folder.display(), problem, advice));
    }
    let error = if lock.is_dir() {
        io::Error::from(io::ErrorKind::IsADirectory)
    } else {
        system::may(&lock, Access::Write).err().filter(|error| error.kind() != io::ErrorKind::NotFound)?
    };
    let problem = format!("framehost allow and revoke cannot take it, and no cache or upstream is remembered: {error}");
    let advice = if lock.is_dir() { aside(&lock) } else { system::remove(&quoted(&lock)) };
    Some(Finding::warning("config_lock_unusable", lock.display(), problem, advice))
}

fn check_members(config: &Config, paths: &Paths, findings: &mut Vec<Finding>) {
    let file = paths.config_file();
    let subject = file.display();
    if let Some(Err(problem)) = config.upstream.as_deref().map(Upstream::check) {
        let advice = "correct \"upstream\" there, or take it out; until then nothing is fetched";
        findings.push(Finding::error("upstream_invalid", &subject, problem, advice));
    }
    for name in config.others.keys() {
        let problem = format!("{name:?} means nothing to this framehost; it knows {MEMBERS}");
        let advice = format!("correct {name:?} there, or take it out");
        findings.push(Finding::warning("config_member_unknown", &subject, problem, advice));
    }
    if let Some(cache_dir) = config.cache_dir.as_deref().filter(|cache_dir| !cache_dir.is_absolute()) {
        let problem = format!("\"cache_dir\" is {:?}, and has to be an absolute path", cache_dir.display());
        let advice = format!("correct \"cache_dir\" in {}, or take it out", quoted(&file));
        findings.push(Finding::error("config_cache_dir", &subject, problem, advice));
    }
    for folder in &config.video_dirs {
        if !folder.is_absolute() || !folder.is_dir() {
            let what = if folder.is_absolute() { "there is no such folder" } else { "it has to be an absolute path" };
            let problem = format!("extensions may open nothing below {:?} of \"video_dirs\": {what}", folder.display());
            let advice = format!("correct \"video_dirs\" in {}, or take that out", quoted(&file));
            findings.push(Finding::warning("video_dirs", &subject, problem, advice));
        }
    }
    for (id, scopes) in &config.extensions {
        if ExtensionId::parse(id).is_err() && FirefoxId::parse(id).is_err() {
            let problem = format!("{id:?} in \"extensions\" is no extension's id, so what it may counts for nobody");
            let advice = format!("framehost allow ID{}; and take {id:?} out there", words(scopes));
            findings.push(Finding::warning("config_extensions", &subject, problem, advice));
        }
        for word in scopes.iter().filter(|word| Scope::parse(word).is_none()) {
            let known = Scope::ALL.map(Scope::as_str).join(", ");
            let problem = format!("{word:?}, which {id} may by \"extensions\", means nothing: expected one of {known}");
            let advice = format!("take {word:?} out there");
            findings.push(Finding::warning("config_extensions", &subject, problem, advice));
        }
    }
}

fn words(scopes: &[String]) -> String {
    scopes.iter().filter(|word| Scope::parse(word).is_some()).map(|word| format!(" {word}")).collect()
}

/// Variables of the shell that this runs in.
pub fn check_environment(paths: &Paths, lookup: impl Fn(&str) -> Option<OsString>) -> Vec<Finding> {
    let text = |name: &str| config::text(&lookup, name);
    let mut findings = Vec::new();
    for name in ["FRAMEHOST_UPSTREAM", "HF_ENDPOINT"] {
        let Some(value) = text(name) else { continue };
        if let Err(problem) = Upstream::check(&value) {
            let advice = format!("unset {name}; or correct it where your shell sets it: nothing is fetched with it");
            findings.push(Finding::error("upstream_invalid", name, problem, advice));
        } else if name == "HF_ENDPOINT" && Upstream::is_here(&value) && !is_answered(&value) {
            let problem = format!("nobody listens at {value}: Python loads no models in this shell");
            let advice = "eval \"$(framehost env)\"; or unset HF_ENDPOINT";
            findings.push(Finding::warning("endpoint_silent", name, problem, advice));
        } else if name == "HF_ENDPOINT" && Upstream::is_here(&value) && !proxy::no_proxy(&lookup).is_empty() {
            let problem = "a proxy that is set here is asked for the hub's models, and sees your token of Hugging Face";
            findings.push(Finding::warning("endpoint_by_proxy", name, problem, "eval \"$(framehost env)\""));
        }
    }
    let cache_variable = CACHE_VARIABLES.into_iter().find(|name| text(name).is_some());
    if let (Some(name), Ok(Config { cache_dir: Some(remembered), .. })) = (cache_variable, Config::read(paths))
        && let Ok(named) = config::present_cache_dir(paths, &lookup)
        && remembered.is_absolute()
        && is_another(&named, &remembered)
    {
        let problem = format!(
            "models go to {} here, and to {} in hubs that a browser starts: neither has what the other fetched",
            named.display(),
            remembered.display()
        );
        let advice = format!(
            "correct \"cache_dir\" in {} to one of them, and {name} where your shell sets it",
            quoted(&paths.config_file())
        );
        findings.push(Finding::warning("cache_dir_differs", name, problem, advice));
    }
    if let Some(level) = text("FRAMEHOST_LOG").filter(|level| !telemetry::is_level(level)) {
        let problem = format!("{level:?} is no level of a log: expected one of {}", telemetry::LEVELS);
        let advice = "unset FRAMEHOST_LOG; or correct it where your shell sets it: until then it counts for nothing";
        findings.push(Finding::warning("log_level_unknown", "FRAMEHOST_LOG", problem, advice));
    }
    if system::is_root() && text("SUDO_USER").is_some_and(|user| user != "root") {
        let problem = "this was root's view: root's home, browsers and hub, not yours";
        findings.push(Finding::warning("run_by_sudo", "sudo", problem, "framehost doctor; without sudo"));
    }
    findings
}

/// Whether two paths lead to different places.
fn is_another(one: &Path, other: &Path) -> bool {
    let real = |path: &Path| fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    real(one) != real(other)
}

/// Whether somebody takes connections at a URL of this machine. Where that cannot be told, they are taken to.
fn is_answered(url: &str) -> bool {
    let Ok(url) = reqwest::Url::parse(url) else { return true };
    let (Some(host), Some(port)) = (url.host_str(), url.port_or_known_default()) else { return true };
    let Ok(mut addresses) = (host.trim_matches(['[', ']']), port).to_socket_addrs() else { return false };
    let connects = |address: SocketAddr| TcpStream::connect_timeout(&address, CONNECT_TIMEOUT).is_ok();
    addresses.any(connects)
}
