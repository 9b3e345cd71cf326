//! The program that browsers start.

use std::{
    env, fs, io,
    path::{Path, PathBuf},
};

use super::{InstallError, Step, permissions, starts};

/// The small program that does nothing but what browsers start it for.
const RELAY_NAME: &str = "framehost-relay";

/// The program that it starts hubs from, beside it.
const HUB_NAME: &str = "framehost";

/// A program that a browser can start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostBinary(PathBuf);

impl HostBinary {
    /// Checks what the browser would only answer with "Specified native messaging host not found.".
    ///
    /// # Errors
    ///
    /// The `Binary…` variants of [`InstallError`], and [`InstallError::Io`].
    pub fn check(path: &Path) -> Result<Self, InstallError> {
        let path = path.to_owned();
        if !path.is_absolute() {
            return Err(InstallError::BinaryRelative { path });
        }
        let metadata = match fs::metadata(&path) {
            Ok(metadata) => metadata,
            Err(source) if source.kind() == io::ErrorKind::NotFound => {
                return Err(InstallError::BinaryMissing { path });
            }
            Err(source) => return Err(InstallError::Io { step: Step::Read, path, source }),
        };
        if !metadata.is_file() {
            return Err(InstallError::BinaryNotAFile { path });
        }
        if !permissions::is_executable(&metadata) {
            let mode = permissions::mode(&metadata).unwrap_or_default();
            return Err(InstallError::BinaryNotExecutable { mode, path });
        }
        Ok(Self(path))
    }

    /// The program that browsers are to start where `program` is: the relay beside it, which is small; else itself.
    ///
    /// # Errors
    ///
    /// As [`Self::check`].
    pub fn beside(program: &Path) -> Result<Self, InstallError> {
        let relay = Self::relay_of(program);
        Self::check(if relay.is_file() { &relay } else { program })
    }

    /// Whether it starts, where it is framehost's own. A relay becomes the program beside it for this, so that both are
    /// tried.
    ///
    /// # Errors
    ///
    /// [`InstallError::BinaryBroken`].
    pub fn try_it(&self) -> Result<(), InstallError> {
        let own = [RELAY_NAME, HUB_NAME].map(|name| format!("{name}{}", env::consts::EXE_SUFFIX));
        if !own.iter().any(|name| self.0.file_name().is_some_and(|found| found == name.as_str())) {
            return Ok(());
        }
        let said = starts(&self.0, "--version").and_then(|said| match said.strip_prefix("framehost ") {
            Some(_) => Ok(()),
            None => Err("is another program".to_owned()),
        });
        said.map_err(|problem| InstallError::BinaryBroken { problem, path: self.0.clone() })
    }

    /// Where the relay of `program` is, if it has one.
    pub fn relay_of(program: &Path) -> PathBuf {
        program.with_file_name(format!("{RELAY_NAME}{}", env::consts::EXE_SUFFIX))
    }

    /// Where `relay` looks for the program that hubs are started from: beside it, behind links. `None` if it is no relay.
    pub fn hub_of(relay: &Path) -> Option<PathBuf> {
        let real = fs::canonicalize(relay).ok()?;
        let is_relay = real.file_name() == Self::relay_of(&real).file_name();
        is_relay.then(|| real.with_file_name(format!("{HUB_NAME}{}", env::consts::EXE_SUFFIX)))
    }

    /// A program that will be there when a package is unpacked.
    ///
    /// # Errors
    ///
    /// [`InstallError::BinaryRelative`].
    pub fn of_package(path: &Path) -> Result<Self, InstallError> {
        let path = path.to_owned();
        if path.is_absolute() { Ok(Self(path)) } else { Err(InstallError::BinaryRelative { path }) }
    }

    /// Its absolute path.
    pub fn path(&self) -> &Path {
        &self.0
    }

    #[cfg(test)]
    pub(super) fn unchecked(path: &str) -> Self {
        Self(path.into())
    }
}

#[cfg(unix)]
#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::error::ErrorKind;

    #[test]
    fn the_relay_is_taken_where_it_lies_beside_the_program() {
        let dir = tempfile::tempdir().unwrap();
        let put = |name: &str| {
            let path = dir.path().join(name);
            fs::write(&path, "").unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
            path
        };
        let program = put("framehost");
        assert_eq!(HostBinary::beside(&program).unwrap().path(), program);
        assert_eq!(HostBinary::hub_of(&program), None);
        let relay = put(RELAY_NAME);
        assert_eq!(HostBinary::beside(&program).unwrap().path(), relay);
        let link = dir.path().join("link");
        std::os::unix::fs::symlink(&relay, &link).unwrap();
        assert_eq!(HostBinary::hub_of(&link), Some(fs::canonicalize(&program).unwrap()));
        fs::set_permissions(&relay, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(HostBinary::beside(&program).unwrap_err().to_string().contains("not executable"));
    }

    #[test]
    fn the_host_program_is_checked() {
        let dir = tempfile::tempdir().unwrap();
        let check = |path: &Path| HostBinary::check(path).unwrap_err();
        let plain = dir.path().join("plain");
        fs::write(&plain, "").unwrap();
        fs::set_permissions(&plain, fs::Permissions::from_mode(0o640)).unwrap();
        let cases = [
            (check(Path::new("bin/framehost")), ErrorKind::InvalidArgument, "must be absolute"),
            (check(Path::new("~/framehost")), ErrorKind::InvalidArgument, "must be absolute"),
            (check(&dir.path().join("missing")), ErrorKind::NotFound, "does not exist"),
            (check(dir.path()), ErrorKind::FailedPrecondition, "is not a file"),
            (check(&plain), ErrorKind::FailedPrecondition, "not executable (mode 0640)"),
        ];
        for (error, kind, expected) in cases {
            assert_eq!(error.kind(), kind, "{error}");
            assert!(error.to_string().contains(expected), "{error}");
        }
    }
}
