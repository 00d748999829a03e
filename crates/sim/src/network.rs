//! Machines by name, and the links between them: delay, loss as TCP shows it, cuts, and streams that only one end
//! knows to be over.

mod cable;
mod door;
mod link;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use isotherm_host::Chance;

use crate::life::{Life, Name};
use crate::trace::Trace;
use cable::{Cable, Plug};
use door::Backlog;
pub(crate) use door::NetworkDoor;
pub(crate) use link::{Link, Quality};

/// Where somebody listens.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Address {
    Tcp(u16),
    Unix(PathBuf),
}

/// All cables of the world. Clones are the same network.
#[derive(Debug, Clone)]
pub(crate) struct Net {
    inner: Arc<Mutex<Inner>>,
    chance: Chance,
    trace: Trace,
}

#[derive(Debug, Default)]
struct Inner {
    links: BTreeMap<(Name, Name), Arc<Link>>,
    listening: BTreeMap<(Name, Address), Arc<Backlog>>,
    cables: Vec<Weak<Cable>>,
    powered: BTreeSet<Name>,
    drawn: u64,
}

impl Net {
    pub(crate) fn new(chance: Chance, trace: Trace) -> Self {
        Self { inner: Arc::default(), chance, trace }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The link between two machines, whichever is named first.
    pub(crate) fn link(&self, one: &Name, other: &Name) -> Arc<Link> {
        let ends = if one <= other { (one, other) } else { (other, one) };
        let key = (Arc::clone(ends.0), Arc::clone(ends.1));
        Arc::clone(self.lock().links.entry(key).or_default())
    }

    /// A machine is up, or it is not: then nobody even says that nobody listens.
    pub(crate) fn power(&self, machine: &Name, on: bool) {
        let mut inner = self.lock();
        if on {
            inner.powered.insert(Arc::clone(machine));
        } else {
            inner.powered.remove(machine);
        }
    }

    fn is_powered(&self, machine: &Name) -> bool {
        self.lock().powered.contains(machine)
    }

    /// A process is gone. `told`: its kernel lives and tells the other ends; else they find out when they speak.
    pub(crate) fn bury(&self, life: &Arc<Life>, told: bool) {
        let closed: Vec<Arc<Backlog>> = {
            let mut inner = self.lock();
            let inner = &mut *inner;
            inner
                .listening
                .extract_if(.., |_, backlog| backlog.is_of(life))
                .map(|(_, backlog)| backlog)
                .collect()
        };
        closed.iter().for_each(|backlog| backlog.close());
        for cable in self.cables() {
            cable.bury(life, told);
        }
    }

    /// The link carries nothing, or does again. `forgets`: something on the way forgot the streams meanwhile.
    pub(crate) fn cut(&self, one: &Name, other: &Name, cut: bool, forgets: bool) {
        let link = self.link(one, other);
        link.set_cut(cut);
        for cable in self.cables().iter().filter(|cable| cable.runs_over(&link)) {
            if !cut && forgets {
                cable.tear((self.chance.u64() % 2) as usize);
            }
            cable.wake();
        }
    }

    fn cables(&self) -> Vec<Arc<Cable>> {
        let mut inner = self.lock();
        inner.cables.retain(|cable| cable.strong_count() > 0);
        inner.cables.iter().filter_map(Weak::upgrade).collect()
    }

    fn draw_cable(&self, from: &Arc<Life>, to: &Arc<Life>, hashed: bool) -> (Plug, Plug) {
        let link = self.link(&from.machine, &to.machine);
        let mut inner = self.lock();
        inner.drawn += 1;
        let cable = Cable::new(inner.drawn, link, [from, to], hashed, self.clone());
        inner.cables.push(Arc::downgrade(&cable));
        (Plug::new(Arc::clone(&cable), 0), Plug::new(cable, 1))
    }
}
