//! The desired properties one by one: name, how it is taken, how it is shown.

use isotherm_client::setting;
use isotherm_proto::Upload;
use serde_json::{Value, json};
use tmp1x2::{AlertPolarity, ConversionRate, FaultQueue, ThermostatMode};

use super::{INTERVAL_MAX, INTERVAL_MIN, Settings, value};

/// One desired property: how it is taken, how it is shown, and whether it is the chip's.
pub(super) struct Property {
    pub(super) name: &'static str,
    pub(super) take: fn(&mut Settings, &Value) -> Result<(), String>,
    pub(super) show: fn(&Settings) -> Value,
    pub(super) of_chip: bool,
}

pub(super) const PROPERTIES: [Property; 12] = [
    Property {
        name: "SamplingInterval",
        take: |settings, v| {
            setting::duration(v, INTERVAL_MIN..=INTERVAL_MAX).map(|it| settings.sampling_interval = it)
        },
        show: |settings| setting::show_duration(settings.sampling_interval),
        of_chip: false,
    },
    Property {
        name: "ChipMode",
        take: |settings, v| value::choice(v, &MODES).map(|it| settings.chip.extended = it),
        show: |settings| value::show_choice(settings.chip.extended, &MODES),
        of_chip: true,
    },
    Property {
        name: "ConversionMode",
        take: |settings, v| value::choice(v, &CONVERSIONS).map(|it| settings.chip.one_shot = it),
        show: |settings| value::show_choice(settings.chip.one_shot, &CONVERSIONS),
        of_chip: true,
    },
    Property {
        name: "ConversionRate",
        take: |settings, v| value::one_of(v, &RATES).map(|it| settings.chip.rate = it),
        show: |settings| value::show_one_of(settings.chip.rate, &RATES),
        of_chip: true,
    },
    Property {
        name: "LowLimit",
        take: |settings, v| value::celsius(v).map(|it| settings.chip.low = it),
        show: |settings| json!(settings.chip.low),
        of_chip: true,
    },
    Property {
        name: "HighLimit",
        take: |settings, v| value::celsius(v).map(|it| settings.chip.high = it),
        show: |settings| json!(settings.chip.high),
        of_chip: true,
    },
    Property {
        name: "AlertMode",
        take: |settings, v| value::choice(v, &ALERT_MODES).map(|it| settings.chip.alert_mode = it),
        show: |settings| value::show_choice(settings.chip.alert_mode, &ALERT_MODES),
        of_chip: true,
    },
    Property {
        name: "AlertPolarity",
        take: |settings, v| value::choice(v, &POLARITIES).map(|it| settings.chip.alert_polarity = it),
        show: |settings| value::show_choice(settings.chip.alert_polarity, &POLARITIES),
        of_chip: true,
    },
    Property {
        name: "FaultQueue",
        take: |settings, v| value::one_of(v, &QUEUES).map(|it| settings.chip.fault_queue = it),
        show: |settings| value::show_one_of(settings.chip.fault_queue, &QUEUES),
        of_chip: true,
    },
    Property {
        name: "BatchSize",
        take: |settings, v| value::count(v, 1..=Upload::MAX_READINGS).map(|it| settings.batch_size = it),
        show: |settings| json!(settings.batch_size),
        of_chip: false,
    },
    Property {
        name: "BatchAge",
        take: |settings, v| {
            setting::duration(v, INTERVAL_MIN..=INTERVAL_MAX).map(|it| settings.batch_age = it)
        },
        show: |settings| setting::show_duration(settings.batch_age),
        of_chip: false,
    },
    Property {
        name: "LogLevel",
        take: |settings, v| setting::log_level(v).map(|it| settings.log_level = it),
        show: |settings| setting::show_log_level(settings.log_level.as_deref()),
        of_chip: false,
    },
];

const MODES: [(&str, bool); 2] = [("normal", false), ("extended", true)];
const CONVERSIONS: [(&str, bool); 2] = [("continuous", false), ("one-shot", true)];
const ALERT_MODES: [(&str, ThermostatMode); 2] =
    [("comparator", ThermostatMode::Comparator), ("interrupt", ThermostatMode::Interrupt)];
const POLARITIES: [(&str, AlertPolarity); 2] =
    [("low", AlertPolarity::ActiveLow), ("high", AlertPolarity::ActiveHigh)];
const RATES: [(f64, ConversionRate); 4] = [
    (0.25, ConversionRate::_0_25Hz),
    (1.0, ConversionRate::_1Hz),
    (4.0, ConversionRate::_4Hz),
    (8.0, ConversionRate::_8Hz),
];
const QUEUES: [(f64, FaultQueue); 4] =
    [(1.0, FaultQueue::_1), (2.0, FaultQueue::_2), (4.0, FaultQueue::_4), (6.0, FaultQueue::_6)];
