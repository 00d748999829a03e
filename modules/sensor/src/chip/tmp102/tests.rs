//! The driver's path: transaction by transaction on a mock, and by its effect on the emulated chip.

use embedded_hal::i2c::ErrorKind;
use embedded_hal_mock::eh1::i2c::{Mock, Transaction};
use tmp1x2::{AlertPolarity, ConversionRate, FaultQueue, ThermostatMode};

use super::*;
use crate::bus::emulated::{Emulated, Environment, Fault};

const ADDRESS: u8 = 0x49;
const MS: Duration = Duration::from_millis(1);

fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

fn write(register: u8, value: u16) -> Transaction {
    let [high, low] = value.to_be_bytes();
    Transaction::write(ADDRESS, vec![register, high, low])
}

fn read(register: u8, value: u16) -> Transaction {
    Transaction::write_read(ADDRESS, vec![register], value.to_be_bytes().to_vec())
}

/// What is written for the settings at power-up, up to where the chip sleeps.
fn asleep() -> Vec<Transaction> {
    let mut all = vec![write(1, 0x60A0); 5];
    all.extend([write(2, 0x4B00), write(3, 0x5000), write(1, 0x61A0)]);
    all
}

/// What is written for the settings at power-up: asleep and awake again, so that a conversion begins.
fn defaults() -> Vec<Transaction> {
    [asleep(), vec![write(1, 0x60A0)]].concat()
}

fn on_mock(transactions: &[Transaction], settings: ChipSettings) -> Tmp102<Mock> {
    Tmp102::new(Mock::new(transactions), ADDRESS, settings)
}

fn celsius(degrees: f32) -> Result<Answer, Silence> {
    Ok(Answer::Celsius(Celsius::measured(degrees)))
}

#[test]
fn every_setting_is_written_once_and_then_the_register_is_read() {
    let start = now();
    let mut chip =
        on_mock(&[defaults(), vec![read(0, 0x1900), read(0, 0xE700)]].concat(), ChipSettings::default());
    assert_eq!(chip.ask(start), Ok(Answer::Pending));
    assert_eq!(chip.ask(start + 34 * MS), Ok(Answer::Pending), "the register may still be that of power-up");
    assert_eq!(chip.ask(start + 35 * MS), celsius(25.0));
    assert_eq!(chip.ask(start + 36 * MS), celsius(-25.0));
    chip.release().done();
}

#[test]
fn each_setting_goes_into_its_bits() {
    let settings = ChipSettings {
        extended: true,
        one_shot: false,
        rate: ConversionRate::_8Hz,
        low: -10.25,
        high: 140.0,
        alert_mode: ThermostatMode::Interrupt,
        alert_polarity: AlertPolarity::ActiveHigh,
        fault_queue: FaultQueue::_6,
    };
    let written = [
        write(1, 0x60E0), // eight a second
        write(1, 0x78E0), // a queue of six
        write(1, 0x7CE0), // active high
        write(1, 0x7EE0), // interrupt
        write(1, 0x7EF0), // extended
        write(2, 0xFAE0), // -10.25 °C in thirteen bits
        write(3, 0x4600), // 140 °C
        write(1, 0x7FF0), // asleep
        write(1, 0x7EF0), // awake
    ];
    let mut chip = on_mock(&written, settings);
    assert_eq!(chip.ask(now()), Ok(Answer::Pending));
    chip.release().done();
}

#[test]
fn a_one_shot_sleeps_begins_waits_and_reads() {
    let start = now();
    let settings = ChipSettings { one_shot: true, ..ChipSettings::default() };
    let conversion = [write(1, 0xE1A0), read(1, 0x61A0), read(1, 0xE1A0), read(0, 0x1900)];
    let transactions = [asleep(), conversion.to_vec(), conversion.to_vec()].concat();
    let mut chip = on_mock(&transactions, settings);
    for _ in 0..2 {
        assert_eq!(chip.ask(start), Ok(Answer::Pending));
        assert_eq!(chip.ask(start + 10 * MS), Ok(Answer::Pending));
        assert_eq!(chip.ask(start + 30 * MS), celsius(25.0));
    }
    chip.release().done();
}

#[test]
fn a_one_shot_that_never_ends_is_given_up_and_begun_anew() {
    let start = now();
    let settings = ChipSettings { one_shot: true, ..ChipSettings::default() };
    let begin = [asleep(), vec![write(1, 0xE1A0)]].concat();
    let transactions = [begin.clone(), vec![read(1, 0x61A0); 2], begin].concat();
    let mut chip = on_mock(&transactions, settings);
    assert_eq!(chip.ask(start), Ok(Answer::Pending));
    assert_eq!(chip.ask(start + ONE_SHOT_MAX), Ok(Answer::Pending));
    let silence = chip.ask(start + ONE_SHOT_MAX + MS).unwrap_err();
    assert_eq!(silence, Silence::NeverReady(ONE_SHOT_MAX));
    assert!(silence.to_string().ends_with("needs ConversionMode \"continuous\""), "{silence}");
    assert_eq!(
        chip.ask(start + 2 * ONE_SHOT_MAX),
        Ok(Answer::Pending),
        "what was begun long ago is not read"
    );
    chip.release().done();
}

#[test]
fn after_trouble_on_the_bus_every_setting_is_written_again() {
    let start = now();
    let lost = read(0, 0).with_error(ErrorKind::Bus);
    let transactions = [defaults(), vec![lost], defaults(), vec![read(0, 0x1900)]].concat();
    let mut chip = on_mock(&transactions, ChipSettings::default());
    assert_eq!(chip.ask(start), Ok(Answer::Pending));
    assert!(matches!(chip.ask(start + 40 * MS), Err(Silence::NoAnswer(_))));
    assert_eq!(chip.ask(start + 80 * MS), Ok(Answer::Pending));
    assert_eq!(chip.ask(start + 120 * MS), celsius(25.0));
    chip.release().done();
}

#[test]
fn trouble_half_way_through_the_settings_begins_them_anew() {
    let start = now();
    let half = [vec![write(1, 0x60A0); 2], vec![write(1, 0x60A0).with_error(ErrorKind::Other)]].concat();
    let mut chip = on_mock(&[half, defaults()].concat(), ChipSettings::default());
    assert!(chip.ask(start).is_err());
    assert_eq!(chip.ask(start), Ok(Answer::Pending));
    chip.release().done();
}

#[test]
fn settings_that_did_not_change_are_not_written_again() {
    let start = now();
    let mut chip = on_mock(&[defaults(), vec![read(0, 0x1900)]].concat(), ChipSettings::default());
    assert_eq!(chip.ask(start), Ok(Answer::Pending));
    chip.configure(ChipSettings::default());
    assert_eq!(chip.ask(start + 40 * MS), celsius(25.0));
    chip.release().done();
}

/// An emulated chip, and the driver that reads it.
struct Bench {
    bus: Emulated,
    chip: Tmp102<Emulated>,
    now: Instant,
}

impl Bench {
    fn at(degrees: f32) -> Self {
        let now = now();
        let bus = Emulated::new(ADDRESS, Environment::Still(degrees), now);
        Self { chip: Tmp102::new(bus.clone(), ADDRESS, ChipSettings::default()), bus, now }
    }

    /// Asks each 5 ms, as the sensor does.
    fn read(&mut self) -> Result<f32, Silence> {
        for _ in 0..100 {
            self.now += 5 * MS;
            self.bus.pass(self.now);
            match self.chip.ask(self.now)? {
                Answer::Celsius(celsius) => return Ok(celsius.get()),
                Answer::Pending => {}
                Answer::Finished => panic!("a chip has no end"),
            }
        }
        panic!("pending for ever");
    }
}

#[test]
fn the_driver_reads_what_the_emulated_chip_measures_in_every_mode() {
    for degrees in [-55.0, -10.25, -0.0625, 0.0, 21.625, 127.9375] {
        for (extended, one_shot) in [(false, false), (false, true), (true, false), (true, true)] {
            let mut bench = Bench::at(degrees);
            bench.chip.configure(ChipSettings { extended, one_shot, ..ChipSettings::default() });
            assert_eq!(bench.read(), Ok(degrees), "extended {extended}, one-shot {one_shot}");
            assert_eq!(bench.read(), Ok(degrees), "extended {extended}, one-shot {one_shot}");
        }
    }
}

#[test]
fn above_128_degrees_it_takes_the_extended_mode_which_can_be_turned_on_while_running() {
    let mut bench = Bench::at(149.9375);
    assert_eq!(bench.read(), Ok(127.9375));
    bench.chip.configure(ChipSettings { extended: true, ..ChipSettings::default() });
    assert_eq!(bench.read(), Ok(149.9375));
}

#[test]
fn every_rate_and_queue_can_follow_every_other() {
    use ConversionRate::*;
    let mut bench = Bench::at(20.0);
    for rate in [_8Hz, _4Hz, _1Hz, _4Hz, _0_25Hz, _8Hz] {
        for fault_queue in [FaultQueue::_6, FaultQueue::_4, FaultQueue::_2, FaultQueue::_4, FaultQueue::_1] {
            bench.chip.configure(ChipSettings { rate, fault_queue, ..ChipSettings::default() });
            bench.read().unwrap();
            let mut bytes = [0; 2];
            bench.bus.write_read(ADDRESS, &[1], &mut bytes).unwrap();
            assert_eq!((bytes[1] >> 6, bytes[0] >> 3 & 0b11), (rate as u8, fault_queue as u8));
        }
    }
}

#[test]
fn the_thermostat_alerts_through_the_driver_in_both_polarities() {
    for alert_polarity in [AlertPolarity::ActiveLow, AlertPolarity::ActiveHigh] {
        let mut bench = Bench::at(20.0);
        bench.chip.configure(ChipSettings {
            low: 24.0,
            high: 25.0,
            alert_polarity,
            ..ChipSettings::default()
        });
        bench.read().unwrap();
        assert_eq!(bench.chip.alert(), Some(false));
        bench.bus.surround(Environment::Still(25.0));
        bench.now += Duration::from_secs(1);
        bench.read().unwrap();
        assert_eq!(bench.chip.alert(), Some(true));
    }
}

#[test]
fn each_fault_is_silence_and_never_a_temperature_and_passes() {
    let mut bench = Bench::at(20.0);
    bench.read().unwrap();
    for (fault, garbage) in [(Fault::NoAcknowledge, false), (Fault::StuckBus, false), (Fault::Garbage, true)]
    {
        bench.bus.fault(Some(fault));
        let silence = bench.read().unwrap_err();
        assert_eq!(matches!(silence, Silence::Garbage(_)), garbage, "{silence}");
        bench.bus.fault(None);
        assert_eq!(bench.read(), Ok(20.0));
    }
}

#[test]
fn a_chip_that_lost_its_power_between_readings_gets_its_settings_back_once_it_was_missed() {
    let mut bench = Bench::at(140.0);
    bench.chip.configure(ChipSettings { extended: true, ..ChipSettings::default() });
    assert_eq!(bench.read(), Ok(140.0));
    bench.bus.fault(Some(Fault::NoAcknowledge));
    bench.bus.power_cycle();
    assert!(bench.read().is_err());
    bench.bus.fault(None);
    assert_eq!(bench.read(), Ok(140.0));
}
