//! The hf-hub crate, unmodified, loads a model through the host.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "a test panics")]

mod common;

use std::fs;

use common::World;
use hf_hub::{Repo, RepoType, api::sync::ApiBuilder};

#[test]
fn hf_hub_downloads_from_the_host_into_a_cache_of_its_own() {
    let world = World::new();
    let weights: Vec<u8> = (0..1_500_000_u32).flat_map(u32::to_le_bytes).collect();
    world.import("org/name", &[("onnx/model.onnx", &weights), ("config.json", b"{}"), ("vocab \u{fc}.txt", b"x")]);
    let printed: serde_json::Value = serde_json::from_str(&world.run(&["env", "--shell", "json"])).unwrap();
    let own_cache = tempfile::tempdir().unwrap();
    let builder = ApiBuilder::new().with_cache_dir(own_cache.path().into()).with_progress(false);
    let api = builder.with_endpoint(printed["HF_ENDPOINT"].as_str().unwrap().to_owned()).build().unwrap();

    let model = api.model("org/name".to_owned());
    let info = model.info().unwrap();
    let mut names: Vec<_> = info.siblings.iter().map(|file| file.rfilename.as_str()).collect();
    names.sort_unstable();
    assert_eq!(names, ["config.json", "onnx/model.onnx", "vocab \u{fc}.txt"]);
    let path = model.get("onnx/model.onnx").unwrap();
    assert!(path.starts_with(own_cache.path()) && fs::read(path).unwrap() == weights);
    assert_eq!(fs::read(model.get("config.json").unwrap()).unwrap(), b"{}");
    assert!(model.get("none").is_err());
    assert!(api.model("org/none".to_owned()).info().is_err());

    let pinned = Repo::with_revision("org/name".to_owned(), RepoType::Model, info.sha);
    assert_eq!(fs::read(api.repo(pinned).get("config.json").unwrap()).unwrap(), b"{}");
}
