//! MQTT topics, read and written side by side. The vocabulary is fixed: five topics go up, five come down.
//!
//! | up | down |
//! | --- | --- |
//! | `devices/{d}[/modules/{m}]/messages/events/{bag}` | `devices/{d}/messages/devicebound/{bag}` |
//! | `$iothub/methods/res/{status}/?$rid={rid}` | `devices/{d}/modules/{m}/inputs/{input}/{bag}` |
//! | `$iothub/twin/GET/?$rid={rid}` | `$iothub/methods/POST/{name}/?$rid={rid}` |
//! | `$iothub/twin/PATCH/properties/reported/?$rid={rid}` | `$iothub/twin/res/{status}/?$rid={rid}&$version={v}` |
//! | | `$iothub/twin/PATCH/properties/desired/?$version={v}` |
//!
//! Ids stand in topics as they are, unencoded. Fixed words are read in any letter case, as IoT Edge does.

mod bag;
mod down;
mod feed;
mod path;
mod up;
mod user_name;

pub use down::{
    ToClient, desired_topic, devicebound_topic, input_topic, method_topic, twin_result_topic,
    write_input_topic,
};
pub use feed::{Feed, FilterMeaning, SUBSCRIPTIONS_MAX};
pub use up::{ToHub, method_response_topic, reported_topic, telemetry_topic, twin_get_topic};
pub use user_name::UserName;

/// Longest request id (`$rid`) that is taken and echoed, in bytes. The SDKs use a UUID or a short number.
pub const RID_BYTES_MAX: usize = 256;
