//! Windows's registry: the default value of a host's key is the path of its manifest.

use std::{io, path::Path};

use windows_registry::{CURRENT_USER, Key, LOCAL_MACHINE, OpenOptions};

use super::super::{Hive, InstallError, RegistryKey, View};

/// `KEY_WOW64_64KEY`. Source: Microsoft, "Registry Key Security and Access Rights".
const VIEW_64: u32 = 0x0100;

/// `KEY_WOW64_32KEY`. Source: as above.
const VIEW_32: u32 = 0x0200;

/// `DELETE`, which reading and writing do not include.
const DELETE: u32 = 0x0001_0000;

/// `ERROR_FILE_NOT_FOUND` as a COM result: no such key or value.
const NOT_FOUND: i32 = 0x8007_0002_u32.cast_signed();

/// Whether the browser of a host's key has been here: the key above that of all hosts is its own.
pub(in super::super) fn is_browser_there(key: &RegistryKey) -> bool {
    let browser = key.path.rsplitn(3, '\\').nth(2);
    browser.is_some_and(|path| options(key).read().open(path).is_ok())
}

/// What the key names; `None` if it is not there.
pub(in super::super) fn read(key: &RegistryKey) -> Result<Option<String>, InstallError> {
    let value = options(key).read().open(&key.path).and_then(|key| key.get_string(""));
    match value {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.code().0 == NOT_FOUND => Ok(None),
        Err(error) => Err(failed(key)(error)),
    }
}

/// Lets the key name `manifest`; makes it if need be.
pub(in super::super) fn set(key: &RegistryKey, manifest: &Path) -> Result<(), InstallError> {
    let text = manifest.to_str().ok_or_else(|| InstallError::PathNotUtf8 { path: manifest.to_owned() })?;
    let open = options(key).read().write().create().open(&key.path);
    open.and_then(|key| key.set_string("", text)).map_err(failed(key))
}

/// Removes the key, and those above it that hold nothing, up to `Software`.
pub(in super::super) fn remove(key: &RegistryKey) -> Result<(), InstallError> {
    let mut path = key.path.as_str();
    while let Some((above, name)) = path.rsplit_once('\\') {
        let Ok(parent) = options(key).read().write().access(DELETE).open(above) else {
            return Ok(());
        };
        let is_own = path == key.path;
        if !is_own && !is_empty(key, path) {
            return Ok(());
        }
        match parent.remove_tree(name) {
            Err(error) if is_own && error.code().0 != NOT_FOUND => return Err(failed(key)(error)),
            // A key above that somebody else keeps may stay.
            Err(_) if !is_own => return Ok(()),
            Ok(()) | Err(_) => {}
        }
        path = above;
        if !path.contains('\\') {
            return Ok(());
        }
    }
    Ok(())
}

fn is_empty(key: &RegistryKey, path: &str) -> bool {
    let open = options(key).read().open(path);
    open.is_ok_and(|key| {
        key.keys().is_ok_and(|mut keys| keys.next().is_none())
            && key.values().is_ok_and(|mut values| values.next().is_none())
    })
}

fn options(key: &RegistryKey) -> OpenOptions<'static> {
    let hive: &'static Key = match key.hive {
        Hive::CurrentUser => CURRENT_USER,
        Hive::LocalMachine => LOCAL_MACHINE,
    };
    let mut options = hive.options();
    match key.view {
        View::Shared => {}
        View::Bits32 => {
            options.access(VIEW_32);
        }
        View::Bits64 => {
            options.access(VIEW_64);
        }
    }
    options
}

fn failed<E: Into<io::Error>>(key: &RegistryKey) -> impl FnOnce(E) -> InstallError {
    let key = key.describe();
    move |source| InstallError::Registry { key, source: source.into() }
}
