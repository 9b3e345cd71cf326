//! `framehost install` and `framehost uninstall`.

use std::{env, process::ExitCode};

use super::{
    arguments::{InstallArguments, TargetArguments, UninstallArguments},
    say,
};
use crate::install::{ExtensionId, HostBinary, InstallDirs, Plan, Selection, plan_install, plan_uninstall, survey};

pub(super) fn install(arguments: &InstallArguments) -> anyhow::Result<ExitCode> {
    let ids = arguments.extension_ids.iter().map(|id| ExtensionId::parse(id)).collect::<Result<Vec<_>, _>>()?;
    let binary = HostBinary::beside(&env::current_exe()?)?;
    let targets = survey(&selection(&arguments.target), &directories()?)?;
    carry_out(&plan_install(&targets, &ids, &binary)?, &arguments.target)
}

pub(super) fn uninstall(arguments: &UninstallArguments) -> anyhow::Result<ExitCode> {
    let targets = survey(&selection(&arguments.target), &directories()?)?;
    carry_out(&plan_uninstall(&targets), &arguments.target)
}

fn carry_out(plan: &Plan, target: &TargetArguments) -> anyhow::Result<ExitCode> {
    say(plan.describe().trim_end())?;
    if target.dry_run {
        say("dry run: nothing was done")?;
    } else {
        plan.execute()?;
    }
    Ok(ExitCode::SUCCESS)
}

fn selection(target: &TargetArguments) -> Selection {
    Selection { browsers: target.browsers.clone(), user_data_dirs: target.user_data_dirs.clone() }
}

fn directories() -> anyhow::Result<InstallDirs> {
    let home = super::paths()?.home;
    let config_home = super::variable("XDG_CONFIG_HOME").map(std::path::PathBuf::from);
    // The specification has relative ones ignored. Source: XDG Base Directory Specification.
    let config_home = config_home.filter(|path| path.is_absolute()).unwrap_or_else(|| home.join(".config"));
    Ok(InstallDirs { config_home, home })
}
