//! A hub over HTTP: the Hugging Face Hub, a mirror of it, or another that speaks its read protocol.
//!
//! A revision is resolved to a commit first, and everything after that is asked for by commit. Files are described by
//! the commit's listing alone, so that no answer about a single file can change what is expected of it.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    ops::Range,
    sync::{Arc, Once, OnceLock},
    time::{Duration, SystemTime},
};

use http::{HeaderMap, StatusCode, header};
use percent_encoding::percent_decode_str;
use reqwest::{Client, Response, Url, redirect::Policy};
use serde::Deserialize;
use tokio_stream::StreamExt;

use super::{Backoff, FileBytes, Listing, TokenFile, UpstreamError};
use crate::models::{
    Commit, FilePath, ModelId, Revision,
    name::is_lower_hex,
    tree::{Tree, TreeFile},
};

/// How long a connection may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// How long upstream may be silent: in front of an answer and within a body.
const SILENCE_LIMIT: Duration = Duration::from_secs(10);

/// Longest answer about a model, in bytes (16 MiB, all pages of its listing together: some hundred thousand files).
const MAX_API_BYTES: usize = 16 << 20;

/// Files and folders of a listing: the largest models have some thousand.
const MAX_ENTRIES: usize = 50_000;

/// How long a listing may take, with all its pages and what upstream asks to wait: one that drips would never end.
const LISTING_LIMIT: Duration = Duration::from_secs(300);

/// Folders in each other; a cache is not walked deeper.
pub(super) const MAX_FOLDERS: usize = 16;

/// Largest file that can be, in bytes (2^53: what JavaScript counts exactly).
pub(super) const MAX_FILE_BYTES: u64 = 1 << 53;

/// Redirects of one request, as huggingface_hub follows them.
const MAX_REDIRECTS: usize = 20;

/// Pages of one listing: each has a thousand files as a rule, a hundred with some mirrors.
const MAX_PAGES: usize = 500;

/// Longest address of a listing's next page, in bytes: it stands in errors.
const MAX_PAGE_ADDRESS: usize = 2048;

/// Characters of an error's words: gRPC clients take 16 KiB, and upstream may have named anything.
const MAX_WORDS: usize = 500;

pub(super) struct Hub {
    endpoint: Url,
    /// User and password that stood in the address.
    login: Option<(String, String)>,
    token: TokenFile,
    /// Made when it is first needed: it reads the system's certificates.
    client: OnceLock<Client>,
}

#[derive(Deserialize)]
struct Info {
    sha: String,
}

#[derive(Deserialize)]
pub(super) struct Entry {
    #[serde(rename = "type")]
    kind: String,
    path: String,
    #[serde(default)]
    size: u64,
    #[serde(default)]
    oid: String,
    lfs: Option<Lfs>,
}

#[derive(Deserialize)]
struct Lfs {
    oid: String,
    size: u64,
}

/// What was asked about, for the words of an error.
#[derive(Clone, Copy)]
struct Asked<'a> {
    model_id: &'a ModelId,
    revision: &'a str,
}

impl Hub {
    pub(super) fn new(mut endpoint: Url, token: TokenFile) -> Self {
        // Off the address: it stands in errors and logs.
        let decoded = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
        let login = (!endpoint.username().is_empty())
            .then(|| (decoded(endpoint.username()), decoded(endpoint.password().unwrap_or_default())));
        // They fail for addresses that have none.
        let _ = endpoint.set_username("");
        let _ = endpoint.set_password(None);
        Self { endpoint, login, token, client: OnceLock::new() }
    }

    pub(super) const fn endpoint(&self) -> &Url {
        &self.endpoint
    }

    pub(super) async fn listing(&self, model_id: &ModelId, revision: &Revision) -> Result<Listing, UpstreamError> {
        let listed = tokio::time::timeout(LISTING_LIMIT, self.listing_in_time(model_id, revision)).await;
        listed.unwrap_or_else(|_| {
            let problem = format!("its listing took longer than {} s", LISTING_LIMIT.as_secs());
            Err(UpstreamError::Unreachable { problem, url: self.endpoint.to_string() })
        })
    }

    async fn listing_in_time(&self, model_id: &ModelId, revision: &Revision) -> Result<Listing, UpstreamError> {
        let asked = Asked { model_id, revision: revision.as_str() };
        let url = self.url(&["api", "models"], model_id, &["revision", revision.as_str()], None);
        let info: Info = self.json(self.get(&url, None, asked).await?, &mut MAX_API_BYTES.clone()).await?;
        let commit = Commit::parse(&info.sha)
            .ok_or_else(|| wrong(&url, format!("the commit {:?} is not 40 lower-case hex digits", info.sha)))?;

        let (mut files, mut left_out) = (BTreeMap::new(), Vec::new());
        let (mut seen, mut entries_left) = (BTreeSet::new(), MAX_ENTRIES);
        let mut left = MAX_API_BYTES;
        let mut next = Some(self.url(&["api", "models"], model_id, &["tree", commit.as_str()], None));
        if let Some(url) = &mut next {
            url.set_query(Some("recursive=true&expand=false"));
        }
        for _ in 0..MAX_PAGES {
            let Some(url) = next.take() else { break };
            if !seen.insert(url.clone()) {
                return Err(wrong(&url, "the pages of the listing lead in a circle".to_owned()));
            }
            let response = self.get(&url, None, asked).await?;
            next = next_page(&self.endpoint, &url, response.headers())?;
            let entries: Vec<Entry> = self.json(response, &mut left).await?;
            entries_left = entries_left
                .checked_sub(entries.len())
                .ok_or_else(|| wrong(&url, format!("the listing has more than {MAX_ENTRIES} files and folders")))?;
            for entry in entries.into_iter().filter(|entry| entry.kind == "file") {
                let (path, file) = described(entry, &url)?;
                if FilePath::is_unportable(&path) {
                    left_out.push(path);
                    continue;
                }
                if let Some((path, _)) = files.get_key_value(&path) {
                    return Err(wrong(&url, format!("it lists a file twice: {path:?}")));
                }
                files.insert(path, file);
            }
        }
        if let Some(url) = next {
            return Err(wrong(&url, format!("the listing has more than {MAX_PAGES} pages")));
        }
        let folders = files.keys().flat_map(|path| path.match_indices('/').filter_map(|(at, _)| path.get(..at)));
        if let Some(folder) = folders.into_iter().find(|folder| files.contains_key(*folder)) {
            return Err(wrong(&self.endpoint, format!("it lists a file and what is in it: {folder:?}")));
        }
        Ok(Listing { commit, tree: Tree::new(files), is_whole: true, left_out })
    }

    pub(super) async fn read(
        &self,
        model_id: &ModelId,
        commit: &Commit,
        file_path: &FilePath,
        range: Range<u64>,
        size: u64,
    ) -> Result<FileBytes, UpstreamError> {
        let url = self.url(&[], model_id, &["resolve", commit.as_str()], Some(file_path));
        let asked = Asked { model_id, revision: commit.as_str() };
        // Of an empty file no range can be asked for.
        let wanted = (range.start < range.end).then_some(&range);
        let response = self.get_once(&url, wanted, asked).await?;
        let headers = response.headers();
        if let Some(other) = headers.get("x-repo-commit").filter(|other| other.as_bytes() != commit.as_str().as_bytes())
        {
            return Err(wrong(&url, format!("it is of commit {other:?}, asked for was {}", commit.as_str())));
        }
        if headers.contains_key(header::CONTENT_ENCODING) {
            return Err(wrong(&url, "it is encoded, which was not asked for".to_owned()));
        }
        let is_range = response.status() == StatusCode::PARTIAL_CONTENT;
        let offset = match response.status() {
            StatusCode::PARTIAL_CONTENT => {
                let is_right = content_range(headers) == Some((range.start, size));
                if !is_right {
                    let found = headers.get(header::CONTENT_RANGE);
                    return Err(wrong(&url, format!("Content-Range {found:?} for {range:?} of {size} bytes")));
                }
                range.start
            }
            StatusCode::OK => {
                let length = headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
                if length.is_some_and(|length: u64| length != size) {
                    return Err(wrong(&url, format!("it has {} bytes, listed were {size}", length.unwrap_or(0))));
                }
                0
            }
            status => return Err(UpstreamError::Status { status: status.as_u16(), url: url.into() }),
        };
        let url: Arc<str> = url.as_str().into();
        let bytes = response.bytes_stream().map(move |chunk| chunk.map_err(|error| unreachable(&error, &url)));
        Ok(FileBytes { offset, is_range, bytes: Box::pin(bytes) })
    }

    /// `prefix/org/name/middle/file/path`, each component encoded, slashes within one too.
    fn url(&self, prefix: &[&str], model_id: &ModelId, middle: &[&str], file_path: Option<&FilePath>) -> Url {
        let mut url = self.endpoint.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(prefix).extend(model_id.as_str().split('/')).extend(middle);
            if let Some(file_path) = file_path {
                segments.extend(file_path.components());
            }
        }
        url
    }

    /// An answer with status 200 or 206, asked for again while upstream is busy, and after a cut. Where nobody is there
    /// nobody will be in a moment; a download, whose upstream was there when it began, has more patience.
    async fn get(&self, url: &Url, range: Option<&Range<u64>>, asked: Asked<'_>) -> Result<Response, UpstreamError> {
        let mut backoff = Backoff::default();
        loop {
            let error = match self.get_once(url, range, asked).await {
                Ok(response) => return Ok(response),
                Err(error) => error,
            };
            match backoff.after(&error) {
                Some(wait) if !matches!(error, UpstreamError::NobodyThere { .. }) => tokio::time::sleep(wait).await,
                _ => return Err(error),
            }
        }
    }

    async fn get_once(
        &self,
        url: &Url,
        range: Option<&Range<u64>>,
        asked: Asked<'_>,
    ) -> Result<Response, UpstreamError> {
        let mut request = self.client()?.get(url.clone()).header(header::ACCEPT_ENCODING, "identity");
        if let Some(range) = range {
            request = request.header(header::RANGE, format!("bytes={}-{}", range.start, range.end.saturating_sub(1)));
        }
        // In the clear only to this machine.
        let is_private = url.scheme() == "https" || url.host_str().is_some_and(is_loopback);
        if let Some((user, password)) = &self.login {
            request = request.basic_auth(user, Some(password));
        } else if let Some(token) = self.token.read().filter(|_| is_private) {
            request = request.bearer_auth(token);
        }
        let response = tokio::time::timeout(CONNECT_TIMEOUT + SILENCE_LIMIT, request.send())
            .await
            .map_err(|_| UpstreamError::Unreachable { problem: "no answer in time".to_owned(), url: url.to_string() })?
            .map_err(|error| unreachable(&error, url.as_str()))?;
        if response.status().is_success() { Ok(response) } else { Err(refusal(&response, url, asked)) }
    }

    fn client(&self) -> Result<&Client, UpstreamError> {
        static PROVIDER: Once = Once::new();
        PROVIDER.call_once(|| {
            // It fails if somebody else in this process has chosen one, which is as good.
            let _ = rustls::crypto::ring::default_provider().install_default();
        });
        if let Some(client) = self.client.get() {
            return Ok(client);
        }
        let builder = Client::builder()
            .user_agent(concat!("framehost/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(CONNECT_TIMEOUT)
            .read_timeout(SILENCE_LIMIT)
            // An address may be signed, or hold a password.
            .referer(false)
            .redirect(Policy::custom(|attempt| {
                let from_tls = attempt.previous().last().is_some_and(|url| url.scheme() == "https");
                if from_tls && attempt.url().scheme() != "https" {
                    attempt.error("it leads from https to http")
                } else if attempt.previous().len() > MAX_REDIRECTS {
                    attempt.error("too many redirects")
                } else {
                    attempt.follow()
                }
            }));
        // What is meant for this machine is for no proxy to see.
        let is_here = self.endpoint.host_str().is_some_and(is_loopback);
        let built = if is_here { builder.no_proxy() } else { builder };
        let built = built.build().map_err(|error| unreachable(&error, self.endpoint.as_str()))?;
        Ok(self.client.get_or_init(|| built))
    }

    /// A JSON body of at most `left` bytes, which are taken off.
    async fn json<T: for<'a> Deserialize<'a>>(
        &self,
        mut response: Response,
        left: &mut usize,
    ) -> Result<T, UpstreamError> {
        // Where a redirect has led to may carry a signature.
        let mut url = response.url().clone();
        url.set_query(None);
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| unreachable(&error, url.as_str()))? {
            *left = left
                .checked_sub(chunk.len())
                .ok_or_else(|| wrong(&url, format!("it is longer than {MAX_API_BYTES} bytes")))?;
            body.extend_from_slice(&chunk);
        }
        serde_json::from_slice(&body).map_err(|error| wrong(&url, format!("no JSON as expected: {error}")))
    }
}

pub(super) fn is_loopback(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<std::net::IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

/// A listed file: where, and what it has to be.
pub(super) fn described(entry: Entry, url: &Url) -> Result<(String, TreeFile), UpstreamError> {
    let refuse = |problem: &str| wrong(url, format!("{problem}: {:?}", entry.path));
    // Not a path that any cache could hold: nobody could ask for it either.
    if FilePath::parse(&entry.path).is_err() && !FilePath::is_unportable(&entry.path) {
        return Err(refuse("a file name that cannot be"));
    }
    if entry.path.matches('/').count() > MAX_FOLDERS {
        return Err(refuse("a file in too many folders"));
    }
    if entry.size.max(entry.lfs.as_ref().map_or(0, |lfs| lfs.size)) > MAX_FILE_BYTES {
        return Err(refuse("a file larger than any"));
    }
    if !is_lower_hex(&entry.oid, 40) {
        return Err(refuse("a file without its git digest"));
    }
    let file = match entry.lfs {
        Some(lfs) if !is_lower_hex(&lfs.oid, 64) => return Err(refuse("a large file without its sha256")),
        Some(lfs) => {
            TreeFile { size: entry.size, blob_id: entry.oid, lfs_sha256: Some(lfs.oid), lfs_size: Some(lfs.size) }
        }
        None => TreeFile { size: entry.size, blob_id: entry.oid, lfs_sha256: None, lfs_size: None },
    };
    Ok((entry.path, file))
}

/// The next page of a listing, which has to be the same server's: the token goes along.
pub(super) fn next_page(endpoint: &Url, url: &Url, headers: &HeaderMap) -> Result<Option<Url>, UpstreamError> {
    let Some(link) = headers.get(header::LINK).and_then(|link| link.to_str().ok()) else {
        return Ok(None);
    };
    let next = link.split(',').find(|part| part.contains("rel=\"next\""));
    let Some(target) = next.and_then(|part| part.split_once('<')?.1.split_once('>')).map(|(target, _)| target) else {
        return Ok(None);
    };
    if target.len() > MAX_PAGE_ADDRESS {
        return Err(wrong(url, format!("the next page's address is longer than {MAX_PAGE_ADDRESS} bytes")));
    }
    match url.join(target) {
        Ok(next) if next.origin() == endpoint.origin() => Ok(Some(next)),
        Ok(_) | Err(_) => Err(wrong(url, format!("the next page is elsewhere: {target}"))),
    }
}

/// First byte and size of `bytes 0-99/1000`.
pub(super) fn content_range(headers: &HeaderMap) -> Option<(u64, u64)> {
    let value = headers.get(header::CONTENT_RANGE)?.to_str().ok()?.strip_prefix("bytes ")?;
    let (range, size) = value.split_once('/')?;
    Some((range.split_once('-')?.0.parse().ok()?, size.parse().ok()?))
}

/// What an answer that is no success means. Source: huggingface_hub, `utils/_http.py`, `hf_raise_for_status`.
fn refusal(response: &Response, url: &Url, asked: Asked<'_>) -> UpstreamError {
    let (status, url) = (response.status(), url.to_string());
    let model_id = asked.model_id.as_str().to_owned();
    let code = response.headers().get("x-error-code").and_then(|code| code.to_str().ok()).unwrap_or_default();
    match (status, code) {
        (_, "GatedRepo") | (StatusCode::FORBIDDEN, _) => UpstreamError::Gated { model_id, url },
        (_, "RevisionNotFound") => {
            UpstreamError::RevisionNotFound { model_id, revision: asked.revision.to_owned(), url }
        }
        (_, "EntryNotFound") => UpstreamError::FileNotFound { url },
        (_, "RepoNotFound") | (StatusCode::UNAUTHORIZED | StatusCode::NOT_FOUND, _) => {
            UpstreamError::ModelNotFound { model_id, url }
        }
        (StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT, _) => busy(response, url),
        (status, _) if status.is_server_error() => busy(response, url),
        (status, _) => UpstreamError::Status { status: status.as_u16(), url },
    }
}

fn busy(response: &Response, url: String) -> UpstreamError {
    let value = response.headers().get(header::RETRY_AFTER).and_then(|value| value.to_str().ok());
    UpstreamError::Busy { status: response.status().as_u16(), retry_after: value.and_then(retry_after), url }
}

/// Seconds, or a date.
pub(super) fn retry_after(value: &str) -> Option<Duration> {
    if let Ok(seconds) = value.trim().parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = httpdate::parse_http_date(value).ok()?;
    Some(date.duration_since(SystemTime::now()).unwrap_or_default())
}

fn unreachable(error: &reqwest::Error, url: &str) -> UpstreamError {
    // The error's own words end with what it was about, and begin with which call failed.
    let mut cause: &dyn std::error::Error = error;
    let mut io_kind = None;
    while let Some(source) = cause.source() {
        cause = source;
        io_kind = cause.downcast_ref::<io::Error>().map(io::Error::kind).or(io_kind);
    }
    let url = url.to_owned();
    if error.is_timeout() {
        return UpstreamError::Unreachable { problem: "it fell silent".to_owned(), url };
    }
    let problem = cause.to_string();
    if error.is_redirect() {
        return UpstreamError::Answer { problem, url };
    }
    // While connecting: the system's refusals, and what it says of names, which has no kind of its own.
    let is_cut = |kind| {
        use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, Interrupted, TimedOut, UnexpectedEof};
        matches!(kind, BrokenPipe | ConnectionAborted | ConnectionReset | Interrupted | TimedOut | UnexpectedEof)
    };
    match io_kind {
        Some(kind) if error.is_connect() && !is_cut(kind) => UpstreamError::NobodyThere { problem, url },
        _ => UpstreamError::Unreachable { problem, url },
    }
}

fn wrong(url: &Url, problem: String) -> UpstreamError {
    let problem = match problem.char_indices().nth(MAX_WORDS) {
        Some((at, _)) => format!("{}…", problem.get(..at).unwrap_or_default()),
        None => problem,
    };
    UpstreamError::Answer { problem, url: url.to_string() }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    fn headers(name: header::HeaderName, value: &str) -> HeaderMap {
        [(name, value.parse().unwrap())].into_iter().collect()
    }

    #[test]
    fn urls_are_encoded_component_by_component() {
        let hub = Hub::new(Url::parse("https://mirror.example/hf/").unwrap(), TokenFile::default());
        let model_id = ModelId::parse("org/name").unwrap();
        let file_path = FilePath::parse("onnx/a b#%.bin").unwrap();
        let url = hub.url(&[], &model_id, &["resolve", "refs/pr/1"], Some(&file_path));
        assert_eq!(url.as_str(), "https://mirror.example/hf/org/name/resolve/refs%2Fpr%2F1/onnx/a%20b%23%25.bin");
    }

    #[test]
    fn the_next_page_is_on_the_same_server() {
        let endpoint = Url::parse("https://hub.example").unwrap();
        let url = Url::parse("https://hub.example/api/models/m/tree/c").unwrap();
        let next = |value: &str| next_page(&endpoint, &url, &headers(header::LINK, value));
        let same = next("<https://hub.example/api/models/m/tree/c?cursor=x>; rel=\"next\"").unwrap().unwrap();
        assert_eq!(same.query(), Some("cursor=x"));
        assert!(next("</api?c=1>; rel=\"prev\"").unwrap().is_none());
        assert!(next("<https://evil.example/x>; rel=\"next\"").is_err());
        assert!(next("<http://hub.example/x>; rel=\"next\"").is_err());
    }

    /// How a question about a model fails, and how long was waited between tries.
    async fn asked(endpoint: &str) -> (UpstreamError, Duration) {
        let hub = Hub::new(Url::parse(endpoint).unwrap(), TokenFile::default());
        let began = tokio::time::Instant::now();
        let error = hub.listing(&ModelId::parse("org/name").unwrap(), &Revision::default()).await.unwrap_err();
        (error, began.elapsed())
    }

    // The clock stands still, and goes on where everybody waits for it alone.
    #[tokio::test(start_paused = true)]
    async fn who_is_not_there_is_asked_once_and_who_cuts_the_connection_again() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let cutting = tokio::spawn(async move {
            for count in 1.. {
                drop(listener.accept().await);
                tracing::trace!(count, "cut");
            }
        });
        let (error, waited) = asked(&endpoint).await;
        assert!(matches!(error, UpstreamError::Unreachable { .. }), "{error}");
        assert!(waited > Duration::from_secs(1), "{waited:?}");
        cutting.abort();
        assert!(cutting.await.is_err());
        for endpoint in [&endpoint, "http://nowhere.invalid"] {
            let (error, waited) = asked(endpoint).await;
            assert!(matches!(error, UpstreamError::NobodyThere { .. }), "{error}");
            assert_eq!(waited, Duration::ZERO);
        }
    }

    #[test]
    fn content_ranges_are_read() {
        let read = |value: &str| content_range(&headers(header::CONTENT_RANGE, value));
        assert_eq!(read("bytes 5-9/10"), Some((5, 10)));
        for wrong in ["bytes */10", "5-9/10", "bytes 5-9", "bytes 5/10"] {
            assert_eq!(read(wrong), None, "{wrong:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_listing_that_drips_ends_in_time() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = Url::parse(&format!("http://{}", listener.local_addr().unwrap())).unwrap();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            assert!(stream.read(&mut [0; 1024]).await.unwrap() > 0);
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n").await.unwrap();
            while stream.write_all(b" ").await.is_ok() {
                tokio::time::sleep(SILENCE_LIMIT / 3).await;
            }
        });
        let hub = Hub::new(endpoint, TokenFile::default());
        let began = tokio::time::Instant::now();
        let error = hub.listing(&ModelId::parse("org/name").unwrap(), &Revision::default()).await.unwrap_err();
        assert!(error.to_string().contains("took longer than 300 s"), "{error}");
        assert!(began.elapsed() < LISTING_LIMIT * 2);
    }

    #[test]
    fn a_retry_is_asked_for_in_seconds_or_by_date() {
        assert_eq!(retry_after("7"), Some(Duration::from_secs(7)));
        assert_eq!(retry_after("Wed, 21 Oct 2015 07:28:00 GMT"), Some(Duration::ZERO));
        assert_eq!(retry_after("soon"), None);
    }
}
