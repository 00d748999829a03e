//! What is remembered of each sensor, for a limited number of them.

use std::collections::BTreeMap;

use crate::repeats::Newest;
use crate::rule::Rule;
use crate::settings::Settings;

/// How many sensors are remembered. One more, and the one that was silent longest is forgotten: a repeat of its
/// readings would go unnoticed, and its hysteresis starts anew.
pub const SENSORS_MAX: usize = 1024;

/// What is remembered of one sensor.
#[derive(Debug)]
pub(crate) struct Sensor {
    pub(crate) newest: Option<Newest>,
    pub(crate) rule: Rule,
    heard: u64,
}

/// The sensors by name.
#[derive(Debug, Default)]
pub(crate) struct Sensors {
    by_id: BTreeMap<Box<str>, Sensor>,
    clock: u64,
}

impl Sensors {
    /// The sensor of that name, a new one if it is not known.
    pub(crate) fn of(&mut self, id: &str, settings: &Settings) -> &mut Sensor {
        self.clock += 1;
        if !self.by_id.contains_key(id) {
            self.make_room();
            let sensor = Sensor { newest: None, rule: Rule::of(settings), heard: 0 };
            self.by_id.insert(id.into(), sensor);
        }
        let sensor = self.by_id.get_mut(id).expect("it was there or has just been put there");
        sensor.heard = self.clock;
        sensor
    }

    /// New settings rule from the next reading on; what is above stays above until it has come down.
    pub(crate) fn apply(&mut self, settings: &Settings) {
        for sensor in self.by_id.values_mut() {
            sensor.rule.apply(settings);
        }
    }

    fn make_room(&mut self) {
        if self.by_id.len() < SENSORS_MAX {
            return;
        }
        let silent = self.by_id.iter().min_by_key(|(_, sensor)| sensor.heard).map(|(id, _)| id.clone());
        if let Some(id) = silent {
            self.by_id.remove(&id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_sensor_too_many_makes_the_longest_silent_one_forgotten() {
        let settings = Settings::default();
        let mut sensors = Sensors::default();
        let name = |n: usize| format!("sensor{n}");
        for n in 0..SENSORS_MAX {
            sensors.of(&name(n), &settings);
        }
        sensors.of(&name(0), &settings);
        sensors.of("one more", &settings);
        assert_eq!(sensors.by_id.len(), SENSORS_MAX);
        assert!(sensors.by_id.contains_key(&*name(0)));
        assert!(!sensors.by_id.contains_key(&*name(1)));
    }
}
