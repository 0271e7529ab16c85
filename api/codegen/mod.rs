//! Turns the stripped ECS service model (`api/model/ecs.json`) into the Rust of `api/src/ecs/`.
//!
//! It runs inside a test rather than a build script: the output is checked in, so that a reader, a
//! debugger and a reviewer see ordinary source, and nobody pays for generation at build time. The test
//! `generated` proves that the checked-in files are what this module writes today.
//!
//! Invariant: the output depends on the model alone. Every map that is walked is sorted, and the text is
//! already in the shape that rustfmt gives it.

mod emit;
mod model;
mod names;

use std::collections::BTreeMap;

use model::Model;

/// Errors that the AWS JSON front door answers and that no operation models:
/// name, HTTP status, when it is answered.
const PROTOCOL_ERRORS: &[(&str, u16, &str)] = &[
    ("ExpiredTokenException", 400, "The session token has expired."),
    ("IncompleteSignatureException", 400, "The Authorization header or query cannot be read."),
    ("InternalFailure", 500, "The service failed in a way that no operation models."),
    ("InvalidSignatureException", 400, "The signature is wrong, expired, or for another scope."),
    ("MissingAuthenticationTokenException", 400, "The request carries no signature at all."),
    ("RequestEntityTooLargeException", 413, "The body is larger than the endpoint accepts."),
    ("SerializationException", 400, "The body is not JSON, or a member has the wrong type."),
    ("ServiceUnavailableException", 503, "The service cannot take requests just now."),
    ("ThrottlingException", 400, "The caller exceeded its request rate."),
    ("UnknownOperationException", 400, "The target header names no operation of this service."),
    ("UnrecognizedClientException", 400, "The access key or session token is not known."),
];

/// All generated files: name below `api/src/ecs/` to content.
pub(crate) fn generate(model_json: &str) -> BTreeMap<&'static str, String> {
    let model: Model = serde_json::from_str(model_json).expect("the stripped model is in botocore's format");
    BTreeMap::from([
        ("enums.rs", emit::enums(&model)),
        ("errors.rs", emit::errors(&model, PROTOCOL_ERRORS)),
        ("operations.rs", emit::operations(&model)),
        ("types.rs", emit::types(&model)),
    ])
}
