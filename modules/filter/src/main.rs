//! The filter as a process of its own.

fn main() -> std::process::ExitCode {
    isotherm_host::start::main("filter", env!("CARGO_PKG_VERSION"), isotherm_filter::run)
}
