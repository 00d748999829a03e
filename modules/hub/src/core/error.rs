//! What the service side is told when something cannot be done.

pub use isotherm_iothub::ErrorCode;

use isotherm_iothub::{Identity, Refused};

/// An error of the service side, as IoT Hub would say it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("ErrorCode:{};{message}", code.name())]
pub struct ApiError {
    /// Which one.
    pub code: ErrorCode,
    /// What is wrong and what would be right.
    pub message: String,
}

impl ApiError {
    /// An error with its reason.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }

    /// Nobody of that name: 404001 for a device, 404010 for a module.
    pub(super) fn not_found(who: &Identity) -> Self {
        match who.module_id() {
            None => Self::new(ErrorCode::DeviceNotFound, format!("device {who} is not registered")),
            Some(_) => Self::new(ErrorCode::ModuleNotFound, format!("module {who} is not registered")),
        }
    }

    /// Something in the request is not as it should be.
    pub(super) fn argument(refused: &Refused) -> Self {
        Self::new(ErrorCode::ArgumentInvalid, refused.to_string())
    }
}
