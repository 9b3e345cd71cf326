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

use std::{
    fmt,
    ops::Range,
    path::{Path, PathBuf},
    pin::Pin,
};

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
    /// Files of the commit that are not listed: not every system can have a file of that name, or it is none.
    pub left_out: Vec<String>,
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

enum Location {
    Hub(reqwest::Url),
    Directory(PathBuf),
    Off,
}

impl Location {
    fn parse(location: &str) -> Result<Self, UpstreamError> {
        let location = location.trim();
        let refuse = |problem| UpstreamError::Location { location: without_password(location), problem };
        if location.eq_ignore_ascii_case("off") {
            return Ok(Self::Off);
        }
        if Path::new(location).is_absolute() {
            return Ok(Self::Directory(PathBuf::from(location)));
        }
        let url = reqwest::Url::parse(location)
            .map_err(|_| refuse("a URL (https://, http://, file://), an absolute path, or off"))?;
        match url.scheme() {
            "file" => url.to_file_path().map(Self::Directory).map_err(|()| refuse("a local path")),
            "http" | "https" if url.query().is_some() || url.fragment().is_some() => {
                Err(refuse("an address without ? and #"))
            }
            "http" | "https" if url.host_str().is_some() => Ok(Self::Hub(url)),
            _ => Err(refuse("https://, http:// or file://")),
        }
    }
}

/// What an error may repeat of an address, which may be none.
fn without_password(location: &str) -> String {
    let (scheme, rest) = match location.rsplit_once('@') {
        // First of all: a password may have a question mark in it.
        Some((before, host)) => (before.find("://").and_then(|at| before.get(..at + 3)).unwrap_or_default(), host),
        None => ("", location),
    };
    format!("{scheme}{}", rest.split(['?', '#']).next().unwrap_or_default())
}

impl Upstream {
    /// Reads the location; nothing is asked yet.
    ///
    /// # Errors
    ///
    /// [`UpstreamError::Location`].
    pub fn new(options: &UpstreamOptions) -> Result<Self, UpstreamError> {
        let source = match Location::parse(options.location.as_deref().unwrap_or(DEFAULT_ENDPOINT))? {
            Location::Hub(url) => Source::Hub(Hub::new(url, options.token.clone())),
            Location::Directory(root) => Source::Directory(Directory::new(root)),
            Location::Off => Source::Off,
        };
        Ok(Self { source })
    }

    /// Can [`UpstreamOptions::location`] be this?
    ///
    /// # Errors
    ///
    /// [`UpstreamError::Location`].
    pub fn check(location: &str) -> Result<(), UpstreamError> {
        Location::parse(location).map(drop)
    }

    /// Does an address lead to this machine?
    pub fn is_here(address: &str) -> bool {
        matches!(Location::parse(address), Ok(Location::Hub(url)) if url.host_str().is_some_and(hub::is_loopback))
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
        let listing = match &self.source {
            Source::Hub(hub) => hub.listing(model_id, revision).await?,
            Source::Directory(directory) => directory.listing(model_id, revision, digests).await?,
            Source::Off => return Err(UpstreamError::Off),
        };
        if Commit::parse(revision.as_str()).is_some_and(|asked| asked != listing.commit) {
            let problem = format!("asked for was commit {}, it is of {}", revision.as_str(), listing.commit.as_str());
            return Err(UpstreamError::Answer { problem, url: self.to_string() });
        }
        if !listing.left_out.is_empty() {
            let (model_id, files, first) = (model_id.as_str(), listing.left_out.len(), listing.left_out.first());
            tracing::warn!(
                model_id,
                files,
                first,
                "files are left out that not every system can have, or that are none"
            );
        }
        Ok(listing)
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
        #[cfg(unix)]
        for (location, directory) in [("/models", "/models"), ("file:///models/here", "/models/here")] {
            check(location, Some(directory));
        }
        #[cfg(windows)]
        for (location, directory) in [
            (r"C:\models", r"C:\models"),
            ("c:/models", "c:/models"),
            (r"\\server\models", r"\\server\models"),
            ("file:///C:/models/here", r"C:\models\here"),
        ] {
            check(location, Some(directory));
        }
        #[cfg(windows)]
        ["/models", r"\models", r"C:models"].into_iter().for_each(|wrong| check(wrong, None));
        check("http://127.0.0.1:8000/", Some("http://127.0.0.1:8000"));
        check("https://mirror.example/hf", Some("https://mirror.example/hf"));
        check("OFF", Some("off"));
        for wrong in ["", "models", "ftp://host/", "https://host/?a=b", "https://host/#a", "https://"] {
            check(wrong, None);
        }
    }

    #[test]
    fn an_address_that_is_refused_is_named_without_its_password() {
        for wrong in [
            "https://bob:pw9@h.example/?a",
            "bob:pw9@h.example",
            "ftp://bob:pw9@h.example/",
            "http://bob:p@w9@h/#",
            "https://bob:pw9#1@h.example",
            "http://bob:9?pw9@h.example",
            "https://h.example/?token=pw9",
            "https://h/#pw9",
        ] {
            let error = Upstream::check(wrong).unwrap_err().to_string();
            assert!(!error.contains("pw9") && !error.contains("bob") && !error.contains("p@w9"), "{error}");
        }
    }

    #[test]
    fn this_machine_is_known_by_an_addresss_host() {
        for here in ["http://localhost:50052", "HTTP://LOCALHOST:50052", "http://127.0.0.2:1", "https://[::1]/x"] {
            assert!(Upstream::is_here(here), "{here}");
        }
        for elsewhere in ["https://localhost.mirror.example", "https://h.example/?://127.", "off", "://127."] {
            assert!(!Upstream::is_here(elsewhere), "{elsewhere}");
        }
    }
}
