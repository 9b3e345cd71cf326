//! Compiles the contract with protox, so that no installed protoc is needed.

use std::error::Error;

const PROTO_DIR: &str = "../../proto";

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed={PROTO_DIR}");
    let descriptors = protox::compile(["ml_inference.proto"], [PROTO_DIR])?;
    tonic_prost_build::configure()
        .bytes(".")
        .build_server(false)
        // The transport is this crate's own.
        .build_transport(false)
        .compile_fds(descriptors)?;
    Ok(())
}
