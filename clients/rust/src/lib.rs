//! Model files from the framehost hub, for programs of the same machine.
//!
//! [`RustFileProvider`] gives a file's path in the cache, its bytes, a range of them, or a stream. The hub checks every
//! file against its digest and fetches what the cache does not have, once for everybody who asks. It also says what of a
//! model can be run, pulls whole ones, and tells what changes in the cache.
//!
//! ```no_run
//! # async fn run() -> Result<(), framehost_client::ClientError> {
//! let provider = framehost_client::RustFileProvider::connect("127.0.0.1:50052").await?;
//! let config = provider.get_file("org/name", "config.json").await?;
//! # Ok(())
//! # }
//! ```

mod error;
mod models;
/// The whole contract, for calls that have no method here.
#[expect(
    missing_docs,
    clippy::allow_attributes_without_reason,
    reason = "generated from the proto file, which documents it"
)]
pub mod pb {
    tonic::include_proto!("ml");
}
mod provider;
mod transport;

pub use self::{
    error::{ClientError, ErrorClass, Missing},
    models::{ModelChanges, Pull, PullOptions},
    provider::{FileStream, RustFileProvider},
    transport::Transport,
};
