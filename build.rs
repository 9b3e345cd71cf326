//! Compiles `proto/ml_inference.proto` with protox, so that no installed protoc is needed.

use std::{env, error::Error, fs, path::PathBuf};

const PROTO: &str = "proto/ml_inference.proto";

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed={PROTO}");
    let descriptors = protox::compile([PROTO], ["proto"])?;
    let out_dir = PathBuf::from(env::var("OUT_DIR")?);
    fs::write(out_dir.join("ml_descriptor.bin"), protox::prost::Message::encode_to_vec(&descriptors))?;
    tonic_prost_build::configure()
        // `Bytes` instead of `Vec<u8>`: a picture is shared until it is encoded, not copied before that, too.
        .bytes(".")
        // Who connects brings a channel; the services need none.
        .build_transport(false)
        .compile_fds(descriptors)?;
    Ok(())
}
