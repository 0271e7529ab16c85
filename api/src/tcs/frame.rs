//! The agent's signed frame: an HTTP header block, a blank line, then the JSON envelope.
//!
//! Every frame is signed by itself, as if it were a GET of the WebSocket's URL with the JSON as its body:
//! [`crate::sigv4`] checks it with the headers that are split off here. Plain JSON is taken as a frame
//! without headers, so that whether to insist on a signature is the receiver's choice.

use std::fmt::Write as _;

use crate::wire::FrameError;

use super::FRAME_BYTES_MAX;

/// The most header lines: a signature needs four.
pub const HEADERS_MAX: usize = 16;
/// The longest header block: a session token has some 2 KiB.
pub const HEADER_BYTES_MAX: usize = 16 * 1024;

/// A frame, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame<'a> {
    /// Names as sent and trimmed values, in order; empty for plain JSON.
    pub headers: Vec<(&'a str, &'a str)>,
    /// The JSON envelope: exactly the bytes that were signed.
    pub body: &'a str,
}

/// Takes an agent's frame apart.
///
/// # Errors
/// If the frame or its header block is too long, or the block is not lines of `Name: value`.
pub fn split(text: &str) -> Result<Frame<'_>, FrameError> {
    let bytes_max = FRAME_BYTES_MAX + HEADER_BYTES_MAX;
    if text.len() > bytes_max {
        return Err(FrameError::TooLong { bytes: text.len(), bytes_max });
    }
    if text.trim_start().starts_with('{') {
        return Ok(Frame { headers: Vec::new(), body: text });
    }
    let mut headers = Vec::new();
    let mut rest = text;
    loop {
        let (line, after) = rest.split_once('\n').ok_or(FrameError::Headers("no blank line ends it"))?;
        rest = after;
        let line = line.strip_suffix('\r').unwrap_or(line);
        if line.is_empty() {
            return Ok(Frame { headers, body: rest });
        }
        if headers.len() == HEADERS_MAX || text.len() - rest.len() > HEADER_BYTES_MAX {
            return Err(FrameError::Headers("it is too long"));
        }
        let (name, value) = line.split_once(':').ok_or(FrameError::Headers("a line has no colon"))?;
        headers.push((name, value.trim()));
    }
}

/// Puts a frame together from the headers of its signature and its JSON envelope.
pub fn compose<'a>(headers: impl IntoIterator<Item = (&'a str, &'a str)>, body: &str) -> String {
    let mut text = String::with_capacity(body.len() + 512);
    for (name, value) in headers {
        let _ = write!(text, "{name}: {value}\r\n");
    }
    text.push_str("\r\n");
    text.push_str(body);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADERS: [(&str, &str); 2] = [("Host", "127.0.0.1:18081"), ("X-Amz-Date", "20261122T194228Z")];

    #[test]
    fn a_frame_is_split_where_it_was_joined() {
        let body = "{\"type\":\"x\"}\n\n";
        let crlf = compose(HEADERS, body);
        for text in [crlf.clone(), crlf.replace("\r\n", "\n")] {
            assert_eq!(split(&text).unwrap(), Frame { headers: HEADERS.to_vec(), body });
        }
    }

    #[test]
    fn plain_json_has_no_headers() {
        let text = " {\"type\":\"x\",\n\n\"message\":{}}";
        assert_eq!(split(text).unwrap(), Frame { headers: Vec::new(), body: text });
    }

    #[test]
    fn what_is_neither_is_refused() {
        let many = "a: b\r\n".repeat(HEADERS_MAX + 1) + "\r\n{}";
        let long = format!("a: {}\r\n\r\n{{}}", "b".repeat(HEADER_BYTES_MAX));
        for text in ["", "Host: x", "Host: x\r\n", "no colon\r\n\r\n{}", many.as_str(), long.as_str()] {
            assert!(matches!(split(text), Err(FrameError::Headers(_))), "{}", text.len());
        }
        let huge = "x".repeat(FRAME_BYTES_MAX + HEADER_BYTES_MAX + 1);
        assert!(matches!(split(&huge), Err(FrameError::TooLong { .. })));
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_split_or_refused(text in "([A-Za-z-]{0,5}:? ?\\PC{0,5}\r?\n){0,6}\\PC{0,20}") {
            let _ = split(&text);
        }
    }
}
