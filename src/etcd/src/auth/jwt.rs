//! Tokens that say themselves whose they are (RFC 7519), signed by the server.

use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use seatrial_types::auth::AuthRevision;
use seatrial_types::{Code, Error};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// etcd's claims.
#[derive(Debug, Serialize, Deserialize)]
struct Claims {
    username: String,
    revision: u64,
    /// Seconds since the Unix epoch.
    exp: u64,
}

/// Makes and reads tokens.
pub(super) struct Jwt {
    pub(super) algorithm: Algorithm,
    /// A server that has only the public key gives no tokens.
    pub(super) sign: Option<EncodingKey>,
    pub(super) verify: DecodingKey,
    pub(super) ttl: Duration,
}

impl std::fmt::Debug for Jwt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Jwt").field("algorithm", &self.algorithm).finish_non_exhaustive()
    }
}

impl Jwt {
    pub(super) fn write(&self, user: &str, revision: AuthRevision, wall: Duration) -> Result<String, Error> {
        let key = self.sign.as_ref().ok_or_else(|| {
            Error::Other(Code::Unknown, "auth: this server has no private key to sign tokens with".to_owned())
        })?;
        let exp = (wall + self.ttl).as_secs();
        let claims = Claims { username: user.to_owned(), revision: revision.0, exp };
        jsonwebtoken::encode(&Header::new(self.algorithm), &claims, key).map_err(|error| {
            Error::Other(Code::Unknown, format!("auth: the token cannot be signed: {error}"))
        })
    }

    /// `None` for a token that is not ours or whose time is over.
    pub(super) fn read(&self, token: &str, wall: Duration) -> Option<(String, AuthRevision)> {
        let mut validation = Validation::new(self.algorithm);
        // By our own clock, below: the library would ask the machine.
        validation.validate_exp = false;
        validation.required_spec_claims.clear();
        validation.validate_aud = false;
        let claims = jsonwebtoken::decode::<Claims>(token, &self.verify, &validation).ok()?.claims;
        (claims.exp > wall.as_secs()).then_some((claims.username, AuthRevision(claims.revision)))
    }
}
