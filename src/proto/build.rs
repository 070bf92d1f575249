//! Compiles the .proto files with `protox`, so that nobody needs a protoc.

use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=proto");
    let files =
        protox::compile(["proto/rpc.proto", "proto/v3lock.proto", "proto/v3election.proto"], ["proto"])?;
    tonic_prost_build::configure()
        // Connections are made over a world's streams; tonic's own transport would ask tokio's runtime.
        .build_transport(false)
        .bytes(".")
        .compile_fds(files)?;
    Ok(())
}
