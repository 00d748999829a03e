//! Where chance comes from: the system, or a seed that plays the same game again.

use ring::rand::{SecureRandom, SystemRandom};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

/// A source of chance. Clones draw from the same source.
#[derive(Clone)]
pub struct Chance(Source);

#[derive(Clone)]
enum Source {
    System(SystemRandom),
    Seeded(Arc<Mutex<u64>>),
}

impl Chance {
    /// Unforeseeable: fit for keys.
    pub fn of_system() -> Self {
        Self(Source::System(SystemRandom::new()))
    }

    /// The same draws for the same seed: for simulations and tests, never for keys that matter.
    pub fn seeded(seed: u64) -> Self {
        Self(Source::Seeded(Arc::new(Mutex::new(seed))))
    }

    /// A source of its own for somebody else, so that how often one draws does not change what the other gets.
    #[must_use]
    pub fn fork(&self) -> Self {
        match &self.0 {
            Source::System(_) => self.clone(),
            Source::Seeded(_) => Self::seeded(self.u64()),
        }
    }

    /// Any number.
    pub fn u64(&self) -> u64 {
        match &self.0 {
            Source::System(_) => {
                let mut bytes = [0; 8];
                self.bytes(&mut bytes);
                u64::from_le_bytes(bytes)
            }
            Source::Seeded(state) => splitmix(&mut state.lock().unwrap_or_else(PoisonError::into_inner)),
        }
    }

    /// From 0 up to, not including, 1.
    pub fn f64(&self) -> f64 {
        const STEPS: f64 = (1u64 << 53) as f64; // as many as a double's mantissa can tell apart
        (self.u64() >> 11) as f64 / STEPS
    }

    /// Fills `into`.
    ///
    /// # Panics
    /// When the system has no chance to give, which Linux promises never happens once it has started.
    pub fn bytes(&self, into: &mut [u8]) {
        match &self.0 {
            Source::System(random) => random.fill(into).expect("the system's source of chance answers"),
            Source::Seeded(_) => {
                for chunk in into.chunks_mut(8) {
                    chunk.copy_from_slice(&self.u64().to_le_bytes()[..chunk.len()]);
                }
            }
        }
    }
}

impl fmt::Debug for Chance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Source::System(_) => "Chance(system)",
            Source::Seeded(_) => "Chance(seeded)",
        })
    }
}

/// Steele, Lea and Flood's SplitMix64: small, good enough for weather and delays, the same on every machine.
fn splitmix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_draws_the_same_and_another_does_not() {
        let draw = |seed| {
            let chance = Chance::seeded(seed);
            let mut bytes = [0; 13];
            chance.bytes(&mut bytes);
            (chance.u64(), bytes)
        };
        assert_eq!(draw(7), draw(7));
        assert_ne!(draw(7), draw(8));
    }

    #[test]
    fn a_fork_does_not_hear_how_often_the_other_draws() {
        let one = Chance::seeded(1);
        let fork = one.fork();
        one.u64();
        let other_fork = Chance::seeded(1).fork();
        assert_eq!(fork.u64(), other_fork.u64());
    }

    #[test]
    fn fractions_stay_under_one_and_fill_the_range() {
        for chance in [Chance::seeded(3), Chance::of_system()] {
            let draws: Vec<f64> = (0..1000).map(|_| chance.f64()).collect();
            assert!(draws.iter().all(|draw| (0.0..1.0).contains(draw)));
            assert!(draws.iter().any(|draw| *draw < 0.1) && draws.iter().any(|draw| *draw > 0.9));
        }
    }
}
