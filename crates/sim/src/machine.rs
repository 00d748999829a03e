//! A machine with one process on it, which is started again whenever it has ended.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use isotherm_host::{Chance, Env, Host};
use tokio::task::{JoinError, JoinHandle};
use tokio::time::{sleep, timeout};

use crate::clock::{ClockDoor, Watch};
use crate::disk::{DiskDoor, Platter};
use crate::faults::End;
use crate::ledger::Ledger;
use crate::life::{Life, Name};
use crate::network::{Net, NetworkDoor};
use crate::trace::Trace;

/// A process that is told to end is killed after this long, as container engines do.
const GRACE: Duration = Duration::from_secs(10);
/// A process that ended by itself is started again after this long.
const REST: Duration = Duration::from_secs(1);
/// A fuse that has not burnt down by then goes off anyhow.
const FUSE: Duration = Duration::from_secs(5);

/// Which function runs there: the very one that runs in production.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    Hub,
    Sensor,
    Filter,
}

/// A machine: its disk and clock outlive the processes.
#[derive(Debug)]
pub(crate) struct Machine {
    pub(crate) name: Name,
    pub(crate) role: Role,
    pub(crate) platter: Platter,
    pub(crate) watch: Watch,
    pub(crate) chance: Chance,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    life: Option<Arc<Life>>,
    /// How the process ends when it does, and for how long it stays away.
    order: Option<(End, Duration)>,
}

/// What all machines share.
#[derive(Debug, Clone)]
pub(crate) struct Outside {
    pub(crate) net: Net,
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) trace: Trace,
    pub(crate) lives: Arc<std::sync::atomic::AtomicU64>,
}

impl Outside {
    pub(crate) fn new_life(&self, machine: &Name) -> Arc<Life> {
        let number = self.lives.fetch_add(1, std::sync::atomic::Ordering::Relaxed) + 1;
        self.net.power(machine, true);
        Life::new(machine, number)
    }
}

impl Machine {
    pub(crate) fn new(name: &Name, role: Role, watch: Watch, chance: Chance) -> Arc<Self> {
        let (platter, state) = (Platter::default(), Mutex::default());
        Arc::new(Self { name: Arc::clone(name), role, platter, watch, chance, state })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The door of one life.
    pub(crate) fn host(&self, outside: &Outside, life: &Arc<Life>, env: Env) -> Host {
        let disk = DiskDoor {
            platter: self.platter.clone(),
            life: Arc::clone(life),
            watchman: Arc::clone(&outside.ledger) as _,
            chance: self.chance.fork(),
            trace: outside.trace.clone(),
        };
        let clock = ClockDoor {
            watch: self.watch.clone(),
            platter: self.platter.clone(),
            chance: self.chance.fork(),
        };
        Host {
            env,
            network: Arc::new(NetworkDoor { net: outside.net.clone(), life: Arc::clone(life) }),
            disk: Arc::new(disk),
            clock: Arc::new(clock),
            chance: self.chance.fork(),
            stop: life.stop.clone(),
            metrics: Default::default(),
            log: Default::default(), // a simulated process does not turn ours up
        }
    }

    /// Runs the process, and starts it again, for ever.
    pub(crate) async fn keep_running(self: Arc<Self>, outside: Outside, env: Env) {
        loop {
            let life = outside.new_life(&self.name);
            outside.trace.say(format_args!("{life:?} starts"));
            self.state().life = Some(Arc::clone(&life));
            let host = self.host(&outside, &life, env.clone());
            let mut task = match self.role {
                Role::Hub => tokio::spawn(isotherm_hub::run(host)),
                Role::Sensor => tokio::spawn(isotherm_sensor::run(host)),
                Role::Filter => tokio::spawn(isotherm_filter::run(host)),
            };
            let ended = self.wait(&life, &mut task).await;
            let (end, down) = self.state().order.take().unwrap_or((End::Killed, REST));
            match ended {
                Some(Ok(Ok(()))) => outside.trace.say(format_args!("{life:?} ends")),
                Some(Ok(Err(error))) => outside.trace.say(format_args!("{life:?} fails: {error:#}")),
                Some(Err(panic)) => outside.trace.say(format_args!("{life:?} panics: {panic}")),
                None => outside.trace.say(format_args!("{life:?} is gone: {end:?}")),
            }
            self.bury(&outside, &life, end);
            sleep(down).await;
        }
    }

    async fn wait(
        &self,
        life: &Life,
        task: &mut JoinHandle<anyhow::Result<()>>,
    ) -> Option<Result<anyhow::Result<()>, JoinError>> {
        let overdue = async {
            life.stop.stopped().await;
            sleep(GRACE).await;
        };
        tokio::select! {
            biased;
            () = life.died.notified() => None,
            ended = task => Some(ended),
            () = overdue => None,
        }
    }

    fn bury(&self, outside: &Outside, life: &Arc<Life>, end: End) {
        life.end();
        life.stop.stop(); // so that what is left of it goes away
        let power = end == End::Power;
        outside.net.bury(life, !power);
        if power {
            outside.net.power(&self.name, false);
            if self.platter.has_lied() {
                outside.trace.say(format_args!("{} loses what its disk said was safe", self.name));
                outside.ledger.books().lied();
            }
            self.platter.cut_power(&self.chance);
            outside.ledger.books().power_cut(&self.name);
        }
        self.platter.release();
    }

    /// Whether a process runs there.
    pub(crate) fn is_up(&self) -> bool {
        self.state().life.as_ref().is_some_and(|life| life.is_alive())
    }

    /// Ends the process that runs there now, if one does.
    pub(crate) fn end(self: &Arc<Self>, end: End, fuse: Option<u32>, down: Duration) {
        let mut state = self.state();
        let Some(life) = state.life.clone().filter(|life| life.is_alive()) else { return };
        state.order = Some((end, down));
        drop(state);
        match (end, fuse) {
            (End::Told, _) => life.stop.stop(),
            (_, None) => life.end(),
            (_, Some(steps)) => {
                self.platter.light_fuse(Some(steps));
                tokio::spawn(async move {
                    if timeout(FUSE, life.died.notified()).await.is_err() {
                        life.end();
                    } else {
                        life.died.notify_one(); // it was meant for whoever keeps the process running
                    }
                });
            }
        }
    }
}
