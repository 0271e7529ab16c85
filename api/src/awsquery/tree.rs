//! A form's tree as a source for serde.
//!
//! Text becomes what the type asks for: the wire does not say what is a number. An error names the path to what is wrong.

use std::str::FromStr;

use serde::de::value::StrDeserializer;
use serde::de::{DeserializeSeed, Deserializer, Error as _, IntoDeserializer, MapAccess, SeqAccess, Visitor};
use serde::forward_to_deserialize_any;

use super::form::{FormError, Node};

/// What a list's items are below.
const MEMBER: &str = "member";
/// What a map's entries are below, each with a `key` and a `value`.
const ENTRY: &str = "entry";

/// Reads one node.
#[derive(Clone, Copy)]
pub(super) struct Reader<'a> {
    node: &'a Node,
}

impl<'a> Reader<'a> {
    pub(super) fn at(node: &'a Node) -> Self {
        Self { node }
    }

    fn text(self) -> Result<&'a str, FormError> {
        match self.node {
            Node::Value(text) => Ok(text),
            Node::Members(_) => Err(FormError::custom("a value is expected")),
        }
    }

    fn number<T: FromStr>(self) -> Result<T, FormError> {
        let text = self.text()?;
        text.parse().map_err(|_| FormError::custom(format_args!("{text:?} is not a number")))
    }

    /// The numbered nodes below `word`, in the order of their numbers; none if there is a bare, empty value instead.
    fn numbered(self, word: &str, what: &str) -> Result<Vec<(u64, &'a Node)>, FormError> {
        let expected = || FormError::custom(format_args!("a {what} is expected"));
        let numbered = match self.node {
            Node::Value(text) if text.is_empty() => return Ok(Vec::new()),
            Node::Value(_) => return Err(expected()),
            Node::Members(members) => members.get(word).ok_or_else(expected)?,
        };
        let Node::Members(nodes) = numbered else { return Err(expected()) };
        let numbers = nodes.iter().map(|(text, node)| match text.parse() {
            Ok(number) => Ok((number, node)),
            Err(_) => Err(FormError::custom(format_args!("{text:?} is not a number of its items"))),
        });
        let mut nodes = numbers.collect::<Result<Vec<_>, _>>()?;
        nodes.sort_by_key(|(number, _)| *number);
        Ok(nodes)
    }
}

impl<'de> Deserializer<'de> for Reader<'de> {
    type Error = FormError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, FormError> {
        visitor.visit_str(self.text()?)
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, FormError> {
        match self.text()? {
            text if text.eq_ignore_ascii_case("true") => visitor.visit_bool(true),
            text if text.eq_ignore_ascii_case("false") => visitor.visit_bool(false),
            text => Err(FormError::custom(format_args!("{text:?} is neither true nor false"))),
        }
    }

    fn deserialize_i32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, FormError> {
        visitor.visit_i32(self.number()?)
    }

    fn deserialize_i64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, FormError> {
        visitor.visit_i64(self.number()?)
    }

    fn deserialize_f64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, FormError> {
        visitor.visit_f64(self.number()?)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, FormError> {
        visitor.visit_some(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, FormError> {
        let items = self.numbered(MEMBER, "list")?;
        visitor.visit_seq(Items { rest: items.into_iter() })
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, FormError> {
        let entries = self.numbered(ENTRY, "map")?;
        visitor.visit_map(Entries { rest: entries.into_iter(), value: None })
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, FormError> {
        match self.node {
            Node::Members(members) => visitor.visit_map(Members { rest: members.iter(), next: None }),
            Node::Value(_) => Err(FormError::custom("a structure is expected")),
        }
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, FormError> {
        visitor.visit_unit()
    }

    // The model has none of these besides strings; a string is what any text is.
    forward_to_deserialize_any! {
        i8 i16 u8 u16 u32 u64 f32 char str string bytes byte_buf unit unit_struct newtype_struct tuple tuple_struct enum
        identifier
    }
}

/// The items of a list.
struct Items<'a> {
    rest: std::vec::IntoIter<(u64, &'a Node)>,
}

impl<'de> SeqAccess<'de> for Items<'de> {
    type Error = FormError;

    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, FormError> {
        let Some((number, node)) = self.rest.next() else { return Ok(None) };
        let item = seed.deserialize(Reader::at(node));
        item.map(Some).map_err(|error| error.below(&format!("{MEMBER}.{number}")))
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.rest.len())
    }
}

/// The members of a structure.
struct Members<'a> {
    rest: std::collections::btree_map::Iter<'a, String, Node>,
    next: Option<(&'a str, &'a Node)>,
}

impl<'de> MapAccess<'de> for Members<'de> {
    type Error = FormError;

    fn next_key_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, FormError> {
        let Some((name, node)) = self.rest.next() else { return Ok(None) };
        self.next = Some((name, node));
        let name: StrDeserializer<'_, FormError> = name.as_str().into_deserializer();
        seed.deserialize(name).map(Some)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, FormError> {
        let (name, node) = self.next.take().expect("a member's name is read before its value");
        seed.deserialize(Reader::at(node)).map_err(|error| error.below(name))
    }
}

/// The entries of a map.
struct Entries<'a> {
    rest: std::vec::IntoIter<(u64, &'a Node)>,
    value: Option<&'a Node>,
}

impl<'de> MapAccess<'de> for Entries<'de> {
    type Error = FormError;

    fn next_key_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, FormError> {
        let Some((number, node)) = self.rest.next() else { return Ok(None) };
        let pair = match node {
            Node::Members(pair) => pair.get("key").zip(pair.get("value")),
            Node::Value(_) => None,
        };
        let missing =
            || FormError::custom("a key and a value are expected").below(&format!("{ENTRY}.{number}"));
        let (key, value) = pair.ok_or_else(missing)?;
        self.value = Some(value);
        seed.deserialize(Reader::at(key)).map(Some)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, FormError> {
        seed.deserialize(Reader::at(self.value.take().expect("an entry's key is read before its value")))
    }
}
