//! What is wrong with a stream, as publishers and subscribers are told.

use serde::{Serialize, Serializer, ser::SerializeStruct as _};

use super::NoConsent;
use crate::error::ErrorKind;

/// What is wrong with a stream's source, or with what a subscriber wants of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    /// Class reported to peers.
    pub kind: ErrorKind,
    /// The word for programs: `device_lost`.
    pub reason: &'static str,
    /// What the user has to allow for it to go on, where that is it: `camera`.
    pub scope: Option<&'static str>,
    /// For people.
    pub message: String,
}

impl From<NoConsent> for Trouble {
    fn from(missing: NoConsent) -> Self {
        let (kind, scope) = (ErrorKind::PermissionDenied, Some(missing.scope));
        Self { kind, reason: "no_consent", scope, message: missing.advice }
    }
}

/// As errors are told in events: `{"code", "message", "details": {"reason", "scope"}}`, `scope` where there is one.
impl Serialize for Trouble {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Details {
            reason: &'static str,
            #[serde(skip_serializing_if = "Option::is_none")]
            scope: Option<&'static str>,
        }
        let mut fields = serializer.serialize_struct("Trouble", 3)?;
        fields.serialize_field("code", self.kind.as_str())?;
        fields.serialize_field("message", &self.message)?;
        fields.serialize_field("details", &Details { reason: self.reason, scope: self.scope })?;
        fields.end()
    }
}
