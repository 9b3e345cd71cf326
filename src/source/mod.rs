//! Where pictures come from when the hub makes them itself.
//!
//! Belongs here: sources that feed a [`crate::streams::Publisher`] from a thread of their own.
//! Does not belong here: pictures that an extension sends (`session`), fan-out (`streams`).
//!
//! Invariants:
//! - A source owns one named OS thread; dropping the source ends it after the picture at hand, and joins it.
//! - A source that falls behind makes fewer pictures, numbered without a gap; it never sends a burst.

pub mod synthetic;
