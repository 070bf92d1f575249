//! TLS around the streams of any world, with rustls.
//!
//! The files are read and checked again at every handshake, as etcd does: whoever replaces them needs no
//! restart. How a file is read is the caller's business.

mod common_name;
#[cfg(test)]
mod tests;
mod unverified;

use common_name::common_name;
use seatrial_world::{Duplex, Handshake, Secure, Secured};
use std::fmt;
use std::io;
use std::sync::Arc;
use tokio_rustls::rustls::crypto::{CryptoProvider, ring};
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use tokio_rustls::rustls::{ClientConfig, InvalidMessage, RootCertStore, ServerConfig};
use tokio_rustls::rustls::{Error as RustlsError, client::Resumption};
use tokio_rustls::{TlsAcceptor, TlsConnector};
use unverified::Unverified;

/// Where the certificates of the machine's own authorities lie, by distribution.
const SYSTEM_ROOTS: [&str; 3] =
    ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem"];

/// What is offered to be spoken behind the handshake.
const PROTOCOLS: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// Gives the content of the file with this name.
pub type ReadFile = Arc<dyn Fn(&str) -> io::Result<Vec<u8>> + Send + Sync>;

/// Names of PEM files, and what is asked of the other side. An empty name: no such file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsFiles {
    /// Our certificate, with those between it and the authority behind it.
    pub cert: String,
    /// The key of `cert`.
    pub key: String,
    /// The authorities whose certificates are taken; without it those of the machine.
    pub trusted_ca: String,
    /// Whether who dials us must show a certificate, and its common name counts.
    pub client_cert_auth: bool,
    /// Whether a server's certificate is taken unseen.
    pub skip_verify: bool,
}

/// TLS with the certificates that lie in files.
#[derive(Clone)]
pub struct Tls {
    files: TlsFiles,
    read: ReadFile,
    /// What we offer to speak where we dial.
    offered: &'static [&'static [u8]],
    /// What we let be chosen where we listen.
    heard: &'static [&'static [u8]],
}

impl fmt::Debug for Tls {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Tls").field("files", &self.files).finish_non_exhaustive()
    }
}

impl Tls {
    /// For a side that listens, and may dial too.
    ///
    /// # Errors
    /// A sentence that names the file, where one is missing or makes no sense now.
    pub fn server(files: TlsFiles, read: ReadFile) -> Result<Self, String> {
        let tls = Self { files, read, offered: &PROTOCOLS[..1], heard: &PROTOCOLS };
        tls.server_config()?;
        Ok(tls)
    }

    /// For a side that listens and speaks HTTP/1.1 and nothing else. Clients that know both would choose the other one.
    ///
    /// # Errors
    /// As [`Tls::server`].
    pub fn server_http1(files: TlsFiles, read: ReadFile) -> Result<Self, String> {
        let tls = Self { files, read, offered: &PROTOCOLS[1..], heard: &PROTOCOLS[1..] };
        tls.server_config()?;
        Ok(tls)
    }

    /// For a side that only dials.
    ///
    /// # Errors
    /// A sentence that names the file, where one is missing or makes no sense now.
    pub fn client(files: TlsFiles, read: ReadFile) -> Result<Self, String> {
        let tls = Self { files, read, offered: &PROTOCOLS[..1], heard: &PROTOCOLS };
        tls.client_config()?;
        Ok(tls)
    }

    /// For a side that only dials, and speaks HTTP/1.1 behind the handshake.
    ///
    /// # Errors
    /// As [`Tls::client`].
    pub fn client_http1(files: TlsFiles, read: ReadFile) -> Result<Self, String> {
        let tls = Self { files, read, offered: &PROTOCOLS[1..], heard: &PROTOCOLS };
        tls.client_config()?;
        Ok(tls)
    }

    fn read(&self, name: &str) -> Result<Vec<u8>, String> {
        (self.read)(name).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => format!("open {name}: no such file or directory"),
            _ => format!("open {name}: {error}"),
        })
    }

    fn certificates(&self, name: &str) -> Result<Vec<CertificateDer<'static>>, String> {
        let pem = self.read(name)?;
        let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
        let certificates = certificates.map_err(|error| format!("{name}: {error}"))?;
        if certificates.is_empty() {
            return Err(format!("{name}: no certificate in PEM form is in it"));
        }
        Ok(certificates)
    }

    /// Our certificate and its key, where we have one.
    #[allow(clippy::type_complexity, reason = "it is taken apart where it is asked for")]
    fn own(&self) -> Result<Option<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)>, String> {
        let TlsFiles { cert, key, .. } = &self.files;
        if cert.is_empty() && key.is_empty() {
            return Ok(None);
        }
        if cert.is_empty() || key.is_empty() {
            // etcd's words.
            return Err(format!("KeyFile and CertFile must both be present[key: {key}, cert: {cert}]"));
        }
        let chain = self.certificates(cert)?;
        let pem = self.read(key)?;
        let key = PrivateKeyDer::from_pem_slice(&pem)
            .map_err(|error| format!("{key}: no private key in PEM form is in it: {error}"))?;
        Ok(Some((chain, key)))
    }

    fn roots(&self) -> Result<RootCertStore, String> {
        let mut roots = RootCertStore::empty();
        if !self.files.trusted_ca.is_empty() {
            for certificate in self.certificates(&self.files.trusted_ca)? {
                roots.add(certificate).map_err(|error| format!("{}: {error}", self.files.trusted_ca))?;
            }
            return Ok(roots);
        }
        for name in SYSTEM_ROOTS {
            if let Ok(certificates) = self.certificates(name) {
                roots.add_parsable_certificates(certificates);
                return Ok(roots);
            }
        }
        Err("no file of trusted authorities is given, and the machine has none".to_owned())
    }

    fn wrong_pair(&self, error: &RustlsError) -> String {
        format!("{} does not go with {}: {error}", self.files.key, self.files.cert)
    }

    fn server_config(&self) -> Result<ServerConfig, String> {
        let provider = provider();
        let (chain, key) =
            self.own()?.ok_or("https needs a certificate and its key: no file of either is given")?;
        let builder = ServerConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?;
        // As in etcd: who names an authority for clients wants to see their certificates.
        let builder = if self.files.client_cert_auth || !self.files.trusted_ca.is_empty() {
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(self.roots()?), provider)
                .build()
                .map_err(|error| format!("{}: {error}", self.files.trusted_ca))?;
            builder.with_client_cert_verifier(verifier)
        } else {
            builder.with_no_client_auth()
        };
        let mut config = builder.with_single_cert(chain, key).map_err(|error| self.wrong_pair(&error))?;
        config.alpn_protocols = self.heard.iter().map(|name| name.to_vec()).collect();
        // A resumed session would go on with a certificate that may have been replaced since.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        Ok(config)
    }

    fn client_config(&self) -> Result<ClientConfig, String> {
        let provider = provider();
        let builder = ClientConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?;
        let builder = if self.files.skip_verify {
            builder.dangerous().with_custom_certificate_verifier(Arc::new(Unverified::new(provider)))
        } else {
            builder.with_root_certificates(self.roots()?)
        };
        let mut config = match self.own()? {
            None => builder.with_no_client_auth(),
            Some((chain, key)) => {
                builder.with_client_auth_cert(chain, key).map_err(|error| self.wrong_pair(&error))?
            }
        };
        config.alpn_protocols = self.offered.iter().map(|name| name.to_vec()).collect();
        config.resumption = Resumption::disabled();
        Ok(config)
    }
}

/// Named, so that nothing depends on which one a process has installed.
fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

fn other(text: String) -> io::Error {
    io::Error::other(text)
}

/// The handshake's error as a sentence; `who` is the other side.
fn refused(error: io::Error, who: &str) -> io::Error {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<RustlsError>());
    match inner {
        Some(RustlsError::InvalidMessage(InvalidMessage::InvalidContentType)) => {
            other(format!("{who} does not speak TLS: is http used where https is meant?"))
        }
        Some(error) => other(format!("tls: {error}")),
        None => error,
    }
}

impl Secure for Tls {
    fn accept(&self, stream: Box<dyn Duplex>) -> Handshake {
        let config = self.server_config();
        let named = self.files.client_cert_auth;
        Box::pin(async move {
            let acceptor = TlsAcceptor::from(Arc::new(config.map_err(other)?));
            let stream = acceptor.accept(stream).await.map_err(|error| refused(error, "the client"))?;
            let shown = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
            let common_name = shown.filter(|_| named).and_then(|certificate| common_name(certificate));
            Ok(Secured { stream: Box::new(stream), common_name })
        })
    }

    fn connect(&self, stream: Box<dyn Duplex>, host: &str) -> Handshake {
        let config = self.client_config();
        let name = ServerName::try_from(host.to_owned())
            .map_err(|_| format!("{host:?} is no name that a certificate could carry"));
        Box::pin(async move {
            let connector = TlsConnector::from(Arc::new(config.map_err(other)?));
            let name = name.map_err(other)?;
            let connecting = connector.connect(name, stream).await;
            let stream = connecting.map_err(|error| refused(error, "the server"))?;
            let shown = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
            let common_name = shown.and_then(|certificate| common_name(certificate));
            Ok(Secured { stream: Box::new(stream), common_name })
        })
    }
}
