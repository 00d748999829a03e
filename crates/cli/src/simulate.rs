//! `isotherm simulate`: whole sites in virtual time, and a ledger of every reading.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use clap::Args;
use isotherm_host::Stop;
use isotherm_sim::{Fault, Outcome, Plan};
use serde_json::json;

use crate::context::Context;
use crate::output::Failure;

/// Problems of one seed that are told; the first says most.
const TOLD_MAX: usize = 5;

/// `isotherm simulate`.
#[derive(Debug, Clone, Args)]
#[command(
    after_help = "Examples:\n  isotherm simulate\n  isotherm simulate --seeds 10000 --json\n  isotherm simulate --seed 71 --trace\n  isotherm simulate --fault kill-hub --fault disk-full\n\nThe same seed plays the same game on every machine. Exit status 1 if a seed failed; it is named, with how to play\nit again."
)]
pub(crate) struct SimulateArgs {
    /// Play this one seed.
    #[arg(long, value_name = "N", conflicts_with_all = ["seeds", "from"])]
    pub(crate) seed: Option<u64>,
    /// Play so many seeds, and those that once found a bug.
    #[arg(long, default_value_t = 100, value_name = "N")]
    pub(crate) seeds: u64,
    /// The first of them.
    #[arg(long, default_value_t = 0, value_name = "N")]
    pub(crate) from: u64,
    /// How long the sensors sense, in virtual minutes.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=1440))]
    pub(crate) minutes: u64,
    /// What goes wrong, again for more: kill-hub, kill-sensor, kill-filter, cut, partition, slow-link, disk-full,
    /// slow-disk, clock-jump, threshold-change, lying-disk, bit-rot, and with a hub upstream outage, kill-upstream,
    /// log-rot; without it, the seed draws some of them.
    #[arg(long = "fault", value_name = "NAME")]
    pub(crate) faults: Vec<Fault>,
    /// Print everything that happens, to standard error.
    #[arg(long)]
    pub(crate) trace: bool,
}

/// Plays the seeds, on as many threads as there are processors.
pub(crate) fn simulate(context: &Context, args: &SimulateArgs) -> Result<(), Failure> {
    context.stop_on_signals(&context.host.stop)?;
    if args.trace {
        context.log("info")?;
    }
    let games = games(args);
    let begun = context.host.now();
    let mut sum = Sum::default();
    let told = Mutex::new(&mut sum);
    play_all(&games, &context.host.stop, |plan, outcome| {
        let mut sum = told.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        sum.add(&outcome);
        if outcome.problems.is_empty() && games.len() > 1 {
            Ok(())
        } else {
            tell(context, args, plan, &outcome)
        }
    })?;
    sum.say(context, context.host.now().duration_since(begun).as_secs_f64())
}

/// Which seeds are played, and how.
fn games(args: &SimulateArgs) -> Vec<(u64, Plan)> {
    let faults = (!args.faults.is_empty()).then(|| args.faults.clone());
    let plan = Plan { minutes: args.minutes, faults, trace: args.trace };
    match args.seed {
        Some(seed) => vec![(seed, plan)],
        None => {
            let found = isotherm_sim::found().map(|seed| (seed, Plan::default()));
            let fresh = (0..args.seeds).map(|number| (args.from.wrapping_add(number), plan.clone()));
            found.chain(fresh).collect()
        }
    }
}

fn play_all(
    games: &[(u64, Plan)],
    stop: &Stop,
    done: impl Fn(&Plan, Outcome) -> Result<(), Failure> + Sync,
) -> Result<(), Failure> {
    let threads = thread::available_parallelism().map_or(1, usize::from).min(games.len());
    let next = AtomicUsize::new(0);
    let work = || {
        while !stop.is_stopped()
            && let Some((seed, plan)) = games.get(next.fetch_add(1, Ordering::Relaxed))
        {
            done(plan, isotherm_sim::play(*seed, plan))?;
        }
        Ok(())
    };
    thread::scope(|scope| {
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        threads.into_iter().try_for_each(|thread| thread.join().expect("a game's panics stay in the game"))
    })
}

/// One game: what came of it and how to play it again.
fn tell(context: &Context, args: &SimulateArgs, plan: &Plan, outcome: &Outcome) -> Result<(), Failure> {
    let names: Vec<&str> = outcome.faults.iter().map(|fault| fault.name()).collect();
    let mut again = format!("isotherm simulate --seed {} --minutes {} --trace", outcome.seed, plan.minutes);
    for fault in plan.faults.iter().flatten() {
        again.push_str(&format!(" --fault {fault}"));
    }
    let event = json!({
        "event": "seed",
        "seed": outcome.seed,
        "faults": names,
        "trace": format!("{:016x}", outcome.trace),
        "sensed": outcome.sensed,
        "delivered": outcome.delivered,
        "repeats": outcome.repeats,
        "lost": outcome.lost,
        "problems": outcome.problems,
        "replay": again,
    });
    let mut sentence = format!(
        "seed {} ({}): {} sensed and kept, {} delivered, {} repeats, trace {:016x}",
        outcome.seed,
        names.join(", "),
        outcome.sensed,
        outcome.delivered,
        outcome.repeats,
        outcome.trace
    );
    for problem in outcome.problems.iter().take(TOLD_MAX) {
        sentence.push_str(&format!("\n  {problem}"));
    }
    if !outcome.problems.is_empty() && args.seed.is_none() {
        sentence.push_str(&format!("\n  again: {again}"));
    }
    Ok(context.output.say(&event, sentence)?)
}

/// All games together.
#[derive(Debug, Default)]
struct Sum {
    seeds: u64,
    failed: Vec<u64>,
    sensed: u64,
    delivered: u64,
    repeats: u64,
    lost: u64,
    virtual_seconds: f64,
}

impl Sum {
    fn add(&mut self, outcome: &Outcome) {
        self.seeds += 1;
        self.sensed += outcome.sensed;
        self.delivered += outcome.delivered;
        self.repeats += outcome.repeats;
        self.lost += outcome.lost;
        self.virtual_seconds += outcome.virtual_time.as_secs_f64();
        if !outcome.problems.is_empty() {
            self.failed.push(outcome.seed);
        }
    }

    fn say(&mut self, context: &Context, real_seconds: f64) -> Result<(), Failure> {
        self.failed.sort_unstable(); // threads finish as they like
        let event = json!({
            "event": "summary",
            "seeds": self.seeds,
            "failed": self.failed,
            "sensed": self.sensed,
            "delivered": self.delivered,
            "repeats": self.repeats,
            "lost": self.lost,
            "virtualSeconds": self.virtual_seconds,
            "realSeconds": real_seconds,
        });
        let sentence = format!(
            "{} seeds, {} failed: {} sensed and kept, {} alerts delivered, {} repeats, {} lost; \
             {:.0} virtual seconds in {real_seconds:.1}",
            self.seeds,
            self.failed.len(),
            self.sensed,
            self.delivered,
            self.repeats,
            self.lost,
            self.virtual_seconds
        );
        context.output.say(&event, sentence)?;
        if self.failed.is_empty() { Ok(()) } else { Err(Failure::No(String::new())) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(seed: Option<u64>, faults: &[Fault]) -> SimulateArgs {
        SimulateArgs { seed, seeds: 3, from: 7, minutes: 2, faults: faults.to_vec(), trace: false }
    }

    #[test]
    fn seeds_that_once_found_a_bug_are_played_before_the_others() {
        let seeds: Vec<u64> = games(&args(None, &[])).into_iter().map(|(seed, _)| seed).collect();
        let expected: Vec<u64> = isotherm_sim::found().chain([7, 8, 9]).collect();
        assert_eq!(seeds, expected);
    }

    #[test]
    fn one_seed_is_played_alone_with_the_faults_that_are_named() {
        let games = games(&args(Some(71), &[Fault::Cut]));
        assert_eq!(games.len(), 1);
        assert_eq!((games[0].0, games[0].1.faults.as_deref()), (71, Some(&[Fault::Cut][..])));
    }

    #[test]
    fn a_fault_that_is_none_is_refused_with_those_there_are() {
        assert!("kill-cat".parse::<Fault>().unwrap_err().contains("kill-hub, kill-sensor"));
    }
}
