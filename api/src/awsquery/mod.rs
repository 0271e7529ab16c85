//! The AWS Query protocol, which ELBv2 speaks: forms in, XML out.
//!
//! A request is a form whose names are paths (`Targets.member.2.Port=80`); an answer is XML whose elements are the same
//! names. [`Form`] reads the one, [`xml`] writes the other, both by way of serde, so that the types know of neither.

mod form;
mod tree;
pub mod xml;

pub use form::{Form, FormError};
