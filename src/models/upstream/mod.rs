//! Where models come from that the cache does not have: a hub that speaks the Hugging Face Hub's read protocol, or a
//! directory.
//!
//! Belongs here: asking for a revision's listing and a file's bytes, tokens, naming what is wrong.
//! Does not belong here: the cache (`store`), writing and checking what arrives (`download`).
//!
//! Invariants:
//! - A token goes to the endpoint it is meant for and nowhere else, and into no log.
//! - What upstream says is a claim: nothing of it is believed before `download` has compared the bytes.

mod backoff;
mod directory;
mod error;
#[cfg(all(feature = "fuzzing", target_os = "linux"))]
pub(super) mod fuzz;
mod hub;
mod token;

use std::{fmt, ops::Range, path::PathBuf, pin::Pin};

use bytes::Bytes;
use tokio_stream::Stream;

pub(super) use self::backoff::Backoff;
use self::{directory::Directory, hub::Hub};
pub use self::{error::UpstreamError, token::TokenFile};
use super::{Commit, FilePath, ModelId, Revision, digest::DigestMemory, tree::Tree};

/// The public hub.
const DEFAULT_ENDPOINT: &str = "https://huggingface.co";

/// A file's bytes as they arrive.
pub(super) type ByteStream = Pin<Box<dyn Stream<Item = Result<Bytes, UpstreamError>> + Send>>;

/// The start of an answer with bytes of a file.
pub(super) struct FileBytes {
    /// Where `bytes` begin in the file: what was asked for, or 0 from a server that knows no ranges.
    pub(super) offset: u64,
    /// It is the range that was asked for, and not the whole file.
    pub(super) is_range: bool,
    pub(super) bytes: ByteStream,
}

/// A commit, and what it consists of.
#[derive(Debug)]
pub struct Listing {
    /// What the revision stands for.
    pub commit: Commit,
    pub(super) tree: Tree,
    /// Every file of the commit is listed; else only those that the cache has.
    pub is_whole: bool,
}

/// How upstream is named.
#[derive(Debug, Clone, Default)]
pub struct UpstreamOptions {
    /// A hub's address (`https://…`, `http://…`), a directory (`file://…` or an absolute path) with one folder for each
    /// model (`org/name`), or `off`. `None`: the public hub.
    pub location: Option<String>,
    /// Where the user's token is found.
    pub token: TokenFile,
}

/// Where models are pulled from.
pub struct Upstream {
    source: Source,
}

enum Source {
    Hub(Hub),
    Directory(Directory),
    Off,
}

impl Upstream {
    /// Reads the location; nothing is asked yet.
    ///
    /// # Errors
    ///
    /// [`UpstreamError::Location`].
    pub fn new(options: &UpstreamOptions) -> Result<Self, UpstreamError> {
        let location = options.location.as_deref().unwrap_or(DEFAULT_ENDPOINT).trim();
        let refuse = |problem| UpstreamError::Location { location: location.to_owned(), problem };
        if location == "off" {
            return Ok(Self::off());
        }
        if location.starts_with('/') {
            return Ok(Self { source: Source::Directory(Directory::new(PathBuf::from(location))) });
        }
        let url = reqwest::Url::parse(location)
            .map_err(|_| refuse("a URL (https://, http://, file://), an absolute path, or off"))?;
        let source = match url.scheme() {
            "file" => Source::Directory(Directory::new(url.to_file_path().map_err(|()| refuse("a local path"))?)),
            "http" | "https" if url.host_str().is_some() && url.query().is_none() => {
                Source::Hub(Hub::new(url, options.token.clone()))
            }
            _ => return Err(refuse("https://, http:// or file://")),
        };
        Ok(Self { source })
    }

    /// Nothing is fetched: what the cache has is all there is.
    pub const fn off() -> Self {
        Self { source: Source::Off }
    }

    /// Is there anything to ask?
    pub(super) const fn is_off(&self) -> bool {
        matches!(self.source, Source::Off)
    }

    /// What a revision stands for now, and the files of that commit.
    pub(super) async fn listing(
        &self,
        model_id: &ModelId,
        revision: &Revision,
        digests: &DigestMemory,
    ) -> Result<Listing, UpstreamError> {
        let (commit, tree) = match &self.source {
            Source::Hub(hub) => hub.listing(model_id, revision).await?,
            Source::Directory(directory) => directory.listing(model_id, revision, digests).await?,
            Source::Off => return Err(UpstreamError::Off),
        };
        if Commit::parse(revision.as_str()).is_some_and(|asked| asked != commit) {
            let problem = format!("asked for was commit {}, it is of {}", revision.as_str(), commit.as_str());
            return Err(UpstreamError::Answer { problem, url: self.to_string() });
        }
        Ok(Listing { commit, tree, is_whole: true })
    }

    /// The bytes of `range` of a file of `size` bytes, from its start or, where the server knows no ranges, from 0.
    pub(super) async fn read(
        &self,
        model_id: &ModelId,
        commit: &Commit,
        file_path: &FilePath,
        range: Range<u64>,
        size: u64,
    ) -> Result<FileBytes, UpstreamError> {
        match &self.source {
            Source::Hub(hub) => hub.read(model_id, commit, file_path, range, size).await,
            Source::Directory(directory) => Ok(directory.read(model_id, file_path, range)),
            Source::Off => Err(UpstreamError::Off),
        }
    }
}

impl fmt::Debug for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Upstream({self})")
    }
}

impl fmt::Display for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.source {
            Source::Hub(hub) => f.write_str(hub.endpoint().as_str().trim_end_matches('/')),
            Source::Directory(directory) => write!(f, "{}", directory.root().display()),
            Source::Off => f.write_str("off"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_location_is_a_hub_a_directory_or_off() {
        let check = |location: &str, expected: Option<&str>| {
            let options = UpstreamOptions { location: Some(location.to_owned()), ..UpstreamOptions::default() };
            assert_eq!(Upstream::new(&options).ok().map(|upstream| upstream.to_string()).as_deref(), expected);
        };
        check("off", Some("off"));
        check("/models", Some("/models"));
        check("file:///models/here", Some("/models/here"));
        check("http://127.0.0.1:8000/", Some("http://127.0.0.1:8000"));
        check("https://mirror.example/hf", Some("https://mirror.example/hf"));
        for wrong in ["", "models", "ftp://host/", "https://host/?a=b", "https://"] {
            check(wrong, None);
        }
    }
}
