//! Which sources a subscriber may see.

use std::{fmt, sync::Arc};

/// Which kinds of sources (`camera`, `screen`, …) a subscriber may see; all of them unless it says otherwise.
///
/// It is asked for each picture: what was allowed may be taken back, and a stream that is waited for may turn out to be
/// of anything.
#[derive(Clone, Default)]
pub struct Sight(Option<(Arc<str>, Arc<MaySee>)>);

/// Asked with the kind of a source.
type MaySee = dyn Fn(&'static str) -> Result<(), NoConsent> + Send + Sync;

/// What the user has not allowed an extension, or does not any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoConsent {
    /// The word for it: `camera`.
    pub scope: &'static str,
    /// What to do about it, for people.
    pub advice: String,
}

impl Sight {
    /// That of an extension, as far as `may_see` says so.
    pub fn new(
        extension: &str,
        may_see: impl Fn(&'static str) -> Result<(), NoConsent> + Send + Sync + 'static,
    ) -> Self {
        Self(Some((extension.into(), Arc::new(may_see))))
    }

    /// Whose it is; `None`: a program's of the user's own.
    pub(super) fn extension(&self) -> Option<&str> {
        self.0.as_ref().map(|(extension, _)| &**extension)
    }

    pub(super) const fn is_all(&self) -> bool {
        self.0.is_none()
    }

    pub(super) fn covers(&self, source: &'static str) -> Result<(), NoConsent> {
        self.0.as_ref().map_or(Ok(()), |(_, may_see)| may_see(source))
    }
}

impl fmt::Debug for Sight {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(if self.0.is_some() { "Sight(some)" } else { "Sight(all)" })
    }
}
