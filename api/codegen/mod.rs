//! Turns the stripped service models (`api/model/*.json`) into the Rust of `api/src/*/`.
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
use names::Casing;

/// A service whose types are generated.
#[derive(Debug)]
pub(crate) struct Service {
    /// The model's file below `api/model/` without its ending, and the folder below `api/src/`.
    pub(crate) name: &'static str,
    casing: Casing,
    /// Whether moments are text instead of numbers.
    has_text_times: bool,
    /// What in a request names the operation.
    operation_place: &'static str,
    /// What an error's code is called, and the protocol whose front door answers errors of its own.
    error_place: &'static str,
    protocol: &'static str,
    /// Errors that the front door answers and that no operation models: name, HTTP status, when it is answered.
    protocol_errors: &'static [(&'static str, u16, &'static str)],
}

pub(crate) const SERVICES: &[Service] = &[ECS, ELBV2];

const ECS: Service = Service {
    name: "ecs",
    casing: Casing::Camel,
    has_text_times: false,
    operation_place: "the `X-Amz-Target` header",
    error_place: "The `__type` of an error answer.",
    protocol: "AWS JSON",
    protocol_errors: &[
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
    ],
};

const ELBV2: Service = Service {
    name: "elbv2",
    casing: Casing::Pascal,
    has_text_times: true,
    operation_place: "the `Action` parameter",
    error_place: "The `Code` of an error answer.",
    protocol: "AWS Query",
    protocol_errors: &[
        ("AccessDenied", 403, "The caller may not do that."),
        ("ExpiredToken", 403, "The session token has expired."),
        ("IncompleteSignature", 400, "The Authorization header or query cannot be read."),
        ("InternalFailure", 500, "The service failed in a way that no operation models."),
        ("InvalidAction", 400, "The action is no operation of this service."),
        ("InvalidClientTokenId", 403, "The access key or session token is not known."),
        ("InvalidParameterValue", 400, "A value is not one that the parameter can have."),
        ("MalformedQueryString", 400, "The parameters cannot be read."),
        ("MissingAction", 400, "The request names no action."),
        ("MissingAuthenticationToken", 403, "The request carries no signature at all."),
        ("RequestEntityTooLarge", 413, "The body is larger than the endpoint accepts."),
        ("ServiceUnavailable", 503, "The service cannot take requests just now."),
        ("SignatureDoesNotMatch", 403, "The signature is wrong, expired, or for another scope."),
        ("Throttling", 400, "The caller exceeded its request rate."),
        ("ValidationError", 400, "A parameter breaks a constraint of the model, or several do together."),
    ],
};

/// All generated files of a service: name below its folder to content.
pub(crate) fn generate(service: &Service, model_json: &str) -> BTreeMap<&'static str, String> {
    let model: Model = serde_json::from_str(model_json).expect("the stripped model is in botocore's format");
    BTreeMap::from([
        ("enums.rs", emit::enums(&model)),
        ("errors.rs", emit::errors(service, &model)),
        ("operations.rs", emit::operations(service, &model)),
        ("types.rs", emit::types(service, &model)),
    ])
}
