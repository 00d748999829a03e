//! The inside of a TMP102, as its data sheet (SBOS397) tells it: four registers, a converter and time.

use std::time::{Duration, Instant};

use super::alert::Alert;

/// How long one conversion takes, as is typical.
pub const CONVERSION: Duration = Duration::from_millis(26);

/// How many conversions are worked out when nobody looked for long: more than any fault queue remembers.
const CATCH_UP_MAX: u32 = 16;

const TEMPERATURE: u8 = 0;
const CONFIGURATION: u8 = 1;
const LOW: u8 = 2;
const HIGH: u8 = 3;

const ONE_SHOT: u16 = 1 << 15;
const RESOLUTION: u16 = 0b11 << 13; // reads as 1s, cannot be written
const POLARITY: u16 = 1 << 10;
const INTERRUPT: u16 = 1 << 9;
const SHUTDOWN: u16 = 1 << 8;
const ALERT: u16 = 1 << 5;
const EXTENDED: u16 = 1 << 4;
/// What a write can change for good.
const STORED: u16 = 0b0001_1111_1101_0000;

/// One chip: registers, and when the conversion under way will be done.
#[derive(Clone, Debug)]
pub struct Registers {
    pointer: u8,
    configuration: u16,
    temperature: u16,
    low: u16,
    high: u16,
    alert: Alert,
    one_shot_done: bool,
    /// When the conversion that runs, or that comes next, will be done; never, while the chip sleeps.
    due: Option<Instant>,
}

impl Registers {
    /// A chip that was just given power: 0 °C until its first conversion is done.
    #[must_use]
    pub fn power_up(now: Instant) -> Self {
        Self {
            pointer: TEMPERATURE,
            configuration: 0x60A0 & STORED,
            temperature: 0,
            low: 0x4B00,  // 75 °C
            high: 0x5000, // 80 °C
            alert: Alert::default(),
            one_shot_done: false,
            due: Some(now + CONVERSION),
        }
    }

    /// Lets time pass: every conversion that is done by `now` measures what `environment` is at that moment.
    pub fn pass(&mut self, now: Instant, mut environment: impl FnMut(Instant) -> f32) {
        while let Some(due) = self.due.filter(|due| *due <= now) {
            let missed = (now - due).as_nanos() / self.period().as_nanos();
            let skipped = u32::try_from(missed).unwrap_or(u32::MAX).saturating_sub(CATCH_UP_MAX);
            let due = due + self.period() * skipped;
            self.convert(environment(due));
            self.due = (!self.has(SHUTDOWN)).then(|| due + self.period());
        }
    }

    fn convert(&mut self, degrees: f32) {
        let (from, to) = if self.has(EXTENDED) { (-880.0, 2400.0) } else { (-880.0, 2047.0) };
        let steps = (degrees * 16.0).round().clamp(from, to) as i16; // -55 °C to 127.9375 or 150 °C
        self.temperature = match self.has(EXTENDED) {
            true => (steps << 3) as u16 | 1,
            false => (steps << 4) as u16,
        };
        self.one_shot_done = self.has(SHUTDOWN);
        self.alert.judge(steps, self.limit(self.low), self.limit(self.high), self.queue());
    }

    /// Sets the pointer by the first byte of a write, and the register behind it by the rest.
    pub(super) fn write(&mut self, bytes: &[u8], now: Instant) {
        let Some((pointer, data)) = bytes.split_first() else { return };
        self.pointer = pointer & 0b11;
        if let [high, rest @ ..] = data {
            let old = self.value().to_be_bytes();
            let value = u16::from_be_bytes([*high, *rest.first().unwrap_or(&old[1])]);
            match self.pointer {
                CONFIGURATION => self.configure(value, now),
                LOW => self.low = value & 0xFFF8,
                HIGH => self.high = value & 0xFFF8,
                _ => {} // the temperature cannot be written
            }
        }
    }

    /// The two bytes of the register that the pointer points to.
    pub(super) fn read(&mut self) -> [u8; 2] {
        self.alert.acknowledge();
        self.value().to_be_bytes()
    }

    fn value(&self) -> u16 {
        match self.pointer {
            TEMPERATURE => self.temperature,
            CONFIGURATION => self.shown_configuration(),
            LOW => self.low,
            _ => self.high,
        }
    }

    fn shown_configuration(&self) -> u16 {
        let one_shot = if self.one_shot_done { ONE_SHOT } else { 0 };
        let alert = if self.alert.above() == self.has(POLARITY) { ALERT } else { 0 };
        self.configuration | RESOLUTION | one_shot | alert
    }

    fn configure(&mut self, value: u16, now: Instant) {
        let was_asleep = self.has(SHUTDOWN);
        self.configuration = value & STORED;
        if self.has(SHUTDOWN) {
            if was_asleep && value & ONE_SHOT != 0 && self.due.is_none() {
                self.one_shot_done = false;
                self.due = Some(now + CONVERSION);
            }
            // A conversion that runs is finished first; one that only waits for its turn is not begun.
            self.due = self.due.filter(|due| *due <= now + CONVERSION);
        } else {
            self.one_shot_done = false;
            let soonest = if was_asleep { now + CONVERSION } else { now + self.period() };
            self.due = Some(self.due.map_or(soonest, |due| due.min(soonest)));
        }
    }

    /// Whether the ALERT pin is at a high level.
    #[must_use]
    pub fn alert_pin_is_high(&self) -> bool {
        self.alert_is_active() == self.has(POLARITY)
    }

    /// Whether the chip alerts, whatever the pin's polarity.
    #[must_use]
    pub fn alert_is_active(&self) -> bool {
        self.alert.active(self.has(INTERRUPT))
    }

    /// Answers an SMBus alert call: whether the alert is for being above, and then no more alert.
    pub(super) fn answer_alert_call(&mut self) -> Option<bool> {
        (self.has(INTERRUPT) && self.alert_is_active()).then(|| {
            self.alert.acknowledge();
            self.alert.above()
        })
    }

    fn has(&self, bit: u16) -> bool {
        self.configuration & bit != 0
    }

    /// A limit register in steps, read in the mode that is set.
    fn limit(&self, register: u16) -> i16 {
        register as i16 >> if self.has(EXTENDED) { 3 } else { 4 } // arithmetic shift: the sign comes along
    }

    fn queue(&self) -> u8 {
        [1, 2, 4, 6][usize::from(self.configuration >> 11 & 0b11)]
    }

    /// From one conversion to the next.
    fn period(&self) -> Duration {
        [4_000, 1_000, 250, 125].map(Duration::from_millis)[usize::from(self.configuration >> 6 & 0b11)]
    }
}
