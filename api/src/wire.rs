//! How the agent protocol's messages become Rust: two macros, so that each message is written as its fields
//! alone and none can deviate from the convention.
//!
//! `structures!`: every member is optional, named in camel case, left out when `None`, and unknown members
//! are ignored; a list that is present but empty stays an empty list. `Debug` shows only what is set, and
//! of members named after `hide` only that they are set.
//!
//! `messages!`: the envelope `{"type":"<name>","message":{…}}` as an enum whose variants carry the names of
//! the wire; a type that is not known reads as `Unknown`, because both sides must skip what a newer peer says.

use serde::{Deserialize, Serialize};

/// Why a frame is not a message.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    #[error("the frame has {bytes} bytes, more than {bytes_max}")]
    TooLong { bytes: usize, bytes_max: usize },
    #[error("the frame is not an envelope of a type and a message")]
    Envelope(#[source] serde_json::Error),
    #[error("the message of type {kind} has a member of the wrong type")]
    Message { kind: String, source: serde_json::Error },
    #[error("the frame's header block is malformed: {0}")]
    Headers(&'static str),
}

#[derive(Serialize)]
pub(crate) struct Outgoing<'a, T> {
    #[serde(rename = "type")]
    pub(crate) kind: &'a str,
    pub(crate) message: &'a T,
}

#[derive(Deserialize)]
pub(crate) struct Incoming {
    #[serde(rename = "type")]
    pub(crate) kind: String,
    #[serde(default)]
    pub(crate) message: Option<serde_json::Map<String, serde_json::Value>>,
}

impl Incoming {
    /// The envelope of a frame of at most `bytes_max` bytes.
    pub(crate) fn read(text: &str, bytes_max: usize) -> Result<Self, FrameError> {
        if text.len() > bytes_max {
            return Err(FrameError::TooLong { bytes: text.len(), bytes_max });
        }
        serde_json::from_str(text).map_err(FrameError::Envelope)
    }

    /// The message as the structure of its type; a missing one has no members.
    pub(crate) fn into_message<T: for<'de> Deserialize<'de>>(self) -> Result<T, FrameError> {
        let Incoming { kind, message } = self;
        let value = serde_json::Value::Object(message.unwrap_or_default());
        serde_json::from_value(value).map_err(|source| FrameError::Message { kind, source })
    }
}

macro_rules! structures {
    ($(
        $(#[$meta:meta])*
        pub struct $name:ident $(hide($($hidden:ident),+))? {
            $($(#[$field_meta:meta])* $field:ident: $kind:ty,)*
        }
    )*) => {$(
        $(#[$meta])*
        #[derive(Clone, Default, PartialEq, serde::Serialize, serde::Deserialize)]
        #[serde(rename_all = "camelCase")]
        pub struct $name {
            $($(#[$field_meta])* #[serde(skip_serializing_if = "Option::is_none")] pub $field: Option<$kind>,)*
        }

        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                let hidden: &[&str] = &[$($(stringify!($hidden)),+)?];
                let mut shown = f.debug_struct(stringify!($name));
                $(
                    if let Some(value) = &self.$field {
                        let label = stringify!($field);
                        if hidden.contains(&label) {
                            shown.field(label, &crate::redacted::Redacted);
                        } else {
                            shown.field(label, value);
                        }
                    }
                )*
                shown.finish()
            }
        }
    )*};
}

macro_rules! messages {
    (
        $(#[$meta:meta])*
        pub enum $name:ident within $bytes_max:ident {
            $($variant:ident($message:ty),)*
        }
    ) => {
        $(#[$meta])*
        #[derive(Debug, Clone, PartialEq)]
        pub enum $name {
            $($variant($message),)*
            /// A type that this side does not know, to be skipped. It is never sent.
            Unknown { kind: String },
        }

        impl $name {
            /// The type, as the envelope names it.
            pub fn kind(&self) -> &str {
                match self {
                    $($name::$variant(_) => stringify!($variant),)*
                    $name::Unknown { kind } => kind,
                }
            }

            /// The frame's text.
            pub fn encode(&self) -> String {
                let kind = self.kind();
                let encoded = match self {
                    $($name::$variant(message) => serde_json::to_string(&crate::wire::Outgoing { kind, message }),)*
                    $name::Unknown { .. } => {
                        let message = &serde_json::Map::new();
                        serde_json::to_string(&crate::wire::Outgoing { kind, message })
                    }
                };
                encoded.expect("messages have string keys and finite numbers only")
            }

            /// The message in a frame.
            ///
            /// # Errors
            /// If the text is too long, is no envelope, or a member of a known message has the wrong type.
            pub fn decode(text: &str) -> Result<Self, crate::wire::FrameError> {
                Self::from_envelope(crate::wire::Incoming::read(text, $bytes_max)?)
            }

            fn from_envelope(envelope: crate::wire::Incoming) -> Result<Self, crate::wire::FrameError> {
                match envelope.kind.as_str() {
                    $(stringify!($variant) => envelope.into_message().map($name::$variant),)*
                    _ => Ok($name::Unknown { kind: envelope.kind }),
                }
            }
        }
    };
}

pub(crate) use messages;
pub(crate) use structures;
