//! `framehost install` and `framehost uninstall`.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{anyhow, bail};

use super::{
    arguments::{InstallArguments, ScopeArgument, TargetArguments, UninstallArguments},
    say, system,
};
use crate::{
    error::ErrorKind,
    install::{
        Allowed, ExtensionId, FirefoxId, HostBinary, InstallDirs, Plan, Scope, Selection, plan_install, plan_uninstall,
        plan_uninstall_own, sandboxed, survey,
    },
};

pub(super) fn install(arguments: &InstallArguments) -> anyhow::Result<ExitCode> {
    let allowed = allowed(&arguments.extension_ids, &arguments.firefox_ids)?;
    refuse_sudo(&arguments.target)?;
    let binary = match &arguments.binary {
        Some(path) => HostBinary::of_package(path)?,
        None => {
            let own = HostBinary::beside(&env::current_exe()?)?;
            own.try_it()?;
            own
        }
    };
    let targets = survey(&selection(&arguments.target), &directories(&arguments.target.root)?)?;
    let done = carry_out(&plan_install(&targets, &allowed, &binary)?, &arguments.target)?;
    tell_of_sandboxes(&arguments.target)?;
    Ok(done)
}

/// The extensions of both families that were named. Who takes one option for the other is told.
pub(super) fn allowed(chromium: &[String], firefox: &[String]) -> anyhow::Result<Allowed> {
    let of_chromium = |id: &String| {
        ExtensionId::parse(id).map_err(|error| match FirefoxId::parse(id) {
            Ok(_) => anyhow::Error::new(error).context("this is an id of Firefox's: give it by --firefox-id"),
            Err(_) => error.into(),
        })
    };
    let of_firefox = |id: &String| {
        FirefoxId::parse(id).map_err(|error| match ExtensionId::parse(id) {
            Ok(_) => anyhow::Error::new(error).context("this is an id of Chromium's: give it by --extension-id"),
            Err(_) => error.into(),
        })
    };
    Ok(Allowed {
        chromium: chromium.iter().map(of_chromium).collect::<anyhow::Result<_>>()?,
        firefox: firefox.iter().map(of_firefox).collect::<anyhow::Result<_>>()?,
    })
}

/// With sudo "you alone" would be root: root's browsers, or files of root's in the user's home, which the user can neither
/// change nor take back.
fn refuse_sudo(target: &TargetArguments) -> anyhow::Result<()> {
    let user = super::variable("SUDO_USER").filter(|user| !user.is_empty() && user != "root");
    match (user, target.scope) {
        (Some(user), ScopeArgument::User) if system::is_root() && !target.dry_run => bail!(
            "run this as {}, without sudo: it installs for one user, and that would be root now; --scope system is for \
             everybody",
            user.display()
        ),
        _ => Ok(()),
    }
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
    let plan = if arguments.own {
        let program = env::current_exe()?;
        let own = [HostBinary::relay_of(&program), program];
        plan_uninstall_own(&targets, |path| own.iter().any(|own| is_same(own, path)) || !path.exists())
    } else {
        plan_uninstall(&targets)
    };
    carry_out(&plan, &arguments.target)
}

fn is_same(one: &Path, other: &Path) -> bool {
    let real = |path: &Path| fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    real(one) == real(other)
}

/// Does it and tells of each step when it is done; where it ends early, what has been said is what has been done.
fn carry_out(plan: &Plan, target: &TargetArguments) -> anyhow::Result<ExitCode> {
    if target.dry_run || plan.actions().is_empty() {
        say(plan.describe().trim_end())?;
    }
    if target.dry_run {
        say("dry run: nothing was done")?;
        return Ok(ExitCode::SUCCESS);
    }
    // Whoever has stopped reading wants the rest done all the same.
    let mut told = Ok(());
    let done = plan.execute(|action| {
        if told.is_ok() {
            told = say(action);
        }
    });
    done.map_err(|error| {
        let advice = match (error.kind(), target.scope) {
            (ErrorKind::PermissionDenied, ScopeArgument::System) => system::AS_ADMINISTRATOR,
            (ErrorKind::PermissionDenied, ScopeArgument::User) => "framehost doctor says whose it is and what to do",
            (ErrorKind::AlreadyExists, _) => "framehost doctor says what is in the way and what to do",
            _ => return error.into(),
        };
        let problem = super::in_full(&error.into());
        anyhow!("{problem}; {advice}")
    })?;
    told?;
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
