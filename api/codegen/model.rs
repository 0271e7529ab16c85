//! The part of botocore's service model format that the generator reads.
//!
//! Unknown constraint keys are ignored on purpose; unknown *types* stop generation, because a member that
//! silently got no Rust type would be dropped from the wire.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Model {
    pub(crate) botocore_version: String,
    pub(crate) operations: BTreeMap<String, Operation>,
    pub(crate) shapes: BTreeMap<String, Shape>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Operation {
    pub(crate) input: Reference,
    pub(crate) output: Reference,
    #[serde(default)]
    pub(crate) readonly: bool,
}

/// A use of a shape: as a member, a list item, a map value, an input or an output.
#[derive(Debug, Deserialize)]
pub(crate) struct Reference {
    pub(crate) shape: String,
    #[serde(default)]
    pub(crate) deprecated: bool,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Shape {
    #[serde(rename = "type")]
    pub(crate) kind: Kind,
    #[serde(default)]
    pub(crate) members: BTreeMap<String, Reference>,
    #[serde(default)]
    pub(crate) required: BTreeSet<String>,
    #[serde(default, rename = "enum")]
    pub(crate) values: Vec<String>,
    pub(crate) member: Option<Reference>,
    pub(crate) value: Option<Reference>,
    #[serde(default)]
    pub(crate) exception: bool,
    #[serde(default)]
    pub(crate) fault: bool,
    /// What an exception is called on the wire, where that is not the shape's name.
    pub(crate) error: Option<ErrorTrait>,
    #[serde(default)]
    pub(crate) sensitive: bool,
    /// Free-form JSON instead of declared members.
    #[serde(default)]
    pub(crate) document: bool,
    #[serde(default)]
    pub(crate) union: bool,
    #[serde(default)]
    pub(crate) deprecated: bool,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ErrorTrait {
    pub(crate) code: Option<String>,
    pub(crate) http_status_code: Option<u16>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Kind {
    Blob,
    Boolean,
    Double,
    Float,
    Integer,
    List,
    Long,
    Map,
    String,
    Structure,
    Timestamp,
}

impl Model {
    /// The shape called `name`.
    pub(crate) fn shape(&self, name: &str) -> &Shape {
        self.shapes
            .get(name)
            .unwrap_or_else(|| panic!("the model references {name}, which it does not define"))
    }

    /// The names of all request and response shapes.
    pub(crate) fn messages(&self) -> BTreeSet<&str> {
        self.operations
            .values()
            .flat_map(|operation| [operation.input.shape.as_str(), operation.output.shape.as_str()])
            .collect()
    }

    /// The Rust type of a shape, without the `Option` around it; structures are named with `prefix`.
    pub(crate) fn rust_type(&self, name: &str, prefix: &str) -> String {
        let shape = self.shape(name);
        let item = |reference: &Option<Reference>| {
            let reference = reference.as_ref().expect("a list or map shape names its item");
            self.rust_type(&reference.shape, prefix)
        };
        match shape.kind {
            Kind::Blob | Kind::String => "String".to_owned(),
            Kind::Boolean => "bool".to_owned(),
            Kind::Double | Kind::Float => "f64".to_owned(),
            Kind::Integer => "i32".to_owned(),
            Kind::Long => "i64".to_owned(),
            Kind::List => format!("Vec<{}>", item(&shape.member)),
            Kind::Map => format!("BTreeMap<String, {}>", item(&shape.value)),
            Kind::Structure if shape.document => "serde_json::Value".to_owned(),
            Kind::Structure => format!("{prefix}{name}"),
            Kind::Timestamp => "Timestamp".to_owned(),
        }
    }
}
