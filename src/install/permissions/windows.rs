//! Windows inherits permissions from the folder above, which is what manifests want.

use std::{
    fs::{self, File, Metadata, OpenOptions},
    io,
    path::Path,
};

pub(in super::super) fn mode(_metadata: &Metadata) -> Option<u32> {
    None
}

/// The name's ending decides, and the manifest has it.
pub(in super::super) fn is_executable(_metadata: &Metadata) -> bool {
    true
}

pub(in super::super) fn set_mode(_path: &Path, _mode: u32) -> io::Result<()> {
    Ok(())
}

pub(in super::super) fn create_folders(path: &Path, _mode: u32) -> io::Result<()> {
    fs::create_dir_all(path)
}

pub(in super::super) fn create_file(path: &Path, _mode: u32) -> io::Result<File> {
    OpenOptions::new().write(true).create_new(true).open(path)
}
