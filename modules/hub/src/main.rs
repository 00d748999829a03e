//! The hub's binary.

fn main() -> std::process::ExitCode {
    isotherm_host::start::main("hub", env!("CARGO_PKG_VERSION"), isotherm_hub::run)
}
