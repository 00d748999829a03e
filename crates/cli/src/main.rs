//! `isotherm`: a whole site in one process, and the verbs to look into it.

mod args;
mod bench;
mod check;
mod context;
mod decode;
mod doctor;
mod expect;
mod fault;
mod hub;
mod log;
mod method;
mod output;
mod render;
mod run;
mod send;
mod service;
mod simulate;
mod twin;
mod up;
mod watch;

use std::process::ExitCode;

use clap::{CommandFactory, Parser};

use args::{Cli, Verb};
use context::Context;
use output::Failure;

fn main() -> ExitCode {
    let cli = Cli::parse();
    if let Some(Verb::Completions { shell }) = cli.verb {
        clap_complete::generate(shell, &mut Cli::command(), "isotherm", &mut std::io::stdout());
        return ExitCode::SUCCESS;
    }
    let done = Context::new(&cli.manners).and_then(|context| {
        // A hub's connections share one mind: a second thread would mostly wait for the first one to let go of it.
        let threads = if matches!(cli.verb, Some(Verb::Hub(_))) { 1 } else { 2 };
        let mut runtime = tokio::runtime::Builder::new_multi_thread();
        let runtime = runtime.worker_threads(threads).enable_all().build()?;
        let done = runtime.block_on(act(&context, cli.verb));
        runtime.shutdown_background(); // a thread that waits for standard input must not hold us back
        done
    });
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}

async fn act(context: &Context, verb: Option<Verb>) -> Result<(), Failure> {
    match verb {
        None => up::up(context, args::UpArgs::default()).await,
        Some(Verb::Up(args)) => up::up(context, args).await,
        Some(Verb::Hub(args)) => hub::hub(context, args).await,
        Some(Verb::Run(args)) => run::run(context, &args).await,
        Some(Verb::Twin(verb)) => twin::twin(context, verb).await,
        Some(Verb::Method(args)) => method::method(context, args).await,
        Some(Verb::Send(args)) => send::send(context, args).await,
        Some(Verb::Watch(args)) => watch::watch(context, args).await,
        Some(Verb::Expect(args)) => expect::expect(context, args).await,
        Some(Verb::Fault(verb)) => fault::fault(context, verb).await,
        Some(Verb::Log(args)) => log::log(context, args).await,
        Some(Verb::Simulate(args)) => simulate::simulate(context, &args),
        Some(Verb::Check(args)) => check::check(context, &args),
        Some(Verb::Render(args)) => render::render(context, &args),
        Some(Verb::Doctor(args)) => doctor::doctor(context, &args).await,
        Some(Verb::Bench(args)) => bench::bench(context, args).await,
        Some(Verb::Completions { .. }) => Ok(()),
    }
}
