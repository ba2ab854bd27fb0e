//! The connections to Fini, which do not outlive a change of its address.
//!
//! The pool of connections is replaced by a new one every minute ([`Renewed`]). The files of certificates are read again
//! each time: a rotated file is in force within a minute, and a file that cannot be read leaves the old pool in use.

use async_trait::async_trait;
use reqwest::{Request, Response};

use super::{ClientError, SendError, Transport};
use crate::outbound::Renewed;

#[async_trait]
impl Transport for Renewed<ClientError> {
    async fn send(&self, request: Request) -> Result<Response, SendError> {
        let client =
            self.get(|error| tracing::warn!(%error, "the way to Fini could not be set up anew, the old one stays"));
        client.send(request).await
    }
}
