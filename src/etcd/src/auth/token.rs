//! The flag `--auth-token`: which kind of tokens, and with which keys.

use super::jwt::Jwt;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey};
use std::sync::Arc;
use std::time::Duration;

/// How long a signed token lives where the flag does not say (etcd: the same).
const JWT_TTL: Duration = Duration::from_secs(300);

/// Which kind of tokens.
#[derive(Clone, Debug)]
pub struct TokenOptions {
    pub(super) kind: Kind,
}

#[derive(Clone, Debug)]
pub(super) enum Kind {
    Simple,
    Jwt(Arc<Jwt>),
}

/// A flag `--auth-token` that makes no sense. One sentence.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}\nhint: simple, or jwt,pub-key=FILE,priv-key=FILE,sign-method=RS256,ttl=5m")]
pub struct TokenError(String);

fn wrong(text: impl Into<String>) -> TokenError {
    TokenError(text.into())
}

impl TokenOptions {
    /// Tokens by chance, which the members remember.
    #[must_use]
    pub fn simple() -> Self {
        Self { kind: Kind::Simple }
    }

    /// From the flag's value. `read` gives the bytes of a file, `duration` the meaning of Go's `5m`.
    ///
    /// # Errors
    /// See [`TokenError`].
    pub fn parse(
        flag: &str,
        read: impl Fn(&str) -> Result<Vec<u8>, String>,
        duration: impl Fn(&str) -> Option<Duration>,
    ) -> Result<Self, TokenError> {
        let mut parts = flag.split(',');
        match parts.next().unwrap_or_default() {
            "simple" => Ok(Self::simple()),
            "jwt" => {
                let mut given = Given::default();
                for part in parts {
                    let (name, value) = part
                        .split_once('=')
                        .ok_or_else(|| wrong(format!("{part:?} is not of the form name=value")))?;
                    let place = match name {
                        "pub-key" => &mut given.public,
                        "priv-key" => &mut given.private,
                        "sign-method" => &mut given.method,
                        "ttl" => &mut given.ttl,
                        other => return Err(wrong(format!("{other:?} is unknown"))),
                    };
                    *place = Some(value.to_owned());
                }
                Ok(Self { kind: Kind::Jwt(Arc::new(given.keys(read, duration)?)) })
            }
            other => Err(wrong(format!("the kind {other:?} of tokens is unknown"))),
        }
    }
}

#[derive(Default)]
struct Given {
    public: Option<String>,
    private: Option<String>,
    method: Option<String>,
    ttl: Option<String>,
}

impl Given {
    fn keys(
        self,
        read: impl Fn(&str) -> Result<Vec<u8>, String>,
        duration: impl Fn(&str) -> Option<Duration>,
    ) -> Result<Jwt, TokenError> {
        let ttl = match &self.ttl {
            None => JWT_TTL,
            Some(text) => {
                let ttl = duration(text).filter(|ttl| !ttl.is_zero());
                ttl.ok_or_else(|| wrong(format!("ttl={text} is no time to live")))?
            }
        };
        let method = self.method.as_deref().ok_or_else(|| wrong("sign-method is missing"))?;
        let algorithm: Algorithm =
            method.parse().map_err(|_| wrong(format!("sign-method={method} is unknown")))?;
        let load = |name: &str, file: &Option<String>| -> Result<Option<Vec<u8>>, TokenError> {
            let Some(file) = file else { return Ok(None) };
            let bytes = read(file).map_err(|error| wrong(format!("{name}={file}: {error}")))?;
            Ok(Some(bytes))
        };
        let (public, private) = (load("pub-key", &self.public)?, load("priv-key", &self.private)?);
        let bad =
            |error: jsonwebtoken::errors::Error| wrong(format!("the key is not one for {method}: {error}"));
        let private_or = || private.as_deref().ok_or_else(|| wrong("priv-key is missing"));
        let public_or = || public.as_deref().ok_or_else(|| wrong("pub-key is missing"));
        type Encode = fn(&[u8]) -> jsonwebtoken::errors::Result<EncodingKey>;
        type Decode = fn(&[u8]) -> jsonwebtoken::errors::Result<DecodingKey>;
        let (encode, decode): (Encode, Decode) = match algorithm {
            Algorithm::HS256 | Algorithm::HS384 | Algorithm::HS512 => {
                // One secret for both; etcd takes it as it stands in the file.
                let secret = private_or()?;
                let (sign, verify) = (EncodingKey::from_secret(secret), DecodingKey::from_secret(secret));
                return Ok(Jwt { algorithm, sign: Some(sign), verify, ttl });
            }
            Algorithm::ES256 | Algorithm::ES384 => (EncodingKey::from_ec_pem, DecodingKey::from_ec_pem),
            Algorithm::EdDSA => (EncodingKey::from_ed_pem, DecodingKey::from_ed_pem),
            _ => (EncodingKey::from_rsa_pem, DecodingKey::from_rsa_pem),
        };
        let sign = private.as_deref().map(encode).transpose().map_err(bad)?;
        let verify = decode(public_or()?).map_err(bad)?;
        Ok(Jwt { algorithm, sign, verify, ttl })
    }
}
