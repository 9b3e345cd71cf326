//! framehost: the bridge between a browser extension and local machine learning.
//!
//! `ARCHITECTURE.md` draws the processes and the two data paths, and says where each thing lives.

// 0: core
pub mod error;
pub mod frame;
pub mod framing;
mod hex;
pub mod message;
// 1: services
pub mod activity;
pub mod decode;
pub mod ffmpeg;
pub mod models;
pub mod record;
pub mod source;
pub mod stream_handler;
pub mod streams;
pub mod transcode;
pub mod user;
// 2: edges
pub mod access;
pub mod grpc;
pub mod http;
pub mod install;
pub mod link;
pub mod local;
pub mod stdio;
// 3: wiring
pub mod cli;
pub mod config;
pub mod doctor;
pub mod hub;
pub mod proxy;
pub mod relay;
pub mod session;
pub mod telemetry;
// For tests alone.
#[cfg(all(feature = "fuzzing", target_os = "linux"))]
#[doc(hidden)]
pub mod fuzzing;
