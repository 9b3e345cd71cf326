//! framehost: the bridge between a browser extension and local machine learning.
//!
//! `ARCHITECTURE.md` draws the processes and the two data paths, and says where each thing lives.

// 0: core
pub mod error;
pub mod frame;
pub mod framing;
pub mod message;
// 1: services
pub mod activity;
pub mod decode;
pub mod ffmpeg;
pub mod source;
pub mod stream_handler;
pub mod streams;
pub mod transcode;
// 2: edges
pub mod install;

// What follows makes the program, and is for Unix so far: elsewhere this is a library of sources and streams.
// 1: services
#[cfg(unix)]
pub mod models;
#[cfg(unix)]
pub mod record;
// 2: edges
#[cfg(unix)]
pub mod access;
#[cfg(unix)]
pub mod grpc;
#[cfg(unix)]
pub mod http;
#[cfg(unix)]
pub mod link;
#[cfg(unix)]
pub mod stdio;
// 3: wiring
#[cfg(unix)]
pub mod cli;
#[cfg(unix)]
pub mod config;
#[cfg(unix)]
pub mod doctor;
#[cfg(unix)]
pub mod hub;
#[cfg(unix)]
pub mod relay;
#[cfg(unix)]
pub mod session;
#[cfg(unix)]
pub mod telemetry;
// For tests alone.
#[cfg(all(feature = "fuzzing", target_os = "linux"))]
#[doc(hidden)]
pub mod fuzzing;
