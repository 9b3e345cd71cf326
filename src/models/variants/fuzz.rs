//! What must hold of a file's headers, whatever the file is. See `fuzzing`.

use std::{fs::File, io::Write};

use rustix::fs::{MemfdFlags, memfd_create};

use super::{
    Describing,
    dtype::Census,
    gguf as of_gguf, onnx as of_onnx,
    reader::{HeaderError, Reader},
    safetensors as of_safetensors,
};
use crate::models::FilePath;

/// The headers of a file with these bytes.
fn headers<T>(data: &[u8], read: impl FnOnce(&mut Reader) -> Result<T, HeaderError>) -> Option<T> {
    let mut file = File::from(memfd_create("fuzz", MemfdFlags::CLOEXEC).ok()?);
    file.write_all(data).ok()?;
    let mut reader = Reader::new(file).ok()?;
    let found = read(&mut reader).ok();
    assert!(reader.offset() <= data.len() as u64, "it was read beyond its end");
    found
}

/// Each tensor is described by a byte at least.
fn check(census: &Census, data: &[u8]) {
    assert!(census.tensors <= data.len() as u64, "{} tensors in {} bytes", census.tensors, data.len());
    assert_eq!(census.most().is_some(), census.tensors > 0);
    let _ = census.parameters();
}

/// A safetensors file, and an index of some.
pub fn safetensors(data: &[u8]) {
    if let Some(found) = headers(data, of_safetensors::read) {
        check(&found.census, data);
    }
    if let Some(files) = headers(data, of_safetensors::read_index) {
        assert!(files.iter().map(String::len).sum::<usize>() <= data.len());
        files.iter().for_each(|file| check_beside(file));
    }
}

/// A GGUF file.
pub fn gguf(data: &[u8]) {
    if let Some(found) = headers(data, of_gguf::read) {
        check(&found.census, data);
        assert!(found.parts >= 1);
        // A byte that is no UTF-8 becomes a sign of three.
        assert!(found.architecture.is_none_or(|text| text.len() <= 3 * 256), "a text that should have been skipped");
    }
}

/// An ONNX file.
pub fn onnx(data: &[u8]) {
    if let Some(found) = headers(data, of_onnx::read) {
        check(&found.census, data);
        assert!(!found.dtype().is_empty() && found.dtype().len() <= 32, "{:?}", found.dtype());
        found.external.keys().for_each(|location| check_beside(location));
    }
}

/// What a file names stays in its model, or is no file of it.
fn check_beside(location: &str) {
    if let Some(path) = Describing::beside("onnx/model.onnx", location) {
        let is_inside = FilePath::parse(&path).is_ok() && path.starts_with("onnx/");
        assert!(is_inside && !path.split('/').any(|part| part == ".."), "{location:?} leads to {path:?}");
    }
}
