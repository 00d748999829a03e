//! The functions of conditions.

use std::borrow::Cow;

use serde_json::Value;

macro_rules! functions {
    ($($variant:ident = $name:literal ($arguments:literal),)*) => {
        /// A function, by its documented name; underscores do not matter (`STARTSWITH`, `starts_with`).
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(super) enum Function { $($variant,)* }

        impl Function {
            const ALL: &'static [Self] = &[$(Self::$variant,)*];

            pub(super) fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// How many arguments it wants.
            pub(super) fn arguments(self) -> usize {
                match self { $(Self::$variant => $arguments,)* }
            }
        }
    };
}

functions! {
    IsDefined = "is_defined"(1),
    IsNull = "is_null"(1),
    IsBool = "is_bool"(1),
    IsNumber = "is_number"(1),
    IsString = "is_string"(1),
    IsArray = "is_array"(1),
    IsObject = "is_object"(1),
    IsPrimitive = "is_primitive"(1),
    StartsWith = "starts_with"(2),
    EndsWith = "ends_with"(2),
    Contains = "contains"(2),
    Lower = "lower"(1),
    Upper = "upper"(1),
    Length = "length"(1),
    Abs = "abs"(1),
}

impl Function {
    pub(super) fn named(name: &str) -> Option<Self> {
        let plain = |name: &str| name.replace('_', "").to_ascii_lowercase();
        let name = plain(name);
        Self::ALL.iter().copied().find(|function| plain(function.name()) == name)
    }

    pub(super) fn names() -> String {
        Self::ALL.iter().map(|function| function.name()).collect::<Vec<_>>().join(", ")
    }

    /// What it says of its arguments; `None` is undefined, as an argument and as a result.
    pub(super) fn call(self, arguments: &[Option<Cow<'_, Value>>]) -> Option<Value> {
        let first = arguments.first()?.as_deref();
        if self == Self::IsDefined {
            return Some(Value::Bool(first.is_some()));
        }
        let first = first?;
        let two = || Some((first.as_str()?, arguments.get(1)?.as_deref()?.as_str()?));
        Some(match self {
            Self::IsDefined => Value::Bool(true),
            Self::IsNull => first.is_null().into(),
            Self::IsBool => first.is_boolean().into(),
            Self::IsNumber => first.is_number().into(),
            Self::IsString => first.is_string().into(),
            Self::IsArray => first.is_array().into(),
            Self::IsObject => first.is_object().into(),
            Self::IsPrimitive => (!first.is_array() && !first.is_object()).into(),
            Self::StartsWith => two().map(|(text, part)| text.starts_with(part))?.into(),
            Self::EndsWith => two().map(|(text, part)| text.ends_with(part))?.into(),
            Self::Contains => two().map(|(text, part)| text.contains(part))?.into(),
            Self::Lower => first.as_str()?.to_lowercase().into(),
            Self::Upper => first.as_str()?.to_uppercase().into(),
            Self::Length => first.as_str()?.chars().count().into(),
            Self::Abs => super::parser::number_value(first.as_f64()?.abs()),
        })
    }
}
