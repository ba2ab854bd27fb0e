//! The variable parts of a path. Like axum's own extractor, but its refusals are problems like all others.

use axum::{
    extract::{FromRequestParts, Path as AxumPath},
    http::request::Parts,
};
use serde::de::DeserializeOwned;

use super::problem::{Code, Problem};

/// The variable parts of a path, percent-decoded.
pub struct Path<T>(pub T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Path<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        // The only fault that a caller can make here is one of encoding: no id is anything but text.
        let decoded = AxumPath::<T>::from_request_parts(parts, state).await;
        let undecodable = |_| Problem::new(Code::NotFound).detail("the path is not percent-encoded UTF-8 text");
        decoded.map(|AxumPath(parts)| Self(parts)).map_err(undecodable)
    }
}
