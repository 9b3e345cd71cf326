//! Models as a whole: which of their files can be run, how they come into the cache, and what changes there.

use std::path::PathBuf;

use tonic::Streaming;

use crate::{ClientError, RustFileProvider, pb};

/// Which files of a model are pulled: patterns of paths, `*` stands for `/`, too.
#[derive(Debug, Clone, Default)]
pub struct PullOptions {
    /// Only those that match one of these ("*.safetensors", "onnx/*"); all if there are none.
    pub include: Vec<String>,
    /// None of those that match one of these.
    pub exclude: Vec<String>,
}

/// A pull that goes on as long as somebody has it.
#[derive(Debug)]
pub struct Pull {
    steps: Streaming<pb::PullModelProgress>,
    snapshot_path: String,
}

/// What changes in the cache, as long as somebody has it.
#[derive(Debug)]
pub struct ModelChanges {
    changes: Streaming<pb::ModelChange>,
}

impl RustFileProvider {
    /// What the cache has of a model, in variants that can be run: ONNX by data type, safetensors with their shards,
    /// GGUF by quantization, each with its files and those that are missing. Nothing is fetched for it.
    ///
    /// Of the revision of [`Self::with_revision`].
    ///
    /// # Errors
    ///
    /// [`ClientError`]: the cache does not have it ([`ClientError::missing`] says what), the hub is gone.
    pub async fn describe_model(&self, model_id: &str) -> Result<pb::ModelDescription, ClientError> {
        let request =
            self.bearing(pb::DescribeModelRequest { model_id: model_id.to_owned(), revision: self.revision.clone() });
        Ok(self.service.clone().describe_model(request).await?.into_inner())
    }

    /// Begins to bring the revision of [`Self::with_revision`] into the cache, as upstream has it now.
    ///
    /// # Errors
    ///
    /// [`ClientError`]: the hub is gone. What upstream does not give, [`Pull::next`] tells.
    pub async fn pull_model(&self, model_id: &str, options: &PullOptions) -> Result<Pull, ClientError> {
        let request = self.bearing(pb::PullModelRequest {
            model_id: model_id.to_owned(),
            revision: self.revision.clone(),
            include: options.include.clone(),
            exclude: options.exclude.clone(),
        });
        let steps = self.service.clone().pull_model(request).await?.into_inner();
        Ok(Pull { steps, snapshot_path: String::new() })
    }

    /// Tells what the cache holds and then what changes in it, whoever changes it. `model_id`: only this one, which need
    /// not be there yet.
    ///
    /// # Errors
    ///
    /// [`ClientError`]: a name that cannot be, the hub is gone.
    pub async fn watch_models(&self, model_id: Option<&str>) -> Result<ModelChanges, ClientError> {
        let request = self.bearing(pb::WatchModelsRequest { model_id: model_id.unwrap_or_default().to_owned() });
        Ok(ModelChanges { changes: self.service.clone().watch_models(request).await?.into_inner() })
    }
}

impl Pull {
    /// How far it is, ten times a second at most; `None` when all is in the cache. The last one has `snapshot_path`, and
    /// `from_cache` where upstream could not be asked and the cache had everything.
    ///
    /// # Errors
    ///
    /// [`ClientError`]: upstream does not have it ([`ClientError::missing`] says what) or cannot be reached, the disk is
    /// full, the hub is gone. What has arrived is kept for the next pull.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost if the future is dropped.
    pub async fn next(&mut self) -> Result<Option<pb::PullModelProgress>, ClientError> {
        let step = self.steps.message().await?;
        match &step {
            Some(step) => step.snapshot_path.clone_into(&mut self.snapshot_path),
            None if self.snapshot_path.is_empty() => {
                return Err(ClientError::Broken { problem: "the pull ends without a path".to_owned() });
            }
            None => {}
        }
        Ok(step)
    }

    /// Waits until all is in the cache: the directory of the files. Read them, never write to them.
    ///
    /// # Errors
    ///
    /// As [`Self::next`].
    pub async fn finish(mut self) -> Result<PathBuf, ClientError> {
        while self.next().await?.is_some() {}
        Ok(PathBuf::from(self.snapshot_path))
    }
}

impl ModelChanges {
    /// The next change: what is there first ([`Kind::Present`](pb::model_change::Kind)), then what changes. Whoever takes
    /// them slowly gets the latest state of each model. `None`: the hub has ended it.
    ///
    /// # Errors
    ///
    /// [`ClientError`]: the hub is gone, or cannot watch its cache.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost if the future is dropped.
    pub async fn next(&mut self) -> Result<Option<pb::ModelChange>, ClientError> {
        Ok(self.changes.message().await?)
    }
}
