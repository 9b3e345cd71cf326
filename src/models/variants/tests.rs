use std::{fs, path::Path};

use tempfile::TempDir;

use super::*;
use crate::models::{ImportOptions, StoreOptions};

struct World {
    dir: TempDir,
    store: ModelStore,
}

impl World {
    /// A cache with one model of these files.
    fn with(files: &[(&str, Vec<u8>)]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store =
            ModelStore::new(StoreOptions { cache_dir: dir.path().join("hub"), state_dir: dir.path().join("state") });
        let source = dir.path().join("source");
        for (name, bytes) in files {
            let path = source.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, bytes).unwrap();
        }
        store.import(&source, &id(), &ImportOptions::default()).unwrap();
        Self { dir, store }
    }

    fn describe(&self) -> DescribedModel {
        self.store.variants(Some(&id()), Some(&Revision::default())).unwrap().remove(0)
    }

    fn snapshot(&self) -> std::path::PathBuf {
        self.store.snapshot_dir(&id(), &Revision::default()).unwrap()
    }
}

fn id() -> ModelId {
    ModelId::parse("org/name").unwrap()
}

/// Name, files, missing ones, complete.
type Short<'a> = (&'a str, Vec<&'a str>, Vec<&'a str>, bool);

fn shorts(model: &DescribedModel) -> Vec<Short<'_>> {
    model
        .variants
        .iter()
        .map(|variant| {
            let files = variant.files.iter().map(|file| file.file_path.as_str()).collect();
            let missing = variant.missing.iter().map(String::as_str).collect();
            (variant.name.as_str(), files, missing, variant.complete)
        })
        .collect()
}

fn varint(mut value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value >= 0x80 {
        bytes.push(u8::try_from(value & 0x7f).unwrap() | 0x80);
        value >>= 7;
    }
    bytes.push(u8::try_from(value).unwrap());
    bytes
}

fn number(field: u64, value: u64) -> Vec<u8> {
    [varint(field << 3), varint(value)].concat()
}

fn bytes(field: u64, value: &[u8]) -> Vec<u8> {
    [varint(field << 3 | 2), varint(value.len() as u64), value.to_vec()].concat()
}

/// A weight of so many elements: its bytes are zeros.
fn weight(data_type: u64, elements: u64, width: usize) -> Vec<u8> {
    let packed = bytes(1, &varint(elements));
    bytes(
        5,
        &[packed, number(2, data_type), bytes(8, b"w"), bytes(9, &vec![0; usize::try_from(elements).unwrap() * width])]
            .concat(),
    )
}

fn external(data_type: u64, elements: u64, location: &str, offset: u64, length: u64) -> Vec<u8> {
    let entry = |key: &str, value: &str| bytes(13, &[bytes(1, key.as_bytes()), bytes(2, value.as_bytes())].concat());
    let place =
        [entry("location", location), entry("offset", &offset.to_string()), entry("length", &length.to_string())];
    let dims = number(1, elements);
    bytes(5, &[dims, number(2, data_type), place.concat(), number(14, 1)].concat())
}

fn node(operation: &str, attributes: &[Vec<u8>]) -> Vec<u8> {
    let attributes: Vec<_> = attributes.iter().map(|attribute| bytes(5, attribute)).collect();
    bytes(1, &[bytes(1, b"x"), bytes(4, operation.as_bytes()), attributes.concat()].concat())
}

fn model(graph: &[Vec<u8>]) -> Vec<u8> {
    [number(1, 8), bytes(2, b"test"), bytes(7, &graph.concat()), bytes(8, &number(2, 14))].concat()
}

fn bits(bits: u64) -> Vec<u8> {
    [bytes(1, b"bits"), number(3, bits), number(20, 2)].concat()
}

fn safetensors(tensors: &[(&str, &str, &[u64], u64)]) -> Vec<u8> {
    let mut offset = 0;
    let mut header = serde_json::Map::new();
    header.insert("__metadata__".to_owned(), serde_json::json!({"format": "pt", "shape": "x"}));
    for (name, dtype, shape, bytes) in tensors {
        let end = offset + bytes;
        header.insert(
            (*name).to_owned(),
            serde_json::json!({"dtype": dtype, "shape": shape, "data_offsets": [offset, end]}),
        );
        offset = end;
    }
    let json = serde_json::to_vec(&header).unwrap();
    [(json.len() as u64).to_le_bytes().to_vec(), json, vec![0; usize::try_from(offset).unwrap()]].concat()
}

fn text(text: &str) -> Vec<u8> {
    [(text.len() as u64).to_le_bytes().to_vec(), text.as_bytes().to_vec()].concat()
}

/// A file with one tensor of 256 elements of Q4_K.
fn gguf(file_type: Option<u32>, split: Option<u16>) -> Vec<u8> {
    let words = [text("tokenizer.ggml.tokens"), 9_u32.to_le_bytes().to_vec(), 8_u32.to_le_bytes().to_vec()].concat();
    let words = [words, 2_u64.to_le_bytes().to_vec(), text("a"), text("bc")].concat();
    let mut keys = vec![
        [text("general.architecture"), 8_u32.to_le_bytes().to_vec(), text("llama")].concat(),
        words,
        [text("llama.rope.freq_base"), 6_u32.to_le_bytes().to_vec(), 1.0_f32.to_le_bytes().to_vec()].concat(),
    ];
    if let Some(file_type) = file_type {
        keys.push([text("general.file_type"), 4_u32.to_le_bytes().to_vec(), file_type.to_le_bytes().to_vec()].concat());
    }
    if let Some(split) = split {
        keys.push([text("split.count"), 2_u32.to_le_bytes().to_vec(), split.to_le_bytes().to_vec()].concat());
    }
    let tensor = [
        text("w"),
        2_u32.to_le_bytes().to_vec(),
        128_u64.to_le_bytes().to_vec(),
        2_u64.to_le_bytes().to_vec(),
        12_u32.to_le_bytes().to_vec(),
        0_u64.to_le_bytes().to_vec(),
    ];
    let counts = [1_u64.to_le_bytes(), (keys.len() as u64).to_le_bytes()].concat();
    let mut file = [b"GGUF".to_vec(), 3_u32.to_le_bytes().to_vec(), counts, keys.concat(), tensor.concat()].concat();
    file.resize(file.len().next_multiple_of(32) + 144, 0);
    file
}

#[test]
fn onnx_files_are_named_by_their_weights_and_not_by_their_names() {
    let nested =
        [bytes(1, b"then_branch"), bytes(6, &[node("MatMulNBits", &[bits(4)]), weight(1, 8, 4)].concat())].concat();
    let cases: [(&str, Vec<u8>); 10] = [
        ("fp32", model(&[weight(1, 100, 4), weight(7, 500, 8), node("MatMul", &[])])),
        ("fp16", model(&[weight(10, 100, 2), weight(1, 3, 4)])),
        ("bf16", model(&[weight(16, 100, 2)])),
        ("q4", model(&[node("MatMulNBits", &[bits(4)]), weight(2, 100, 1), weight(1, 10, 4)])),
        ("q4f16", model(&[node("MatMulNBits", &[bits(4)]), weight(2, 100, 1), weight(10, 10, 2)])),
        ("q8", model(&[node("GatherBlockQuantized", &[bits(8)]), weight(2, 100, 1), weight(1, 10, 4)])),
        ("bnb4", model(&[node("MatMulBnb4", &[]), weight(2, 100, 1)])),
        ("int8", model(&[node("DynamicQuantizeLinear", &[]), weight(3, 100, 1), weight(1, 200, 4)])),
        ("uint8", model(&[node("MatMulInteger", &[]), weight(2, 100, 1)])),
        ("q4", model(&[node("If", &[nested])])),
    ];
    for (expected, file) in cases {
        let world = World::with(&[("misleading_q1.onnx", file)]);
        let described = world.describe();
        assert_eq!(
            shorts(&described),
            [(expected, vec!["misleading_q1.onnx"], vec![], true)],
            "{:?}",
            described.unreadable
        );
    }
}

#[test]
fn external_weights_belong_to_their_file() {
    let graph = [external(10, 100, "model.onnx_data", 0, 200), external(10, 50, "model.onnx_data_1", 100, 100)];
    let files = [
        ("onnx/model_fp16.onnx", model(&graph)),
        ("onnx/model.onnx_data", vec![0; 200]),
        ("onnx/model.onnx_data_1", vec![0; 200]),
        ("config.json", b"{}".to_vec()),
    ];
    let world = World::with(&files);
    let all = vec!["onnx/model.onnx_data", "onnx/model.onnx_data_1", "onnx/model_fp16.onnx"];
    let described = world.describe();
    assert_eq!(shorts(&described), [("fp16", all.clone(), vec![], true)]);
    assert_eq!((described.variants[0].parameters, described.variants[0].tensors), (Some(150), 2));
    fs::write(fs::canonicalize(world.snapshot().join("onnx/model.onnx_data_1")).unwrap(), [0; 199]).unwrap();
    assert_eq!(shorts(&world.describe()), [("fp16", all, vec![], false)], "it is shorter than it should be");
    fs::remove_file(world.snapshot().join("onnx/model.onnx_data_1")).unwrap();
    let left = vec!["onnx/model.onnx_data", "onnx/model_fp16.onnx"];
    assert_eq!(shorts(&world.describe()), [("fp16", left, vec!["onnx/model.onnx_data_1"], false)]);

    let outside = model(&[external(1, 10, "../../../etc/passwd", 0, 40)]);
    let described = World::with(&[("model.onnx", outside)]).describe();
    assert_eq!(shorts(&described), [("fp32", vec!["model.onnx"], vec![], false)]);
    assert!(described.unreadable[0].problem.contains("outside"), "{:?}", described.unreadable);
}

#[test]
fn parts_make_one_variant_and_alternatives_several() {
    let (fp32, fp16) = (model(&[weight(1, 10, 4)]), model(&[weight(10, 10, 2)]));
    let world = World::with(&[
        ("onnx/decoder_model_merged.onnx", fp32.clone()),
        ("onnx/encoder_model.onnx", fp32.clone()),
        ("onnx/encoder_model_O2.onnx", fp32.clone()),
        ("onnx/encoder_model_fp16.onnx", fp16.clone()),
        ("vae/model.onnx", fp32),
        ("onnx/decoder_model_merged_fp16.onnx", fp16),
    ]);
    let expected: [Short<'_>; 3] = [
        ("fp16", vec!["onnx/decoder_model_merged_fp16.onnx", "onnx/encoder_model_fp16.onnx"], vec![], true),
        ("fp32", vec!["onnx/decoder_model_merged.onnx", "onnx/encoder_model.onnx", "vae/model.onnx"], vec![], true),
        ("fp32 encoder_model_O2", vec!["onnx/encoder_model_O2.onnx"], vec![], true),
    ];
    assert_eq!(shorts(&world.describe()), expected);
}

#[test]
fn safetensors_are_one_with_their_shards() {
    let shard = safetensors(&[("a", "BF16", &[4, 5], 40), ("b", "F32", &[2], 8)]);
    let index = |parts: &[&str]| {
        let map: serde_json::Map<_, _> = parts.iter().map(|part| (format!("w{part}"), (*part).into())).collect();
        serde_json::json!({"metadata": {"total_size": 96}, "weight_map": map}).to_string().into_bytes()
    };
    let (one, two) = ("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors");
    let world = World::with(&[
        ("model.safetensors.index.json", index(&[one, two])),
        (one, shard.clone()),
        (two, shard.clone()),
        ("consolidated.safetensors", safetensors(&[("a", "BF16", &[40], 80)])),
        ("text_encoder/model.safetensors", safetensors(&[("a", "F16", &[10], 20)])),
    ]);
    let described = world.describe();
    let all = vec![one, two, "model.safetensors.index.json"];
    let expected: [Short<'_>; 3] = [
        ("safetensors bf16", all, vec![], true),
        ("safetensors bf16 consolidated", vec!["consolidated.safetensors"], vec![], true),
        ("safetensors fp16", vec!["text_encoder/model.safetensors"], vec![], true),
    ];
    assert_eq!(shorts(&described), expected);
    assert_eq!((described.variants[0].tensors, described.variants[0].parameters), (4, Some(44)));

    fs::remove_file(world.snapshot().join(two)).unwrap();
    fs::write(
        fs::canonicalize(world.snapshot().join("text_encoder/model.safetensors")).unwrap(),
        &safetensors(&[("a", "F16", &[10], 20)])[..60],
    )
    .unwrap();
    let described = world.describe();
    assert_eq!(described.variants[0].missing, [two]);
    assert!(!described.variants[0].complete && described.variants[1].complete);
    assert_eq!(described.unreadable.len(), 1, "{:?}", described.unreadable);
}

#[test]
fn gguf_files_are_named_by_what_they_say() {
    let world = World::with(&[
        ("misnamed-Q8_0.gguf", gguf(Some(15), None)),
        ("other/plain.gguf", gguf(None, None)),
        ("big-00001-of-00003.gguf", gguf(Some(7), Some(3))),
        ("big-00003-of-00003.gguf", gguf(None, Some(3))),
    ]);
    let described = world.describe();
    let parts = vec!["big-00001-of-00003.gguf", "big-00003-of-00003.gguf"];
    let expected: [Short<'_>; 3] = [
        ("gguf Q4_K", vec!["other/plain.gguf"], vec![], true),
        ("gguf Q4_K_M", vec!["misnamed-Q8_0.gguf"], vec![], true),
        ("gguf Q8_0", parts, vec!["big-00002-of-00003.gguf"], false),
    ];
    assert_eq!(shorts(&described), expected);
    let variant = &described.variants[1];
    assert_eq!((variant.architecture.as_deref(), variant.tensors, variant.parameters), (Some("llama"), 1, Some(256)));

    let mut short = gguf(Some(15), None);
    short.pop();
    assert!(!World::with(&[("short.gguf", short)]).describe().variants[0].complete);
}

/// Whatever is done to a file, reading it ends, with what it is or with a problem.
#[test]
fn broken_files_are_named_and_left_out() {
    let whole: [(&str, Vec<u8>); 3] = [
        ("m.onnx", model(&[node("MatMulNBits", &[bits(4)]), weight(2, 20, 1), external(1, 10, "x", 0, 40)])),
        ("m.safetensors", safetensors(&[("a", "F32", &[4], 16)])),
        ("m.gguf", gguf(Some(15), None)),
    ];
    let dir = tempfile::tempdir().unwrap();
    let read = |name: &str, bytes: &[u8]| {
        let path = dir.path().join("file");
        fs::write(&path, bytes).unwrap();
        let mut reader = Reader::new(fs::File::open(&path).unwrap()).unwrap();
        match Path::new(name).extension().unwrap().to_str().unwrap() {
            "onnx" => onnx::read(&mut reader).map(|_| ()),
            "gguf" => gguf::read(&mut reader).map(|_| ()),
            _ => safetensors::read(&mut reader).map(|_| ()),
        }
    };
    for (name, bytes) in &whole {
        read(name, bytes).unwrap();
        assert!(read(name, b"").is_err());
        for cut in 0..bytes.len() {
            drop(read(name, &bytes[..cut]));
        }
        for at in 0..bytes.len().min(400) {
            for value in [0, 0x7f, 0xff] {
                let mut broken = bytes.clone();
                broken[at] = value;
                drop(read(name, &broken));
            }
        }
        assert!(read(name, &[0xff; 5000]).is_err());
    }
    let huge = [&u64::MAX.to_le_bytes()[..], b"{}"].concat();
    let world = World::with(&[
        ("a.safetensors", huge),
        ("b.onnx", b"<html>".to_vec()),
        ("c.gguf", b"GGUX".to_vec()),
        ("ok.onnx", model(&[weight(1, 1, 4)])),
    ]);
    let described = world.describe();
    let named: Vec<_> = described.unreadable.iter().map(|file| file.file_path.as_str()).collect();
    assert_eq!(named, ["a.safetensors", "b.onnx", "c.gguf"]);
    assert_eq!(shorts(&described), [("fp32", vec!["ok.onnx"], vec![], true)]);
}

#[test]
fn what_is_not_there_is_named_and_each_revision_is_described() {
    let world = World::with(&[("model.onnx", model(&[weight(1, 1, 4)]))]);
    let none = ModelId::parse("none").unwrap();
    assert!(matches!(world.store.variants(Some(&none), None), Err(ModelError::ModelNotFound { .. })));
    let revision = Revision::parse("v9").unwrap();
    assert!(matches!(world.store.variants(Some(&id()), Some(&revision)), Err(ModelError::RevisionNotFound { .. })));
    let options = ImportOptions { revision: Revision::parse("v2").unwrap(), force: false };
    world.store.import(&world.dir.path().join("source"), &id(), &options).unwrap();
    assert_eq!(world.store.variants(None, None).unwrap().len(), 2);
    let commit = world.describe().commit;
    let by_commit = world.store.variants(Some(&id()), Some(&Revision::from(commit))).unwrap();
    assert_eq!(by_commit.len(), 1);
}
