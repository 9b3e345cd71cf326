//! What must hold of listings, whatever an upstream sends. See `fuzzing`.

pub use super::{
    upstream::fuzz::hub_listing,
    variants::fuzz::{gguf, onnx, safetensors},
};
