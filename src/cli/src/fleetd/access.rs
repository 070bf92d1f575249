//! Who may ask fleetd what: by the certificate he shows, and by a token.
//!
//! Who reaches the socket file has been let in by the machine. Over the network each thing that is configured is asked:
//! where certificates and tokens are, both, and the lesser right counts. Nothing configured asks nobody.

use crate::fleetctl::dial::Credentials;
use crate::server::{Failure, usage};
use clap::Args;
use seatrial_wire::{ReadFile, Tls, TlsFiles};
use seatrial_world::{Secure, host_of};
use std::collections::BTreeSet;
use std::fmt;
use std::hint::black_box;
use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;

/// Flags about who may ask, and how others are asked.
#[derive(Debug, Args)]
pub(crate) struct AccessArgs {
    /// This machine's certificate, in PEM form: --listen is then heard by https, and other machines are asked with it.
    #[arg(long, env = "FLEET_CERT_FILE", default_value = "", hide_default_value = true)]
    cert_file: String,
    /// The key of --cert-file.
    #[arg(long, env = "FLEET_KEY_FILE", default_value = "", hide_default_value = true)]
    key_file: String,
    /// Authorities of clients' certificates; given, every client must show one.
    #[arg(long, env = "FLEET_TRUSTED_CA_FILE", default_value = "", hide_default_value = true)]
    trusted_ca_file: String,
    /// Ask clients for certificates.
    #[arg(long, env = "FLEET_CLIENT_CERT_AUTH", num_args = 0..=1, require_equals = true,
        default_value_t = false, default_missing_value = "true", hide_default_value = true,
        action = clap::ArgAction::Set)]
    client_cert_auth: bool,
    /// Authorities of other machines' certificates [default: --trusted-ca-file, then those of the machine].
    #[arg(long, env = "FLEET_PEER_TRUSTED_CA_FILE", default_value = "", hide_default_value = true)]
    peer_trusted_ca_file: String,
    /// Common names of certificates that may change things [default: all that --read-only-cn does not name].
    #[arg(long, env = "FLEET_ALLOWED_CN", value_delimiter = ',')]
    allowed_cn: Vec<String>,
    /// Common names of certificates that may only look.
    #[arg(long, env = "FLEET_READ_ONLY_CN", value_delimiter = ',')]
    read_only_cn: Vec<String>,
    /// A file of tokens, one a line: who shows one may change things. Other machines are asked with the first.
    #[arg(long, env = "FLEET_API_TOKEN_FILE", default_value = "", hide_default_value = true)]
    api_token_file: String,
    /// A file of tokens that let look and nothing else.
    #[arg(long, env = "FLEET_API_READ_TOKEN_FILE", default_value = "", hide_default_value = true)]
    api_read_token_file: String,
}

/// How somebody came.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Caller {
    /// By the socket file.
    File,
    /// Over the network, with the common name of his certificate where one was asked for.
    Network(Option<String>),
}

/// What he may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Right {
    Look,
    Change,
}

/// Why he may not.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Refusal {
    NoToken,
    WrongToken,
    /// His token lets him look only.
    TokenLooks,
    /// So does his certificate.
    NameLooks(String),
    /// His certificate is not among those that may ask.
    Name(String),
    /// The tokens cannot be read.
    Files(String),
}

impl Refusal {
    /// HTTP's status.
    pub(crate) fn status(&self) -> u16 {
        match self {
            Self::NoToken | Self::WrongToken => 401,
            Self::TokenLooks | Self::NameLooks(_) | Self::Name(_) => 403,
            Self::Files(_) => 500,
        }
    }

    /// One word for what is counted together.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::NoToken => "no_token",
            Self::WrongToken => "wrong_token",
            Self::TokenLooks => "read_only_token",
            Self::NameLooks(_) => "read_only_certificate",
            Self::Name(_) => "certificate",
            Self::Files(_) => "files",
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoToken => f.write_str(
                "this fleetd asks for a token\nhint: fleetctl --api-token-file FILE (FLEETCTL_API_TOKEN_FILE); other clients send `Authorization: Bearer TOKEN`",
            ),
            Self::WrongToken => f.write_str(
                "the token is none that this fleetd knows\nhint: it must be a line of the file that --api-token-file or --api-read-token-file of fleetd names",
            ),
            Self::TokenLooks => f.write_str(
                "this token lets you look, not change anything\nhint: use one of those in fleetd's --api-token-file",
            ),
            Self::NameLooks(name) => write!(
                f,
                "the certificate of {name:?} lets you look, not change anything\nhint: fleetd's --read-only-cn and --allowed-cn say which do what"
            ),
            Self::Name(name) => write!(
                f,
                "the certificate of {name:?} may not ask this fleetd\nhint: its --allowed-cn and --read-only-cn say which may"
            ),
            Self::Files(why) => write!(f, "nobody can be let in: {why}\nhint: put the file back"),
        }
    }
}

/// The tokens of a file: a line each; lines that begin with `#` and empty ones are none.
fn tokens(read: &ReadFile, file: &str) -> Result<Vec<String>, String> {
    let bytes = read(file).map_err(|error| format!("{file}: {error}"))?;
    let text = String::from_utf8(bytes).map_err(|_| format!("{file} is no text"))?;
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let tokens: Vec<String> = lines.map(str::to_owned).collect();
    if tokens.is_empty() {
        return Err(format!("{file}: no token is in it"));
    }
    match tokens.iter().position(|token| !token.bytes().all(|byte| byte.is_ascii_graphic())) {
        // A token is not shown, not even a bad one.
        Some(at) => Err(format!("{file}: token {} has a character that a header cannot carry", at + 1)),
        None => Ok(tokens),
    }
}

/// The token to show others.
pub(crate) fn first_token(read: &ReadFile, file: &str) -> Result<String, String> {
    Ok(tokens(read, file)?.swap_remove(0))
}

/// Takes as long for a token that is nearly right as for any other of its length.
fn is_same(one: &str, other: &str) -> bool {
    let pairs = one.bytes().zip(other.bytes());
    one.len() == other.len() && pairs.fold(0, |all, (a, b)| black_box(all | (a ^ b))) == 0
}

/// The token of an `Authorization` header.
fn bearer(header: &str) -> Option<&str> {
    let (scheme, token) = header.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// Who may ask. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Access {
    /// Empty: nobody is asked for a token that lets him change things.
    token_file: String,
    read_token_file: String,
    allowed: Arc<BTreeSet<String>>,
    looks: Arc<BTreeSet<String>>,
    read: ReadFile,
}

impl Access {
    fn by_name(&self, name: &str) -> Result<Right, Refusal> {
        if self.looks.contains(name) {
            return Ok(Right::Look);
        }
        if self.allowed.is_empty() || self.allowed.contains(name) {
            return Ok(Right::Change);
        }
        Err(Refusal::Name(name.to_owned()))
    }

    // The files are read for every request, as certificates are for every handshake: who replaces them restarts nothing.
    fn by_token(&self, shown: Option<&str>) -> Result<Right, Refusal> {
        if self.token_file.is_empty() && self.read_token_file.is_empty() {
            return Ok(Right::Change);
        }
        let shown = shown.ok_or(Refusal::NoToken)?;
        for (file, right) in [(&self.token_file, Right::Change), (&self.read_token_file, Right::Look)] {
            if !file.is_empty() {
                let known = tokens(&self.read, file).map_err(Refusal::Files)?;
                if known.iter().any(|token| is_same(token, shown)) {
                    return Ok(right);
                }
            }
        }
        Err(Refusal::WrongToken)
    }

    /// Whether a request may be answered; `authorization` is the header of that name.
    pub(crate) fn check(
        &self,
        caller: &Caller,
        authorization: Option<&str>,
        method: &str,
    ) -> Result<(), Refusal> {
        let Caller::Network(name) = caller else { return Ok(()) };
        let needed = if ["GET", "HEAD"].contains(&method) { Right::Look } else { Right::Change };
        // Without `client_cert_auth` there is no name, and none is asked for.
        let by_name = name.as_deref().map_or(Ok(Right::Change), |name| self.by_name(name))?;
        if by_name < needed {
            return Err(Refusal::NameLooks(name.clone().unwrap_or_default()));
        }
        if self.by_token(authorization.and_then(bearer))? < needed {
            return Err(Refusal::TokenLooks);
        }
        Ok(())
    }
}

/// What is made of the flags.
pub(crate) struct Made {
    /// `host:port` to listen at.
    pub(crate) listen: String,
    /// What lies around connections that come.
    pub(crate) layer: Option<Arc<dyn Secure>>,
    pub(crate) access: Access,
    /// With these other machines are asked.
    pub(crate) credentials: Credentials,
}

fn is_loopback(address: &str) -> bool {
    let host = host_of(address);
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// What an operator should know of a listener, where it is open to others.
fn warning(listen: &str, asks_certificates: bool, asks_tokens: bool, has_tls: bool) -> Option<String> {
    if is_loopback(listen) {
        return None;
    }
    if !asks_certificates && !asks_tokens {
        return Some(format!(
            "--listen {listen}: WHOEVER REACHES IT MAY RUN WHAT HE LIKES on all machines of this fleet, for nobody is asked who he is\nhint: --client-cert-auth with --cert-file, --key-file and --trusted-ca-file; or --api-token-file; or listen at 127.0.0.1"
        ));
    }
    (!has_tls).then(|| {
        format!(
            "--listen {listen}: tokens go over the network as they are, and who reads one may run what he likes on all machines of this fleet\nhint: --cert-file and --key-file"
        )
    })
}

fn names(given: &[String]) -> BTreeSet<String> {
    given.iter().map(|name| name.trim().to_owned()).filter(|name| !name.is_empty()).collect()
}

impl AccessArgs {
    /// Reads the flags, with `--listen`.
    pub(crate) fn make(&self, listen: &str) -> Result<Made, Failure> {
        let read = crate::tls::reader();
        let has_tls = !self.cert_file.is_empty() || !self.key_file.is_empty();
        let listen = match (listen.strip_prefix("https://"), has_tls) {
            (Some(_), false) => {
                return Err(usage(format!(
                    "--listen {listen} needs a certificate\nhint: --cert-file and --key-file"
                )));
            }
            (Some(address), true) => address,
            (None, true) if listen.starts_with("http://") => {
                return Err(usage(format!(
                    "--listen {listen} says http, and --cert-file https\nhint: --listen https://HOST:PORT, or HOST:PORT alone"
                )));
            }
            (None, _) => listen.strip_prefix("http://").unwrap_or(listen),
        };
        let listen = listen.trim_end_matches('/').to_owned();
        let asks_certificates = self.client_cert_auth || !self.trusted_ca_file.is_empty();
        let (allowed, looks) = (names(&self.allowed_cn), names(&self.read_only_cn));
        if asks_certificates && !has_tls {
            return Err(usage(
                "certificates of clients are asked for, and there is no https\nhint: --cert-file and --key-file",
            ));
        }
        let names_some = !allowed.is_empty() || !looks.is_empty();
        if names_some && !asks_certificates {
            return Err(usage(
                "--allowed-cn and --read-only-cn name certificates, and none are asked for\nhint: --client-cert-auth, with --trusted-ca-file",
            ));
        }
        let tls = |error: String| usage(format!("{error}\nhint: look at the flags for certificates"));
        let layer = if has_tls {
            let files = TlsFiles {
                cert: self.cert_file.clone(),
                key: self.key_file.clone(),
                trusted_ca: self.trusted_ca_file.clone(),
                client_cert_auth: asks_certificates,
                skip_verify: false,
            };
            let tls = Tls::server_http1(files, read.clone()).map_err(tls)?;
            Some(Arc::new(tls) as Arc<dyn Secure>)
        } else {
            None
        };
        for file in [&self.api_token_file, &self.api_read_token_file] {
            self.look_at_tokens(&read, file)?;
        }
        let asks_tokens = !self.api_token_file.is_empty() || !self.api_read_token_file.is_empty();
        if let Some(warning) = warning(&listen, asks_certificates, asks_tokens, has_tls) {
            tracing::warn!("{warning}");
        }
        let access = Access {
            token_file: self.api_token_file.clone(),
            read_token_file: self.api_read_token_file.clone(),
            allowed: Arc::new(allowed),
            looks: Arc::new(looks),
            read: read.clone(),
        };
        let credentials = self.credentials(has_tls, read).map_err(tls)?;
        Ok(Made { listen, layer, access, credentials })
    }

    fn look_at_tokens(&self, read: &ReadFile, file: &str) -> Result<(), Failure> {
        if file.is_empty() {
            return Ok(());
        }
        tokens(read, file).map_err(|error| {
            usage(format!(
                "{error}\nhint: a file with a token on each line, such as `openssl rand -hex 32` gives"
            ))
        })?;
        let mode = std::fs::metadata(file).map_or(0, |found| found.permissions().mode());
        if mode & 0o007 != 0 {
            tracing::warn!(file, "everybody on this machine can read the tokens\nhint: chmod 600");
        }
        Ok(())
    }

    fn credentials(&self, has_tls: bool, read: ReadFile) -> Result<Credentials, String> {
        let authorities = if self.peer_trusted_ca_file.is_empty() {
            &self.trusted_ca_file
        } else {
            &self.peer_trusted_ca_file
        };
        let layer = if has_tls || !authorities.is_empty() {
            let files = TlsFiles {
                cert: self.cert_file.clone(),
                key: self.key_file.clone(),
                trusted_ca: authorities.clone(),
                ..TlsFiles::default()
            };
            Some(Arc::new(Tls::client_http1(files, read.clone())?) as Arc<dyn Secure>)
        } else {
            None
        };
        let token_file =
            if self.api_token_file.is_empty() { &self.api_read_token_file } else { &self.api_token_file };
        Ok(Credentials { layer, token_file: token_file.clone(), read })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn access(allowed: &[&str], looks: &[&str]) -> Access {
        let set = |names: &[&str]| Arc::new(names.iter().map(|name| (*name).to_owned()).collect());
        let read: ReadFile = Arc::new(|file| match file {
            "change" => Ok(b"# of the operators\none-token\n\n  another-token  \n".to_vec()),
            "look" => Ok(b"look-token".to_vec()),
            "empty" => Ok(b"# none\n".to_vec()),
            "odd" => Ok(b"good\nb\xc3\xa4d\n".to_vec()),
            _ => Err(std::io::ErrorKind::NotFound.into()),
        });
        Access {
            token_file: "change".into(),
            read_token_file: "look".into(),
            allowed: set(allowed),
            looks: set(looks),
            read,
        }
    }

    #[test]
    fn a_token_says_what_may_be_done() {
        let access = access(&[], &[]);
        let ask = |method, header| access.check(&Caller::Network(None), header, method);
        for good in ["Bearer one-token", "bearer another-token", "BEARER  one-token "] {
            assert_eq!(ask("PUT", Some(good)), Ok(()), "{good}");
            assert_eq!(ask("GET", Some(good)), Ok(()), "{good}");
        }
        assert_eq!(ask("GET", Some("Bearer look-token")), Ok(()));
        for method in ["PUT", "DELETE", "PATCH", "POST", "GETS", "get"] {
            assert_eq!(ask(method, Some("Bearer look-token")), Err(Refusal::TokenLooks), "{method}");
        }
        for none in [None, Some(""), Some("one-token"), Some("Basic one-token"), Some("Bearer")] {
            assert_eq!(ask("GET", none), Err(Refusal::NoToken), "{none:?}");
        }
        let near = [
            "Bearer one-tokem",
            "Bearer one-toke",
            "Bearer one-tokenx",
            "Bearer ",
            "Bearer #",
            "Bearer One-token",
        ];
        for wrong in near {
            assert_eq!(ask("GET", Some(wrong)), Err(Refusal::WrongToken), "{wrong:?}");
        }
    }

    #[test]
    fn a_certificate_and_a_token_are_both_asked_and_the_lesser_right_counts() {
        let with = |allowed: &[&str], looks: &[&str], name: &str, token: &str, method| {
            let caller = Caller::Network(Some(name.to_owned()));
            access(allowed, looks).check(&caller, Some(&format!("Bearer {token}")), method)
        };
        assert_eq!(with(&[], &[], "anybody", "one-token", "PUT"), Ok(()));
        assert_eq!(with(&["ann"], &["bob"], "ann", "one-token", "PUT"), Ok(()));
        assert_eq!(with(&["ann"], &["bob"], "ann", "look-token", "PUT"), Err(Refusal::TokenLooks));
        assert_eq!(with(&["ann"], &["bob"], "ann", "x", "PUT"), Err(Refusal::WrongToken));
        assert_eq!(with(&["ann"], &["bob"], "bob", "one-token", "GET"), Ok(()));
        assert_eq!(
            with(&["ann"], &["bob"], "bob", "one-token", "PUT"),
            Err(Refusal::NameLooks("bob".into()))
        );
        assert_eq!(with(&["ann"], &["bob"], "eve", "one-token", "GET"), Err(Refusal::Name("eve".into())));
        assert_eq!(with(&[], &["bob"], "eve", "one-token", "PUT"), Ok(()), "all that are not named");
        // In both lists it may only look.
        assert!(with(&["bob"], &["bob"], "bob", "one-token", "PUT").is_err());
    }

    #[test]
    fn the_socket_file_asks_for_nothing_and_files_that_went_let_nobody_in() {
        let mut access = access(&["ann"], &[]);
        assert_eq!(access.check(&Caller::File, None, "PUT"), Ok(()));
        for (file, part) in [("gone", "gone"), ("empty", "no token is in it"), ("odd", "odd: token 2")] {
            access.token_file = file.into();
            let refused = access.check(&Caller::Network(None), Some("Bearer look-token"), "GET");
            let Err(refusal) = refused else { panic!("{file} lets somebody in") };
            assert!(refusal.status() == 500 && refusal.to_string().contains(part), "{refusal}");
        }
        let mut open = access.clone();
        (open.token_file, open.read_token_file) = (String::new(), String::new());
        assert_eq!(open.check(&Caller::Network(None), None, "PUT"), Ok(()), "nothing is configured");
    }

    #[test]
    fn an_open_listener_is_warned_of_and_one_for_the_machine_itself_is_not() {
        for local in ["127.0.0.1:49153", "localhost:1", "[::1]:49153", "127.8.8.8:1"] {
            assert_eq!(warning(local, false, false, false), None, "{local}");
        }
        for open in ["0.0.0.0:49153", "[::]:49153", "10.0.0.1:1", "fleet.example:1", ":49153"] {
            assert!(warning(open, false, false, true).unwrap().contains("MAY RUN WHAT HE LIKES"), "{open}");
            assert!(warning(open, false, true, false).unwrap().contains("tokens go over"), "{open}");
            assert_eq!(warning(open, false, true, true), None);
            assert_eq!(warning(open, true, false, true), None);
        }
    }
}
