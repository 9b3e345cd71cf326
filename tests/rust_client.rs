//! Models through the Rust client, of a hub that runs as users run it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "a test panics")]

mod common;

use common::World;
use framehost_client::{ErrorClass, Missing, PullOptions, RustFileProvider, pb::model_change::Kind};

/// Some chunks of the hub's.
fn weights() -> Vec<u8> {
    (0..2_500_000_u32).flat_map(|number| number.to_le_bytes()).collect()
}

async fn connect(world: &World) -> RustFileProvider {
    let address: serde_json::Value = serde_json::from_str(&world.run(&["env", "--shell", "json"])).unwrap();
    // The address as `framehost env` has it, with its scheme.
    RustFileProvider::connect(address["HF_ENDPOINT"].as_str().unwrap()).await.unwrap()
}

#[tokio::test]
async fn a_file_comes_whole_in_parts_as_a_stream_and_by_path() {
    let world = World::new();
    world.import("org/name", &[("model.bin", &weights()), ("empty.txt", b"")]);
    let provider = connect(&world).await;
    let bytes = provider.get_file("org/name", "model.bin").await.unwrap();
    assert!(bytes == weights());
    assert!(provider.get_file("org/name", "empty.txt").await.unwrap().is_empty());
    let path = provider.get_file_path("org/name", "model.bin").await.unwrap();
    assert!(path.starts_with(world.cache_dir()) && std::fs::read(path).unwrap() == bytes);
    let end = bytes.len() as u64;
    for range in [0..1, 600_000..1_700_000, end - 3..end + 100, end..end + 1, 5..5] {
        let read = provider.read_range("org/name", "model.bin", range.clone()).await.unwrap();
        let place = |at: u64| usize::try_from(at.min(end)).unwrap();
        let (from, to) = (place(range.start), place(range.end));
        assert!(read == bytes[from..to], "{range:?}");
    }
    let mut stream = provider.stream_file("org/name", "model.bin").await.unwrap();
    assert_eq!((stream.size_bytes(), stream.sha256().len(), stream.commit().len()), (end, 64, 40));
    let commit = stream.commit().to_owned();
    let mut received = 0;
    while let Some(chunk) = stream.next().await.unwrap() {
        received += chunk.len() as u64;
    }
    assert_eq!(received, end);
    let pinned = provider.clone().with_revision(&commit);
    assert!(pinned.read_range("org/name", "model.bin", 0..4).await.unwrap() == bytes[..4]);
}

#[tokio::test]
async fn errors_have_their_class_and_the_connection_goes_on() {
    let world = World::new();
    world.import("org/name", &[("model.bin", &weights())]);
    let provider = connect(&world).await;
    for (model_id, revision, file_path, class, missing) in [
        ("org/name", "main", "none", ErrorClass::NotFound, Some(Missing::File)),
        ("org/name", "v9", "model.bin", ErrorClass::NotFound, Some(Missing::Revision)),
        ("org/none", "main", "model.bin", ErrorClass::NotFound, Some(Missing::Model)),
        ("org/name", "main", "../model.bin", ErrorClass::InvalidArgument, None),
    ] {
        let provider = provider.clone().with_revision(revision);
        let error = provider.get_file(model_id, file_path).await.unwrap_err();
        assert_eq!((error.class(), error.missing()), (class, missing), "{error}");
        let error = provider.get_file_path(model_id, file_path).await.unwrap_err();
        assert_eq!((error.class(), error.missing()), (class, missing), "{error}");
    }
    let beyond = u64::from(u32::MAX)..u64::MAX;
    let error = provider.read_range("org/name", "model.bin", beyond).await.unwrap_err();
    assert_eq!(error.class(), ErrorClass::OutOfRange, "{error}");
    // One that is begun and left ends alone.
    drop(provider.stream_file("org/name", "model.bin").await.unwrap());
    assert_eq!(provider.get_file("org/name", "model.bin").await.unwrap().len(), weights().len());
    world.signal_hub(rustix::process::Signal::KILL);
    let gone = loop {
        if let Err(error) = provider.get_file("org/name", "model.bin").await {
            break error;
        }
    };
    assert_eq!(gone.class(), ErrorClass::Unavailable, "{gone}");
    assert!(RustFileProvider::connect("127.0.0.1:1").await.is_err());
}

/// A safetensors file: its header's length, the header, the bytes of one tensor of four `f32`.
fn safetensors() -> Vec<u8> {
    let header = br#"{"weight":{"dtype":"F32","shape":[4],"data_offsets":[0,16]}}"#;
    [&(header.len() as u64).to_le_bytes()[..], header, &[0; 16]].concat()
}

#[tokio::test]
async fn a_model_is_pulled_described_and_told_of() {
    let upstream = tempfile::tempdir().unwrap();
    let folder = upstream.path().join("org/name");
    std::fs::create_dir_all(&folder).unwrap();
    for (name, bytes) in [("model.safetensors", safetensors()), ("config.json", b"{}".to_vec())] {
        std::fs::write(folder.join(name), bytes).unwrap();
    }
    let world = World::new();
    let mut hub = world.command(&["hub"]).env("FRAMEHOST_UPSTREAM", upstream.path()).spawn().unwrap();
    common::eventually("the hub runs", || world.hub().is_some());
    let provider = connect(&world).await;
    let mut changes = provider.watch_models(Some("org/name")).await.unwrap();

    let error = provider.describe_model("org/name").await.unwrap_err();
    assert_eq!((error.class(), error.missing()), (ErrorClass::NotFound, Some(Missing::Model)), "{error}");
    let weights = PullOptions { include: vec!["*.safetensors".to_owned()], ..PullOptions::default() };
    let mut pull = provider.pull_model("org/name", &weights).await.unwrap();
    let mut last = None;
    while let Some(step) = pull.next().await.unwrap() {
        last = Some(step);
    }
    let last = last.unwrap();
    assert_eq!((last.files_done, last.bytes_done), (1, i64::try_from(safetensors().len()).unwrap()));
    assert!(std::path::Path::new(&last.snapshot_path).starts_with(world.cache_dir()) && !last.from_cache);

    let described = provider.describe_model("org/name").await.unwrap();
    assert_eq!((described.commit.as_str(), described.complete), (last.commit.as_str(), false));
    let [variant] = &described.variants[..] else { panic!("{described:?}") };
    assert_eq!((variant.format.as_str(), variant.dtype.as_str(), variant.parameters), ("safetensors", "fp32", 4));

    let rest = PullOptions { exclude: vec!["*.safetensors".to_owned()], ..PullOptions::default() };
    let snapshot = provider.pull_model("org/name", &rest).await.unwrap().finish().await.unwrap();
    assert_eq!(snapshot, std::path::Path::new(&last.snapshot_path));
    assert_eq!(std::fs::read(snapshot.join("config.json")).unwrap(), b"{}");
    assert!(provider.describe_model("org/name").await.unwrap().complete);
    loop {
        let change = tokio::time::timeout(common::PATIENCE, changes.next()).await.unwrap().unwrap().unwrap();
        assert_eq!(change.kind(), Kind::Changed, "it was not there when the watch began");
        if change.model.unwrap().complete {
            break;
        }
    }
    let none = provider.pull_model("org/none", &PullOptions::default()).await.unwrap().finish().await.unwrap_err();
    assert_eq!(none.missing(), Some(Missing::Model), "{none}");
    hub.kill().unwrap();
    hub.wait().unwrap();
    assert_eq!(changes.next().await.unwrap_err().class(), ErrorClass::Unavailable);
}
