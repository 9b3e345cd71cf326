//! `framehost models show`.

use std::io;

use serde_json::json;

use super::say;
use crate::models::{DescribedModel, FileEntry, Variant};

pub(super) fn variants(models: &[DescribedModel]) -> io::Result<()> {
    for model in models {
        let state = if model.complete { "complete" } else { "incomplete" };
        let (id, commit) = (model.model_id.as_str(), model.commit.as_str());
        say(format_args!("{id}  {}  {commit}  {} bytes  {state}", model.revision, model.size_bytes))?;
        for variant in &model.variants {
            show(variant)?;
        }
        for file in &model.unreadable {
            say(format_args!("  {}: {}", file.file_path, file.problem))?;
        }
    }
    Ok(())
}

fn show(variant: &Variant) -> io::Result<()> {
    let state = if variant.complete { "complete" } else { "incomplete" };
    let parameters = variant.parameters.map_or_else(String::new, |count| format!("  {count} parameters"));
    let architecture = variant.architecture.as_ref().map_or_else(String::new, |name| format!("  {name}"));
    say(format_args!("  {}  {} bytes{parameters}{architecture}  {state}", variant.name, variant.size_bytes))?;
    for file in &variant.files {
        say(format_args!("    {}  {} bytes", file.file_path.as_str(), file.size_bytes))?;
    }
    for path in &variant.missing {
        say(format_args!("    {path}  missing"))?;
    }
    Ok(())
}

pub(super) fn variants_json(models: &[DescribedModel]) -> io::Result<()> {
    let file = |file: &FileEntry| json!({"file_path": file.file_path.as_str(), "size_bytes": file.size_bytes});
    let variant = |variant: &Variant| {
        json!({
            "name": variant.name,
            "format": variant.format,
            "dtype": variant.dtype,
            "architecture": variant.architecture,
            "tensors": variant.tensors,
            "parameters": variant.parameters,
            "files": variant.files.iter().map(file).collect::<Vec<_>>(),
            "missing": variant.missing,
            "size_bytes": variant.size_bytes,
            "complete": variant.complete,
        })
    };
    let model = |model: &DescribedModel| {
        let unreadable =
            model.unreadable.iter().map(|file| json!({"file_path": file.file_path, "problem": file.problem}));
        json!({
            "model_id": model.model_id.as_str(),
            "revision": model.revision,
            "commit": model.commit.as_str(),
            "complete": model.complete,
            "size_bytes": model.size_bytes,
            "variants": model.variants.iter().map(variant).collect::<Vec<_>>(),
            "unreadable": unreadable.collect::<Vec<_>>(),
        })
    };
    say(json!({"models": models.iter().map(model).collect::<Vec<_>>()}))
}
