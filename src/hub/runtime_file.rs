//! `hub.json`: where the running hub is, for clients of the same user.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use crate::user;

/// The file, in the runtime directory.
pub const RUNTIME_FILE: &str = "hub.json";

/// What the file says. It is readable by the user alone, because of the token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuntimeFile {
    /// The hub's process.
    pub pid: u32,
    /// framehost's version.
    pub version: String,
    /// Address of gRPC and HTTP.
    pub grpc: String,
    /// Stands for the user: `authorization: Bearer …`.
    pub token: String,
}

impl RuntimeFile {
    /// Writes the file whole or not at all.
    ///
    /// # Errors
    ///
    /// What the file system says.
    pub fn write(&self, runtime_dir: &Path) -> io::Result<()> {
        let temporary = runtime_dir.join(format!("{RUNTIME_FILE}.{}", self.pid));
        let result = (|| {
            let mut file = user::create_file(&temporary)?;
            serde_json::to_writer(&mut file, self)?;
            // Windows renames no file over another that is open.
            drop(file);
            fs::rename(&temporary, path(runtime_dir))
        })();
        if result.is_err() {
            // The first error is the one that matters.
            let _ = fs::remove_file(&temporary);
        }
        result
    }

    /// Reads the file; `None` if there is none or it is broken, as no hub runs then.
    pub fn read(runtime_dir: &Path) -> Option<Self> {
        serde_json::from_slice(&user::read_file(&path(runtime_dir)).ok()?).ok()
    }

    /// Removes the file if it is this process's.
    ///
    /// # Errors
    ///
    /// What the file system says; a missing file is none.
    pub fn remove_own(runtime_dir: &Path) -> io::Result<()> {
        if Self::read(runtime_dir).is_some_and(|file| file.pid != std::process::id()) {
            return Ok(());
        }
        match fs::remove_file(path(runtime_dir)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            Ok(()) | Err(_) => Ok(()),
        }
    }
}

fn path(runtime_dir: &Path) -> PathBuf {
    runtime_dir.join(RUNTIME_FILE)
}

#[cfg(test)]
mod tests {
    #[cfg(unix)]
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn the_file_round_trips_and_is_the_users_alone() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(RuntimeFile::read(dir.path()), None);
        let file = RuntimeFile {
            pid: std::process::id(),
            version: "1".to_owned(),
            grpc: "127.0.0.1:50052".to_owned(),
            token: "secret".to_owned(),
        };
        file.write(dir.path()).unwrap();
        assert_eq!(RuntimeFile::read(dir.path()), Some(file.clone()));
        #[cfg(unix)]
        assert_eq!(fs::metadata(path(dir.path())).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
        RuntimeFile::remove_own(dir.path()).unwrap();
        RuntimeFile::remove_own(dir.path()).unwrap();
        assert_eq!(RuntimeFile::read(dir.path()), None);
        let others = RuntimeFile { pid: 7, ..file };
        others.write(dir.path()).unwrap();
        RuntimeFile::remove_own(dir.path()).unwrap();
        assert_eq!(RuntimeFile::read(dir.path()), Some(others));
        fs::write(dir.path().join("hub.json"), "{half").unwrap();
        assert_eq!(RuntimeFile::read(dir.path()), None);
    }
}
