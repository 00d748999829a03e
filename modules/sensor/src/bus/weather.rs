//! A room with a window and a heater, drawn from a seed: something for an emulated chip to measure.
//!
//! The air outside follows the day; the heater comes on every few seconds and carries the room across 25 °C, so
//! that someone who looks on sees the threshold being crossed. Then some noise. The same seed makes the same room.

use std::{
    f64::consts::TAU,
    time::{Duration, Instant},
};

/// The mean of a day without the heater, °C, and how far the day swings around it.
const MEAN: f64 = 21.0;
const SWING: f64 = 2.0;
const DAY: f64 = 86_400.0;
/// What the heater adds in the long run, °C, and how fast the room follows (time to 63 %).
const HEATER: f64 = 8.0;
const FOLLOWS: f64 = 2.5;
/// How long the heater stays on and off, seconds: at least this, and up to as much again.
const ON: f64 = 2.5;
const OFF: f64 = 3.5;
/// Half the width of the noise, °C.
const NOISE: f64 = 0.15;
/// Where the room begins, with the heater on: just above the threshold, so that an alert is not long in coming.
const BEGINS: f64 = 25.3;
/// After so long without a look, the room is where it would be anyway.
const FORGETS: Duration = Duration::from_secs(60);

/// A room. Ask it in the order of time.
#[derive(Clone, Debug)]
pub struct Weather {
    chance: u64,
    began: Instant,
    now: Instant,
    degrees: f64,
    heater: bool,
    switches: Instant,
}

impl Weather {
    /// The room of this seed, from `now` on.
    #[must_use]
    pub fn new(seed: u64, now: Instant) -> Self {
        let mut room = Self { chance: seed, began: now, now, degrees: BEGINS, heater: true, switches: now };
        room.switches = now + room.draw_phase();
        room
    }

    /// The temperature at a moment, °C.
    pub fn at(&mut self, now: Instant) -> f32 {
        if now.saturating_duration_since(self.now) > FORGETS {
            self.degrees = self.outside(now);
            self.now = now - FORGETS;
            self.switches = self.switches.max(self.now);
        }
        while self.switches <= now {
            self.follow(self.switches);
            self.heater = !self.heater;
            let phase = self.draw_phase();
            self.switches += phase;
        }
        self.follow(now);
        (self.degrees + NOISE * (self.draw() + self.draw() - 1.0)) as f32
    }

    /// Lets the room follow the outside and the heater, neither of which changes meanwhile.
    fn follow(&mut self, until: Instant) {
        let target = self.outside(until) + if self.heater { HEATER } else { 0.0 };
        let passed = until.saturating_duration_since(self.now).as_secs_f64();
        self.degrees = target + (self.degrees - target) * (-passed / FOLLOWS).exp();
        self.now = self.now.max(until);
    }

    fn outside(&self, at: Instant) -> f64 {
        MEAN + SWING * (TAU * at.saturating_duration_since(self.began).as_secs_f64() / DAY).sin()
    }

    fn draw_phase(&mut self) -> Duration {
        let least = if self.heater { ON } else { OFF };
        Duration::from_secs_f64(least * (1.0 + self.draw()))
    }

    /// A number in 0..1 (SplitMix64 by Sebastiano Vigna: a few lines, and every seed is a good one).
    fn draw(&mut self) -> f64 {
        self.chance = self.chance.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.chance;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((mixed ^ (mixed >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Any moment to begin at.
    #[expect(
        clippy::disallowed_methods,
        reason = "an Instant can be had in no other way; only differences count"
    )]
    fn start() -> Instant {
        Instant::now()
    }

    fn day_of(seed: u64, step: Duration, steps: u32) -> Vec<f32> {
        let start = start();
        let mut weather = Weather::new(seed, start);
        (0..steps).map(|n| weather.at(start + step * n)).collect()
    }

    #[test]
    fn the_same_seed_makes_the_same_room_and_another_seed_another() {
        let room = |seed| day_of(seed, Duration::from_millis(250), 1_000);
        assert_eq!(room(7), room(7));
        assert_ne!(room(7), room(8));
    }

    #[test]
    fn somebody_who_looks_on_sees_the_threshold_crossed_every_few_seconds() {
        for seed in 0..20 {
            let minute = day_of(seed, Duration::from_millis(250), 240);
            let above: Vec<bool> = minute.iter().map(|degrees| *degrees > 25.0).collect();
            let ups = above.windows(2).filter(|pair| pair == &[false, true]).count();
            assert!((4..=20).contains(&ups), "seed {seed}: {ups} times in a minute");
            assert!(above[..4].contains(&true), "seed {seed}: no alert in the first second");
        }
    }

    #[test]
    fn a_day_at_any_step_stays_within_what_a_room_can_be() {
        for step in [1, 60, 600] {
            for degrees in day_of(3, Duration::from_secs(step), 2_000) {
                assert!((15.0..35.0).contains(&degrees), "{degrees}");
            }
        }
    }
}
