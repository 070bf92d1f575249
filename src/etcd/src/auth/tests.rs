//! Tokens that say whose they are, and passwords that cannot be read again.

use super::*;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};

/// Made for these tests and used nowhere else.
const PRIVATE: &str = "-----BEGIN PRIVATE KEY-----\n\
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQg2+R6sHCTQeAlzPio\n\
l9OTF95aV35KjThL/0eHX6L8NhqhRANCAAQafdA8vhpJW7yyQiABibwS1aVBAJRQ\n\
POXEJ0VO2Nmz1in1scIQWkLgeifIi0WZiGzMdBHInUyWs+8DUaxupIqx\n\
-----END PRIVATE KEY-----\n\n";
const PUBLIC: &str = "-----BEGIN PUBLIC KEY-----\n\
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEGn3QPL4aSVu8skIgAYm8EtWlQQCU\n\
UDzlxCdFTtjZs9Yp9bHCEFpC4HonyItFmYhszHQRyJ1MlrPvA1GsbqSKsQ==\n\
-----END PUBLIC KEY-----\n\n";

/// A world in which it is always the same time and work is done at once.
#[derive(Default)]
struct Still {
    wall: Duration,
    drawn: AtomicU64,
}

impl Outside for Still {
    fn wall(&self) -> Duration {
        self.wall
    }

    fn rand(&self) -> u64 {
        self.drawn.fetch_add(1, Ordering::Relaxed)
    }

    fn work(&self, job: Job) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        job();
        Box::pin(std::future::ready(()))
    }
}

fn now<F: Future>(future: F) -> F::Output {
    let mut future = std::pin::pin!(future);
    match future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(out) => out,
        Poll::Pending => panic!("the future is not ready at once"),
    }
}

fn options(flag: &str) -> Result<TokenOptions, TokenError> {
    let read = |file: &str| match file {
        "private" => Ok(PRIVATE.as_bytes().to_vec()),
        "public" => Ok(PUBLIC.as_bytes().to_vec()),
        "secret" => Ok(b"a secret of some length".to_vec()),
        "other" => Ok(b"another secret of some length".to_vec()),
        _ => Err("no such file".to_owned()),
    };
    TokenOptions::parse(flag, read, |text| text.strip_suffix('s')?.parse().ok().map(Duration::from_secs))
}

/// A desk at so many seconds after the epoch.
fn desk(flag: &str, seconds: u64) -> Desk {
    let outside = Still { wall: Duration::from_secs(seconds), ..Still::default() };
    let auth = AuthOptions { bcrypt_cost: 4, token: options(flag).unwrap() };
    Desk::new(Arc::new(outside), &auth)
}

fn token(desk: &Desk) -> String {
    let answer = AuthAnswer::Token { token: String::new(), revision: AuthRevision(7) };
    let mut response = AuthResponse::at(seatrial_types::Revision(1), answer);
    desk.sign("ann", &mut response).unwrap();
    let AuthAnswer::Token { token, .. } = response.body else { panic!("no token") };
    token
}

#[test]
fn a_signed_token_says_whose_it_is_until_its_time_is_over() {
    let ann = Caller::User(Identity { user: "ann".into(), revision: AuthRevision(7) });
    for flag in [
        "jwt,pub-key=public,priv-key=private,sign-method=ES256,ttl=10s",
        "jwt,priv-key=secret,sign-method=HS256,ttl=10s",
    ] {
        let token = token(&desk(flag, 1000));
        assert_eq!(desk(flag, 1009).caller(&token), ann, "{flag}");
        assert_eq!(desk(flag, 1010).caller(&token), Caller::Invalid, "{flag}");
    }
}

#[test]
fn a_token_signed_by_somebody_else_is_none() {
    let token = token(&desk("jwt,priv-key=other,sign-method=HS256", 1000));
    assert_eq!(desk("jwt,priv-key=secret,sign-method=HS256", 1000).caller(&token), Caller::Invalid);
    // Nor is one signed by a method that is not ours, with a key that everybody has.
    let public = "jwt,pub-key=public,sign-method=ES256";
    assert_eq!(desk(public, 1000).caller(&token), Caller::Invalid);
    assert_eq!(desk(public, 1000).caller("not even a token"), Caller::Invalid);
}

#[test]
fn a_flag_that_makes_no_sense_is_refused_with_a_sentence() {
    for (flag, part) in [
        ("paper", "\"paper\""),
        ("jwt,priv-key=secret", "sign-method is missing"),
        ("jwt,sign-method=XX1,priv-key=secret", "sign-method=XX1"),
        ("jwt,sign-method=ES256,priv-key=private", "pub-key is missing"),
        ("jwt,sign-method=ES256,pub-key=nowhere", "no such file"),
        ("jwt,sign-method=RS256,pub-key=secret", "not one for RS256"),
        ("jwt,sign-method=HS256,priv-key=secret,ttl=0s", "ttl=0s"),
        ("jwt,colour=red", "\"colour\""),
    ] {
        let error = options(flag).unwrap_err().to_string();
        assert!(error.contains(part), "{flag}: {error}");
    }
}

#[test]
fn a_password_becomes_a_hash_of_its_own_salt_that_fits_it_alone() {
    let desk = desk("simple", 0);
    let hash = |password: &str| {
        let hashed = now(desk.hashed(Secret::Plain(password.to_owned())));
        let Ok(Secret::Hash(hash)) = hashed else { panic!("{hashed:?}") };
        hash
    };
    let (first, second) = (hash("tea"), hash("tea"));
    assert_ne!(first, second);
    assert!(bcrypt::verify("tea", &first).unwrap() && bcrypt::verify("tea", &second).unwrap());
    assert!(!bcrypt::verify("coffee", &first).unwrap());
    assert!(first.starts_with("$2a$04$"), "the form in which etcd keeps it: {first}");
}

/// A member that knows one user, whose password has this hash.
#[derive(Clone)]
struct OneUser(Secret);

impl Ask for OneUser {
    type Watch = seatrial_node::WatchSession;
    type V2 = seatrial_node::V2Stream;

    async fn watch(&self) -> Result<Self::Watch, Error> {
        Err(Error::Stopped)
    }

    async fn v2_watch(
        &self,
        _: seatrial_types::v2::V2Watch,
    ) -> Result<Result<Self::V2, seatrial_types::v2::V2Error>, Error> {
        Err(Error::Stopped)
    }

    async fn call(&self, request: Request) -> Result<Response, Error> {
        let body = match request {
            Request::Auth(AuthRequest::Password { .. }) => {
                AuthAnswer::Password { secret: self.0.clone(), revision: AuthRevision(7) }
            }
            Request::Auth(AuthRequest::Admit { prefix: token, checked, .. }) => {
                AuthAnswer::Token { token, revision: checked }
            }
            other => panic!("{other:?}"),
        };
        Ok(Response::Auth(AuthResponse::at(seatrial_types::Revision(1), body)))
    }
}

#[test]
fn an_empty_password_fits_only_whoever_was_added_with_it() {
    let desk = desk("simple", 0);
    let plain = |password: &str| Secret::Plain(password.to_owned());
    let log_in = |secret: &Secret, password: &str| {
        let member = OneUser(secret.clone());
        now(desk.authenticate(&member, "ann".into(), plain(password))).map(|_| ())
    };
    let added = now(desk.hashed(plain(""))).unwrap();
    assert_eq!(log_in(&added, ""), Ok(()));
    assert_eq!(log_in(&added, "tea"), Err(Error::AuthFailed));
    let emptied = now(desk.changed(plain(""))).unwrap();
    for password in ["", "tea"] {
        assert_eq!(log_in(&emptied, password), Err(Error::AuthFailed), "{password:?}");
    }
    let changed = now(desk.changed(plain("tea"))).unwrap();
    assert_eq!(log_in(&changed, "tea"), Ok(()));
    assert_eq!(log_in(&changed, ""), Err(Error::AuthFailed));
}

#[test]
fn a_simple_token_is_sixteen_letters() {
    let letters = desk("simple", 0).letters();
    assert_eq!(letters, "ABCDEFGHIJKLMNOP");
    assert_eq!(desk("simple", 0).caller("x.1"), Caller::Token("x.1".into()));
}
