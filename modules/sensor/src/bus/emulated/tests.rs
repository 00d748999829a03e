//! The emulated chip held against the TMP102's data sheet (SBOS397).

use std::time::Duration;

use super::*;

const ADDRESS: u8 = 0x48;
const MS: Duration = Duration::from_millis(1);

/// A chip, the bus it is on, and its time.
struct Bench {
    bus: Emulated,
    now: Instant,
}

impl Bench {
    fn at(degrees: f32) -> Self {
        let now = tokio::time::Instant::now().into_std();
        Self { bus: Emulated::new(ADDRESS, Environment::Still(degrees), now), now }
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
        self.bus.pass(self.now);
    }

    fn surround(&self, degrees: f32) {
        self.bus.surround(Environment::Still(degrees));
    }

    fn read(&mut self, register: u8) -> u16 {
        let mut bytes = [0; 2];
        self.bus.write_read(ADDRESS, &[register], &mut bytes).unwrap();
        u16::from_be_bytes(bytes)
    }

    fn write(&mut self, register: u8, value: u16) {
        let [high, low] = value.to_be_bytes();
        self.bus.write(ADDRESS, &[register, high, low]).unwrap();
    }

    /// The temperature register after one more conversion.
    fn measure(&mut self, degrees: f32) -> u16 {
        self.surround(degrees);
        self.pass(250 * MS);
        self.read(0)
    }

    /// Whether the chip alerts, by its pin in the polarity at power-up, after one more conversion.
    fn alerts(&mut self, degrees: f32) -> bool {
        self.surround(degrees);
        self.pass(250 * MS);
        !self.bus.alert_pin_is_high()
    }
}

#[test]
fn registers_hold_at_power_up_what_the_data_sheet_says() {
    let mut bench = Bench::at(25.0);
    assert_eq!([0, 1, 2, 3].map(|register| bench.read(register)), [0x0000, 0x60A0, 0x4B00, 0x5000]);
}

#[test]
fn the_first_conversion_takes_26_ms_and_reads_0_until_then() {
    let mut bench = Bench::at(25.0);
    bench.pass(25 * MS);
    assert_eq!(bench.read(0), 0x0000);
    bench.pass(MS);
    assert_eq!(bench.read(0), 0x1900);
}

#[test]
fn twelve_bits_are_as_in_table_3() {
    let mut bench = Bench::at(0.0);
    for (degrees, register) in [
        (128.0, 0x7FF0),
        (127.9375, 0x7FF0),
        (100.0, 0x6400),
        (80.0, 0x5000),
        (75.0, 0x4B00),
        (50.0, 0x3200),
        (25.0, 0x1900),
        (0.25, 0x0040),
        (0.0, 0x0000),
        (-0.25, 0xFFC0),
        (-25.0, 0xE700),
        (-55.0, 0xC900),
    ] {
        assert_eq!(bench.measure(degrees), register, "{degrees} °C");
    }
}

#[test]
fn thirteen_bits_are_as_in_table_4_with_the_lowest_bit_set() {
    let mut bench = Bench::at(0.0);
    bench.write(1, 0x60B0);
    for (degrees, register) in [
        (150.0, 0x4B00),
        (128.0, 0x4000),
        (127.9375, 0x3FF8),
        (25.0, 0x0C80),
        (0.25, 0x0020),
        (-0.25, 0xFFE0),
        (-25.0, 0xF380),
        (-55.0, 0xE480),
    ] {
        assert_eq!(bench.measure(degrees), register | 1, "{degrees} °C");
    }
}

#[test]
fn the_value_is_rounded_to_a_sixteenth() {
    let mut bench = Bench::at(0.0);
    assert_eq!(bench.measure(21.6), 0x15A0); // 21.625
    assert_eq!(bench.measure(-21.6), 0xEA60); // -21.625
}

#[test]
fn conversions_come_at_the_rate_that_is_set() {
    for (bits, period) in [(0x6020, 4_000), (0x6060, 1_000), (0x60A0, 250), (0x60E0, 125)] {
        let mut bench = Bench::at(10.0);
        bench.write(1, bits);
        bench.pass(26 * MS);
        bench.surround(20.0);
        bench.pass((period - 1) * MS);
        assert_eq!(bench.read(0), 0x0A00, "{bits:#06x}: too soon");
        bench.pass(MS);
        assert_eq!(bench.read(0), 0x1400, "{bits:#06x}: too late");
    }
}

#[test]
fn asleep_it_keeps_the_last_value() {
    let mut bench = Bench::at(10.0);
    bench.pass(26 * MS);
    bench.write(1, 0x61A0);
    bench.surround(20.0);
    bench.pass(Duration::from_secs(60));
    assert_eq!(bench.read(0), 0x0A00);
    bench.write(1, 0x60A0);
    bench.pass(26 * MS);
    assert_eq!(bench.read(0), 0x1400);
}

#[test]
fn a_conversion_that_runs_is_finished_before_it_sleeps() {
    let mut bench = Bench::at(10.0);
    bench.pass(10 * MS);
    bench.write(1, 0x61A0);
    bench.pass(16 * MS);
    assert_eq!(bench.read(0), 0x0A00);
}

#[test]
fn a_one_shot_reads_0_in_its_bit_until_it_is_done_and_then_1() {
    let mut bench = Bench::at(10.0);
    bench.pass(26 * MS);
    bench.write(1, 0x61A0);
    bench.surround(20.0);
    bench.write(1, 0xE1A0);
    bench.pass(25 * MS);
    assert_eq!((bench.read(1) >> 15, bench.read(0)), (0, 0x0A00));
    bench.pass(MS);
    assert_eq!((bench.read(1) >> 15, bench.read(0)), (1, 0x1400));

    bench.surround(30.0);
    bench.pass(Duration::from_secs(1));
    assert_eq!(bench.read(0), 0x1400, "one shot is one conversion");
}

#[test]
fn resolution_temperature_and_reserved_bits_cannot_be_written() {
    let mut bench = Bench::at(25.0);
    bench.pass(26 * MS);
    bench.write(1, 0x008F);
    assert_eq!(bench.read(1), 0x60A0);
    bench.write(0, 0x1234);
    assert_eq!(bench.read(0), 0x1900);
}

#[test]
fn the_pointer_stays_where_it_was_put() {
    let mut bench = Bench::at(25.0);
    bench.read(3);
    let mut bytes = [0; 2];
    bench.bus.read(ADDRESS, &mut bytes).unwrap();
    assert_eq!(bytes, [0x50, 0x00]);
}

#[test]
fn as_a_comparator_it_alerts_from_the_high_limit_on_until_below_the_low_one() {
    let mut bench = Bench::at(25.0);
    let alerts = [79.9375, 80.0, 78.0, 75.0, 74.9375, 79.0].map(|degrees| bench.alerts(degrees));
    assert_eq!(alerts, [false, true, true, true, false, false]);
}

#[test]
fn the_alert_bit_reads_inverted_as_the_polarity_says() {
    for (polarity, normal, alert) in [(0x0000, 1, 0), (0x0400, 0, 1)] {
        let mut bench = Bench::at(25.0);
        bench.write(1, 0x60A0 | polarity);
        bench.pass(250 * MS);
        assert_eq!((bench.read(1) >> 5 & 1, bench.bus.alert_pin_is_high()), (normal, polarity == 0));
        bench.measure(90.0);
        assert_eq!((bench.read(1) >> 5 & 1, bench.bus.alert_pin_is_high()), (alert, polarity != 0));
    }
}

#[test]
fn the_fault_queue_wants_so_many_conversions_in_a_row() {
    for (bits, queue) in [(0x0000, 1), (0x0800, 2), (0x1000, 4), (0x1800, 6)] {
        let mut bench = Bench::at(25.0);
        bench.write(1, 0x60A0 | bits);
        bench.alerts(25.0);
        for _ in 1..queue {
            assert!(!bench.alerts(90.0), "queue of {queue}");
        }
        if queue > 1 {
            assert!(!bench.alerts(25.0), "one below breaks the row");
            (1..queue).for_each(|_| assert!(!bench.alerts(90.0), "queue of {queue}"));
        }
        assert!(bench.alerts(90.0), "queue of {queue}");
    }
}

#[test]
fn as_an_interrupt_it_alerts_at_each_turn_until_a_register_is_read() {
    let mut bench = Bench::at(25.0);
    bench.write(1, 0x62A0);
    assert!(!bench.alerts(25.0));
    assert!(bench.alerts(90.0));
    bench.read(0);
    assert!(!bench.alerts(90.0), "it was read, and is still above");
    assert!(bench.alerts(20.0), "it fell below the low limit");
    bench.read(1);
    assert!(!bench.alerts(20.0));
}

#[test]
fn it_answers_an_alert_call_with_its_address_and_why() {
    let mut bench = Bench::at(90.0);
    let mut byte = [0];
    bench.pass(26 * MS);
    assert_eq!(
        bench.bus.read(ALERT_RESPONSE, &mut byte),
        Err(BusError::NoAcknowledge),
        "a comparator does not"
    );
    bench.write(1, 0x62A0);
    bench.alerts(20.0);
    bench.read(0);
    assert!(bench.alerts(90.0));
    bench.bus.read(ALERT_RESPONSE, &mut byte).unwrap();
    assert_eq!(byte, [ADDRESS << 1 | 1]);
    assert!(bench.bus.alert_pin_is_high(), "answered, so the line is free for others");
}

#[test]
fn limits_are_read_in_the_mode_that_is_set() {
    let mut bench = Bench::at(25.0);
    bench.write(1, 0x60B0);
    bench.write(2, 0x4600); // 140 °C in thirteen bits, 70 °C in twelve
    bench.write(3, 0x4880); // 145 °C
    assert!(!bench.alerts(100.0));
    assert!(bench.alerts(145.0));
}

#[test]
fn a_general_call_resets_it() {
    let mut bench = Bench::at(25.0);
    bench.write(3, 0x1000);
    bench.bus.write(GENERAL_CALL, &[RESET]).unwrap();
    assert_eq!((bench.read(3), bench.read(0)), (0x5000, 0));
}

#[test]
fn nobody_answers_at_another_address() {
    let mut bench = Bench::at(25.0);
    assert_eq!(bench.bus.write(0x49, &[0]), Err(BusError::NoAcknowledge));
}

#[test]
fn each_fault_shows_as_it_would_on_a_wire() {
    let mut bench = Bench::at(25.0);
    let mut bytes = [0; 2];
    bench.bus.fault(Some(Fault::NoAcknowledge));
    assert_eq!(bench.bus.write_read(ADDRESS, &[0], &mut bytes), Err(BusError::NoAcknowledge));
    bench.bus.fault(Some(Fault::StuckBus));
    assert_eq!(bench.bus.write_read(ADDRESS, &[0], &mut bytes), Err(BusError::Stuck));
    bench.bus.fault(Some(Fault::Garbage));
    assert_eq!(bench.bus.write_read(ADDRESS, &[0], &mut bytes), Ok(()));
    assert_eq!(bytes, [0xFF; 2]);
    bench.bus.fault(None);
    assert_eq!(bench.measure(25.0), 0x1900);
}

#[test]
fn a_day_nobody_looked_costs_no_time() {
    let mut bench = Bench::at(25.0);
    bench.write(1, 0x60E0);
    bench.pass(Duration::from_secs(365 * 86_400));
    assert_eq!(bench.read(0), 0x1900);
    assert_eq!(bench.measure(26.0), 0x1A00);
}
