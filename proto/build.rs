//! Turns `isotherm/v1/*.proto` into Rust, without protoc.

use std::{env, error::Error, fs, path::PathBuf};

use prost::Message as _;

const FILES: [&str; 1] = ["isotherm/v1/temperature.proto"];

fn main() -> Result<(), Box<dyn Error>> {
    for file in FILES {
        println!("cargo::rerun-if-changed={file}");
    }
    #[expect(clippy::disallowed_methods, reason = "cargo tells a build script where to write only this way")]
    let out = PathBuf::from(env::var("OUT_DIR")?);
    let descriptors = protox::compile(FILES, ["."])?;
    fs::write(out.join("isotherm.v1.descriptors"), descriptors.encode_to_vec())?;
    prost_build::Config::new().out_dir(&out).compile_fds(descriptors)?;
    Ok(())
}
