//! No other system has a registry, and no place there has keys.

use std::{io, path::Path};

use super::super::{InstallError, RegistryKey};

pub(in super::super) const fn is_browser_there(_key: &RegistryKey) -> bool {
    false
}

pub(in super::super) fn read(key: &RegistryKey) -> Result<Option<String>, InstallError> {
    Err(unsupported(key))
}

pub(in super::super) fn set(key: &RegistryKey, _manifest: &Path) -> Result<(), InstallError> {
    Err(unsupported(key))
}

pub(in super::super) fn remove(key: &RegistryKey) -> Result<(), InstallError> {
    Err(unsupported(key))
}

fn unsupported(key: &RegistryKey) -> InstallError {
    InstallError::Registry { key: key.describe(), source: io::Error::from(io::ErrorKind::Unsupported) }
}
