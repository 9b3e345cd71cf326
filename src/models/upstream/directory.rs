//! A directory with one folder for each model (`org/name`): a shared drive, a stick, a checkout.

use std::{
    io::Read,
    ops::Range,
    path::{Path, PathBuf},
    sync::Arc,
};

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use super::{FileBytes, Listing, UpstreamError};
use crate::models::{
    FilePath, ModelError, ModelId, Revision,
    digest::DigestMemory,
    sources::{commit_of, find_sources, tree_of},
    system::open_file,
};

/// Bytes read at once.
const READ_BYTES: u64 = 1 << 20;

/// Reads ahead of who takes the bytes.
const READS_AHEAD: usize = 2;

pub(super) struct Directory {
    root: PathBuf,
}

impl Directory {
    pub(super) const fn new(root: PathBuf) -> Self {
        Self { root }
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    fn model_dir(&self, model_id: &ModelId) -> PathBuf {
        model_id.as_str().split('/').fold(self.root.clone(), |path, part| path.join(part))
    }

    /// The folder as it is now: its commit is derived from its files, as an import's is.
    pub(super) async fn listing(
        &self,
        model_id: &ModelId,
        revision: &Revision,
        digests: &DigestMemory,
    ) -> Result<Listing, UpstreamError> {
        let (folder, digests) = (self.model_dir(model_id), digests.clone());
        let url = folder.display().to_string();
        if !self.root.is_dir() {
            let (problem, url) = ("the directory is not there".to_owned(), self.root.display().to_string());
            return Err(UpstreamError::NobodyThere { problem, url });
        }
        if !folder.is_dir() {
            return Err(UpstreamError::ModelNotFound { model_id: model_id.as_str().to_owned(), url });
        }
        let listed = tokio::task::spawn_blocking(move || -> Result<_, ModelError> {
            let found = find_sources(&folder, None, &digests)?;
            let left_out = found.left_out.into_iter().map(|left_out| left_out.to_string()).collect();
            let (commit, tree) = (commit_of(&found.sources)?, tree_of(&found.sources));
            Ok(Listing { commit, tree, is_whole: true, left_out })
        });
        let listing = match listed.await {
            Ok(listed) => listed.map_err(|error| UpstreamError::Directory { problem: error.to_string() })?,
            Err(error) => return Err(UpstreamError::Directory { problem: error.to_string() }),
        };
        if *revision != Revision::default() && revision.as_str() != listing.commit.as_str() {
            let (model_id, revision) = (model_id.as_str().to_owned(), revision.as_str().to_owned());
            return Err(UpstreamError::RevisionNotFound { model_id, revision, url });
        }
        Ok(listing)
    }

    pub(super) fn read(&self, model_id: &ModelId, file_path: &FilePath, range: Range<u64>) -> FileBytes {
        let path = file_path.components().fold(self.model_dir(model_id), |path, part| path.join(part));
        let (sender, receiver) = mpsc::channel(READS_AHEAD);
        let offset = range.start;
        tokio::task::spawn_blocking(move || read_into(&path, range, &sender));
        FileBytes { offset, is_range: true, bytes: Box::pin(ReceiverStream::new(receiver)) }
    }
}

/// Reads until the range is done, the file ends, or nobody listens.
fn read_into(path: &Path, range: Range<u64>, sender: &mpsc::Sender<Result<Bytes, UpstreamError>>) {
    let read = || -> std::io::Result<()> {
        let file = Arc::new(open_file(path)?);
        let mut offset = range.start;
        while offset < range.end {
            let mut buffer = Vec::new();
            let mut from = &*file;
            std::io::Seek::seek(&mut from, std::io::SeekFrom::Start(offset))?;
            from.take(READ_BYTES.min(range.end - offset)).read_to_end(&mut buffer)?;
            offset += buffer.len() as u64;
            if buffer.is_empty() || sender.blocking_send(Ok(buffer.into())).is_err() {
                break;
            }
        }
        Ok(())
    };
    if let Err(error) = read() {
        let problem = format!("{error}: {}", path.display());
        // A failed send: nobody wants to know.
        let _ = sender.blocking_send(Err(UpstreamError::Directory { problem }));
    }
}
