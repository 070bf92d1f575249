//! Handshakes over a stream in memory, with files in memory.

use super::*;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use std::collections::BTreeMap;
use std::sync::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

type Files = Arc<Mutex<BTreeMap<String, String>>>;

fn reader(files: &Files) -> ReadFile {
    let files = files.clone();
    Arc::new(move |name| match files.lock().unwrap().get(name) {
        Some(text) => Ok(text.clone().into_bytes()),
        None => Err(io::ErrorKind::NotFound.into()),
    })
}

/// `NAME.pem` and `NAME.key` for each name and host (none where it is empty), signed by the authority in `CA`.
fn sign(files: &Files, ca: &str, names: &[(&str, &str)]) {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, ca);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    let mut files = files.lock().unwrap();
    files.insert(ca.to_owned(), params.self_signed(&key).unwrap().pem());
    files.insert(format!("{ca}.key"), key.serialize_pem());
    let issuer = Issuer::new(params, key);
    for (name, host) in names {
        let mut params =
            CertificateParams::new(Some((*host).to_owned()).filter(|host| !host.is_empty()).as_slice())
                .unwrap();
        params.distinguished_name.push(DnType::CommonName, *name);
        let key = KeyPair::generate().unwrap();
        files.insert(format!("{name}.pem"), params.signed_by(&key, &issuer).unwrap().pem());
        files.insert(format!("{name}.key"), key.serialize_pem());
    }
}

fn named(name: &str, ca: &str) -> TlsFiles {
    TlsFiles {
        cert: format!("{name}.pem"),
        key: format!("{name}.key"),
        trusted_ca: ca.to_owned(),
        ..TlsFiles::default()
    }
}

/// What both sides made of it; the server's side has heard a word of the client.
fn shake(server: &Tls, client: &Tls, host: &str) -> (io::Result<Secured>, io::Result<Secured>) {
    let (here, there) = tokio::io::duplex(64 << 10);
    let serving = async {
        let mut secured = server.accept(Box::new(here)).await?;
        let mut word = [0; 5];
        secured.stream.read_exact(&mut word).await?;
        assert_eq!(&word, b"hello");
        Ok(secured)
    };
    let dialing = async {
        let mut secured = client.connect(Box::new(there), host).await?;
        secured.stream.write_all(b"hello").await?;
        secured.stream.flush().await?;
        Ok(secured)
    };
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async { tokio::join!(serving, dialing) })
}

#[test]
fn a_client_that_must_show_a_certificate_is_known_by_its_common_name() {
    let files = Files::default();
    sign(&files, "ca", &[("server", "a.example"), ("alice", "")]);
    let read = reader(&files);
    let client = Tls::client(named("alice", "ca"), read.clone()).unwrap();
    let asked = TlsFiles { client_cert_auth: true, ..named("server", "ca") };
    let (server, client_side) = shake(&Tls::server(asked, read.clone()).unwrap(), &client, "a.example");
    assert_eq!(server.unwrap().common_name.as_deref(), Some("alice"));
    assert_eq!(client_side.unwrap().common_name.as_deref(), Some("server"));
    // Shown all the same, yet nobody said that it counts.
    let (server, _) = shake(&Tls::server(named("server", "ca"), read).unwrap(), &client, "a.example");
    assert_eq!(server.unwrap().common_name, None);
}

#[test]
fn a_server_of_another_name_or_authority_is_refused_unless_nobody_looks() {
    let files = Files::default();
    sign(&files, "ca", &[("server", "a.example")]);
    sign(&files, "other", &[]);
    let read = reader(&files);
    let alone = TlsFiles { trusted_ca: String::new(), ..named("server", "") };
    let server = Tls::server(alone, read.clone()).unwrap();
    let trusting = |ca: &str, skip_verify| {
        let files = TlsFiles { trusted_ca: ca.to_owned(), skip_verify, ..TlsFiles::default() };
        Tls::client(files, read.clone()).unwrap()
    };
    let refused = |client: &Tls, host| shake(&server, client, host).1.err().map(|error| error.to_string());
    assert_eq!(refused(&trusting("ca", false), "a.example"), None);
    let text = refused(&trusting("ca", false), "b.example").unwrap();
    assert!(text.contains("not valid for name \"b.example\""), "{text}");
    let text = refused(&trusting("other", false), "a.example").unwrap();
    assert!(text.contains("invalid peer certificate"), "{text}");
    assert_eq!(refused(&trusting("other", true), "b.example"), None);
}

#[test]
fn an_authoritys_own_certificate_does_not_do_as_a_clients() {
    let files = Files::default();
    sign(&files, "ca", &[("server", "a.example"), ("alice", "")]);
    let read = reader(&files);
    let server = Tls::server(named("server", "ca"), read.clone()).unwrap();
    let client = Tls::client(named("alice", "ca"), read.clone()).unwrap();
    assert!(shake(&server, &client, "a.example").0.is_ok());
    let own = TlsFiles { cert: "ca".to_owned(), ..named("ca", "ca") };
    let error = shake(&server, &Tls::client(own, read).unwrap(), "a.example").0.err().unwrap();
    assert!(error.to_string().contains("CaUsedAsEndEntity"), "{error}");
}

#[test]
fn files_are_read_again_at_every_handshake() {
    let files = Files::default();
    sign(&files, "ca", &[("server", "a.example")]);
    let read = reader(&files);
    let server =
        Tls::server(TlsFiles { trusted_ca: String::new(), ..named("server", "") }, read.clone()).unwrap();
    let trusting = TlsFiles { trusted_ca: "ca".to_owned(), ..TlsFiles::default() };
    let client = Tls::client(trusting, read).unwrap();
    assert!(shake(&server, &client, "a.example").1.is_ok());
    sign(&files, "ca", &[("server", "b.example")]);
    assert!(shake(&server, &client, "b.example").1.is_ok());
    assert!(shake(&server, &client, "a.example").1.is_err());
    files.lock().unwrap().remove("server.key");
    let error = shake(&server, &client, "b.example").0.err().unwrap();
    assert_eq!(error.to_string(), "open server.key: no such file or directory");
}

#[test]
fn a_server_without_tls_is_named_as_such() {
    let files = Files::default();
    sign(&files, "ca", &[]);
    let trusting = TlsFiles { trusted_ca: "ca".to_owned(), ..TlsFiles::default() };
    let client = Tls::client(trusting, reader(&files)).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let error = runtime.block_on(async {
        let (mut here, there) = tokio::io::duplex(64 << 10);
        here.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
        client.connect(Box::new(there), "a.example").await.err().unwrap()
    });
    assert_eq!(error.to_string(), "the server does not speak TLS: is http used where https is meant?");
}

#[test]
fn a_side_that_speaks_http1_alone_does_not_let_a_client_choose_another_version() {
    let files = Files::default();
    sign(&files, "ca", &[("server", "a.example")]);
    let read = reader(&files);
    let asks_nobody = TlsFiles { trusted_ca: String::new(), ..named("server", "ca") };
    let trusts = TlsFiles { trusted_ca: "ca".to_owned(), ..TlsFiles::default() };
    let server = Tls::server_http1(asks_nobody.clone(), read.clone()).unwrap();
    let (one, other) = shake(&server, &Tls::client_http1(trusts.clone(), read.clone()).unwrap(), "a.example");
    assert!(one.is_ok() && other.is_ok());
    let knows_both =
        Tls { files: trusts.clone(), read: read.clone(), offered: &PROTOCOLS, heard: &PROTOCOLS };
    let (one, other) = shake(&server, &knows_both, "a.example");
    assert!(one.is_ok() && other.is_ok());
    // Who knows nothing else is better told now than by an answer that he cannot read.
    let knows_h2 = Tls::client(trusts, read.clone()).unwrap();
    let (one, _) = shake(&server, &knows_h2, "a.example");
    assert!(one.is_err());
    let (one, _) = shake(&Tls::server(asks_nobody, read).unwrap(), &knows_h2, "a.example");
    assert!(one.is_ok());
}
