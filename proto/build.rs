//! Compiles `kelson/v1/*.proto` with a protobuf compiler in Rust: no protoc is needed.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=kelson");
    let files = protox::compile(
        [
            "kelson/v1/agents.proto",
            "kelson/v1/kernel.proto",
            "kelson/v1/members.proto",
            "kelson/v1/relay.proto",
        ],
        ["."],
    )?;
    tonic_prost_build::configure()
        .bytes(".")
        .compile_fds(files)?;
    Ok(())
}
