//! Answers as XML: elements named as the members, lists as `member` elements, text escaped.
//!
//! What is absent is left out. Maps are lists of `entry` elements, each with a `key` and a `value`.

use std::fmt::{self, Display, Write as _};

use serde::Serialize;
use serde::ser::{self, Impossible, Serializer};

/// Why a type cannot be written: it has something for which the protocol has no form. Those of the model have not.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct XmlError(String);

impl ser::Error for XmlError {
    fn custom<T: Display>(message: T) -> Self {
        Self(message.to_string())
    }
}

/// The answer to an operation: its result within the envelope of the protocol.
pub fn response<T: Serialize>(
    operation: &str,
    namespace: &str,
    result: &T,
    request_id: &str,
) -> Result<String, XmlError> {
    let mut out = format!("<{operation}Response xmlns=\"{}\"><{operation}Result>", Escaped(namespace));
    result.serialize(Writer { out: &mut out, place: Place::Content })?;
    let _ = write!(
        out,
        "</{operation}Result><ResponseMetadata><RequestId>{}</RequestId></ResponseMetadata></{operation}Response>",
        Escaped(request_id)
    );
    Ok(out)
}

/// The answer that something went wrong: whose fault it is, and what.
pub fn error(is_senders: bool, code: &str, message: &str, namespace: &str, request_id: &str) -> String {
    format!(
        "<ErrorResponse xmlns=\"{}\"><Error><Type>{}</Type><Code>{}</Code><Message>{}</Message></Error>\
         <RequestId>{}</RequestId></ErrorResponse>",
        Escaped(namespace),
        if is_senders { "Sender" } else { "Receiver" },
        Escaped(code),
        Escaped(message),
        Escaped(request_id)
    )
}

/// Text in which nothing is taken for markup, and in which nothing stands that XML 1.0 cannot carry.
struct Escaped<'a>(&'a str);

impl Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for letter in self.0.chars() {
            match letter {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                // As text a carriage return would be read as a line feed.
                '\r' => f.write_str("&#13;")?,
                '\n' | '\t' => f.write_char(letter)?,
                '\u{fffe}' | '\u{ffff}' => f.write_char(char::REPLACEMENT_CHARACTER)?,
                other if other.is_ascii_control() => f.write_char(char::REPLACEMENT_CHARACTER)?,
                other => f.write_char(other)?,
            }
        }
        Ok(())
    }
}

/// Where a value is written.
#[derive(Clone, Copy)]
enum Place<'a> {
    /// As the content of an element that is open already.
    Content,
    /// In an element of its own of that name.
    Element(&'a str),
}

/// Writes one value.
struct Writer<'a> {
    out: &'a mut String,
    place: Place<'a>,
}

impl Writer<'_> {
    fn text(self, text: impl Display) -> Result<(), XmlError> {
        let element = self.open();
        write!(element.out, "{text}").map_err(ser::Error::custom)?;
        element.close();
        Ok(())
    }
}

impl<'a> Writer<'a> {
    fn open(self) -> Open<'a> {
        if let Place::Element(name) = self.place {
            let _ = write!(self.out, "<{name}>");
        }
        Open { out: self.out, place: self.place, key: None }
    }
}

/// A value whose element is open: its members are written into it.
struct Open<'a> {
    out: &'a mut String,
    place: Place<'a>,
    /// The name of a map's entry whose value is to come.
    key: Option<String>,
}

impl Open<'_> {
    fn element<T: Serialize + ?Sized>(&mut self, name: &str, value: &T) -> Result<(), XmlError> {
        value.serialize(Writer { out: self.out, place: Place::Element(name) })
    }

    fn close(self) {
        if let Place::Element(name) = self.place {
            let _ = write!(self.out, "</{name}>");
        }
    }
}

fn no_form<T>(what: &str) -> Result<T, XmlError> {
    Err(XmlError(format!("the Query protocol has no form for {what}")))
}

impl<'a> Serializer for Writer<'a> {
    type Ok = ();
    type Error = XmlError;
    type SerializeSeq = Open<'a>;
    type SerializeMap = Open<'a>;
    type SerializeStruct = Open<'a>;
    type SerializeTuple = Impossible<(), XmlError>;
    type SerializeTupleStruct = Impossible<(), XmlError>;
    type SerializeTupleVariant = Impossible<(), XmlError>;
    type SerializeStructVariant = Impossible<(), XmlError>;

    fn serialize_bool(self, value: bool) -> Result<(), XmlError> {
        self.text(value)
    }

    fn serialize_i8(self, value: i8) -> Result<(), XmlError> {
        self.text(value)
    }

    fn serialize_i16(self, value: i16) -> Result<(), XmlError> {
        self.text(value)
    }

    fn serialize_i32(self, value: i32) -> Result<(), XmlError> {
        self.text(value)
    }

    fn serialize_i64(self, value: i64) -> Result<(), XmlError> {
        self.text(value)
    }

    fn serialize_u8(self, value: u8) -> Result<(), XmlError> {
        self.text(value)
    }

    fn serialize_u16(self, value: u16) -> Result<(), XmlError> {
        self.text(value)
    }

    fn serialize_u32(self, value: u32) -> Result<(), XmlError> {
        self.text(value)
    }

    fn serialize_u64(self, value: u64) -> Result<(), XmlError> {
        self.text(value)
    }

    fn serialize_f32(self, value: f32) -> Result<(), XmlError> {
        self.text(value)
    }

    fn serialize_f64(self, value: f64) -> Result<(), XmlError> {
        self.text(value)
    }

    fn serialize_char(self, value: char) -> Result<(), XmlError> {
        self.serialize_str(value.encode_utf8(&mut [0; 4]))
    }

    fn serialize_str(self, value: &str) -> Result<(), XmlError> {
        self.text(Escaped(value))
    }

    fn serialize_bytes(self, _value: &[u8]) -> Result<(), XmlError> {
        no_form("bytes")
    }

    fn serialize_none(self) -> Result<(), XmlError> {
        Ok(())
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), XmlError> {
        value.serialize(self)
    }

    fn serialize_unit(self) -> Result<(), XmlError> {
        Ok(())
    }

    fn serialize_unit_struct(self, _name: &'static str) -> Result<(), XmlError> {
        Ok(())
    }

    fn serialize_unit_variant(
        self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
    ) -> Result<(), XmlError> {
        self.serialize_str(variant)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _name: &'static str,
        value: &T,
    ) -> Result<(), XmlError> {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _name: &'static str,
        _index: u32,
        _variant: &'static str,
        _value: &T,
    ) -> Result<(), XmlError> {
        no_form("a variant with content")
    }

    fn serialize_seq(self, _length: Option<usize>) -> Result<Open<'a>, XmlError> {
        Ok(self.open())
    }

    fn serialize_tuple(self, _length: usize) -> Result<Self::SerializeTuple, XmlError> {
        no_form("a tuple")
    }

    fn serialize_tuple_struct(
        self,
        _name: &'static str,
        _length: usize,
    ) -> Result<Self::SerializeTupleStruct, XmlError> {
        no_form("a tuple")
    }

    fn serialize_tuple_variant(
        self,
        _name: &'static str,
        _index: u32,
        _variant: &'static str,
        _length: usize,
    ) -> Result<Self::SerializeTupleVariant, XmlError> {
        no_form("a variant with content")
    }

    fn serialize_map(self, _length: Option<usize>) -> Result<Open<'a>, XmlError> {
        Ok(self.open())
    }

    fn serialize_struct(self, _name: &'static str, _length: usize) -> Result<Open<'a>, XmlError> {
        Ok(self.open())
    }

    fn serialize_struct_variant(
        self,
        _name: &'static str,
        _index: u32,
        _variant: &'static str,
        _length: usize,
    ) -> Result<Self::SerializeStructVariant, XmlError> {
        no_form("a variant with content")
    }
}

impl ser::SerializeSeq for Open<'_> {
    type Ok = ();
    type Error = XmlError;

    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), XmlError> {
        self.element("member", value)
    }

    fn end(self) -> Result<(), XmlError> {
        self.close();
        Ok(())
    }
}

impl ser::SerializeMap for Open<'_> {
    type Ok = ();
    type Error = XmlError;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), XmlError> {
        let mut text = String::new();
        key.serialize(Writer { out: &mut text, place: Place::Content })?;
        self.key = Some(text);
        Ok(())
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), XmlError> {
        let key = self.key.take().unwrap_or_default();
        let _ = write!(self.out, "<entry><key>{key}</key>");
        self.element("value", value)?;
        self.out.push_str("</entry>");
        Ok(())
    }

    fn end(self) -> Result<(), XmlError> {
        self.close();
        Ok(())
    }
}

impl ser::SerializeStruct for Open<'_> {
    type Ok = ();
    type Error = XmlError;

    fn serialize_field<T: Serialize + ?Sized>(
        &mut self,
        name: &'static str,
        value: &T,
    ) -> Result<(), XmlError> {
        self.element(name, value)
    }

    fn end(self) -> Result<(), XmlError> {
        self.close();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    const NAMESPACE: &str = "http://example.com/doc/";

    #[derive(Default, Serialize)]
    #[serde(rename_all = "PascalCase")]
    struct Answer {
        #[serde(skip_serializing_if = "Option::is_none")]
        groups: Option<Vec<Group>>,
        #[serde(skip_serializing_if = "Option::is_none")]
        next_marker: Option<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        extra: Option<BTreeMap<String, String>>,
    }

    #[derive(Serialize)]
    #[serde(rename_all = "PascalCase")]
    struct Group {
        port: Option<i32>,
        enabled: bool,
        arns: Vec<String>,
    }

    fn answered(answer: &Answer) -> String {
        let xml = response("DoIt", NAMESPACE, answer, "id-1").unwrap();
        let start = "<DoItResponse xmlns=\"http://example.com/doc/\"><DoItResult>";
        let end =
            "</DoItResult><ResponseMetadata><RequestId>id-1</RequestId></ResponseMetadata></DoItResponse>";
        xml.strip_prefix(start).and_then(|rest| rest.strip_suffix(end)).expect(&xml).to_owned()
    }

    #[test]
    fn members_are_elements_and_items_are_members() {
        assert_eq!(answered(&Answer::default()), "");
        let groups = vec![
            Group { port: Some(80), enabled: true, arns: vec!["a".to_owned(), "b".to_owned()] },
            Group { port: None, enabled: false, arns: vec![] },
        ];
        assert_eq!(
            answered(&Answer { groups: Some(groups), ..Answer::default() }),
            "<Groups><member><Port>80</Port><Enabled>true</Enabled>\
             <Arns><member>a</member><member>b</member></Arns></member>\
             <member><Enabled>false</Enabled><Arns></Arns></member></Groups>"
        );
        let extra = Some(BTreeMap::from([("k<".to_owned(), "v".to_owned())]));
        assert_eq!(
            answered(&Answer { extra, ..Answer::default() }),
            "<Extra><entry><key>k&lt;</key><value>v</value></entry></Extra>"
        );
    }

    #[test]
    fn text_is_never_markup() {
        let next_marker = Some("a<b>&\"c\"\r\u{0}\u{ffff}é".to_owned());
        assert_eq!(
            answered(&Answer { next_marker, ..Answer::default() }),
            "<NextMarker>a&lt;b&gt;&amp;&quot;c&quot;&#13;\u{fffd}\u{fffd}é</NextMarker>"
        );
        assert_eq!(
            error(true, "TargetGroupNotFound", "no <group>", NAMESPACE, "id-1"),
            "<ErrorResponse xmlns=\"http://example.com/doc/\"><Error><Type>Sender</Type>\
             <Code>TargetGroupNotFound</Code><Message>no &lt;group&gt;</Message></Error>\
             <RequestId>id-1</RequestId></ErrorResponse>"
        );
    }

    #[test]
    fn what_has_no_form_is_an_error() {
        assert!(response("DoIt", NAMESPACE, &(1, 2), "id").is_err());
    }
}
