//! `framehost models`.

use std::{io, process::ExitCode};

use serde_json::json;

use super::{arguments::ModelsCommand, care, pull, say, show};
use crate::{
    config::{self, Config, ConfigError, Paths},
    models::{
        FileName, GcOptions, ImportOptions, ModelError, ModelId, ModelStore, ModelSummary, PullOptions, Revision,
        SharedModels, StoreOptions, TokenFile, Upstream, UpstreamOptions,
    },
};

/// The store that the environment and the configuration name.
pub(super) fn store(paths: &Paths) -> Result<ModelStore, ConfigError> {
    let cache_dir = config::cache_dir(paths, super::variable)?;
    Ok(ModelStore::new(StoreOptions { cache_dir, state_dir: paths.state_dir.clone() }))
}

/// The store, and where it fetches from what it does not have.
pub(super) fn shared(paths: &Paths) -> anyhow::Result<SharedModels> {
    let location = config::upstream(paths, super::variable)?;
    let token = TokenFile::find(super::variable, &paths.home);
    let upstream = Upstream::new(&UpstreamOptions { location, token })?;
    let limit = Config::read(paths)?.models_max_bytes;
    Ok(SharedModels::new(store(paths)?, upstream).with_limit(limit))
}

pub(super) fn run(command: ModelsCommand) -> anyhow::Result<ExitCode> {
    let paths = super::paths()?;
    let store = store(&paths)?;
    match command {
        ModelsCommand::Pull { model_id, revision, include, exclude, json } => {
            let options = PullOptions { include, exclude };
            pull::run(shared(&paths)?, &ModelId::parse(&model_id)?, &Revision::parse(&revision)?, &options, json)?;
        }
        ModelsCommand::Import { directory, model_id, revision, force } => {
            let model_id = ModelId::parse(&model_id)?;
            let options = ImportOptions { revision: Revision::parse(&revision)?, force };
            let report = store.import(&directory, &model_id, &options)?;
            let (files, bytes, commit) = (report.files, report.size_bytes, report.commit.as_str());
            say(format_args!("{} {revision} is {commit}", model_id.as_str()))?;
            say(format_args!("{files} files, {bytes} bytes, {} already there", report.already_there))?;
            report.left_out.iter().for_each(|left_out| super::warn(format_args!("left out {left_out}")));
        }
        ModelsCommand::List { model_id, json } => {
            let model_id = model_id.map(|id| ModelId::parse(&id)).transpose()?;
            let models = store.list(model_id.as_ref())?;
            // An empty list is an answer for programs.
            if let (Some(model_id), true) = (model_id, models.is_empty() && !json) {
                return Err(ModelError::ModelNotFound {
                    model_id: model_id.as_str().to_owned(),
                    cache_dir: store.cache_dir().to_owned(),
                }
                .into());
            }
            if json { list_json(&models)? } else { list(&store, &models)? }
        }
        ModelsCommand::Show { model_id, revision, json } => {
            let revision = revision.map(|name| Revision::parse(&name)).transpose()?;
            let models = store.variants(Some(&ModelId::parse(&model_id)?), revision.as_ref())?;
            if json { show::variants_json(&models)? } else { show::variants(&models)? }
        }
        ModelsCommand::Verify { model_id, repair, json } => {
            let model_id = model_id.map(|id| ModelId::parse(&id)).transpose()?;
            return care::verify(shared(&paths)?, model_id, repair, json);
        }
        ModelsCommand::Remove { model_id, revision } => {
            let revision = revision.map(|name| Revision::parse(&name)).transpose()?;
            care::remove(&store, &ModelId::parse(&model_id)?, revision.as_ref())?;
        }
        ModelsCommand::Gc { max_size, dry_run, json } => {
            let max_bytes = max_size.or(Config::read(&paths)?.models_max_bytes);
            return care::gc(&store, GcOptions { max_bytes, dry_run }, json);
        }
        ModelsCommand::Pin { model_id: None, .. } => care::pins(&store)?,
        ModelsCommand::Pin { model_id: Some(model_id), revision } => care::pin(&store, &model_id, revision)?,
        ModelsCommand::Unpin { model_id, revision } => care::unpin(&store, &model_id, revision)?,
        ModelsCommand::Path { model_id, file_path, revision } => {
            let path = match file_path {
                Some(file_path) => store.resolve(&FileName::parse(&model_id, &file_path, &revision)?)?.path,
                None => store.snapshot_dir(&ModelId::parse(&model_id)?, &Revision::parse(&revision)?)?,
            };
            say(path.display())?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn list(store: &ModelStore, models: &[ModelSummary]) -> io::Result<()> {
    if models.is_empty() {
        return say(format_args!("no models in {}", store.cache_dir().display()));
    }
    for model in models {
        let state = if model.complete { "complete" } else { "incomplete" };
        let (id, revision, commit) = (model.model_id.as_str(), &model.revision, model.commit.as_str());
        let short = commit.get(..12).unwrap_or(commit);
        say(format_args!(
            "{id}  {revision}  {short}  {} files  {} bytes  {state}",
            model.files.len(),
            model.size_bytes
        ))?;
    }
    Ok(())
}

fn list_json(models: &[ModelSummary]) -> io::Result<()> {
    let model = |model: &ModelSummary| {
        let file = |file: &crate::models::FileEntry| json!({"file_path": file.file_path.as_str(), "size_bytes": file.size_bytes});
        json!({
            "model_id": model.model_id.as_str(),
            "revision": model.revision,
            "commit": model.commit.as_str(),
            "complete": model.complete,
            "size_bytes": model.size_bytes,
            "files": model.files.iter().map(file).collect::<Vec<_>>(),
        })
    };
    say(json!({"models": models.iter().map(model).collect::<Vec<_>>()}))
}
