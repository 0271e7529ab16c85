//! The ELBv2 API as a test uses it: forms in, XML out, signed. Of an answer only single elements are looked at.

use std::collections::BTreeMap;

use aws_credential_types::Credentials;

use crate::api::signed_for;
use crate::http;

const VERSION: &str = "2015-12-01";

/// A client of one ELBv2 endpoint.
#[derive(Clone, Debug)]
pub struct Elb {
    /// `127.0.0.1:7072`
    pub address: String,
    pub region: String,
    pub credentials: Credentials,
}

impl Elb {
    /// Calls `action` with `parameters`; answers the XML, or what was wrong.
    pub async fn try_call(&self, action: &str, parameters: &[(&str, &str)]) -> Result<String, String> {
        let all: BTreeMap<&str, &str> =
            parameters.iter().copied().chain([("Action", action), ("Version", VERSION)]).collect();
        let pairs = all.iter().map(|(name, value)| format!("{name}={}", encoded(value)));
        let body = pairs.collect::<Vec<_>>().join("&");
        let headers = vec![
            ("host".to_owned(), self.address.clone()),
            ("content-type".to_owned(), "application/x-www-form-urlencoded; charset=utf-8".to_owned()),
        ];
        let signer = ("elasticloadbalancing", self.region.as_str(), &self.credentials);
        let headers =
            signed_for(signer, "POST", &format!("http://{}/", self.address), headers, body.as_bytes());
        let answer = http::post(&self.address, &headers, body.as_bytes()).await;
        let answer = answer.map_err(|error| error.to_string())?;
        if answer.status == 200 { Ok(answer.text()) } else { Err(answer.text()) }
    }

    /// Calls `action`, which must succeed, and answers the text of the first `element` of what it says.
    ///
    /// # Panics
    /// When it does not, or says no such thing.
    pub async fn call(&self, action: &str, parameters: &[(&str, &str)], element: &str) -> String {
        match self.try_call(action, parameters).await {
            Ok(xml) => texts(&xml, element).next().unwrap_or_else(|| panic!("{action}: {xml}")).to_owned(),
            Err(why) => panic!("{action} {parameters:?}: {why}"),
        }
    }
}

/// The texts of all elements of that name, in order.
pub fn texts<'a>(xml: &'a str, element: &str) -> impl Iterator<Item = &'a str> {
    let (open, close) = (format!("<{element}>"), format!("</{element}>"));
    let mut rest = xml;
    std::iter::from_fn(move || {
        let (_, from) = rest.split_once(open.as_str())?;
        let (text, after) = from.split_once(close.as_str())?;
        rest = after;
        Some(text)
    })
}

/// A value of a form.
fn encoded(value: &str) -> String {
    let byte = |byte: u8| match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => char::from(byte).to_string(),
        other => format!("%{other:02X}"),
    };
    value.bytes().map(byte).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_are_found_and_values_encoded() {
        let xml = "<A><State>healthy</State><State>initial</State></A>";
        assert_eq!(texts(xml, "State").collect::<Vec<_>>(), ["healthy", "initial"]);
        assert_eq!(encoded("arn:aws/x y"), "arn%3Aaws%2Fx%20y");
    }
}
