//! Compiles the contract without a system `protoc` and keeps its descriptor set for reflection and tests.

use std::{env, fs, path::PathBuf};

use prost::Message as _;

const FILES: [&str; 8] = [
    "resetd/v1/plan.proto",
    "resetd/v1/event.proto",
    "resetd/v1/operation_service.proto",
    "resetd/v1/gateway_service.proto",
    "resetd/v1/window_service.proto",
    "resetd/v1/target_service.proto",
    "resetd/v1/admin_service.proto",
    "resetd/v1/system_service.proto",
];

#[expect(clippy::disallowed_methods, reason = "cargo tells a build script its paths through the environment")]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    let root = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?).join("..");
    let out = PathBuf::from(env::var("OUT_DIR")?);
    println!("cargo:rerun-if-changed={}", root.join("resetd").display());
    let set = protox::Compiler::new([&root])?
        .include_source_info(true)
        .include_imports(true)
        .open_files(FILES)?
        .file_descriptor_set();
    fs::write(out.join("descriptor_set.bin"), set.encode_to_vec())?;
    tonic_prost_build::configure().bytes(".").compile_fds(set)?;
    Ok(())
}
