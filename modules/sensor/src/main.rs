//! The sensor as a process of its own.

fn main() -> std::process::ExitCode {
    isotherm_host::start::main("sensor", env!("CARGO_PKG_VERSION"), isotherm_sensor::run)
}
