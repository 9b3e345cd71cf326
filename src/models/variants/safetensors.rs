//! Safetensors: a length, JSON that describes the tensors, then their bytes. Source: safetensors, `README.md`.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{
    dtype::{Census, of_safetensors},
    reader::{HeaderError, Reader},
};

/// Longest description of a file's tensors, in bytes (32 MiB: some hundred thousand tensors).
const MAX_HEADER_BYTES: u64 = 32 << 20;

/// What a file says of itself.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Safetensors {
    pub(super) census: Census,
    /// The bytes of all its tensors are there.
    pub(super) is_whole: bool,
}

#[derive(Deserialize)]
struct Tensor {
    dtype: String,
    shape: Vec<u64>,
    data_offsets: (u64, u64),
}

#[derive(Deserialize)]
struct Index {
    weight_map: BTreeMap<String, String>,
}

pub(super) fn read(reader: &mut Reader) -> Result<Safetensors, HeaderError> {
    let length = reader.u64()?;
    let json = reader.bytes(length, "a header", MAX_HEADER_BYTES)?;
    let entries: BTreeMap<String, &RawValue> =
        serde_json::from_slice(&json).map_err(|_| HeaderError::Malformed("its header is no JSON object"))?;
    let mut found = Safetensors::default();
    let mut data_bytes = 0;
    for (_, entry) in entries.iter().filter(|(name, _)| *name != "__metadata__") {
        let tensor: Tensor =
            serde_json::from_str(entry.get()).map_err(|_| HeaderError::Malformed("a tensor is not described"))?;
        let elements = tensor.shape.iter().try_fold(1_u64, |product, side| product.checked_mul(*side));
        let elements = elements.ok_or(HeaderError::Malformed("a tensor is too large"))?;
        found.census.add(of_safetensors(&tensor.dtype), elements);
        data_bytes = tensor.data_offsets.1.max(data_bytes);
    }
    let end = reader.offset().checked_add(data_bytes);
    found.is_whole = end.is_some_and(|end| end <= reader.size());
    Ok(found)
}

/// The files that an index names, as they stand there: beside it.
pub(super) fn read_index(reader: &mut Reader) -> Result<BTreeSet<String>, HeaderError> {
    let json = reader.bytes(reader.size(), "an index", MAX_HEADER_BYTES)?;
    let index: Index =
        serde_json::from_slice(&json).map_err(|_| HeaderError::Malformed("it is no index of safetensors"))?;
    Ok(index.weight_map.into_values().collect())
}
