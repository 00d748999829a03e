//! What the strings of both protocols share: they are checked once, by rules of their own, and read the same way.

/// Lets a tuple struct around [`bytes::Bytes`] that were checked to be UTF-8 be read as the string they are.
macro_rules! reads_as_text {
    ($text:ident) => {
        impl $text {
            /// The string.
            pub fn as_str(&self) -> &str {
                // Looked at again rather than trusted: this costs a few nanoseconds and spares the crate its only `unsafe`.
                std::str::from_utf8(&self.0).expect("only `new` makes a Text, and it has looked")
            }

            /// The same bytes, shared.
            pub fn as_bytes(&self) -> &Bytes {
                &self.0
            }
        }

        impl std::ops::Deref for $text {
            type Target = str;

            fn deref(&self) -> &str {
                self.as_str()
            }
        }

        impl AsRef<str> for $text {
            fn as_ref(&self) -> &str {
                self
            }
        }

        impl std::fmt::Display for $text {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self)
            }
        }

        impl std::fmt::Debug for $text {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                std::fmt::Debug::fmt(self.as_str(), f)
            }
        }

        impl PartialEq<str> for $text {
            fn eq(&self, other: &str) -> bool {
                self.0 == other.as_bytes()
            }
        }

        impl PartialEq<&str> for $text {
            fn eq(&self, other: &&str) -> bool {
                self.0 == other.as_bytes()
            }
        }
    };
}

pub(crate) use reads_as_text;
