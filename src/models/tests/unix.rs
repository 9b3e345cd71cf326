//! What is about symbolic links, permissions and pipes. On Windows links need a right that tests do not have, and that Wine
//! knows nothing of: `links` has the tests of what is there instead.

use std::os::unix::fs::{PermissionsExt, symlink};

use super::*;

#[test]
fn a_name_that_is_a_device_of_windows_is_no_files() {
    let world = World::new();
    let odd = world.source(&[("aux.txt", b"2")]);
    let error = world.store.import(&odd, &id(), &ImportOptions::default()).unwrap_err();
    assert!(matches!(error, ModelError::NothingToImport { .. }));
    assert!(!world.store.cache_dir().exists());
}

#[test]
fn a_dangling_link_makes_a_model_incomplete() {
    let world = World::new();
    let (_, snapshot) = world.snapshot();
    fs::write(snapshot.join("whole"), "1").unwrap();
    symlink("../../blobs/gone", snapshot.join("dangling")).unwrap();
    assert!(!world.store.list(None).unwrap()[0].complete);
    assert!(matches!(world.resolve("dangling"), Err(ModelError::FileNotFound { .. })));
}

#[test]
fn what_cannot_be_part_of_a_model_is_left_out_and_told() {
    let world = World::new();
    let source = world.source(&[("a", b"1"), ("sub/aux.txt", b"2")]);
    fs::write(world.dir.path().join("secret"), "s").unwrap();
    symlink(world.dir.path().join("secret"), source.join("b")).unwrap();
    symlink("a", source.join("c")).unwrap();
    symlink("nowhere", source.join("d")).unwrap();
    let report = world.store.import(&source, &id(), &ImportOptions::default()).unwrap();
    let left_out =
        report.left_out.iter().map(|LeftOut { path, problem }| (path.strip_prefix(&source).unwrap(), *problem));
    let expected = [
        ("b", "it leads out of the directory"),
        ("d", "it leads nowhere"),
        ("sub/aux.txt", "no name of a Windows device"),
    ];
    assert_eq!(left_out.collect::<Vec<_>>(), expected.map(|(path, problem)| (Path::new(path), problem)));
    assert!(world.resolve("b").is_err());
    assert!(world.resolve("c").is_ok());
}

#[test]
fn a_model_may_be_kept_elsewhere_and_its_files_may_not_lead_elsewhere() {
    let world = World::new();
    world.import(&[("a", b"1")]).unwrap();
    let (model, elsewhere) = (world.store.model_dir(&id()), world.dir.path().join("elsewhere"));
    fs::rename(&model, &elsewhere).unwrap();
    symlink(&elsewhere, &model).unwrap();
    assert!(world.resolve("a").unwrap().verified, "the whole model");
    fs::rename(elsewhere.join("blobs"), world.dir.path().join("blobs")).unwrap();
    symlink(world.dir.path().join("blobs"), elsewhere.join("blobs")).unwrap();
    assert!(world.resolve("a").unwrap().verified, "its bytes");
    world.import(&[("a", b"1")]).unwrap();
    let options = ImportOptions { force: true, ..ImportOptions::default() };
    world.store.import(&world.source(&[("a", b"2")]), &id(), &options).unwrap();
    assert!(world.resolve("a").unwrap().verified, "written to");
    let snapshot = world.store.snapshot_dir(&id(), &Revision::default()).unwrap();
    fs::write(world.dir.path().join("secret"), "s").unwrap();
    symlink(world.dir.path().join("secret"), snapshot.join("b")).unwrap();
    assert!(matches!(world.resolve("b").unwrap_err(), ModelError::OutsideCache { .. }));
    let files = |folder: &Path| fs::read_dir(folder).unwrap().count();
    let there = files(&world.dir.path().join("blobs"));
    assert!(matches!(world.store.remove(&id(), None).unwrap_err(), ModelError::KeptElsewhere { .. }));
    let report = world.store.gc(GcOptions { max_bytes: Some(0), dry_run: false }).unwrap();
    assert_eq!(report.kept.iter().map(|kept| kept.because).collect::<Vec<_>>(), [KeptBecause::Linked]);
    assert_eq!(files(&world.dir.path().join("blobs")), there, "nothing is cleared away there");
}

#[test]
fn a_blob_may_be_a_link_into_the_shared_store() {
    let world = World::new();
    let (model, snapshot) = world.snapshot();
    let shared = world.store.cache_dir().join("blobs/ab");
    fs::create_dir_all(&shared).unwrap();
    fs::write(shared.join("xet"), "hello\n").unwrap();
    let etag = "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03";
    symlink("../../blobs/ab/xet", model.join("blobs").join(etag)).unwrap();
    symlink(format!("../../blobs/{etag}"), snapshot.join("a")).unwrap();
    let resolved = world.resolve("a").unwrap();
    assert_eq!((resolved.etag.as_str(), resolved.verified), (etag, true));
}

#[test]
fn a_link_out_of_the_cache_is_refused() {
    let world = World::new();
    let (_, snapshot) = world.snapshot();
    fs::write(world.dir.path().join("secret"), "s").unwrap();
    symlink(world.dir.path().join("secret"), snapshot.join("a")).unwrap();
    symlink("/etc", snapshot.join("etc")).unwrap();
    assert!(matches!(world.resolve("a"), Err(ModelError::OutsideCache { .. })));
    assert!(matches!(world.resolve("etc/passwd"), Err(ModelError::OutsideCache { .. })));
}

#[test]
fn a_new_lock_is_open_to_the_group_whatever_the_umask_is() {
    let world = World::new();
    let lock = publish::lock(world.store.cache_dir(), "models--org--name", "etag", Duration::ZERO).unwrap();
    assert_eq!(lock.metadata().unwrap().permissions().mode() & 0o777, 0o664);
}

#[test]
fn what_is_no_file_is_not_waited_for() {
    let world = World::new();
    let (_, snapshot) = world.snapshot();
    rustix::fs::mknodat(rustix::fs::CWD, snapshot.join("pipe"), rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
    assert!(matches!(world.resolve("pipe"), Err(ModelError::FileNotFound { .. })));
    let trees = world.store.model_dir(&id()).join("trees");
    fs::create_dir_all(&trees).unwrap();
    let tree = trees.join(format!("{}.json", "c".repeat(40)));
    rustix::fs::mknodat(rustix::fs::CWD, tree, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
    assert_eq!(world.store.list(None).unwrap().len(), 1);
    let source = world.source(&[("a", b"1")]);
    rustix::fs::mknodat(rustix::fs::CWD, source.join("pipe"), rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
    let options = ImportOptions { force: true, ..Default::default() };
    assert_eq!(world.store.import(&source, &id(), &options).unwrap().files, 1);
}

#[test]
fn published_files_can_be_read_by_others_of_the_group_as_pythons_can() {
    let world = World::new();
    world.import(&[("a", b"1")]).unwrap();
    let mode = fs::metadata(world.resolve("a").unwrap().path).unwrap().permissions().mode();
    assert_eq!(mode & 0o400, 0o400);
}
