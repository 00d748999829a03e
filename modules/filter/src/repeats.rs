//! Which readings were here before.

use isotherm_proto::Reading;
use jiff::Timestamp;

/// The newest reading that a sensor has sent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Newest {
    sequence: u64,
    at: Timestamp,
}

impl Newest {
    /// Whether a reading was here before; remembers it if not.
    ///
    /// A repeat has a number that is not new and a time that is not new. A sensor that lost its state and counts
    /// from 1 again measures at later times than before, so it is heard at once. A stranger that does not count
    /// (number 0) never repeats itself.
    pub(crate) fn is_repeat(newest: &mut Option<Self>, reading: &Reading) -> bool {
        if reading.sequence == 0 {
            return false;
        }
        let old = |newest: &Self| reading.sequence <= newest.sequence && reading.at <= newest.at;
        let repeat = newest.as_ref().is_some_and(old);
        if !repeat {
            *newest = Some(Self { sequence: reading.sequence, at: reading.at });
        }
        repeat
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use isotherm_proto::Celsius;

    /// Which of these (number, seconds) are repeats.
    fn repeats(readings: &[(u64, i64)]) -> Vec<bool> {
        let mut newest = None;
        let reading = |&(sequence, seconds): &(u64, i64)| Reading {
            sensor_id: "attic".into(),
            sequence,
            celsius: Celsius::measured(20.0),
            at: Timestamp::from_second(seconds).unwrap(),
        };
        readings.iter().map(|it| Newest::is_repeat(&mut newest, &reading(it))).collect()
    }

    #[test]
    fn what_is_sent_again_after_a_lost_link_is_a_repeat() {
        let sent = [(1, 10), (2, 11), (3, 12), (2, 11), (3, 12), (4, 13)];
        assert_eq!(repeats(&sent), [false, false, false, true, true, false]);
    }

    #[test]
    fn a_sensor_that_counts_from_one_again_is_heard() {
        assert_eq!(repeats(&[(500, 10), (1, 11), (2, 12), (1, 11)]), [false, false, false, true]);
    }

    #[test]
    fn two_readings_in_one_moment_are_told_apart_by_their_numbers() {
        assert_eq!(repeats(&[(1, 10), (2, 10), (2, 10)]), [false, false, true]);
    }

    #[test]
    fn a_clock_set_back_does_not_silence_a_sensor_that_counts_on() {
        assert_eq!(repeats(&[(1, 1000), (2, 10), (3, 11)]), [false, false, false]);
    }

    #[test]
    fn strangers_that_do_not_count_never_repeat_themselves() {
        assert_eq!(repeats(&[(0, 10), (0, 10), (1, 10), (0, 10)]), [false, false, false, false]);
    }
}
