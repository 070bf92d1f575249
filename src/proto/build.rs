//! Compiles the .proto files with `protox`, so that nobody needs a protoc.

use prost::Message;
use std::error::Error;
use std::path::PathBuf;

#[allow(clippy::disallowed_methods, reason = "a build script writes what it builds")]
fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=proto");
    let roots = [
        "proto/rpc.proto",
        "proto/v3lock.proto",
        "proto/v3election.proto",
        "proto/lease.proto",
        "proto/health.proto",
        "proto/reflection_v1.proto",
        "proto/reflection_v1alpha.proto",
    ];
    let files = protox::compile(roots, ["proto"])?;
    // For those who treat messages by their description: the JSON gateway, and reflection.
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    std::fs::write(out.join("descriptors.bin"), files.encode_to_vec())?;
    tonic_prost_build::configure()
        // Connections are made over a world's streams; tonic's own transport would ask tokio's runtime.
        .build_transport(false)
        .bytes(".")
        .compile_fds(files)?;
    Ok(())
}
