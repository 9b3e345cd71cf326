//! GGUF: metadata, then descriptions of the tensors, then their bytes. Source: ggml, `docs/gguf.md`.

use super::{
    dtype::{Census, of_gguf, of_gguf_file},
    reader::{HeaderError, Reader},
};

const MAGIC: [u8; 4] = *b"GGUF";

/// Versions that are read; 1 has other lengths, and nobody has files of it any more.
const VERSIONS: std::ops::RangeInclusive<u32> = 2..=3;

/// Longest key or name, in bytes. Source: `docs/gguf.md`.
const MAX_NAME_BYTES: u64 = 65_535;

/// Longest text that is kept, in bytes; longer ones are skipped.
const MAX_TEXT_BYTES: u64 = 256;

const MAX_KEYS: u64 = 100_000;
const MAX_TENSORS: u64 = 1_000_000;

/// Arrays within arrays.
const MAX_DEPTH: usize = 4;

/// Dimensions of a tensor. Source: ggml, `GGML_MAX_DIMS`, and some to come.
const MAX_DIMENSIONS: u32 = 8;

/// Where the bytes of tensors begin, unless `general.alignment` says otherwise.
const USUAL_ALIGNMENT: u64 = 32;

/// What a file says of itself.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Gguf {
    pub(super) architecture: Option<String>,
    /// `Q4_K_M` and the like.
    pub(super) file_type: &'static str,
    pub(super) census: Census,
    /// Parts of the model, of which this is one.
    pub(super) parts: u64,
    /// The bytes of all its tensors are there.
    pub(super) is_whole: bool,
}

/// A value that somebody here has use for.
enum Value {
    Number(u64),
    Text(String),
    Other,
}

pub(super) fn read(reader: &mut Reader) -> Result<Gguf, HeaderError> {
    if reader.bytes(4, "a mark", 4)? != MAGIC {
        return Err(HeaderError::Malformed("it does not begin with GGUF"));
    }
    if !VERSIONS.contains(&reader.u32()?) {
        return Err(HeaderError::Malformed("its version or its byte order is not known"));
    }
    let (tensors, keys) = (counted(reader, "tensors", MAX_TENSORS)?, counted(reader, "keys", MAX_KEYS)?);
    let (mut gguf, mut alignment, mut file_type) = (Gguf { parts: 1, ..Gguf::default() }, USUAL_ALIGNMENT, None);
    for _ in 0..keys {
        let key = name(reader)?;
        let kind = reader.u32()?;
        match (key.as_slice(), value(reader, kind, 0)?) {
            (b"general.architecture", Value::Text(text)) => gguf.architecture = Some(text),
            (b"general.file_type", Value::Number(number)) => file_type = of_gguf_file(number),
            (b"general.alignment", Value::Number(number)) if number.is_power_of_two() => alignment = number,
            (b"split.count", Value::Number(number)) => gguf.parts = number.max(1),
            (_, Value::Number(_) | Value::Text(_) | Value::Other) => {}
        }
    }
    let mut end: Option<u64> = Some(0);
    for _ in 0..tensors {
        let (kind, tensor_end) = tensor(reader, &mut gguf.census)?;
        // Of an unknown kind it cannot be told how long it is.
        end = end.zip(tensor_end).map(|(end, tensor_end)| end.max(tensor_end));
        if kind.is_none() {
            gguf.census.add("other", 0);
        }
    }
    let data = reader.offset().checked_next_multiple_of(alignment);
    gguf.is_whole = match (data, end) {
        (_, None) => true,
        (None, Some(_)) => false,
        // A file without tensors may end with its metadata.
        (Some(data), Some(end)) => end == 0 || data.checked_add(end).is_some_and(|end| end <= reader.size()),
    };
    gguf.file_type = file_type.or_else(|| gguf.census.most()).unwrap_or("");
    Ok(gguf)
}

/// One tensor: its kind, and where it ends behind the start of all.
fn tensor(reader: &mut Reader, census: &mut Census) -> Result<(Option<&'static str>, Option<u64>), HeaderError> {
    name(reader)?;
    let dimensions = reader.u32()?;
    if dimensions > MAX_DIMENSIONS {
        return Err(HeaderError::Limit { what: "dimensions", found: dimensions.into(), limit: MAX_DIMENSIONS.into() });
    }
    let mut elements: u64 = 1;
    for _ in 0..dimensions {
        elements = elements.checked_mul(reader.u64()?).ok_or(HeaderError::Malformed("a tensor is too large"))?;
    }
    let (kind, offset) = (reader.u32()?, reader.u64()?);
    let Some((name, block_bytes, block)) = of_gguf(kind) else {
        return Ok((None, None));
    };
    census.add(name, elements);
    let end = elements.div_ceil(block).checked_mul(block_bytes).and_then(|bytes| bytes.checked_add(offset));
    end.map(|end| (Some(name), Some(end))).ok_or(HeaderError::Malformed("a tensor is too large"))
}

fn counted(reader: &mut Reader, what: &'static str, limit: u64) -> Result<u64, HeaderError> {
    let found = reader.u64()?;
    if found > limit { Err(HeaderError::Limit { what, found, limit }) } else { Ok(found) }
}

fn name(reader: &mut Reader) -> Result<Vec<u8>, HeaderError> {
    let length = reader.u64()?;
    reader.bytes(length, "a name", MAX_NAME_BYTES)
}

fn value(reader: &mut Reader, kind: u32, depth: usize) -> Result<Value, HeaderError> {
    Ok(match kind {
        0 | 1 | 7 => Value::Number(reader.byte()?.into()),
        2 | 3 => Value::Number(u64::from(reader.byte()?) | u64::from(reader.byte()?) << 8),
        4 | 5 => Value::Number(reader.u32()?.into()),
        10 | 11 => Value::Number(reader.u64()?),
        6 => reader.skip(4).map(|()| Value::Other)?,
        12 => reader.skip(8).map(|()| Value::Other)?,
        8 => {
            let length = reader.u64()?;
            if length <= MAX_TEXT_BYTES {
                Value::Text(String::from_utf8_lossy(&reader.bytes(length, "a text", MAX_TEXT_BYTES)?).into_owned())
            } else {
                reader.skip(length).map(|()| Value::Other)?
            }
        }
        9 if depth < MAX_DEPTH => array(reader, depth)?,
        _ => return Err(HeaderError::Malformed("a value of a kind that is not known")),
    })
}

fn array(reader: &mut Reader, depth: usize) -> Result<Value, HeaderError> {
    let (kind, length) = (reader.u32()?, reader.u64()?);
    let width = match kind {
        0 | 1 | 7 => 1,
        2 | 3 => 2,
        4..=6 => 4,
        10..=12 => 8,
        8 | 9 => 0,
        _ => return Err(HeaderError::Malformed("an array of a kind that is not known")),
    };
    if width > 0 {
        let bytes = length.checked_mul(width).ok_or(HeaderError::Malformed("an array is too long"))?;
        reader.skip(bytes)?;
        return Ok(Value::Other);
    }
    // Each element has a length of 8 bytes at least.
    if length > reader.size() / 8 {
        return Err(HeaderError::Ends { size: reader.size() });
    }
    for _ in 0..length {
        if kind == 8 {
            let bytes = reader.u64()?;
            reader.skip(bytes)?;
        } else {
            value(reader, 9, depth + 1)?;
        }
    }
    Ok(Value::Other)
}
