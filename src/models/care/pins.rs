//! Pins: what is never cleared away by itself.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use super::{super::publish, state_of_cache};
use crate::models::{ModelError, ModelId, ModelStore, Revision};

/// A model, or one revision of it, that stays.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Pin {
    /// The model.
    pub model_id: ModelId,
    /// Branch, tag or commit; `None` pins all of it.
    pub revision: Option<Revision>,
}

/// What is pinned of one model.
#[derive(Debug, Default)]
pub(super) struct Pins(Vec<Pin>);

#[derive(Serialize, Deserialize)]
struct Written {
    /// For people: which cache this is about.
    #[serde(default)]
    cache_dir: PathBuf,
    pins: Vec<WrittenPin>,
}

#[derive(Serialize, Deserialize)]
struct WrittenPin {
    model_id: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    revision: Option<String>,
}

impl Pins {
    /// Is there a pin of the model, or of a revision of it?
    pub(super) fn has(&self, model_id: &ModelId) -> bool {
        self.0.iter().any(|pin| pin.model_id == *model_id)
    }

    /// Is all of the model pinned?
    pub(super) fn has_all_of(&self, model_id: &ModelId) -> bool {
        self.0.iter().any(|pin| pin.model_id == *model_id && pin.revision.is_none())
    }

    /// The pinned revisions of a model.
    pub(super) fn revisions<'a>(&'a self, model_id: &'a ModelId) -> impl Iterator<Item = &'a Revision> {
        self.0.iter().filter(|pin| pin.model_id == *model_id).filter_map(|pin| pin.revision.as_ref())
    }
}

impl ModelStore {
    /// What is pinned, sorted.
    ///
    /// # Errors
    ///
    /// [`ModelError::Io`] if the file cannot be read or understood: then nothing may be cleared away.
    pub fn pins(&self) -> Result<Vec<Pin>, ModelError> {
        self.read_pins().map(|pins| pins.0)
    }

    /// Keeps a model, or one revision of it, from being cleared away; `false` if it is pinned already.
    ///
    /// # Errors
    ///
    /// [`ModelError`]: the cache does not have it, or the file cannot be read or written.
    pub fn pin(&self, pin: Pin) -> Result<bool, ModelError> {
        match &pin.revision {
            Some(revision) => drop(self.commit(&pin.model_id, revision)?),
            None => drop(self.names(&pin.model_id)?),
        }
        self.change_pins(|pins| match pins.binary_search(&pin) {
            Ok(_) => false,
            Err(at) => {
                pins.insert(at, pin);
                true
            }
        })
    }

    /// Takes a pin back; `false` if there is none.
    ///
    /// # Errors
    ///
    /// [`ModelError::Io`].
    pub fn unpin(&self, pin: &Pin) -> Result<bool, ModelError> {
        self.change_pins(|pins| {
            let before = pins.len();
            pins.retain(|present| present != pin);
            pins.len() < before
        })
    }

    pub(super) fn read_pins(&self) -> Result<Pins, ModelError> {
        let path = self.pins_path();
        let action = "read the pins";
        let json = match fs::read(&path) {
            Ok(json) => json,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Pins::default()),
            Err(error) => return Err(ModelError::io(action, path)(error)),
        };
        let written: Written =
            serde_json::from_slice(&json).map_err(|error| ModelError::io(action, &path)(error.into()))?;
        let pin = |pin: WrittenPin| {
            let revision = pin.revision.map(|revision| Revision::parse(&revision)).transpose()?;
            Ok(Pin { model_id: ModelId::parse(&pin.model_id)?, revision })
        };
        let mut pins = written.pins.into_iter().map(pin).collect::<Result<Vec<_>, ModelError>>()?;
        pins.sort();
        Ok(Pins(pins))
    }

    fn change_pins(&self, change: impl FnOnce(&mut Vec<Pin>) -> bool) -> Result<bool, ModelError> {
        let path = self.pins_path();
        let directory = path.parent().unwrap_or(Path::new("/"));
        fs::create_dir_all(directory).map_err(ModelError::io("make a directory", directory))?;
        let lock = directory.join("pins.lock");
        let action = "lock the pins";
        let file = fs::File::create(&lock).map_err(ModelError::io(action, &lock))?;
        file.lock().map_err(ModelError::io(action, &lock))?;
        let mut pins = self.read_pins()?.0;
        if !change(&mut pins) {
            return Ok(false);
        }
        let written = |pin: &Pin| WrittenPin {
            model_id: pin.model_id.as_str().to_owned(),
            revision: pin.revision.as_ref().map(|revision| revision.as_str().to_owned()),
        };
        let written = Written { cache_dir: self.cache_dir().to_owned(), pins: pins.iter().map(written).collect() };
        let json = serde_json::to_vec_pretty(&written)
            .map_err(|error| ModelError::io("write the pins", &path)(error.into()))?;
        publish::publish_bytes(&path, &json, directory)?;
        Ok(true)
    }

    fn pins_path(&self) -> PathBuf {
        state_of_cache(&self.state_dir, self.cache_dir()).join("pins.json")
    }
}
