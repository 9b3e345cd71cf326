//! Links the C++ library of the H.264 decoder, which `.cargo/config.toml` leaves to each program: see the program's own
//! `build.rs`.

use std::env;

fn main() {
    let is_linux = env::var("CARGO_CFG_TARGET_OS").is_ok_and(|system| system == "linux");
    if is_linux && env::var_os("CARGO_FEATURE_H264").is_some() {
        println!("cargo:rustc-link-arg=-lstdc++");
    }
}
