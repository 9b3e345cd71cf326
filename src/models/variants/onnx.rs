//! ONNX: a protobuf message, of which only what describes the weights is read. Source: `onnx.proto`, version 1.

use std::collections::BTreeMap;

use super::{
    dtype::{Census, of_onnx},
    reader::{HeaderError, Reader},
};

/// Graphs within graphs: the branches of conditions and loops.
const MAX_DEPTH: usize = 8;

/// Nodes and weights of a file together.
const MAX_ENTRIES: u64 = 2_000_000;

/// Longest name of an operation, an attribute or an external file, in bytes.
const MAX_NAME_BYTES: u64 = 1024;

/// External files of one model. Source: transformers.js, `use_external_data_format` (100 at most).
const MAX_EXTERNAL: usize = 1000;

/// Dimensions of one tensor.
const MAX_DIMENSIONS: usize = 64;

/// Share of all elements (one in so many) from which on quantised ones name a file whose operations are quantised.
const QUANTISED_SHARE: u64 = 10;

/// What a file says of itself.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Onnx {
    pub(super) census: Census,
    /// Files beside it that hold weights, and how long each has to be.
    pub(super) external: BTreeMap<String, u64>,
    /// Bits of weights that operations unpack themselves.
    bits: Option<u64>,
    is_bnb4: bool,
    has_quantised_operations: bool,
    entries: u64,
}

/// The value of a field that has been begun.
enum Field {
    Number(u64),
    /// So many bytes follow.
    Bytes(u64),
    Skipped,
}

impl Onnx {
    /// As transformers.js calls it: `fp32`, `fp16`, `q4`, `q4f16`, `int8`, `uint8`, `bnb4`.
    pub(super) fn dtype(&self) -> String {
        let census = &self.census;
        let suffix = if census.of(&["fp16"]) > census.of(&["fp32"]) { "f16" } else { "" };
        if self.is_bnb4 {
            return "bnb4".to_owned();
        }
        if let Some(bits) = self.bits {
            return format!("q{bits}{suffix}");
        }
        let is_large = |elements: u64| elements > 0 && elements >= census.parameters() / QUANTISED_SHARE;
        if is_large(census.of(&["int4", "uint4"])) {
            return format!("q4{suffix}");
        }
        let (signed, unsigned) = (census.of(&["int8"]), census.of(&["uint8"]));
        if self.has_quantised_operations && is_large(signed.max(unsigned)) {
            return if signed >= unsigned { "int8" } else { "uint8" }.to_owned();
        }
        const WEIGHTS: [&str; 6] = ["fp32", "fp16", "bf16", "fp64", "fp8", "fp4"];
        let most = WEIGHTS.into_iter().rev().max_by_key(|kind| census.of(&[kind]));
        let most = most.filter(|kind| census.of(&[kind]) > 0).or_else(|| census.most());
        most.unwrap_or("without weights").to_owned()
    }

    /// Is each element one parameter?
    pub(super) const fn is_packed(&self) -> bool {
        self.bits.is_some() || self.is_bnb4
    }

    fn count(&mut self) -> Result<(), HeaderError> {
        self.entries += 1;
        if self.entries > MAX_ENTRIES {
            return Err(HeaderError::Limit { what: "nodes and weights", found: self.entries, limit: MAX_ENTRIES });
        }
        Ok(())
    }
}

pub(super) fn read(reader: &mut Reader) -> Result<Onnx, HeaderError> {
    let mut onnx = Onnx::default();
    let (size, mut has_graph) = (reader.size(), false);
    while let Some((number, field)) = next(reader, size)? {
        match (number, field) {
            (7, Field::Bytes(length)) => {
                has_graph = true;
                graph(reader, length, &mut onnx, 0)?;
            }
            (_, field) => skip(reader, &field)?,
        }
    }
    if has_graph { Ok(onnx) } else { Err(HeaderError::Malformed("it has no graph")) }
}

fn graph(reader: &mut Reader, length: u64, onnx: &mut Onnx, depth: usize) -> Result<(), HeaderError> {
    let end = end_of(reader, length)?;
    while let Some((number, field)) = next(reader, end)? {
        match (number, field) {
            (1, Field::Bytes(length)) => node(reader, length, onnx, depth)?,
            (5, Field::Bytes(length)) => tensor(reader, length, onnx)?,
            // A sparse one: its values, and where they are.
            (15, Field::Bytes(length)) => {
                let end = end_of(reader, length)?;
                while let Some((number, field)) = next(reader, end)? {
                    match (number, field) {
                        (1, Field::Bytes(length)) => tensor(reader, length, onnx)?,
                        (_, field) => skip(reader, &field)?,
                    }
                }
            }
            (_, field) => skip(reader, &field)?,
        }
    }
    Ok(())
}

fn node(reader: &mut Reader, length: u64, onnx: &mut Onnx, depth: usize) -> Result<(), HeaderError> {
    onnx.count()?;
    let end = end_of(reader, length)?;
    let mut has_bits = false;
    while let Some((number, field)) = next(reader, end)? {
        match (number, field) {
            (4, Field::Bytes(length)) => {
                let operation = text(reader, length)?;
                has_bits = matches!(operation.as_str(), "MatMulNBits" | "GatherBlockQuantized");
                onnx.is_bnb4 |= operation == "MatMulBnb4";
                onnx.has_quantised_operations |= ["Quantize", "Integer", "QLinear", "QGemm", "QAttention"]
                    .iter()
                    .any(|part| operation.contains(part));
                if has_bits {
                    // Unless an attribute says otherwise.
                    onnx.bits = onnx.bits.or(Some(4));
                }
            }
            (5, Field::Bytes(length)) => attribute(reader, length, onnx, has_bits, depth)?,
            (_, field) => skip(reader, &field)?,
        }
    }
    Ok(())
}

fn attribute(
    reader: &mut Reader,
    length: u64,
    onnx: &mut Onnx,
    has_bits: bool,
    depth: usize,
) -> Result<(), HeaderError> {
    let end = end_of(reader, length)?;
    let mut is_bits = false;
    while let Some((number, field)) = next(reader, end)? {
        match (number, field) {
            (1, Field::Bytes(length)) if length <= MAX_NAME_BYTES => is_bits = text(reader, length)? == "bits",
            (3, Field::Number(bits)) if has_bits && is_bits => onnx.bits = Some(bits),
            (5, Field::Bytes(length)) => tensor(reader, length, onnx)?,
            (6 | 11, Field::Bytes(length)) if depth < MAX_DEPTH => graph(reader, length, onnx, depth + 1)?,
            (_, field) => skip(reader, &field)?,
        }
    }
    Ok(())
}

fn tensor(reader: &mut Reader, length: u64, onnx: &mut Onnx) -> Result<(), HeaderError> {
    onnx.count()?;
    let end = end_of(reader, length)?;
    let (mut dimensions, mut data_type, mut external) = (Vec::new(), 0, External::default());
    while let Some((number, field)) = next(reader, end)? {
        match (number, field) {
            (1, Field::Number(side)) => dimensions.push(side),
            (1, Field::Bytes(length)) => {
                let end = end_of(reader, length)?;
                while reader.offset() < end && dimensions.len() <= MAX_DIMENSIONS {
                    dimensions.push(varint(reader)?);
                }
                skip_to(reader, end)?;
            }
            (2, Field::Number(number)) => data_type = number,
            (13, Field::Bytes(length)) => external.entry(reader, length)?,
            (14, Field::Number(location)) => external.is_external = location == 1,
            (_, field) => skip(reader, &field)?,
        }
        if dimensions.len() > MAX_DIMENSIONS {
            return Err(HeaderError::Malformed("a tensor has too many dimensions"));
        }
    }
    let elements = dimensions.iter().try_fold(1_u64, |product, side| product.checked_mul(*side));
    onnx.census.add(of_onnx(data_type), elements.ok_or(HeaderError::Malformed("a tensor is too large"))?);
    if let Some(location) = external.location.filter(|_| external.is_external) {
        let end = external.offset.saturating_add(external.length);
        let known = onnx.external.entry(location).or_default();
        *known = end.max(*known);
        if onnx.external.len() > MAX_EXTERNAL {
            return Err(HeaderError::Malformed("its weights are in too many files"));
        }
    }
    Ok(())
}

/// Where a tensor's bytes are.
#[derive(Default)]
struct External {
    is_external: bool,
    location: Option<String>,
    offset: u64,
    length: u64,
}

impl External {
    fn entry(&mut self, reader: &mut Reader, length: u64) -> Result<(), HeaderError> {
        let end = end_of(reader, length)?;
        let (mut key, mut value) = (String::new(), String::new());
        while let Some((number, field)) = next(reader, end)? {
            match (number, field) {
                (1, Field::Bytes(length)) => key = text(reader, length)?,
                (2, Field::Bytes(length)) => value = text(reader, length)?,
                (_, field) => skip(reader, &field)?,
            }
        }
        let number = || value.parse().map_err(|_| HeaderError::Malformed("a place outside the file is no number"));
        match key.as_str() {
            "location" => self.location = Some(value),
            "offset" => self.offset = number()?,
            "length" => self.length = number()?,
            _ => {}
        }
        Ok(())
    }
}

/// The next field of a message that ends at `end`.
fn next(reader: &mut Reader, end: u64) -> Result<Option<(u64, Field)>, HeaderError> {
    if reader.offset() >= end {
        return if reader.offset() == end { Ok(None) } else { Err(HeaderError::Malformed("a message is too long")) };
    }
    let key = varint(reader)?;
    let field = match key & 7 {
        0 => Field::Number(varint(reader)?),
        1 => reader.skip(8).map(|()| Field::Skipped)?,
        2 => {
            let length = varint(reader)?;
            let fits = reader.offset().checked_add(length).is_some_and(|field_end| field_end <= end);
            if !fits {
                return Err(HeaderError::Ends { size: end });
            }
            Field::Bytes(length)
        }
        5 => reader.skip(4).map(|()| Field::Skipped)?,
        _ => return Err(HeaderError::Malformed("it is no protobuf message")),
    };
    Ok(Some((key >> 3, field)))
}

fn skip(reader: &mut Reader, field: &Field) -> Result<(), HeaderError> {
    match field {
        Field::Bytes(length) => reader.skip(*length),
        Field::Number(_) | Field::Skipped => Ok(()),
    }
}

fn skip_to(reader: &mut Reader, end: u64) -> Result<(), HeaderError> {
    match end.checked_sub(reader.offset()) {
        Some(left) => reader.skip(left),
        None => Err(HeaderError::Malformed("a number is cut")),
    }
}

const fn end_of(reader: &Reader, length: u64) -> Result<u64, HeaderError> {
    match reader.offset().checked_add(length) {
        Some(end) if end <= reader.size() => Ok(end),
        Some(_) | None => Err(HeaderError::Ends { size: reader.size() }),
    }
}

fn text(reader: &mut Reader, length: u64) -> Result<String, HeaderError> {
    let bytes = reader.bytes(length, "a name", MAX_NAME_BYTES)?;
    String::from_utf8(bytes).map_err(|_| HeaderError::Malformed("a name is no UTF-8"))
}

fn varint(reader: &mut Reader) -> Result<u64, HeaderError> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let byte = reader.byte()?;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err(HeaderError::Malformed("a number is too long"))
}
