//! Prints where a model's file is, and its first bytes: `cargo run --example fetch -- org/name config.json`.

#![expect(clippy::print_stdout, reason = "an example shows what it has")]

use std::{env, error::Error};

use framehost_client::RustFileProvider;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = env::args().skip(1);
    let (Some(model_id), Some(file_path)) = (arguments.next(), arguments.next()) else {
        return Err("usage: fetch MODEL_ID FILE [ADDRESS]".into());
    };
    let address = arguments.next().unwrap_or_else(|| "127.0.0.1:50052".to_owned());
    let provider = RustFileProvider::connect(&address).await?;
    let path = provider.get_file_path(&model_id, &file_path).await?;
    let mut stream = provider.stream_file(&model_id, &file_path).await?;
    let mut received = 0;
    while let Some(bytes) = stream.next().await? {
        received += bytes.len();
    }
    let range = provider.read_range(&model_id, &file_path, 0..4).await?;
    println!("{}", path.display());
    println!("{received} bytes, sha256 {}, commit {}, begins with {range:?}", stream.sha256(), stream.commit());
    Ok(())
}
