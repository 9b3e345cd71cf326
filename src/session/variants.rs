//! `models.status`: which variants of a model there are.

use serde::Serialize;

use super::{
    Reply, Session,
    models::{FileEntry, Listing, page_token},
    ok,
};
use crate::{
    message::{Failure, MessageError, Request, page},
    models::{DescribedModel, ModelId, Revision, UnreadableFile, Variant},
};

/// Files of a variant that are told.
const MAX_FILES: usize = 200;

/// Variants in one entry; a model with more has several.
const VARIANTS_PER_ENTRY: usize = 10;

/// Files that cannot be read that are told.
const MAX_UNREADABLE: usize = 200;

#[derive(Serialize)]
struct ModelEntry {
    model_id: String,
    revision: String,
    commit: String,
    complete: bool,
    size_bytes: u64,
    variants: Vec<VariantEntry>,
    unreadable: Vec<UnreadableEntry>,
}

#[derive(Serialize)]
struct VariantEntry {
    name: String,
    format: &'static str,
    dtype: String,
    architecture: Option<String>,
    tensors: u64,
    parameters: Option<u64>,
    files: Vec<FileEntry>,
    file_count: usize,
    missing: Vec<String>,
    size_bytes: u64,
    complete: bool,
}

#[derive(Serialize)]
struct UnreadableEntry {
    file_path: String,
    problem: String,
}

impl Session {
    pub(super) fn models_status(&mut self, request: &Request<'_>) -> Result<Reply, Failure> {
        let model_id = request.optional::<String>("model_id")?.map(|id| ModelId::parse(&id)).transpose()?;
        let revision = request.optional::<String>("revision")?.map(|name| Revision::parse(&name)).transpose()?;
        if revision.is_some() && model_id.is_none() {
            return Err(MessageError::field("model_id", "needed with a revision").into());
        }
        let page_token = page_token(request)?;
        let models = self.hub.models().clone();
        let work = async move {
            let described = models.variants(model_id, revision).await?;
            let entries: Vec<_> = described.into_iter().flat_map(entries).collect();
            let page = page(&entries, page_token.as_deref())?;
            ok(&Listing { models: page.items, next_page_token: page.next_page_token })
        };
        self.answer_later(request, work)
    }
}

/// One entry for every [`VARIANTS_PER_ENTRY`] variants.
fn entries(model: DescribedModel) -> Vec<ModelEntry> {
    let DescribedModel { model_id, revision, commit, complete, size_bytes, variants, unreadable } = model;
    let entry = |variants: Vec<VariantEntry>| ModelEntry {
        model_id: model_id.as_str().to_owned(),
        revision: revision.clone(),
        commit: commit.as_str().to_owned(),
        complete,
        size_bytes,
        variants,
        unreadable: Vec::new(),
    };
    let mut entries: Vec<_> =
        variants.chunks(VARIANTS_PER_ENTRY).map(|some| entry(some.iter().map(VariantEntry::from).collect())).collect();
    if entries.is_empty() {
        entries.push(entry(Vec::new()));
    }
    if let Some(first) = entries.first_mut() {
        let told = unreadable.into_iter().take(MAX_UNREADABLE);
        first.unreadable =
            told.map(|UnreadableFile { file_path, problem }| UnreadableEntry { file_path, problem }).collect();
    }
    entries
}

impl From<&Variant> for VariantEntry {
    fn from(variant: &Variant) -> Self {
        Self {
            name: variant.name.clone(),
            format: variant.format,
            dtype: variant.dtype.clone(),
            architecture: variant.architecture.clone(),
            tensors: variant.tensors,
            parameters: variant.parameters,
            files: variant.files.iter().take(MAX_FILES).map(FileEntry::from).collect(),
            file_count: variant.files.len(),
            missing: variant.missing.iter().take(MAX_FILES).cloned().collect(),
            size_bytes: variant.size_bytes,
            complete: variant.complete,
        }
    }
}
