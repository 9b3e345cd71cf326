//! Browsers in a sandbox.

use super::Finding;
use crate::install::{InstallDirs, sandboxed};

/// Tells the truth about each that is here.
pub fn check_sandboxes(dirs: &InstallDirs) -> Vec<Finding> {
    let finding = |found: crate::install::Sandboxed| {
        Finding::warning(found.kind(), found.path.display(), found.truth(), found.advice())
    };
    sandboxed(dirs).into_iter().map(finding).collect()
}
