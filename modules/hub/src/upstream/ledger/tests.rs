use super::super::passed::LEFT_MAX;
use super::*;

fn who(name: &str) -> Identity {
    Identity::device(name).unwrap()
}

fn entry(sequence: u64) -> Entry {
    Entry { partition: 0, sequence }
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

/// A log of who sent what, and a ledger over it.
struct World {
    /// Who sent it, whether it is fresh, and when it came.
    log: Vec<(Identity, bool, i64)>,
    now: i64,
    ledger: Ledger,
    refused: BTreeSet<Identity>,
    sent: Vec<u64>,
}

impl World {
    fn new() -> Self {
        let ledger = Ledger::recall([(None, 0)]);
        Self { log: Vec::new(), now: 0, ledger, refused: BTreeSet::new(), sent: Vec::new() }
    }

    fn come(&mut self, name: &str, fresh: bool, count: usize) {
        self.log.extend((0..count).map(|_| (who(name), fresh, self.now)));
    }

    /// Lets a reader read all that it may, up to `most` events taken.
    fn read(&mut self, reader: Reader, eager: bool, mut most: usize) {
        while let Some((from, room)) = self.ledger.place(0, reader, eager, &self.refused) {
            let end = match reader {
                Reader::Front => self.log.len() as u64,
                Reader::Behind => self.ledger.front(0),
            };
            if reader == Reader::Behind && from >= end {
                self.ledger.walked(0, end);
            }
            let mut taken = 0;
            for sequence in from..end {
                let (who, fresh, came) = &self.log[sequence as usize];
                let seen = Seen { who, sequence, fresh: *fresh };
                if taken == room.min(most) {
                    break;
                }
                if self.ledger.takes(0, reader, seen, &self.refused) {
                    self.ledger.begin(entry(sequence), reader, who, at(*came));
                    self.sent.push(sequence);
                    taken += 1;
                }
                if reader == Reader::Behind {
                    self.ledger.walked(0, sequence + 1);
                }
            }
            most -= taken;
            if taken == 0 || most == 0 {
                return;
            }
        }
    }

    fn acknowledge_all(&mut self, now: i64) {
        self.now = now;
        for sequence in self.sent.clone() {
            if !self.refused.contains(&self.log[sequence as usize].0) {
                self.ledger.done(entry(sequence), at(now));
            }
        }
    }

    /// What a hub that is killed now and started again would still send, and with which ledger.
    fn restarted(&self) -> World {
        let ledger = Ledger::recall([(Some(self.ledger.to_keep(0)), 0)]);
        World {
            log: self.log.clone(),
            now: self.now,
            ledger,
            refused: self.refused.clone(),
            sent: Vec::new(),
        }
    }
}

#[test]
fn the_cursor_stays_behind_the_first_that_is_not_acknowledged() {
    let mut ledger = Ledger::recall([(Some(5_u64.to_le_bytes().to_vec()), 0)]);
    (5..9).for_each(|sequence| ledger.begin(entry(sequence), Reader::Front, &who("d"), at(0)));
    assert_eq!((ledger.front(0), ledger.wanted_from(0, &BTreeSet::new())), (9, 5));
    ledger.done(entry(6), at(0));
    ledger.done(entry(7), at(0));
    assert_eq!(ledger.changed(0), None);
    ledger.done(entry(5), at(0));
    assert_eq!(ledger.changed(0), Some(8_u64.to_le_bytes().to_vec()));
    assert_eq!((ledger.changed(0), ledger.sizes().0), (None, 1));
    ledger.done(entry(8), at(0));
    assert_eq!(ledger.wanted_from(0, &BTreeSet::new()), 9);
}

#[test]
fn a_gap_in_the_log_holds_nothing_up() {
    let mut ledger = Ledger::recall([(None, 0)]);
    ledger.begin(entry(0), Reader::Front, &who("d"), at(0));
    ledger.begin(entry(40), Reader::Front, &who("d"), at(0));
    ledger.done(entry(0), at(0));
    assert_eq!(ledger.wanted_from(0, &BTreeSet::new()), 40);
}

#[test]
fn so_many_events_are_on_their_way_and_not_one_more() {
    let mut world = World::new();
    world.come("d", false, OPEN_MAX + 1);
    world.read(Reader::Front, false, usize::MAX);
    assert_eq!((world.sent.len(), world.ledger.sizes().0), (OPEN_MAX, OPEN_MAX));
    let part = (OPEN_MAX / ROOM_PART) as u64;
    (1..part).for_each(|number| world.ledger.done(entry(number), at(0)));
    world.read(Reader::Front, false, usize::MAX);
    assert_eq!(world.sent.len(), OPEN_MAX, "a few at a time are not worth it");
    world.ledger.done(entry(0), at(0));
    world.read(Reader::Front, false, usize::MAX);
    assert_eq!(world.sent.len(), OPEN_MAX + 1);
}

#[test]
fn where_fresh_data_goes_first_no_more_is_on_its_way_than_half_a_second_takes() {
    let mut world = World::new();
    world.come("d", true, 10_000);
    world.read(Reader::Front, true, usize::MAX);
    assert_eq!(world.sent.len(), OPEN_MIN, "an outage lets no more of it pile up before the fresh ones");
    world.acknowledge_all(1);
    world.read(Reader::Front, true, usize::MAX);
    world.acknowledge_all(1);
    world.ledger.beat();
    let before = world.sent.len();
    world.read(Reader::Front, true, usize::MAX);
    assert!(world.sent.len() - before > OPEN_MIN, "who acknowledges quickly gets more");
}

#[test]
fn what_an_outage_left_goes_behind_what_is_fresh_in_order_and_a_restart_loses_none_of_it() {
    let mut world = World::new();
    world.come("d", true, 1_000);
    world.read(Reader::Front, true, usize::MAX);
    world.acknowledge_all(60);
    assert!(world.ledger.was_late(0));
    assert_eq!(world.ledger.set_aside(0, 1_000), 1_000 - OPEN_MIN as u64);
    world.come("d", true, 2); // 1000 and 1001
    world.come("plain", false, 1); // 1002: waits for its turn
    world.read(Reader::Front, true, usize::MAX);
    assert_eq!(world.sent[OPEN_MIN..], [1_000, 1_001]);
    world.acknowledge_all(60);
    assert!(!world.ledger.was_late(0), "what came before the outage ended is no news of another one");
    world.read(Reader::Behind, true, 100);
    world.acknowledge_all(60);
    let mut again = world.restarted();
    assert_eq!(again.ledger.front(0), 1_003, "the fresh ones are not sent again");
    for world in [&mut again, &mut world] {
        while world.ledger.sizes() != (0, 0, 0) || world.ledger.wanted_from(0, &BTreeSet::new()) < 1_003 {
            world.read(Reader::Behind, true, usize::MAX);
            world.acknowledge_all(60);
        }
    }
    assert_eq!(again.sent, (356..1_000).chain([1_002]).collect::<Vec<_>>());
    let all: Vec<u64> = (0..256).chain([1_000, 1_001]).chain(256..1_000).chain([1_002]).collect();
    assert_eq!(world.sent, all);
}

#[test]
fn of_so_many_outages_something_is_set_aside_and_of_one_more_nothing() {
    let mut world = World::new();
    for outage in 0..LEFT_MAX as u64 {
        assert_eq!(world.ledger.set_aside(0, 10 * (outage + 1)), 10);
    }
    assert_eq!(world.ledger.set_aside(0, 1_000), 0);
    assert_eq!(world.ledger.front(0), 10 * LEFT_MAX as u64);
}

#[test]
fn who_is_refused_holds_up_nobody_and_all_of_his_goes_in_order_once_he_is_known() {
    let mut world = World::new();
    world.come("known", false, 2); // 0 1
    world.come("unknown", false, 2); // 2 3
    world.read(Reader::Front, false, usize::MAX);
    world.refused.insert(who("unknown"));
    world.acknowledge_all(1);
    world.ledger.refuse(&who("unknown")); // 2 and 3 are in his lane, and stay there
    world.come("unknown", false, 3); // 4 5 6
    world.come("known", false, 2); // 7 8
    world.read(Reader::Front, false, usize::MAX);
    world.acknowledge_all(1);
    assert_eq!(world.sent, [0, 1, 2, 3, 7, 8], "his are passed by");
    assert_eq!(world.ledger.wanted_from(0, &world.refused), 9, "if the log is full, they give way");
    assert_eq!(world.ledger.wanted_from(0, &BTreeSet::new()), 2);
    world.read(Reader::Behind, false, usize::MAX);
    assert_eq!(world.sent.len(), 6, "nothing can be done for him yet");

    let mut again = world.restarted();
    again.refused.clear();
    again.read(Reader::Behind, false, usize::MAX);
    assert_eq!(again.sent, [2, 3, 4, 5, 6], "a restart forgets what was in his lane, and sends it again");

    world.refused.clear();
    world.come("unknown", false, 1); // 9
    world.read(Reader::Front, false, usize::MAX);
    assert_eq!(world.sent.len(), 6, "not before those that came before it");
    world.read(Reader::Behind, false, usize::MAX);
    assert_eq!(world.sent[6..], [4, 5, 6, 9]);
    assert_eq!(
        world.ledger.wanted_from(0, &BTreeSet::new()),
        2,
        "those in the lane are not acknowledged yet"
    );
    world.acknowledge_all(1);
    world.come("unknown", false, 1); // 10
    world.read(Reader::Front, false, usize::MAX);
    assert_eq!(world.sent[10..], [10], "from now on he is like anybody else");
    world.acknowledge_all(1);
    assert_eq!(world.ledger.wanted_from(0, &BTreeSet::new()), 11);
}

#[test]
fn who_is_refused_again_in_the_middle_loses_nothing_and_keeps_his_order() {
    let mut world = World::new();
    world.refused.insert(who("unknown"));
    world.come("unknown", false, 6);
    world.read(Reader::Front, false, usize::MAX);
    world.refused.clear();
    world.read(Reader::Behind, false, 2);
    assert_eq!(world.sent, [0, 1]);
    world.refused.insert(who("unknown"));
    world.ledger.refuse(&who("unknown"));
    world.read(Reader::Behind, false, usize::MAX);
    assert_eq!(world.sent, [0, 1]);
    let mut again = world.restarted();
    again.refused.clear();
    again.read(Reader::Behind, false, usize::MAX);
    assert_eq!(again.sent, [0, 1, 2, 3, 4, 5]);
    world.refused.clear();
    world.acknowledge_all(1);
    world.read(Reader::Behind, false, usize::MAX);
    assert_eq!(world.sent, [0, 1, 2, 3, 4, 5]);
}

/// Whatever happens in whatever order: each sender's events go once, in order but for the fresh ones, and a restart at
/// any moment loses none.
#[test]
fn nothing_is_lost_or_sent_twice_or_out_of_order_whatever_happens() {
    for seed in 0..200_u64 {
        let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let mut draw = |below: u64| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state % below
        };
        let mut world = World::new();
        for _ in 0..60 {
            match draw(9) {
                0 | 1 => {
                    let name = ["a", "b", "c"][draw(3) as usize];
                    world.come(name, name == "a", 1 + draw(40) as usize);
                }
                2 | 3 => world.read(Reader::Front, draw(2) == 0, 1 + draw(60) as usize),
                4 | 5 => world.read(Reader::Behind, draw(2) == 0, 1 + draw(60) as usize),
                6 => world.acknowledge_all(draw(30) as i64),
                7 => {
                    let name = who(["b", "c"][draw(2) as usize]);
                    if world.refused.remove(&name) {
                        continue;
                    }
                    world.ledger.refuse(&name);
                    world.refused.insert(name);
                }
                _ => drop(world.ledger.set_aside(0, world.log.len() as u64)),
            }
            let mut again = world.restarted();
            let done: BTreeSet<u64> = {
                let kept = &world.ledger.0[0];
                let open: BTreeSet<u64> = (kept.front.keys().chain(kept.behind.keys()).copied())
                    .chain(kept.stuck.values().flatten().copied())
                    .collect();
                world.sent.iter().copied().filter(|sequence| !open.contains(sequence)).collect()
            };
            again.refused.clear();
            finish(&mut again);
            let all: BTreeSet<u64> = again.sent.iter().copied().chain(done).collect();
            assert_eq!(all.len(), world.log.len(), "seed {seed}: a restart loses some");
        }
        world.refused.clear();
        finish(&mut world);
        assert_eq!(world.sent.len(), world.log.len(), "seed {seed}");
        for name in ["b", "c"] {
            let theirs = world.sent.iter().filter(|sequence| world.log[**sequence as usize].0 == who(name));
            assert!(theirs.is_sorted(), "seed {seed}: {name} is out of order");
        }
    }
}

fn finish(world: &mut World) {
    for _ in 0..200 {
        world.read(Reader::Front, false, usize::MAX);
        world.read(Reader::Behind, false, usize::MAX);
        world.acknowledge_all(0);
        if world.ledger.sizes() == (0, 0, 0) && world.ledger.front(0) == world.log.len() as u64 {
            return;
        }
    }
    panic!("it does not come to an end: {:?}", world.ledger);
}
