//! IoT Hub's own error codes, with their names and HTTP statuses.

use std::fmt;

/// An error of the service side, as IoT Hub would say it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("ErrorCode:{code};{message}")]
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
}

macro_rules! codes {
    ($($name:ident = $number:literal,)*) => {
        /// A code of IoT Hub's list: six digits whose first three are the HTTP status.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[allow(missing_docs, reason = "the names are IoT Hub's, and say it")]
        pub enum ErrorCode {
            $($name,)*
        }

        impl ErrorCode {
            /// The six digits.
            pub fn number(self) -> u32 {
                match self {
                    $(Self::$name => $number,)*
                }
            }

            /// The name, as in the `iothub-errorcode` header.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$name => stringify!($name),)*
                }
            }
        }
    };
}

codes! {
    InvalidOperation = 400_003,
    ArgumentInvalid = 400_004,
    ArgumentNull = 400_005,
    IotHubFormatError = 400_006,
    DeserializationError = 400_012,
    CannotRegisterModuleToModule = 400_301,
    InvalidConfigurationContent = 400_401,
    IotHubUnauthorizedAccess = 401_002,
    IotHubQuotaExceeded = 403_002,
    DeviceMaximumQueueDepthExceeded = 403_004,
    DeviceDisabled = 403_012,
    DeviceNotFound = 404_001,
    ModuleNotFound = 404_010,
    DeviceNotOnline = 404_103,
    ConfigurationNotFound = 404_301,
    DeviceAlreadyExists = 409_001,
    ModuleAlreadyExistsOnDevice = 409_301,
    PreconditionFailed = 412_001,
    DeviceMessageLockLost = 412_002,
    MessageTooLarge = 413_001,
    TooManyDevices = 413_002,
    TooManyModulesOnDevice = 413_003,
    ThrottlingException = 429_001,
    ServerError = 500_001,
    ServiceUnavailable = 503_001,
    PartitionNotFound = 503_003,
    GatewayTimeout = 504_101,
}

impl ErrorCode {
    /// The HTTP status: the first three digits.
    pub fn http_status(self) -> u16 {
        (self.number() / 1_000) as u16
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
