//! Passwords and tokens: the part of authentication that is slow, or needs chance or the time of day, and so has no
//! place in a member.

mod jwt;
mod token;

pub use token::{TokenError, TokenOptions};

use crate::ask::Ask;
use jwt::Jwt;
use seatrial_types::auth::{AuthAnswer, AuthRequest, AuthResponse, AuthRevision, Caller, Identity, Secret};
use seatrial_types::{Code, Error, Request, Response};
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use token::Kind;

/// Letters of a simple token before the dot (etcd: the same).
const TOKEN_LETTERS: usize = 16;

/// After so many changes of users and roles between looking at a password and giving a token, the client is told.
const ATTEMPTS_MAX: usize = 10;

/// Not among the errors by name, for clients of etcd do not know this one: they show it with its code, as any other text.
const NO_PASSWORD: &str = "auth: authentication failed, password was given for no password user";

/// A piece of slow work.
pub type Job = Box<dyn FnOnce() + Send>;

/// What passwords and tokens need of the outside.
pub trait Outside: Send + Sync + 'static {
    /// Time since the Unix epoch.
    fn wall(&self) -> Duration;

    /// Eight random bytes.
    fn rand(&self) -> u64;

    /// Runs slow work where it holds nobody up.
    fn work(&self, job: Job) -> Pin<Box<dyn Future<Output = ()> + Send>>;
}

/// How passwords and tokens are made.
#[derive(Clone, Debug)]
pub struct AuthOptions {
    /// Two to this power rounds of bcrypt, 4 to 31 (etcd: `--bcrypt-cost`).
    pub bcrypt_cost: u32,
    /// The kind of tokens (etcd: `--auth-token`).
    pub token: TokenOptions,
}

impl Default for AuthOptions {
    fn default() -> Self {
        Self { bcrypt_cost: 10, token: TokenOptions::simple() }
    }
}

/// Looks at passwords, makes tokens, and says whose a token is. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Desk {
    outside: Arc<dyn Outside>,
    cost: u32,
    jwt: Option<Arc<Jwt>>,
}

impl std::fmt::Debug for Desk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Desk").field("cost", &self.cost).finish_non_exhaustive()
    }
}

impl Desk {
    pub(crate) fn new(outside: Arc<dyn Outside>, options: &AuthOptions) -> Self {
        let jwt = match &options.token.kind {
            Kind::Simple => None,
            Kind::Jwt(jwt) => Some(jwt.clone()),
        };
        Self { outside, cost: options.bcrypt_cost, jwt }
    }

    /// Who shows this token. Whether it is still good is known to the member, or written in the token.
    pub(crate) fn caller(&self, token: &str) -> Caller {
        match &self.jwt {
            None => Caller::Token(token.to_owned()),
            Some(jwt) => match jwt.read(token, self.outside.wall()) {
                Some((user, revision)) => Caller::User(Identity { user, revision }),
                None => Caller::Invalid,
            },
        }
    }

    async fn slowly<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
        let slot = Arc::new(Mutex::new(None));
        let filled = slot.clone();
        let job = Box::new(move || {
            let result = work();
            if let Ok(mut slot) = filled.lock() {
                *slot = Some(result);
            }
        });
        self.outside.work(job).await;
        let mut slot = slot.lock().ok()?;
        slot.take()
    }

    /// The password's hash in its place: the password itself goes no further.
    pub(crate) async fn hashed(&self, secret: Secret) -> Result<Secret, Error> {
        let Secret::Plain(password) = secret else { return Ok(secret) };
        let mut salt = [0; 16];
        for half in salt.chunks_exact_mut(8) {
            half.copy_from_slice(&self.outside.rand().to_le_bytes());
        }
        let cost = self.cost;
        let hash = self.slowly(move || bcrypt::hash_with_salt(password, cost, salt)).await;
        match hash {
            Some(Ok(parts)) => Ok(Secret::Hash(parts.format_for_version(bcrypt::Version::TwoA))),
            Some(Err(error)) => Err(Error::Other(Code::Unknown, format!("bcrypt: {error}"))),
            None => Err(Error::Stopped),
        }
    }

    /// The hash of a password that takes the place of another. An empty one is the end of all passwords: nothing fits its
    /// hash, until it is changed again (etcd since 3.5).
    pub(crate) async fn changed(&self, secret: Secret) -> Result<Secret, Error> {
        match secret {
            Secret::Plain(password) if password.is_empty() => Ok(Secret::Hash(String::new())),
            secret => self.hashed(secret).await,
        }
    }

    /// Looks at the password and gives a token.
    pub(crate) async fn authenticate<A: Ask>(
        &self,
        ask: &A,
        name: String,
        password: Secret,
    ) -> Result<Response, Error> {
        let Secret::Plain(password) = password else { return Err(Error::AuthFailed) };
        for _ in 0..ATTEMPTS_MAX {
            let checked = self.check(ask, &name, &password).await?;
            let prefix = if self.jwt.is_some() { String::new() } else { self.letters() };
            let admit = AuthRequest::Admit { name: name.clone(), checked, prefix };
            match ask.call(Request::Auth(admit)).await {
                // Users and roles changed meanwhile, the password perhaps too.
                Err(Error::AuthOldRevision) => {}
                Ok(Response::Auth(mut response)) => {
                    self.sign(&name, &mut response)?;
                    return Ok(Response::Auth(response));
                }
                other => return other,
            }
        }
        Err(Error::AuthOldRevision)
    }

    /// The revision at which the password was right.
    async fn check<A: Ask>(&self, ask: &A, name: &str, password: &str) -> Result<AuthRevision, Error> {
        let answer = ask.call(Request::Auth(AuthRequest::Password { name: name.to_owned() })).await?;
        let Response::Auth(AuthResponse { body: AuthAnswer::Password { secret, revision }, .. }) = answer
        else {
            return Err(Error::AuthFailed);
        };
        let hash = match secret {
            Secret::Hash(hash) => hash,
            Secret::Nothing => return Err(Error::Other(Code::Unknown, NO_PASSWORD.to_owned())),
            Secret::Plain(_) => return Err(Error::AuthFailed),
        };
        if self.fits(password, &hash).await { Ok(revision) } else { Err(Error::AuthFailed) }
    }

    /// Whether a password is the one of which this is the hash.
    pub(crate) async fn fits(&self, password: &str, hash: &str) -> bool {
        let (password, hash) = (password.to_owned(), hash.to_owned());
        let right = self.slowly(move || bcrypt::verify(password, &hash)).await;
        matches!(right, Some(Ok(true)))
    }

    fn letters(&self) -> String {
        const LETTERS: &[u8; 52] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
        // A whole draw for each letter: the remainder then prefers none by anything that matters.
        (0..TOKEN_LETTERS).map(|_| LETTERS[(self.outside.rand() % 52) as usize] as char).collect()
    }

    fn sign(&self, name: &str, response: &mut AuthResponse) -> Result<(), Error> {
        if let (Some(jwt), AuthAnswer::Token { token, revision }) = (&self.jwt, &mut response.body) {
            *token = jwt.write(name, *revision, self.outside.wall())?;
        }
        Ok(())
    }
}

/// For the fuzz targets: reads a token, and signs one for a user of this name.
#[doc(hidden)]
pub fn fuzz_token(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let options = TokenOptions::parse(
        "jwt,priv-key=file,sign-method=HS256,ttl=5m",
        |_| Ok(b"a secret of sufficient length".to_vec()),
        |_| Some(Duration::from_secs(300)),
    );
    let Kind::Jwt(jwt) = options.expect("the flag is right").kind else { return };
    assert!(jwt.read(text, Duration::ZERO).is_none(), "a token that nobody signed was taken: {text:?}");
    let wall = Duration::from_secs(1_000_000);
    let token = jwt.write(text, AuthRevision(7), wall).expect("there is a key");
    assert_eq!(jwt.read(&token, wall), Some((text.to_owned(), AuthRevision(7))));
    assert_eq!(jwt.read(&token, wall + Duration::from_secs(301)), None);
    let mut other = token.into_bytes();
    let at = bytes.len() % other.len();
    other[at] = if other[at] == b'A' { b'B' } else { b'A' };
    let other = String::from_utf8(other).expect("tokens are ASCII");
    // The last letter of a part has bits that mean nothing.
    if let Some((user, revision)) = jwt.read(&other, wall) {
        assert_eq!((user.as_str(), revision), (text, AuthRevision(7)), "a changed token says something else");
    }
}

#[cfg(test)]
mod tests;
