//! Files for whoever asks: from the cache, else from upstream while they arrive.

use std::{ops::Range, sync::Arc, time::Duration};

use bytes::Bytes;
use tokio::time::timeout;

use super::{
    Commit, FileName, ModelError, ModelId, OpenModelFile, ResolvedFile, SharedModels,
    care::InUse,
    download::{Reader, Wanted},
    name::is_lower_hex,
    publish::check_writable,
    tree::lfs_pointer,
    upstream::{Listing, UpstreamError},
};
use crate::frame::Pool;

/// How long a download may take to begin before its reader is told that the file is there: what is refused at once, as
/// on a full disk, is then told with the reason instead of a cut body.
const BEGIN_LIMIT: Duration = Duration::from_secs(2);

/// Files up to this size are waited for (1 MiB): they are there at once, and then everything about them is known.
const WAITED_FOR_BYTES: u64 = 1 << 20;

/// What is known of a file without reading it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DescribedFile {
    /// Of the file.
    pub size_bytes: u64,
    /// The name of its bytes in the cache.
    pub etag: String,
    /// What the revision stands for.
    pub commit: Commit,
}

impl DescribedFile {
    /// What git holds in its place, where it is a large file.
    pub fn pointer(&self) -> Option<String> {
        is_lower_hex(&self.etag, 64).then(|| lfs_pointer(&self.etag, self.size_bytes))
    }
}

/// A model file that is in the cache, or on its way into it.
#[derive(Debug)]
pub struct ModelFile {
    /// What it is. Of one that is on its way, this is what its last byte vouches for.
    pub resolved: ResolvedFile,
    source: Source,
    /// Fresh memory costs more in page faults than reading does.
    pool: Pool,
}

#[derive(Debug)]
enum Source {
    Whole(Arc<OpenModelFile>),
    /// The mark keeps the model from being cleared away until it is read.
    Arriving(Reader, #[expect(dead_code, reason = "held until it is dropped")] Option<InUse>),
}

impl SharedModels {
    /// What a file is, without reading or fetching it.
    ///
    /// # Errors
    ///
    /// [`ModelError`]: neither the cache nor upstream knows it.
    ///
    /// # Cancel safety
    ///
    /// The question is asked anew.
    pub async fn describe_file(&self, name: FileName) -> Result<DescribedFile, ModelError> {
        let looked_for = name.clone();
        let missing = match self.blocking(move |store| store.describe(&looked_for)).await {
            Ok(Some(described)) => return Ok(described),
            // Nothing promises anything of its bytes: they have to be read.
            Ok(None) => {
                let ResolvedFile { size_bytes, etag, commit, .. } = self.open_cached(name).await?.resolved.clone();
                return Ok(DescribedFile { size_bytes, etag, commit });
            }
            Err(missing) if self.may_fetch(&missing) => missing,
            Err(error) => return Err(error),
        };
        let listing = self.listing_with(&name, missing).await?;
        let Some(listed) = listing.file(name.file_path.as_str()) else {
            return Err(absent(&name, &listing.commit));
        };
        Ok(DescribedFile {
            size_bytes: listed.size_bytes,
            etag: listed.etag.to_owned(),
            commit: listing.commit.clone(),
        })
    }

    /// The names of a model's commits that the cache knows.
    ///
    /// # Errors
    ///
    /// [`ModelError::ModelNotFound`].
    ///
    /// # Cancel safety
    ///
    /// The work goes on for nobody.
    pub async fn names(&self, model_id: &ModelId) -> Result<Vec<(String, String)>, ModelError> {
        let id = model_id.clone();
        self.blocking(move |store| store.names(&id)).await
    }

    /// A file, whole: from the cache, or fetched into it first.
    ///
    /// # Errors
    ///
    /// [`ModelError`]: neither the cache nor upstream has it, or it is damaged.
    ///
    /// # Cancel safety
    ///
    /// Downloads and hashes go on for a while, so that the next who asks has it sooner.
    pub async fn open(&self, name: FileName) -> Result<Arc<OpenModelFile>, ModelError> {
        match self.open_cached(name.clone()).await {
            Err(missing) if self.may_fetch(&missing) => {
                self.check_writable(&name.model_id).await?;
                let (reader, listing, _in_use) = self.begin(&name, missing).await?;
                reader.ending().published().await?;
                drop(reader);
                self.link(name.clone(), listing).await?;
                self.open_cached(name).await
            }
            found => found,
        }
    }

    /// A file: from the cache, or from upstream while it arrives.
    ///
    /// # Errors
    ///
    /// As [`Self::open`].
    ///
    /// # Cancel safety
    ///
    /// As there.
    pub async fn stream(&self, name: FileName) -> Result<ModelFile, ModelError> {
        let missing = match self.open_cached(name.clone()).await {
            Err(missing) if self.may_fetch(&missing) => missing,
            found => return found.map(ModelFile::whole),
        };
        let (mut reader, listing, in_use) = self.begin(&name, missing).await?;
        let Some(listed) = listing.file(name.file_path.as_str()) else {
            return Err(absent(&name, &listing.commit));
        };
        if let Ok(begun) = timeout(BEGIN_LIMIT, reader.begun()).await {
            begun?;
        }
        // Not until it is in the cache: a Python process that asks for it may hold the lock around its publishing.
        let is_waited_for = !is_lower_hex(listed.etag, 64) || listed.size_bytes <= WAITED_FOR_BYTES;
        let sha256 = if is_waited_for { reader.ending().checked().await?.sha256 } else { listed.etag.to_owned() };
        let resolved = ResolvedFile {
            path: self.store.snapshot(&name.model_id, &listing.commit).join(name.file_path.relative_path()),
            size_bytes: listed.size_bytes,
            sha256,
            etag: listed.etag.to_owned(),
            commit: listing.commit.clone(),
            verified: true,
        };
        let (models, mut ending, listing) = (self.clone(), reader.ending(), Arc::clone(&listing));
        let until_linked = in_use.clone();
        // Whoever asked may leave; the file is to be found under its name all the same.
        tokio::spawn(async move {
            let _in_use = until_linked;
            let linked = match ending.published().await {
                Ok(()) => models.link(name, listing).await,
                // The download has told the log.
                Err(_) => Ok(()),
            };
            if let Err(error) = linked {
                tracing::warn!(%error, "a fetched file is not under its name");
            }
        });
        Ok(ModelFile { resolved, source: Source::Arriving(reader, in_use), pool: Pool::default() })
    }

    /// Fetches a file that is in the cache and wrong, or should be there.
    pub(super) async fn fetch_anew(&self, name: FileName) -> Result<(), ModelError> {
        let missing = ModelError::FileNotFound {
            model_id: name.model_id.as_str().to_owned(),
            commit: name.revision.as_str().to_owned(),
            file_path: name.file_path.as_str().to_owned(),
        };
        if !self.may_fetch(&missing) {
            return Err(UpstreamError::Off.into());
        }
        self.check_writable(&name.model_id).await?;
        let (reader, listing, _in_use) = self.begin(&name, missing).await?;
        reader.ending().published().await?;
        self.link(name, listing).await
    }

    /// Can what is fetched be put into the cache?
    async fn check_writable(&self, model_id: &ModelId) -> Result<(), ModelError> {
        let model_id = model_id.clone();
        self.blocking(move |store| check_writable(store.cache_dir(), &store.model_dir(&model_id))).await
    }

    /// Could upstream have what the cache has not, or has damaged?
    fn may_fetch(&self, missing: &ModelError) -> bool {
        let is_missing = matches!(
            missing,
            ModelError::ModelNotFound { .. }
                | ModelError::RevisionNotFound { .. }
                | ModelError::FileNotFound { .. }
                | ModelError::DigestMismatch { .. }
        );
        is_missing && !self.upstream.is_off()
    }

    /// Begins to fetch a file. `missing`: why the cache cannot serve it. The mark is kept until the file has its name.
    async fn begin(
        &self,
        name: &FileName,
        missing: ModelError,
    ) -> Result<(Reader, Arc<Listing>, Option<InUse>), ModelError> {
        let listing = self.listing_with(name, missing).await?;
        let Some(listed) = listing.file(name.file_path.as_str()) else {
            return Err(absent(name, &listing.commit));
        };
        let wanted = Wanted {
            model_id: name.model_id.clone(),
            commit: listing.commit.clone(),
            file_path: name.file_path.clone(),
            etag: listed.etag.to_owned(),
            size_bytes: listed.size_bytes,
        };
        let in_use = self.mark(&name.model_id).await;
        Ok((self.downloads.get(wanted), listing, in_use))
    }

    /// The listing that has the file. `missing`: why the cache cannot serve it, which is the answer if upstream cannot
    /// either.
    async fn listing_with(&self, name: &FileName, missing: ModelError) -> Result<Arc<Listing>, ModelError> {
        let listing = match self.listing(&name.model_id, &name.revision).await {
            Ok(listing) => listing,
            // Something of the model is here: that this is missing is the better answer.
            Err(ModelError::Upstream(error)) if error.is_offline() && !is_unknown(&missing) => return Err(missing),
            Err(error) => return Err(error),
        };
        let file_path = name.file_path.as_str();
        match listing.file(file_path) {
            Some(_) => Ok(listing),
            None if listing.is_whole => Err(absent(name, &listing.commit)),
            None => Err(missing),
        }
    }

    /// Puts a file that is in the cache under its name.
    async fn link(&self, name: FileName, listing: Arc<Listing>) -> Result<(), ModelError> {
        // Clients ask what `main` is, and from there on by commit: who asks for `main` later, and offline, is to find it.
        let names = self.listings.names(&name.model_id, &listing.commit);
        self.blocking(move |store| {
            // This goes on when its caller has gone, so it has a mark of its own.
            let _in_use = store.uses.begin(&name.model_id);
            store.link_fetched(&name, &names, &listing)
        })
        .await
    }
}

/// Does the cache know nothing of the model's revision?
const fn is_unknown(missing: &ModelError) -> bool {
    matches!(missing, ModelError::ModelNotFound { .. } | ModelError::RevisionNotFound { .. })
}

fn absent(name: &FileName, commit: &Commit) -> ModelError {
    ModelError::FileAbsent {
        model_id: name.model_id.as_str().to_owned(),
        commit: commit.as_str().to_owned(),
        file_path: name.file_path.as_str().to_owned(),
    }
}

impl ModelFile {
    fn whole(file: Arc<OpenModelFile>) -> Self {
        Self { resolved: file.resolved.clone(), source: Source::Whole(file), pool: Pool::default() }
    }

    /// As [`OpenModelFile::range`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn range(&self, offset: u64, length: u64) -> Result<Range<u64>, ModelError> {
        self.resolved.range(offset, length)
    }

    /// Some bytes from the start of `range` on, as soon as they are there: at least one, unless it is empty.
    ///
    /// # Errors
    ///
    /// As [`OpenModelFile::read_at`], and why the file could not be fetched.
    ///
    /// # Cancel safety
    ///
    /// The read goes on for nobody.
    pub async fn read_some(&self, range: Range<u64>) -> Result<Bytes, ModelError> {
        if range.is_empty() {
            return Ok(Bytes::new());
        }
        let length = usize::try_from(range.end - range.start).unwrap_or(usize::MAX);
        match &self.source {
            Source::Whole(file) => Arc::clone(file).read(range.start, length, self.pool.clone()).await,
            Source::Arriving(reader, _) => reader.clone().read(range.start, length, self.pool.clone()).await,
        }
    }

    /// All bytes of a range that is no longer than what may be held at once.
    ///
    /// # Errors
    ///
    /// As [`Self::read_some`].
    ///
    /// # Cancel safety
    ///
    /// As there.
    pub async fn read(&self, range: Range<u64>) -> Result<Bytes, ModelError> {
        let first = self.read_some(range.clone()).await?;
        let mut next = range.start + first.len() as u64;
        if next >= range.end {
            return Ok(first);
        }
        let mut bytes = first.to_vec();
        while next < range.end {
            bytes.extend_from_slice(&self.read_some(next..range.end).await?);
            next = range.start + bytes.len() as u64;
        }
        Ok(bytes.into())
    }
}
