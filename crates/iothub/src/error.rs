//! What went wrong, in words for people ([`Refused`]) and in the hub's own numbers ([`ErrorCode`]).

use std::borrow::Cow;
use std::fmt;

/// Something from outside that was turned away: what it was, and why, with what would be right.
#[derive(Clone, PartialEq, Eq)]
pub struct Refused {
    what: Cow<'static, str>,
    why: Cow<'static, str>,
}

impl Refused {
    /// `what` names the thing and its place (`"desired.interval"`), `why` what is wrong with it and what would be right.
    pub fn new(what: impl Into<Cow<'static, str>>, why: impl Into<Cow<'static, str>>) -> Self {
        Self { what: cut(what.into()), why: cut(why.into()) }
    }

    /// The thing that was refused, by name and place.
    pub fn what(&self) -> &str {
        &self.what
    }

    /// What is wrong with it, and what would be right.
    pub fn why(&self) -> &str {
        &self.why
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.what, self.why)
    }
}

impl fmt::Debug for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Refused({self})")
    }
}

impl std::error::Error for Refused {}

/// Longest half of a refusal: the words of a library may repeat all that was sent.
const HALF_CHARS_MAX: usize = 500;

fn cut(half: Cow<'static, str>) -> Cow<'static, str> {
    match shortened(&half, HALF_CHARS_MAX) {
        Cow::Borrowed(_) => half,
        Cow::Owned(short) => Cow::Owned(short),
    }
}

/// Longest piece of somebody else's text that an error repeats; the rest is cut, so that logs stay readable.
const EXCERPT_CHARS_MAX: usize = 80;

/// What was sent, short enough to be repeated in an error.
pub(crate) fn excerpt(text: &str) -> String {
    shortened(text, EXCERPT_CHARS_MAX).into_owned()
}

/// So many characters of it at most, and a sign where the rest was.
pub(crate) fn shortened(text: &str, chars_max: usize) -> Cow<'_, str> {
    match text.char_indices().nth(chars_max) {
        None => Cow::Borrowed(text),
        Some((cut, _)) => Cow::Owned(format!("{}…", &text[..cut])),
    }
}

macro_rules! error_codes {
    ($($name:ident = $number:literal),* $(,)?) => {
        /// The numbers by which IoT Hub says what went wrong. The first three digits are the HTTP status.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[allow(missing_docs)] // the names are the hub's own and say it all
        pub enum ErrorCode { $($name = $number),* }

        impl ErrorCode {
            /// Every code there is, by number.
            pub const ALL: &'static [Self] = &[$(Self::$name),*];

            /// The name, as in `ErrorCode:DeviceNotFound;…` and in the header `iothub-errorcode`.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$name => stringify!($name)),* }
            }
        }
    };
}

error_codes! {
    InvalidProtocolVersion = 400001,
    InvalidOperation = 400003,
    ArgumentInvalid = 400004,
    ArgumentNull = 400005,
    IotHubFormatError = 400006,
    InvalidSchemaVersion = 400010,
    DeviceDefinedMultipleTimes = 400011,
    DeserializationError = 400012,
    BulkRegistryOperationFailure = 400013,
    ConnectionForcefullyClosedOnNewConnection = 400027,
    CannotRegisterModuleToModule = 400301,
    GenericUnauthorized = 401000,
    IotHubNotFound = 401001,
    IotHubUnauthorizedAccess = 401002,
    IotHubUnauthorized = 401003,
    IotHubSuspended = 403001,
    IotHubQuotaExceeded = 403002,
    JobQuotaExceeded = 403003,
    DeviceMaximumQueueDepthExceeded = 403004,
    IotHubMaxCbsTokenExceeded = 403005,
    DeviceDisabled = 403012,
    DeviceNotFound = 404001,
    JobNotFound = 404002,
    ModuleNotFound = 404010,
    DeviceNotOnline = 404103,
    DeviceConnectionClosedRemotely = 404104,
    ConfigurationNotFound = 404301,
    DeviceAlreadyExists = 409001,
    LinkCreationConflict = 409002,
    ModuleAlreadyExistsOnDevice = 409301,
    ConfigurationAlreadyExists = 409401,
    ApplyConfigurationAlreadyInProgressOnDevice = 409402,
    PreconditionFailed = 412001,
    DeviceMessageLockLost = 412002,
    MessageTooLarge = 413001,
    TooManyDevices = 413002,
    TooManyModulesOnDevice = 413003,
    GenericTooManyRequests = 429000,
    ThrottlingException = 429001,
    ThrottleBacklogLimitExceeded = 429002,
    ThrottlingBacklogTimeout = 429003,
    ServerError = 500001,
    ServiceUnavailable = 503001,
    PartitionNotFound = 503003,
    DeviceUnavailable = 503102,
    GenericGatewayTimeout = 504000,
    GatewayTimeout = 504101,
}

impl ErrorCode {
    /// The number, for example 404001.
    pub const fn number(self) -> u32 {
        self as u32
    }

    /// The HTTP status that goes with it, for example 404.
    pub const fn http_status(self) -> u16 {
        (self.number() / 1000) as u16
    }

    /// The code of that name, exactly as it is written.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|code| code.name() == name)
    }

    /// The code of that number.
    pub fn from_number(number: u32) -> Option<Self> {
        Self::ALL.iter().copied().find(|code| code.number() == number)
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_knows_its_number_its_name_and_its_status() {
        let code = ErrorCode::DeviceNotOnline;
        assert_eq!((code.number(), code.name(), code.http_status()), (404_103, "DeviceNotOnline", 404));
        assert_eq!(ErrorCode::from_name("DeviceNotOnline"), Some(code));
        assert_eq!(ErrorCode::from_number(404_103), Some(code));
    }

    #[test]
    fn the_codes_are_listed_once_and_in_order() {
        assert!(ErrorCode::ALL.windows(2).all(|pair| pair[0].number() < pair[1].number()));
    }

    #[test]
    fn a_refusal_reads_as_what_and_why() {
        let refused = Refused::new("desired.interval", "\"hot\" is not a number");
        assert_eq!(refused.to_string(), "desired.interval: \"hot\" is not a number");
    }

    #[test]
    fn a_refusal_is_no_longer_than_can_be_read() {
        let refused = Refused::new("x".repeat(4_000), "ü".repeat(HALF_CHARS_MAX + 1));
        assert_eq!(refused.to_string(), format!("{}…: {}…", "x".repeat(500), "ü".repeat(500)));
        let whole = "ü".repeat(HALF_CHARS_MAX);
        assert_eq!(Refused::new("x", whole.clone()).why(), whole);
    }

    #[test]
    fn a_long_text_is_cut_at_a_character() {
        assert_eq!(excerpt("short"), "short");
        assert_eq!(excerpt(&"ü".repeat(100)), format!("{}…", "ü".repeat(80)));
    }
}
