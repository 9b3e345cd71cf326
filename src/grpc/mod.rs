//! The services that local workers call: `proto/ml_inference.proto`, health and reflection.
//!
//! Belongs here: generated code, wire conversions, streaming to a client at its pace.
//! Does not belong here: who may call (`access`, applied by `http`), where pictures and files come from.
//!
//! Invariants:
//! - Generated types end here; the services know only the crate's own.
//! - A slow client slows only its own call: pictures are dropped for it, file chunks wait for it.
//!
//! Data paths: `streams::Subscription` -> `frames` -> client; `models::OpenModelFile` -> `models` -> client.

pub mod client;
mod convert;
mod devices;
mod frames;
mod models;
mod opened;
#[expect(
    missing_docs,
    clippy::allow_attributes_without_reason,
    reason = "generated from the proto file, which documents it"
)]
pub mod pb {
    tonic::include_proto!("ml");

    /// The compiled proto file, for reflection.
    pub const DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/ml_descriptor.bin"));
}

use tonic::service::Routes;

use crate::{activity::Activity, models::SharedModels, source::Sources, streams::Streams};

/// What the services serve.
#[derive(Debug, Clone)]
pub struct Served {
    /// Every stream.
    pub streams: Streams,
    /// Opens streams.
    pub sources: Sources,
    /// The model cache.
    pub models: SharedModels,
    /// Kept busy by streams that a call has opened.
    pub activity: Activity,
}

/// Largest message in either direction, in bytes (64 MiB): gRPC's own limit of 4 MiB is less than one 1080p picture.
pub const MAX_MESSAGE_BYTES: usize = 64 << 20;

/// Every service, ready to be called.
pub fn routes(served: &Served) -> Routes {
    let models =
        pb::model_management_service_server::ModelManagementServiceServer::new(models::Models::new(&served.models))
            .max_decoding_message_size(MAX_MESSAGE_BYTES)
            .max_encoding_message_size(MAX_MESSAGE_BYTES);
    let frames = pb::stream_service_server::StreamServiceServer::new(frames::Frames::new(served))
        .max_decoding_message_size(MAX_MESSAGE_BYTES)
        .max_encoding_message_size(MAX_MESSAGE_BYTES);
    let (health, health_service) = tonic_health::server::health_reporter();
    let mut routes = Routes::builder();
    routes.add_service(models).add_service(frames).add_service(health_service);
    // Both versions: clients in other languages know only the older one yet.
    let reflection = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(pb::DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    match (reflection().build_v1(), reflection().build_v1alpha()) {
        (Ok(v1), Ok(v1alpha)) => drop(routes.add_service(v1).add_service(v1alpha)),
        (Err(error), _) | (_, Err(error)) => tracing::error!(%error, "reflection is not served"),
    }
    // What is in the routes is served for as long as the hub runs.
    tokio::spawn(async move {
        health.set_serving::<pb::model_management_service_server::ModelManagementServiceServer<models::Models>>().await;
        health.set_serving::<pb::stream_service_server::StreamServiceServer<frames::Frames>>().await;
    });
    routes.routes().prepare()
}
