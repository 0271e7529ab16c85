//! Reading a request's body within bounds of size and time.

use std::time::Duration;

use axum::body::Body;
use ecsr_api::ApiError;
use futures_util::StreamExt;

/// Largest body. The largest legal request registers a task definition of 64 KiB; AWS's own bound is in this range.
pub(super) const BODY_BYTES_MAX: usize = 1024 * 1024;

/// How much of a body that is too large is still read and thrown away: a client that is cut off while it sends sees a
/// broken connection instead of the answer that says why.
const DISCARDED_BYTES_MAX: usize = 16 * 1024 * 1024;

/// How long a body may take.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);

/// The whole body, or the error to answer with.
pub(crate) async fn read(body: Body) -> Result<Vec<u8>, ApiError> {
    let late = |_| ApiError::serialization("The request body did not arrive in time.");
    tokio::time::timeout(BODY_TIMEOUT, read_within(body)).await.map_err(late)?
}

async fn read_within(body: Body) -> Result<Vec<u8>, ApiError> {
    let mut kept = Vec::new();
    let mut length = 0;
    let mut chunks = body.into_data_stream();
    while let Some(chunk) = chunks.next().await {
        let chunk =
            chunk.map_err(|error| ApiError::serialization(format!("The body cannot be read: {error}")))?;
        length += chunk.len();
        if length <= BODY_BYTES_MAX {
            kept.extend_from_slice(&chunk);
        } else {
            kept = Vec::new();
            if length > DISCARDED_BYTES_MAX {
                break;
            }
        }
    }
    if length > BODY_BYTES_MAX { Err(ApiError::request_too_large(BODY_BYTES_MAX)) } else { Ok(kept) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_body_is_taken_up_to_its_bound() {
        let read = |length: usize| read(Body::from(vec![b' '; length]));
        assert_eq!(read(BODY_BYTES_MAX).await.map(|body| body.len()), Ok(BODY_BYTES_MAX));
        let error = read(BODY_BYTES_MAX + 1).await.unwrap_err();
        assert_eq!(error.status(), 413);
    }
}
