//! `models.list`, `models.open`, `models.read`: the cache, for an extension that pulls it through the native port.

use std::{
    convert::Infallible,
    net::SocketAddr,
    sync::{Arc, OnceLock},
    time::Duration,
};

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use serde::Serialize;
use serde_json::value::RawValue;
use tokio::sync::watch;

use super::{
    Outbound, Reply, Session, ok,
    requests::{MODEL_CHUNK_BYTES, Nothing},
};
use crate::{
    error::ErrorKind,
    message::{Failure, MessageError, Request, page},
    models::{
        Commit, FileName, FilePath, ModelError, ModelFile, ModelId, ModelSummary, PullOptions, PullProgress, Revision,
    },
};

/// Model files that one session may hold open.
const MAX_HANDLES: usize = 64;

/// Files in one entry of a list; a model with more has several entries, which a client joins by model and revision.
const FILES_PER_ENTRY: usize = 200;

/// Patterns of one pull, and their bytes in the message.
const MAX_PATTERNS: usize = 256;
const MAX_PATTERNS_BYTES: usize = 64 << 10;

/// Longest token of a page, in bytes; those of answers are far shorter.
const MAX_PAGE_TOKEN_BYTES: usize = 1024;

/// How often a client hears how far its pull is.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(200);

/// An open file, or the place of one that is being opened.
pub(super) type OpenHandle = Arc<OnceLock<Arc<ModelFile>>>;

/// A page of models.
#[derive(Serialize)]
pub(super) struct Listing {
    pub(super) models: Vec<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) next_page_token: Option<String>,
}

#[derive(Serialize)]
struct ModelEntry {
    model_id: String,
    revision: String,
    commit: String,
    complete: bool,
    size_bytes: u64,
    files: Vec<FileEntry>,
}

/// A file of a model, as messages have it.
#[derive(Serialize)]
pub(super) struct FileEntry {
    file_path: String,
    size_bytes: u64,
}

#[derive(Serialize)]
struct Opened<'a> {
    handle: u32,
    size_bytes: u64,
    sha256: &'a str,
    etag: &'a str,
    commit: &'a str,
    verified: bool,
    chunk_bytes: usize,
    /// For `fetch` with the session's token.
    #[serde(skip_serializing_if = "Option::is_none")]
    url: Option<String>,
}

#[derive(Serialize)]
struct Pulled<'a> {
    model_id: &'a str,
    revision: &'a str,
    commit: &'a str,
    files: usize,
    size_bytes: u64,
    from_cache: bool,
}

#[derive(Serialize)]
struct Progress<'a> {
    model_id: &'a str,
    revision: &'a str,
    file_path: &'a str,
    bytes_done: u64,
    bytes_total: u64,
    files_done: usize,
    files_total: usize,
}

#[derive(Serialize)]
struct Chunk {
    offset: u64,
    data: String,
    is_last: bool,
}

/// Patterns of a pull. Each is compared with every file of the model.
fn patterns(request: &Request<'_>, field: &'static str) -> Result<Vec<String>, MessageError> {
    let given = request.optional::<&RawValue>(field)?;
    if given.map_or(0, |given| given.get().len()) > MAX_PATTERNS_BYTES {
        return Err(MessageError::field(field, format!("at most {MAX_PATTERNS_BYTES} bytes of patterns")));
    }
    let patterns = request.optional::<Vec<String>>(field)?.unwrap_or_default();
    if patterns.len() > MAX_PATTERNS {
        return Err(MessageError::field(field, format!("at most {MAX_PATTERNS} patterns")));
    }
    Ok(patterns)
}

/// Where a list goes on, as an answer has told. Requests that wait keep it.
pub(super) fn page_token(request: &Request<'_>) -> Result<Option<String>, MessageError> {
    let token = request.optional::<String>("page_token")?;
    if token.as_ref().is_some_and(|token| token.len() > MAX_PAGE_TOKEN_BYTES) {
        return Err(MessageError::field("page_token", "it is none that an answer has told"));
    }
    Ok(token)
}

impl Session {
    pub(super) fn models_list(&mut self, request: &Request<'_>) -> Result<Reply, Failure> {
        let model_id = request.optional::<String>("model_id")?.map(|id| ModelId::parse(&id)).transpose()?;
        let page_token = page_token(request)?;
        let models = self.hub.models().clone();
        let work = async move {
            let listed = models.list(model_id).await?;
            let entries: Vec<_> = listed.into_iter().flat_map(entries).collect();
            let page = page(&entries, page_token.as_deref())?;
            ok(&Listing { models: page.items, next_page_token: page.next_page_token })
        };
        self.answer_later(request, work)
    }

    pub(super) fn models_open(&mut self, request: &Request<'_>) -> Result<Reply, Failure> {
        let revision = request.optional::<String>("revision")?.unwrap_or_default();
        let name = FileName::parse(&request.text("model_id")?, &request.text("file_path")?, &revision)?;
        // An open that failed left its place empty, and its task's share of it is gone.
        self.handles.retain(|_, place| place.get().is_some() || Arc::strong_count(place) > 1);
        if self.handles.len() >= MAX_HANDLES {
            let problem = format!("this session holds {MAX_HANDLES} model files open already");
            return Err(Failure::new(ErrorKind::ResourceExhausted, problem));
        }
        self.last_handle += 1;
        let handle = self.last_handle;
        let place = OpenHandle::default();
        self.handles.insert(handle, Arc::clone(&place));
        let models = self.hub.models().clone();
        let address = self.hub.address();
        let (model_id, file_path) = (name.model_id.clone(), name.file_path.clone());
        let work = async move {
            let file = Arc::new(models.stream(name).await?);
            let file = place.get_or_init(|| file);
            ok(&Opened {
                handle,
                size_bytes: file.resolved.size_bytes,
                sha256: &file.resolved.sha256,
                etag: &file.resolved.etag,
                commit: file.resolved.commit.as_str(),
                verified: file.resolved.verified,
                chunk_bytes: MODEL_CHUNK_BYTES,
                url: address.map(|address| file_url(address, &model_id, &file.resolved.commit, &file_path)),
            })
        };
        self.answer_later(request, work)
    }

    /// Pulls a model; events tell how far it is.
    pub(super) fn models_pull(&mut self, request: &Request<'_>) -> Result<Reply, Failure> {
        let model_id = ModelId::parse(&request.text("model_id")?)?;
        let revision = request.optional::<String>("revision")?.map(|name| Revision::parse(&name)).transpose()?;
        let revision = revision.unwrap_or_default();
        let options = PullOptions { include: patterns(request, "include")?, exclude: patterns(request, "exclude")? };
        let (models, out) = (self.hub.models().clone(), self.out.clone());
        let work = async move {
            let (progress, news) = watch::channel(PullProgress::default());
            let report = tokio::select! {
                report = models.pull(&model_id, &revision, &options, &progress) => report?,
                never = tell_progress(out, &model_id, &revision, news) => match never {},
            };
            ok(&Pulled {
                model_id: model_id.as_str(),
                revision: revision.as_str(),
                commit: report.commit.as_str(),
                files: report.files,
                size_bytes: report.size_bytes,
                from_cache: report.from_cache,
            })
        };
        self.answer_later(request, work)
    }

    pub(super) fn models_close(&mut self, request: &Request<'_>) -> Result<Reply, Failure> {
        let handle = request.required("handle")?;
        self.handles.remove(&handle).ok_or_else(|| no_handle(handle))?;
        ok(&Nothing {})
    }

    pub(super) fn models_read(&mut self, request: &Request<'_>) -> Result<Reply, Failure> {
        let handle = request.required::<u32>("handle")?;
        let offset = request.required::<u64>("offset")?;
        let length = request.required::<u64>("length")?;
        let place = self.handles.get(&handle).ok_or_else(|| no_handle(handle))?;
        if length == 0 {
            return Err(MessageError::field("length", "at least 1").into());
        }
        let file = place.get().cloned().ok_or_else(|| no_handle(handle))?;
        let (range, size_bytes) = (file.range(offset, length.min(MODEL_CHUNK_BYTES as u64))?, file.resolved.size_bytes);
        let work = async move {
            let is_last = range.end == size_bytes;
            let data = file.read(range).await?;
            ok(&Chunk { offset, data: base64_simd::STANDARD.encode_to_string(&data), is_last })
        };
        self.answer_later(request, work)
    }
}

/// Where the loopback port has a file: by its commit, so that the bytes behind it stay the same.
fn file_url(address: SocketAddr, model_id: &ModelId, commit: &Commit, file_path: &FilePath) -> String {
    let encoded = file_path.components().map(|part| utf8_percent_encode(part, NON_ALPHANUMERIC).to_string());
    let path = encoded.collect::<Vec<_>>().join("/");
    format!("http://{address}/{}/resolve/{}/{path}", model_id.as_str(), commit.as_str())
}

/// One entry of a list for every [`FILES_PER_ENTRY`] files.
fn entries(model: ModelSummary) -> Vec<ModelEntry> {
    let entry = |files: Vec<FileEntry>| ModelEntry {
        model_id: model.model_id.as_str().to_owned(),
        revision: model.revision.clone(),
        commit: model.commit.as_str().to_owned(),
        complete: model.complete,
        size_bytes: model.size_bytes,
        files,
    };
    if model.files.is_empty() {
        return vec![entry(Vec::new())];
    }
    model.files.chunks(FILES_PER_ENTRY).map(|files| entry(files.iter().map(FileEntry::from).collect())).collect()
}

impl From<&crate::models::FileEntry> for FileEntry {
    fn from(file: &crate::models::FileEntry) -> Self {
        Self { file_path: file.file_path.as_str().to_owned(), size_bytes: file.size_bytes }
    }
}

/// Tells how far a pull is, a few times a second, as long as it is asked to.
async fn tell_progress(
    out: Outbound,
    model_id: &ModelId,
    revision: &Revision,
    mut news: watch::Receiver<PullProgress>,
) -> Infallible {
    loop {
        tokio::time::sleep(PROGRESS_INTERVAL).await;
        if !news.has_changed().unwrap_or(false) {
            continue;
        }
        let progress = news.borrow_and_update().clone();
        let fields = Progress {
            model_id: model_id.as_str(),
            revision: revision.as_str(),
            file_path: &progress.file_path,
            bytes_done: progress.bytes_done,
            bytes_total: progress.bytes_total,
            files_done: progress.files_done,
            files_total: progress.files_total,
        };
        out.event("models.progress", fields).await;
    }
}

/// This session has no such handle.
fn no_handle(handle: u32) -> Failure {
    Failure::new(ErrorKind::NotFound, format!("this session has no open handle {handle}")).with("handle", handle)
}

impl From<ModelError> for Failure {
    fn from(error: ModelError) -> Self {
        let failure = Self::new(error.kind(), &error).with_field(error.field());
        match error.reason() {
            Some(reason) => failure.with("reason", reason),
            None => failure,
        }
    }
}
