//! Compiles `proto/ml_inference.proto` with protox, so that no installed protoc is needed, and links the C++ library of
//! the H.264 decoder into the program where that can be.

use std::{
    env,
    error::Error,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

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
    link_cpp_library();
    Ok(())
}

/// A relay is started for each port of a browser, and needs no H.264: a shared library more would double its start and
/// add a third to its memory. `.cargo/config.toml` keeps the decoder's own build from naming it (its variable); builds
/// without that file link it as any other library.
fn link_cpp_library() {
    let target = env::var("TARGET").unwrap_or_default().replace('-', "_");
    let variable = format!("CXXSTDLIB_{target}");
    println!("cargo:rerun-if-env-changed={variable}");
    if env::var_os("CARGO_FEATURE_H264").is_none() || env::var_os(variable).is_none_or(|name| !name.is_empty()) {
        return;
    }
    let compiler = env::var("CXX").unwrap_or_else(|_| "c++".to_owned());
    let answer = Command::new(compiler).arg("-print-file-name=libstdc++.a").output();
    let answer = answer.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned()).unwrap_or_default();
    // Without such a file (some distributions have it in a package of its own) the compiler repeats the name.
    let library = if Path::new(&answer).is_absolute() { answer } else { "-lstdc++".to_owned() };
    println!("cargo:rustc-link-arg={library}");
}
