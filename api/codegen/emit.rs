//! Writes the Rust text of each generated file.
//!
//! The text is laid out as rustfmt would (line width 110), so that formatting the tree never makes the
//! checked-in files differ from what is generated.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use crate::codegen::model::{Kind, Model, Shape};
use crate::codegen::{Service, names};

/// rustfmt's `max_width` for this workspace.
const LINE_WIDTH: usize = 110;

/// The file that a structure is written to: from one, the other's structures are reached by a path.
#[derive(Clone, Copy)]
enum Place {
    Types,
    Operations,
}

impl Place {
    fn prefix(self) -> &'static str {
        match self {
            Place::Types => "",
            Place::Operations => "types::",
        }
    }
}

/// `types.rs`: every structure that requests and responses are made of.
pub(crate) fn types(service: &Service, model: &Model) -> String {
    let messages = model.messages();
    let mut body = String::new();
    for (name, shape) in &model.shapes {
        let wanted = shape.kind == Kind::Structure && !shape.exception && !shape.document;
        if wanted && !messages.contains(name.as_str()) {
            structure(&mut body, service, model, name, Place::Types, &kind_of_structure(shape));
        }
    }
    header(model, "The structures that requests and responses are made of.") + &imports(&body) + &body
}

/// `operations.rs`: the `Operation` enum and every request and response.
pub(crate) fn operations(service: &Service, model: &Model) -> String {
    let mut body = String::new();
    operation_enum(&mut body, service, model);
    for (name, operation) in &model.operations {
        let (input, output) = (&operation.input.shape, &operation.output.shape);
        let input_doc = format!("What [`Operation::{name}`] is asked with.");
        structure(&mut body, service, model, input, Place::Operations, &input_doc);
        let output_doc = format!("What [`Operation::{name}`] answers.");
        structure(&mut body, service, model, output, Place::Operations, &output_doc);
    }
    header(model, "The operations of the service, their requests and their responses.")
        + &imports(&body)
        + &body
}

/// `enums.rs`: the allowed values of every enum shape.
pub(crate) fn enums(model: &Model) -> String {
    let mut out =
        header(model, "The values that each string enum of the model allows, in the model's order.");
    out.truncate(out.len() - 1);
    for (name, shape) in model.shapes.iter().filter(|(_, shape)| !shape.values.is_empty()) {
        let constant = names::constant(name);
        let quoted: Vec<String> = shape.values.iter().map(|value| format!("\"{value}\"")).collect();
        let _ = writeln!(out, "\n/// Values of the model's `{name}`.");
        constant_slice(&mut out, &constant, "&str", &quoted);
    }
    out
}

/// `errors.rs`: the error names that this service and its front door answer.
pub(crate) fn errors(service: &Service, model: &Model) -> String {
    let modelled = model.shapes.iter().filter(|(_, shape)| shape.exception);
    let mut codes: Vec<(String, u16, String)> = modelled
        .map(|(name, shape)| (code_of(name, shape), status_of(shape), modelled_by(model, name)))
        .collect();
    let protocol = service.protocol_errors.iter();
    codes.extend(protocol.map(|(name, status, doc)| ((*name).to_owned(), *status, (*doc).to_owned())));
    codes.sort();

    let purpose = format!(
        "The names of all errors: those of the model, and those of the {} front door.",
        service.protocol
    );
    let mut out = header(model, &purpose);
    let _ = writeln!(out, "/// {}", service.error_place);
    out.push_str(
        "#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]\npub enum ErrorCode {\n",
    );
    for (name, _, doc) in &codes {
        let _ = writeln!(out, "    /// {doc}\n    {name},");
    }
    out.push_str("}\n\nimpl ErrorCode {\n");
    let names: Vec<&str> = codes.iter().map(|(name, ..)| name.as_str()).collect();
    name_functions(&mut out, "ErrorCode", "error", &names);
    out.push_str("\n    /// The HTTP status that it is answered with.\n");
    out.push_str("    pub const fn status(self) -> u16 {\n        match self {\n");
    // The most frequent one last.
    let rare: BTreeSet<u16> =
        codes.iter().map(|(_, status, _)| *status).filter(|status| *status != 400).collect();
    for status in rare.into_iter().chain([400]) {
        let of_status = codes.iter().filter(|(_, of, _)| *of == status);
        let names: Vec<String> = of_status.map(|(name, ..)| format!("ErrorCode::{name}")).collect();
        match_arm(&mut out, &names, &status.to_string());
    }
    out.push_str("        }\n    }\n}\n");
    out
}

/// What an exception is called on the wire.
fn code_of(name: &str, shape: &Shape) -> String {
    let code = shape.error.as_ref().and_then(|error| error.code.clone());
    code.unwrap_or_else(|| name.to_owned())
}

fn status_of(shape: &Shape) -> u16 {
    let modelled = shape.error.as_ref().and_then(|error| error.http_status_code);
    modelled.unwrap_or(if shape.fault { 500 } else { 400 })
}

/// The imports that a file of structures needs, in rustfmt's order.
fn imports(body: &str) -> String {
    let mut out = String::new();
    if body.contains("BTreeMap<") {
        out.push_str("use std::collections::BTreeMap;\n\n");
    }
    out.push_str("use serde::{Deserialize, Serialize};\n\n");
    for (used, line) in [
        ("<types::", "use super::types;\n"),
        ("Redacted", "use crate::redacted::Redacted;\n"),
        ("<Timestamp", "use crate::timestamp::Timestamp;\n"),
    ] {
        if body.contains(used) {
            out.push_str(line);
        }
    }
    out
}

fn header(model: &Model, purpose: &str) -> String {
    format!(
        "//! {purpose}\n//!\n//! Generated by `api/codegen` from the service model of botocore {}; do not edit.\n\
         //! Rewrite with `UPDATE=1 cargo test -p ecsr-api --test generated`.\n\n",
        model.botocore_version
    )
}

fn kind_of_structure(shape: &Shape) -> String {
    let union = if shape.union { " A union: exactly one member is set." } else { "" };
    let deprecated = if shape.deprecated { " Deprecated by AWS." } else { "" };
    format!("{union}{deprecated}").trim().to_owned()
}

fn modelled_by(model: &Model, error: &str) -> String {
    let extra: Vec<String> = model
        .shape(error)
        .members
        .keys()
        .filter(|member| *member != "message")
        .map(|member| format!("`{member}`"))
        .collect();
    match (model.shape(error).fault, extra.is_empty()) {
        (true, _) => "Modelled: the service's own failure.".to_owned(),
        (false, true) => "Modelled: the caller's error.".to_owned(),
        (false, false) => format!("Modelled: the caller's error, with {}.", extra.join(", ")),
    }
}

fn operation_enum(out: &mut String, service: &Service, model: &Model) {
    let _ = writeln!(out, "\n/// An operation of the service, as {} names it.", service.operation_place);
    out.push_str(
        "#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]\npub enum Operation {\n",
    );
    for name in model.operations.keys() {
        let _ = writeln!(out, "    {name},");
    }
    out.push_str("}\n\nimpl Operation {\n");
    let names: Vec<&str> = model.operations.keys().map(String::as_str).collect();
    name_functions(out, "Operation", "operation", &names);
    if model.operations.values().any(|operation| operation.readonly) {
        readonly_function(out, model);
    }
    out.push_str("}\n");
}

fn readonly_function(out: &mut String, model: &Model) {
    out.push_str("\n    /// Whether the model calls it read-only.\n");
    out.push_str("    pub const fn is_readonly(self) -> bool {\n        match self {\n");
    for readonly in [true, false] {
        let arms: Vec<String> = model
            .operations
            .iter()
            .filter(|(_, operation)| operation.readonly == readonly)
            .map(|(name, _)| format!("Operation::{name}"))
            .collect();
        match_arm(out, &arms, &readonly.to_string());
    }
    out.push_str("        }\n    }\n");
}

/// `ALL`, `name` and `from_name` of an enum whose variants are spelled as on the wire.
fn name_functions(out: &mut String, kind: &str, noun: &str, names: &[&str]) {
    let _ = writeln!(out, "    /// Every {noun}, by name.\n    pub const ALL: &[{kind}] = &[");
    for name in names {
        let _ = writeln!(out, "        {kind}::{name},");
    }
    let _ = writeln!(
        out,
        "    ];\n\n    /// Its name on the wire.\n    pub const fn name(self) -> &'static str {{"
    );
    out.push_str("        match self {\n");
    for name in names {
        let line = format!("            {kind}::{name} => \"{name}\",");
        if line.len() <= LINE_WIDTH {
            let _ = writeln!(out, "{line}");
        } else {
            let _ =
                writeln!(out, "            {kind}::{name} => {{\n                \"{name}\"\n            }}");
        }
    }
    let _ = writeln!(out, "        }}\n    }}\n\n    /// The {noun} of that name on the wire.");
    let _ = writeln!(out, "    pub fn from_name(name: &str) -> Option<{kind}> {{");
    let _ = writeln!(
        out,
        "        let at = Self::ALL.binary_search_by(|{noun}| {noun}.name().cmp(name)).ok()?;\n        \
         Some(Self::ALL[at])\n    }}"
    );
}

/// One match arm for many patterns, laid out as rustfmt does.
fn match_arm(out: &mut String, patterns: &[String], value: &str) {
    let flat = patterns.join(" | ");
    let line = format!("            {flat} => {value},");
    let opening = format!("            {flat} => {{");
    if line.len() <= LINE_WIDTH {
        let _ = writeln!(out, "{line}");
    } else if opening.len() <= LINE_WIDTH {
        let _ = writeln!(out, "{opening}\n                {value}\n            }}");
    } else {
        let _ = writeln!(out, "            {} => {value},", patterns.join("\n            | "));
    }
}

fn constant_slice(out: &mut String, name: &str, item: &str, values: &[String]) {
    let start = format!("pub const {name}: &[{item}] =");
    let flat = format!("&[{}];", values.join(", "));
    if start.len() + 1 + flat.len() <= LINE_WIDTH {
        let _ = writeln!(out, "{start} {flat}");
    } else if flat.len() + 4 <= LINE_WIDTH {
        let _ = writeln!(out, "{start}\n    {flat}");
    } else {
        let _ = writeln!(out, "{start} &[\n    {},\n];", values.join(",\n    "));
    }
}

fn structure(out: &mut String, service: &Service, model: &Model, name: &str, place: Place, doc: &str) {
    let shape = model.shape(name);
    let sensitive = shape.members.values().any(|member| model.shape(&member.shape).sensitive);
    let debug = if sensitive { "" } else { "Debug, " };
    if doc.is_empty() {
        let _ = writeln!(out, "\n/// The model's `{name}`.");
    } else {
        let _ = writeln!(out, "\n/// {doc}");
    }
    if !shape.required.is_empty() {
        required_doc(out, shape);
    }
    let _ = writeln!(out, "#[derive({debug}Clone, Default, PartialEq, Serialize, Deserialize)]");
    if shape.members.is_empty() {
        let _ = writeln!(out, "pub struct {name} {{}}");
        return;
    }
    let _ = writeln!(out, "#[serde(rename_all = \"{}\")]\npub struct {name} {{", service.casing.name());
    for (member, reference) in &shape.members {
        let field = names::field(member);
        let rename = if names::serde_case(&field, service.casing) == *member {
            String::new()
        } else {
            format!("rename = \"{member}\", ")
        };
        if reference.deprecated {
            out.push_str("    /// Deprecated by AWS.\n");
        }
        let rust_type = model.rust_type(&reference.shape, place.prefix());
        let times = match model.shape(&reference.shape).kind {
            Kind::Timestamp if service.has_text_times => "default, with = \"crate::timestamp::rfc3339\", ",
            _ => "",
        };
        let _ = writeln!(out, "    #[serde({rename}{times}skip_serializing_if = \"Option::is_none\")]");
        let _ = writeln!(out, "    pub {field}: Option<{rust_type}>,");
    }
    out.push_str("}\n");
    if sensitive {
        redacting_debug(out, model, name, shape);
    }
}

/// The doc line that lists required members, broken at the line width.
fn required_doc(out: &mut String, shape: &Shape) {
    out.push_str("///\n");
    let mut line = "/// Required:".to_owned();
    for (index, member) in shape.required.iter().enumerate() {
        let end = if index + 1 == shape.required.len() { '.' } else { ',' };
        let word = format!(" `{member}`{end}");
        if line.len() + word.len() > LINE_WIDTH {
            let _ = writeln!(out, "{line}");
            "///".clone_into(&mut line);
        }
        line.push_str(&word);
    }
    let _ = writeln!(out, "{line}");
}

/// `Debug` that shows of a sensitive member only whether it is set: logs must not hold secrets.
fn redacting_debug(out: &mut String, model: &Model, name: &str, shape: &Shape) {
    let _ = writeln!(out, "\nimpl std::fmt::Debug for {name} {{");
    out.push_str("    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {\n");
    let mut fields = Vec::new();
    for (member, reference) in &shape.members {
        let field = names::field(member);
        let label = field.trim_start_matches("r#");
        let value = if model.shape(&reference.shape).sensitive {
            format!("&self.{field}.as_ref().map(|_| Redacted)")
        } else {
            format!("&self.{field}")
        };
        fields.push(format!(".field(\"{label}\", {value})"));
    }
    let flat = format!("        f.debug_struct(\"{name}\"){}.finish()", fields.concat());
    if flat.len() <= LINE_WIDTH {
        let _ = writeln!(out, "{flat}");
    } else {
        let _ = writeln!(out, "        f.debug_struct(\"{name}\")");
        for field in fields {
            let _ = writeln!(out, "            {field}");
        }
        out.push_str("            .finish()\n");
    }
    out.push_str("    }\n}\n");
}
