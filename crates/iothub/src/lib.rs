//! IoT Hub's own words, as values: who somebody is, what a message carries, how a topic, a twin, a method, a token,
//! a route and a deployment are written and read. No socket, no file, no clock.
//!
//! Everything that comes from outside is checked in here and refused with a [`Refused`] that says what is wrong,
//! where, and what would be right. What got through is a type that needs no second look.

pub mod connection;
mod cut;
pub mod error;
pub mod identity;
pub mod manifest;
pub mod message;
pub mod method;
mod packed;
mod percent;
pub mod route;
pub mod time;
pub mod token;
pub mod topic;
pub mod twin;

pub use connection::ConnectionString;
pub use error::{ErrorCode, Refused};
pub use identity::Identity;
pub use manifest::{
    Images, MODULES_MAX, ModuleFile, ModuleSpec, Problem, Rendered, Sources, TEMPLATE_BYTES_MAX, Template,
    render,
};
pub use message::{
    C2D_BYTES_MAX, C2D_QUEUE_MAX, MESSAGE_BYTES_MAX, Message, Properties, System, SystemProperty,
};
pub use method::{MethodCall, MethodResult};
pub use route::{
    PRIORITY_DEFAULT, ROUTE_CHARS_MAX, ROUTE_DEPTH_MAX, ROUTE_OPERANDS_MAX, ROUTES_MAX, Route, RouteEntry,
    RouteError, RouteProblem, Routes, Sink, Source, TIME_TO_LIVE_DEFAULT, Target,
};
pub use token::{Key, Token};
pub use topic::{
    Feed, FilterMeaning, ToClient, ToHub, UserName, desired_topic, devicebound_topic, input_topic,
    method_response_topic, method_topic, reported_topic, telemetry_topic, twin_get_topic, twin_result_topic,
    write_input_topic,
};
pub use twin::{Section, Twin, merge};
