//! `framehost install` and `framehost uninstall`.

use std::{
    env,
    path::{Path, PathBuf},
    process::ExitCode,
};

use super::{
    arguments::{InstallArguments, ScopeArgument, TargetArguments, UninstallArguments},
    say, system,
};
use crate::{
    error::ErrorKind,
    install::{
        Allowed, ExtensionId, FirefoxId, HostBinary, InstallDirs, Plan, Scope, Selection, plan_install, plan_uninstall,
        sandboxed, survey,
    },
};

pub(super) fn install(arguments: &InstallArguments) -> anyhow::Result<ExitCode> {
    let chromium = arguments.extension_ids.iter().map(|id| ExtensionId::parse(id)).collect::<Result<_, _>>()?;
    let firefox = arguments.firefox_ids.iter().map(|id| FirefoxId::parse(id)).collect::<Result<_, _>>()?;
    let binary = match &arguments.binary {
        Some(path) => HostBinary::of_package(path)?,
        None => HostBinary::beside(&env::current_exe()?)?,
    };
    let targets = survey(&selection(&arguments.target), &directories(&arguments.target.root)?)?;
    let done = carry_out(&plan_install(&targets, &Allowed { chromium, firefox }, &binary)?, &arguments.target)?;
    tell_of_sandboxes(&arguments.target)?;
    Ok(done)
}

/// Browsers that find no manifest, or start no program, whatever is installed.
fn tell_of_sandboxes(target: &TargetArguments) -> anyhow::Result<()> {
    let is_meant = |id: &str| target.browsers.is_empty() || target.browsers.iter().any(|named| named == id);
    for found in sandboxed(&directories(&target.root)?).iter().filter(|found| is_meant(found.browser.id())) {
        say(format_args!("note: {}\n  {}", found.truth(), found.advice()))?;
    }
    Ok(())
}

pub(super) fn uninstall(arguments: &UninstallArguments) -> anyhow::Result<ExitCode> {
    let targets = survey(&selection(&arguments.target), &directories(&arguments.target.root)?)?;
    carry_out(&plan_uninstall(&targets), &arguments.target)
}

fn carry_out(plan: &Plan, target: &TargetArguments) -> anyhow::Result<ExitCode> {
    say(plan.describe().trim_end())?;
    if target.dry_run {
        say("dry run: nothing was done")?;
    } else {
        plan.execute().map_err(|error| match (error.kind(), target.scope) {
            (ErrorKind::PermissionDenied, ScopeArgument::System) => anyhow::Error::new(error)
                .context(format!("--scope system is for the administrator: {}", system::AS_ADMINISTRATOR)),
            _ => error.into(),
        })?;
    }
    Ok(ExitCode::SUCCESS)
}

fn selection(target: &TargetArguments) -> Selection {
    let scope = match target.scope {
        ScopeArgument::User => Scope::User,
        ScopeArgument::System => Scope::System,
    };
    Selection { browsers: target.browsers.clone(), user_data_dirs: target.user_data_dirs.clone(), scope }
}

/// Where browsers keep things here; `root` is `/` but for packages.
pub(super) fn directories(root: &Path) -> anyhow::Result<InstallDirs> {
    let home = super::paths()?.home;
    // The specification has relative ones ignored. Source: XDG Base Directory Specification.
    let named = |name: &str| super::variable(name).map(PathBuf::from).filter(|path| path.is_absolute());
    Ok(InstallDirs {
        root: std::path::absolute(root)?,
        config_home: named("XDG_CONFIG_HOME").unwrap_or_else(|| home.join(".config")),
        data_home: system::data_home(&home),
        machine_data: system::machine_data(),
        home,
    })
}
