//! `framehost allow`, `framehost revoke`: what the user lets an extension do.

use std::process::ExitCode;

use serde_json::json;

use super::{
    arguments::{AllowArguments, RevokeArguments},
    say,
};
use crate::{
    access::{Scope, scopes_of},
    config::{Config, Paths},
    install::{ExtensionId, FirefoxId, InstallError},
};

pub(super) fn allow(arguments: &AllowArguments) -> anyhow::Result<ExitCode> {
    let paths = super::paths()?;
    let Some(id) = &arguments.extension_id else {
        list(&paths, arguments.json)?;
        return Ok(ExitCode::SUCCESS);
    };
    let id = extension(id)?;
    let scopes = if arguments.scopes.is_empty() {
        scopes_of(&Config::read(&paths)?.extensions, &id)
    } else {
        change(&paths, &id, |scope, may| may || arguments.scopes.contains(&scope))?
    };
    tell(&id, &scopes, arguments.json)
}

pub(super) fn revoke(arguments: &RevokeArguments) -> anyhow::Result<ExitCode> {
    let id = extension(&arguments.extension_id)?;
    let goes = |scope: Scope| arguments.scopes.is_empty() || arguments.scopes.contains(&scope);
    let scopes = change(&super::paths()?, &id, |scope, may| may && !goes(scope))?;
    tell(&id, &scopes, arguments.json)
}

/// An id of either family, as browsers show it.
fn extension(id: &str) -> Result<String, InstallError> {
    match ExtensionId::parse(id) {
        Ok(id) => Ok(id.to_string()),
        Err(_) if id.contains(['@', '{']) => FirefoxId::parse(id).map(|id| id.to_string()),
        Err(error) => Err(error),
    }
}

/// Writes what an extension may from now on, and answers with it. What another version has written stays.
fn change(paths: &Paths, id: &str, decide: impl Fn(Scope, bool) -> bool) -> anyhow::Result<Vec<Scope>> {
    let config = Config::update(paths, |config| {
        let before = scopes_of(&config.extensions, id);
        let words = config.extensions.entry(id.to_owned()).or_default();
        words.retain(|word| Scope::parse(word).is_none());
        let after = Scope::ALL.into_iter().filter(|scope| decide(*scope, before.contains(scope)));
        words.extend(after.map(|scope| scope.as_str().to_owned()));
    })?;
    Ok(scopes_of(&config.extensions, id))
}

fn list(paths: &Paths, json: bool) -> anyhow::Result<()> {
    let config = Config::read(paths)?;
    let extensions = &config.extensions;
    if json {
        let of = |id: &String| (id.clone(), json!(words(&scopes_of(&config.extensions, id))));
        let extensions: serde_json::Map<_, _> = extensions.keys().map(of).collect();
        return Ok(say(json!({"extensions": extensions, "others": words(&Scope::USUAL)}))?);
    }
    for id in extensions.keys() {
        tell(id, &scopes_of(&config.extensions, id), false)?;
    }
    Ok(say(format_args!("every other extension may: {}", words(&Scope::USUAL).join(", ")))?)
}

fn tell(id: &str, scopes: &[Scope], json: bool) -> anyhow::Result<ExitCode> {
    let words = words(scopes);
    if json {
        say(json!({"extension": id, "allowed": words}))?;
    } else {
        say(format_args!("{id} may: {}", if words.is_empty() { "nothing".to_owned() } else { words.join(", ") }))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn words(scopes: &[Scope]) -> Vec<&'static str> {
    scopes.iter().map(|scope| scope.as_str()).collect()
}
