//! From flags and environment to a client of the cluster.

use super::{Fail, Session, code};
use crate::discovery::srv;
use crate::etcdctl::Hidden;
use seatrial_wire::{Tls, TlsFiles, V2Client, V2ClientError, V2ClientOptions};
use seatrial_world::{Secure, World};
use seatrial_world_real::RealWorld;
use std::sync::Arc;
use std::time::Duration;

const DEFAULT: &str = "http://127.0.0.1:2379,http://127.0.0.1:4001";

impl Session<'_> {
    /// The first of these that says something: a flag, or a variable of the environment.
    fn first(&self, sources: &[(&str, &str)]) -> String {
        for (flag, variable) in sources {
            let said = match *variable {
                "" => self.global.text(flag).to_owned(),
                name => (self.environment)(name).unwrap_or_default(),
            };
            if !said.is_empty() {
                return said;
            }
        }
        String::new()
    }

    pub(super) fn timeout(&self) -> Duration {
        self.global.time("timeout", Duration::from_secs(2))
    }

    fn total_timeout(&self) -> Duration {
        self.global.time("total-timeout", Duration::from_secs(5))
    }

    fn is_debug(&self) -> bool {
        self.global.switch("debug")
    }

    fn tls(&self) -> Result<(TlsFiles, Option<Arc<dyn Secure>>), Fail> {
        let files = TlsFiles {
            cert: self.first(&[("cert-file", ""), ("", "ETCDCTL_CERT_FILE")]),
            key: self.first(&[("key-file", ""), ("", "ETCDCTL_KEY_FILE")]),
            trusted_ca: self.first(&[("ca-file", ""), ("", "ETCDCTL_CA_FILE")]),
            ..TlsFiles::default()
        };
        let given = files != TlsFiles::default();
        let tls = Tls::client_http1(files.clone(), crate::tls::reader());
        match tls {
            Ok(tls) => Ok((files, Some(Arc::new(tls)))),
            // Without flags there may be no authorities on this machine; that matters to https only.
            Err(_) if !given => Ok((files, None)),
            Err(why) => Err(Fail::plain(why)),
        }
    }

    fn endpoints(&self, files: &TlsFiles) -> Result<Vec<String>, Fail> {
        let domain = self.first(&[("discovery-srv", ""), ("", "ETCDCTL_DISCOVERY_SRV")]);
        if !domain.is_empty() {
            let found = srv::client_urls(&domain, None, self.world.rand()).map_err(Fail::plain)?;
            return Ok(found);
        }
        let said = self.first(&[
            ("endpoints", ""),
            ("endpoint", ""),
            ("", "ETCDCTL_ENDPOINTS"),
            ("", "ETCDCTL_ENDPOINT"),
            ("peers", ""),
            ("", "ETCDCTL_PEERS"),
        ]);
        let said = if said.is_empty() { DEFAULT } else { &said };
        // The real one refuses `host:port` without a scheme; nobody misses that.
        let scheme = if files.cert.is_empty() && files.trusted_ca.is_empty() { "http" } else { "https" };
        let endpoint = |part: &str| {
            if part.is_empty() || part.contains("://") {
                part.to_owned()
            } else {
                format!("{scheme}://{part}")
            }
        };
        Ok(said.split(',').map(endpoint).collect())
    }

    /// `--username`; the password is asked for where it is missing.
    fn user(&mut self) -> Result<Option<(String, String)>, Fail> {
        let said = self.first(&[("username", ""), ("", "ETCDCTL_USERNAME")]);
        if said.is_empty() {
            return Ok(None);
        }
        Ok(Some(match said.split_once(':') {
            Some((name, password)) => (name.to_owned(), password.to_owned()),
            None => {
                self.say("Password: ")?;
                let password = self.password();
                (said, password)
            }
        }))
    }

    /// A line that is typed and not shown.
    pub(super) fn password(&mut self) -> String {
        let _hidden = Hidden::begin();
        self.line()
    }

    /// A client that has asked nobody yet.
    pub(super) fn unsynced(&mut self) -> Result<V2Client<RealWorld>, Fail> {
        let (files, layer) = self.tls()?;
        let endpoints = self.endpoints(&files)?;
        let user = self.user()?;
        let tell = |curl: &str| eprintln!("cURL Command: {curl}");
        let options = V2ClientOptions {
            connect_timeout: self.timeout(),
            header_timeout: self.timeout(),
            request_timeout: self.total_timeout(),
            layer,
            user,
            tell: if self.is_debug() { Some(Arc::new(tell)) } else { None },
            ..V2ClientOptions::default()
        };
        V2Client::new(self.world.clone(), &endpoints, options).map_err(Fail::plain)
    }

    /// A client that knows where the members are, unless `--no-sync` forbids to ask.
    pub(super) async fn client(&mut self) -> Result<V2Client<RealWorld>, Fail> {
        let client = self.unsynced()?;
        if !self.global.switch("no-sync") {
            if self.is_debug() {
                eprintln!("start to sync cluster using endpoints({})", client.endpoints().join(","));
            }
            match client.sync().await {
                Ok(()) => {}
                Err(error @ V2ClientError::NoEndpoints) => {
                    let mut fail = Fail::server(&error);
                    fail.text = format!(
                        "etcd cluster has no published client endpoints.\nTry '--no-sync' if you want to access \
                         non-published client endpoints({}).\n{}",
                        client.endpoints().join(","),
                        fail.text
                    );
                    return Err(fail);
                }
                Err(error) if is_connection(&error) => {
                    return Err(Fail::client(code::BAD_CONNECTION, &error));
                }
                // What is wrong otherwise shows again with the command.
                Err(_) => {}
            }
            if self.is_debug() {
                eprintln!("got endpoints({}) after sync", client.endpoints().join(","));
            }
        }
        if self.is_debug() {
            eprintln!("Cluster-Endpoints: {}", client.endpoints().join(","));
        }
        Ok(client)
    }
}

fn is_connection(error: &V2ClientError) -> bool {
    match error {
        V2ClientError::Unreachable { failures, .. } => failures.iter().all(|failure| failure.is_connection()),
        V2ClientError::TimedOut { .. } => true,
        _ => false,
    }
}
