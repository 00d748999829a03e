//! What of one partition the front has passed by, and what the second reader, which walks behind it, takes of that. No
//! clock, no socket.
//!
//! Two things are passed by: what an outage left, where fresh data goes first, and what somebody sent who is refused
//! upstream, so that it blocks nobody else. The second reader goes through all of it once, in the log's order, up to
//! where the front is by then: so the order of each sender stays, but for what goes first because it is fresh.

use std::collections::{BTreeMap, BTreeSet};

use isotherm_iothub::Identity;
use serde::{Deserialize, Serialize};

/// Outages of which something is left at once; of the next ones nothing is set aside.
pub(super) const LEFT_MAX: usize = 8;

/// What is asked of an event.
#[derive(Debug, Clone, Copy)]
pub(super) struct Seen<'a> {
    pub(super) who: &'a Identity,
    pub(super) sequence: u64,
    pub(super) fresh: bool,
}

/// What was passed by.
#[derive(Debug, Default)]
pub(super) struct Passed {
    /// What outages left: first number, and the one after the last.
    left: Vec<(u64, u64)>,
    /// Of whom everything is still to be read, and from which number on.
    of: BTreeMap<Identity, u64>,
    walk: Option<Walk>,
}

/// The second reader under way.
#[derive(Debug)]
struct Walk {
    next: u64,
    /// Whose events it takes along, besides what outages left.
    along: BTreeSet<Identity>,
}

/// The same on disk.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Kept {
    left: Vec<(u64, u64)>,
    of: BTreeMap<String, u64>,
}

impl Kept {
    pub(super) fn is_empty(&self) -> bool {
        self.left.is_empty() && self.of.is_empty()
    }
}

impl Passed {
    pub(super) fn recall(kept: Kept) -> Self {
        let of = kept.of.into_iter().filter_map(|(who, from)| Some((who.parse().ok()?, from)));
        Self { left: kept.left, of: of.collect(), walk: None }
    }

    /// Whether the front takes an event; one that it does not take is passed by.
    pub(super) fn front_takes(&mut self, seen: Seen<'_>, refused: &BTreeSet<Identity>) -> bool {
        if self.of.contains_key(seen.who) {
            return false;
        }
        if refused.contains(seen.who) {
            self.of.insert(seen.who.clone(), seen.sequence);
            return false;
        }
        !self.is_left(seen)
    }

    /// Whether the second reader takes an event: it was passed by, and may go now.
    pub(super) fn walk_takes(&mut self, seen: Seen<'_>, refused: &BTreeSet<Identity>) -> bool {
        let mine = self.of.get(seen.who).is_some_and(|from| seen.sequence >= *from);
        if !mine && !self.is_left(seen) {
            return false;
        }
        let Some(walk) = &mut self.walk else { return false };
        let along = walk.along.contains(seen.who);
        if along && !refused.contains(seen.who) {
            return true;
        }
        if !refused.contains(seen.who) && !self.of.contains_key(seen.who) {
            return true;
        }
        walk.along.remove(seen.who);
        let from = self.of.entry(seen.who.clone()).or_insert(seen.sequence);
        *from = if along { seen.sequence } else { seen.sequence.min(*from) };
        false
    }

    fn is_left(&self, Seen { sequence, fresh, .. }: Seen<'_>) -> bool {
        let within = |(first, end): &(u64, u64)| (*first..*end).contains(&sequence);
        let since = self.left.first().is_some_and(|(first, _)| sequence >= *first);
        (since && !fresh) || self.left.iter().any(within)
    }

    /// Sets aside what an outage left; false if that is empty or was done too often.
    pub(super) fn leave(&mut self, first: u64, end: u64) -> bool {
        let room = first < end && self.left.len() < LEFT_MAX;
        if room {
            self.left.push((first, end));
        }
        room
    }

    /// From here on an outage is a new one.
    pub(super) fn left_until(&self) -> u64 {
        self.left.last().map_or(0, |(_, end)| *end)
    }

    /// Somebody is refused from now on, and what he sent up to here is on its way or done.
    pub(super) fn refuse(&mut self, who: &Identity, front: u64) {
        if let Some(walk) = &mut self.walk
            && walk.along.remove(who)
            && let Some(from) = self.of.get_mut(who)
        {
            *from = walk.next.max(*from);
        }
        self.of.entry(who.clone()).or_insert(front);
    }

    /// Where the second reader is, if there is anything for it to read.
    pub(super) fn walk(&mut self, refused: &BTreeSet<Identity>) -> Option<u64> {
        if self.walk.is_none() {
            let may = |who: &&Identity| !refused.contains(*who);
            let along: BTreeSet<Identity> = self.of.keys().filter(may).cloned().collect();
            let theirs = along.iter().map(|who| self.of[who]);
            let next = self.left.first().map(|(first, _)| *first).into_iter().chain(theirs).min()?;
            self.walk = Some(Walk { next, along });
        }
        self.walk.as_ref().map(|walk| walk.next)
    }

    pub(super) fn step(&mut self, next: u64) {
        if let Some(walk) = &mut self.walk {
            walk.next = next;
        }
    }

    /// The second reader has caught up with the front: says with whose events it is done.
    pub(super) fn end_walk(&mut self) -> BTreeSet<Identity> {
        let Some(walk) = self.walk.take() else { return BTreeSet::new() };
        self.left.clear();
        self.of.retain(|who, _| !walk.along.contains(who));
        walk.along
    }

    /// What is to be kept, when `acknowledged` says how far the second reader's events are.
    pub(super) fn kept(&self, acknowledged: Option<u64>, stuck: impl Fn(&Identity) -> Option<u64>) -> Kept {
        let walked = self.walk.as_ref().map(|walk| acknowledged.unwrap_or(walk.next));
        let clipped = |(first, end): &(u64, u64)| ((*first).max(walked.unwrap_or(0)), *end);
        // Its end stays, however far the walk is: what is not fresh behind it is passed by until the walk ends.
        let left = self.left.iter().map(clipped).map(|(first, end)| (first, end.max(first))).collect();
        let from = |(who, from): (&Identity, &u64)| {
            let along = self.walk.as_ref().is_some_and(|walk| walk.along.contains(who));
            let from = if along { (*from).max(walked.unwrap_or(0)) } else { *from };
            (who.to_string(), stuck(who).map_or(from, |stuck| stuck.min(from)))
        };
        Kept { left, of: self.of.iter().map(from).collect() }
    }

    /// The first number that is still wanted, those of refused ones aside.
    pub(super) fn wanted_from(&self, kept: &Kept, refused: &BTreeSet<Identity>) -> Option<u64> {
        let of = self.of.keys().filter(|who| !refused.contains(*who));
        let of = of.filter_map(|who| kept.of.get(who.as_str()).copied());
        kept.left.iter().map(|(first, _)| *first).chain(of).min()
    }

    /// How many numbers outages left, about, and whose events wait.
    pub(super) fn sizes(&self) -> (u64, usize) {
        let walked = self.walk.as_ref().map_or(0, |walk| walk.next);
        let left = self.left.iter().map(|(first, end)| end.saturating_sub(*first.max(&walked))).sum();
        (left, self.of.len())
    }
}
