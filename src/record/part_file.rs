//! A file under a name of its own until it is complete: `out.mkv.PID.part`, then `out.mkv`.

use std::{
    fs, io,
    path::{Path, PathBuf},
    process,
};

use super::RecordError;

/// A recording that is not complete yet. Dropping it leaves it where it is.
#[derive(Debug)]
pub(super) struct PartFile {
    /// The name that it gets.
    path: PathBuf,
    part: PathBuf,
    overwrites: bool,
}

impl PartFile {
    /// Can a file of this name be made?
    ///
    /// # Errors
    ///
    /// [`RecordError::NoDirectory`], [`RecordError::Exists`], [`RecordError::IsDirectory`].
    pub(super) fn check(path: &Path, overwrites: bool) -> Result<(), RecordError> {
        let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        if !directory.is_dir() {
            return Err(RecordError::NoDirectory { path: directory.to_owned() });
        }
        match fs::symlink_metadata(path) {
            Ok(found) if found.is_dir() => Err(RecordError::IsDirectory { path: path.to_owned() }),
            Ok(_) if !overwrites => Err(RecordError::Exists { path: path.to_owned() }),
            Ok(_) | Err(_) => Ok(()),
        }
    }

    /// Makes the file, empty.
    pub(super) fn create(path: &Path, overwrites: bool) -> Result<(Self, fs::File), RecordError> {
        Self::check(path, overwrites)?;
        let mut part = path.as_os_str().to_owned();
        part.push(format!(".{}.part", process::id()));
        let part = PathBuf::from(part);
        let file = fs::File::create_new(&part).map_err(|error| RecordError::of_file(error, &part))?;
        Ok((Self { path: path.to_owned(), part, overwrites }, file))
    }

    /// Where it is now.
    pub(super) fn part(&self) -> &Path {
        &self.part
    }

    /// Gives the complete file its name, and tells its length in bytes.
    pub(super) fn publish(&self) -> Result<u64, RecordError> {
        let of_part = |error| RecordError::of_file(error, &self.part);
        // Windows syncs only what is open for writing.
        let file = fs::OpenOptions::new().write(true).open(&self.part).map_err(of_part)?;
        file.sync_all().map_err(of_part)?;
        let len = file.metadata().map_err(of_part)?.len();
        self.rename().map_err(|error| RecordError::of_file(error, &self.path))?;
        Ok(len)
    }

    fn rename(&self) -> io::Result<()> {
        if self.overwrites {
            return fs::rename(&self.part, &self.path);
        }
        // Renaming would replace a file that has come meanwhile.
        match fs::hard_link(&self.part, &self.path) {
            Ok(()) => fs::remove_file(&self.part),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(error),
            // A file system without links.
            Err(_) if self.path.try_exists()? => Err(io::ErrorKind::AlreadyExists.into()),
            Err(_) => fs::rename(&self.part, &self.path),
        }
    }

    /// Where it is, as it will not be completed; `None` if nothing is in it, and it is gone.
    pub(super) fn keep(self) -> Option<PathBuf> {
        if fs::metadata(&self.part).is_ok_and(|metadata| metadata.len() > 0) {
            return Some(self.part);
        }
        if let Err(error) = fs::remove_file(&self.part) {
            tracing::warn!(%error, path = %self.part.display(), "an empty recording stays");
        }
        None
    }
}

/// `out.mkv` for the first file, `out-2.mkv` for the second one.
pub(super) fn numbered(path: &Path, number: usize) -> PathBuf {
    if number < 2 {
        return path.to_owned();
    }
    let mut name = path.file_stem().unwrap_or_default().to_owned();
    name.push(format!("-{number}"));
    if let Some(ending) = path.extension() {
        name.push(".");
        name.push(ending);
    }
    path.with_file_name(name)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn a_file_has_its_name_when_it_is_complete_and_overwrites_none() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.mkv");
        let write = |overwrites| {
            let (part, mut file) = PartFile::create(&path, overwrites).unwrap();
            file.write_all(b"video").unwrap();
            part
        };
        let part = write(false);
        assert!(!path.exists());
        assert_eq!(part.publish().unwrap(), 5);
        assert!(matches!(PartFile::create(&path, false), Err(RecordError::Exists { .. })));
        fs::remove_file(&path).unwrap();
        // One that comes meanwhile stays, and so does the recording.
        let part = write(false);
        fs::write(&path, "theirs").unwrap();
        assert!(matches!(part.publish(), Err(RecordError::Exists { .. })));
        let kept = part.keep().unwrap();
        assert_eq!((fs::read(&path).unwrap(), fs::read(&kept).unwrap()), (b"theirs".to_vec(), b"video".to_vec()));
        fs::remove_file(kept).unwrap();
        write(true).publish().unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"video");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
        assert_eq!(PartFile::create(&path, true).unwrap().0.keep(), None);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "nothing is in it, and it is gone");
        let nowhere = dir.path().join("none/a.mkv");
        assert!(matches!(PartFile::create(&nowhere, true), Err(RecordError::NoDirectory { .. })));
        assert!(matches!(PartFile::create(dir.path(), true), Err(RecordError::IsDirectory { .. })));
    }

    #[test]
    fn further_files_are_numbered() {
        let named = |number| numbered(Path::new("dir/out.tar.mkv"), number);
        assert_eq!(named(1), Path::new("dir/out.tar.mkv"));
        assert_eq!(named(2), Path::new("dir/out.tar-2.mkv"));
    }
}
