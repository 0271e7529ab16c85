//! Small forms of what agents report of every container, since a cluster has a million of them.
//!
//! The id that a runtime gives a container and the digest of an image are 32 bytes, written as 64 digits; a port
//! binding is two numbers and a protocol, written as a page of JSON. Each is kept as what it is wherever its text can be
//! built again to the letter, and as its text where not.
//!
//! Invariant: what goes in comes out unchanged, in memory as in a journal.

use std::convert::Infallible;
use std::fmt;

use ecsr_api::ecs;
use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{MapAccess, SeqAccess, Visitor};
use serde::ser::SerializeStruct;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::Protocol;
use crate::ids::{OfText, digits};

const SHA256: &str = "sha256:";

/// A text that is usually 64 hexadecimal digits, perhaps behind `sha256:`.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct HexText(Form);

#[derive(Clone, PartialEq, Eq, Hash)]
enum Form {
    Digits([u8; 32]),
    Digest([u8; 32]),
    Text(Box<str>),
}

impl From<&str> for HexText {
    fn from(text: &str) -> Self {
        let form = match text.strip_prefix(SHA256) {
            // Lower-case digits only: others could not be written again as they were.
            Some(text) => digits(text).map(Form::Digest),
            None => digits(text).map(Form::Digits),
        };
        Self(form.unwrap_or_else(|| Form::Text(text.into())))
    }
}

impl fmt::Display for HexText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Form::Digits(bytes) => write_digits(bytes, f),
            Form::Digest(bytes) => {
                f.write_str(SHA256)?;
                write_digits(bytes, f)
            }
            Form::Text(text) => f.write_str(text),
        }
    }
}

fn write_digits(bytes: &[u8; 32], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let mut digits = [0; 64];
    hex::encode_to_slice(bytes, &mut digits).expect("two digits for each byte");
    f.write_str(str::from_utf8(&digits).expect("hexadecimal digits"))
}

impl fmt::Debug for HexText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for HexText {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for HexText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(OfText::new("a text", |text| Ok::<_, Infallible>(Self::from(text))))
    }
}

/// A port of a container and the one of its host that leads to it.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(from = "ecs::NetworkBinding")]
pub struct PortBinding(Binding);

#[derive(Debug, Clone, PartialEq)]
enum Binding {
    Port { container: u16, host: u16, protocol: Protocol, address: Address },
    Other(Box<ecs::NetworkBinding>),
}

/// The address of the host that Docker binds a port to unless told otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum Address {
    AnyV4,
    AnyV6,
}

impl Address {
    fn as_str(self) -> &'static str {
        match self {
            Self::AnyV4 => "0.0.0.0",
            Self::AnyV6 => "::",
        }
    }
}

impl PortBinding {
    /// The container's own port, if it is a single one.
    pub fn container_port(&self) -> Option<u16> {
        match &self.0 {
            Binding::Port { container, .. } => Some(*container),
            Binding::Other(other) => u16::try_from(other.container_port?).ok(),
        }
    }

    /// The port of the host, if it is a single one.
    pub fn host_port(&self) -> Option<(Protocol, u16)> {
        let (host, protocol) = match &self.0 {
            Binding::Port { host, protocol, .. } => (*host, *protocol),
            Binding::Other(other) => {
                let udp = other.protocol.as_deref() == Some("udp");
                let protocol = if udp { Protocol::Udp } else { Protocol::Tcp };
                (u16::try_from(other.host_port?).ok()?, protocol)
            }
        };
        (host != 0).then_some((protocol, host))
    }
}

impl From<ecs::NetworkBinding> for PortBinding {
    fn from(binding: ecs::NetworkBinding) -> Self {
        Self(plain(&binding).unwrap_or_else(|| Binding::Other(Box::new(binding))))
    }
}

fn plain(binding: &ecs::NetworkBinding) -> Option<Binding> {
    let port = |port: Option<i32>| u16::try_from(port?).ok();
    let protocol = match binding.protocol.as_deref()? {
        "tcp" => Protocol::Tcp,
        "udp" => Protocol::Udp,
        _ => return None,
    };
    let address = [Address::AnyV4, Address::AnyV6];
    let address = address.into_iter().find(|known| binding.bind_ip.as_deref() == Some(known.as_str()))?;
    let ranged = binding.container_port_range.is_some() || binding.host_port_range.is_some();
    let (container, host) = (port(binding.container_port)?, port(binding.host_port)?);
    (!ranged).then_some(Binding::Port { container, host, protocol, address })
}

/// As the [`ecs::NetworkBinding`] that it stands for.
impl Serialize for PortBinding {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &self.0 {
            Binding::Port { container, host, protocol, address } => {
                let mut binding = serializer.serialize_struct("NetworkBinding", 4)?;
                binding.serialize_field("bindIP", address.as_str())?;
                binding.serialize_field("containerPort", container)?;
                binding.serialize_field("hostPort", host)?;
                binding.serialize_field("protocol", protocol.as_str())?;
                binding.end()
            }
            Binding::Other(other) => other.serialize(serializer),
        }
    }
}

/// A binding as a row of a snapshot has it: a plain one is a list of what tells it from others.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct ShortBinding(pub PortBinding);

impl Serialize for ShortBinding {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &self.0.0 {
            Binding::Port { container, host, protocol, address } => {
                (container, host, protocol, address).serialize(serializer)
            }
            Binding::Other(other) => other.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for ShortBinding {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;

        impl<'de> Visitor<'de> for Either {
            type Value = ShortBinding;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a port binding")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<ShortBinding, A::Error> {
                let (container, host, protocol, address) =
                    Deserialize::deserialize(SeqAccessDeserializer::new(list))?;
                Ok(ShortBinding(PortBinding(Binding::Port { container, host, protocol, address })))
            }

            fn visit_map<A: MapAccess<'de>>(self, members: A) -> Result<ShortBinding, A::Error> {
                PortBinding::deserialize(MapAccessDeserializer::new(members)).map(ShortBinding)
            }
        }

        deserializer.deserialize_any(Either)
    }
}

impl From<PortBinding> for ecs::NetworkBinding {
    fn from(PortBinding(binding): PortBinding) -> Self {
        match binding {
            Binding::Port { container, host, protocol, address } => Self {
                bind_ip: Some(address.as_str().to_owned()),
                container_port: Some(container.into()),
                host_port: Some(host.into()),
                protocol: Some(protocol.as_str().to_owned()),
                ..Self::default()
            },
            Binding::Other(other) => *other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_come_out_as_they_went_in() {
        let digits = "0123456789abcdef".repeat(4);
        let check = |text: &str, heap: bool| {
            let compact = HexText::from(text);
            assert_eq!(compact.to_string(), text);
            assert_eq!(matches!(compact.0, Form::Text(_)), heap, "{text}");
            let written = serde_json::to_string(&compact).unwrap();
            assert_eq!(written, format!("\"{text}\""));
            assert_eq!(serde_json::from_str::<HexText>(&written).unwrap(), compact);
        };
        check(&digits, false);
        check(&format!("sha256:{digits}"), false);
        check(&digits.to_uppercase(), true);
        check(&format!("sha512:{digits}"), true);
        check(&digits[1..], true);
        check("", true);
    }

    #[test]
    fn bindings_come_out_as_they_went_in() {
        let binding = ecs::NetworkBinding {
            bind_ip: Some("0.0.0.0".into()),
            container_port: Some(80),
            host_port: Some(32768),
            protocol: Some("tcp".into()),
            ..ecs::NetworkBinding::default()
        };
        let check = |change: fn(&mut ecs::NetworkBinding), heap: bool, host: Option<(Protocol, u16)>| {
            let mut binding = binding.clone();
            change(&mut binding);
            let compact = PortBinding::from(binding.clone());
            assert_eq!(matches!(compact.0, Binding::Other(_)), heap, "{binding:?}");
            assert_eq!(compact.host_port(), host, "{binding:?}");
            let written = serde_json::to_value(&compact).unwrap();
            assert_eq!(written, serde_json::to_value(&binding).unwrap());
            assert_eq!(serde_json::to_string(&compact).unwrap(), serde_json::to_string(&binding).unwrap());
            assert_eq!(serde_json::from_value::<PortBinding>(written).unwrap(), compact);
            let short = ShortBinding(compact.clone());
            let written = serde_json::to_string(&short).unwrap();
            assert_eq!(serde_json::from_str::<ShortBinding>(&written).unwrap(), short);
            assert_eq!(ecs::NetworkBinding::from(compact), binding);
        };
        check(|_| {}, false, Some((Protocol::Tcp, 32768)));
        check(|one| one.bind_ip = Some("::".into()), false, Some((Protocol::Tcp, 32768)));
        check(|one| one.protocol = Some("udp".into()), false, Some((Protocol::Udp, 32768)));
        check(|one| one.host_port = Some(0), false, None);
        check(|one| one.bind_ip = Some("10.0.0.1".into()), true, Some((Protocol::Tcp, 32768)));
        check(|one| one.protocol = None, true, Some((Protocol::Tcp, 32768)));
        check(|one| one.host_port_range = Some("80-90".into()), true, Some((Protocol::Tcp, 32768)));
        check(|one| one.host_port = Some(70_000), true, None);
        check(|one| one.host_port = None, true, None);
    }
}
