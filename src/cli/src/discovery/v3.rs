//! A token in the v3 keys of another cluster, with etcd's flags (3.6).

use super::join::Found;
use crate::server::{Failure, named_urls, usage};
use clap::Args;
use seatrial_client::discovery::{JoinError, Registry, join_cluster};
use seatrial_client::{Client, ClientError, ClientOptions, Store};
use seatrial_node::Cluster;
use seatrial_types::auth::{AuthAnswer, AuthRequest, AuthResponse, Secret};
use seatrial_types::{Error, Request, Response};
use seatrial_wire::{ChannelOptions, GrpcEndpoint, Tls, TlsFiles, is_https};
use seatrial_world::{Backoff, Secure, World};
use seatrial_world_real::RealWorld;
use std::sync::Arc;
use std::time::Duration;

/// Between pings; servers send away who asks more often. As in etcd's own client, what is below counts as this.
const KEEPALIVE_MIN: Duration = Duration::from_secs(10);

/// Flags, as etcd has them.
#[derive(Debug, Args)]
pub(super) struct V3Args {
    /// A token for a new cluster, in the v3 keys of the one at --discovery-endpoints: all its members are given the same.
    #[arg(long, env = "ETCD_DISCOVERY_TOKEN", default_value = "", hide_default_value = true)]
    discovery_token: String,
    /// Where the cluster with the token is heard; several are separated by commas.
    #[arg(long, env = "ETCD_DISCOVERY_ENDPOINTS", value_delimiter = ',')]
    discovery_endpoints: Vec<String>,
    /// For making a connection to it.
    #[arg(long, env = "ETCD_DISCOVERY_DIAL_TIMEOUT", default_value = "2s", value_parser = time)]
    discovery_dial_timeout: Duration,
    /// For one request to it; it is asked again for as long as it takes.
    #[arg(long, env = "ETCD_DISCOVERY_REQUEST_TIMEOUT", default_value = "5s", value_parser = time)]
    discovery_request_timeout: Duration,
    /// After so much silence it is asked whether it is still there; less than 10s counts as 10s.
    #[arg(long, env = "ETCD_DISCOVERY_KEEPALIVE_TIME", default_value = "2s", value_parser = time)]
    discovery_keepalive_time: Duration,
    /// Who does not answer that in this time is gone.
    #[arg(long, env = "ETCD_DISCOVERY_KEEPALIVE_TIMEOUT", default_value = "6s", value_parser = time)]
    discovery_keepalive_timeout: Duration,
    /// Plain text for endpoints that do not say https, unless files of certificates are given.
    #[arg(long, env = "ETCD_DISCOVERY_INSECURE_TRANSPORT", num_args = 0..=1, require_equals = true,
        default_value_t = true, default_missing_value = "true", action = clap::ArgAction::Set)]
    discovery_insecure_transport: bool,
    /// Take the certificate of --discovery-endpoints or --discovery unseen. For tests.
    #[arg(long, env = "ETCD_DISCOVERY_INSECURE_SKIP_TLS_VERIFY", num_args = 0..=1, require_equals = true,
        default_value_t = false, default_missing_value = "true", hide_default_value = true,
        action = clap::ArgAction::Set)]
    discovery_insecure_skip_tls_verify: bool,
    /// Our certificate towards it.
    #[arg(long, env = "ETCD_DISCOVERY_CERT", default_value = "", hide_default_value = true)]
    discovery_cert: String,
    /// The key of --discovery-cert.
    #[arg(long, env = "ETCD_DISCOVERY_KEY", default_value = "", hide_default_value = true)]
    discovery_key: String,
    /// Authorities of the certificate of --discovery-endpoints or --discovery [default: those of the machine].
    #[arg(long, env = "ETCD_DISCOVERY_CACERT", default_value = "", hide_default_value = true)]
    discovery_cacert: String,
    /// A user of that cluster, as name:password, or the name alone.
    #[arg(long, env = "ETCD_DISCOVERY_USER", default_value = "", hide_default_value = true)]
    discovery_user: String,
    /// The password of --discovery-user.
    #[arg(
        long,
        env = "ETCD_DISCOVERY_PASSWORD",
        default_value = "",
        hide_default_value = true,
        hide_env_values = true
    )]
    discovery_password: String,
}

fn time(text: &str) -> Result<Duration, String> {
    let time = crate::etcdctl::parse_duration(text)
        .map_err(|_| "a time has a unit, such as 5s or 300ms".to_owned())?;
    if time.is_zero() { Err("more than no time at all".to_owned()) } else { Ok(time) }
}

/// The store behind a token.
type Service = Client<RealWorld, GrpcEndpoint<RealWorld>>;

impl V3Args {
    /// Whether they are meant.
    pub(super) fn is_given(&self) -> bool {
        !self.discovery_token.is_empty() || !self.discovery_endpoints.is_empty()
    }

    /// The certificates, which count for `--discovery` too: etcd has none for that but the machine's own authorities.
    pub(super) fn files(&self) -> TlsFiles {
        TlsFiles {
            cert: self.discovery_cert.clone(),
            key: self.discovery_key.clone(),
            trusted_ca: self.discovery_cacert.clone(),
            skip_verify: self.discovery_insecure_skip_tls_verify,
            ..TlsFiles::default()
        }
    }

    fn layer(&self) -> Result<Option<Arc<dyn Secure>>, Failure> {
        let files = self.files();
        // As in etcd: an endpoint without a scheme is https where there are settings for TLS.
        let is_secure = !self.discovery_insecure_transport
            || files != TlsFiles::default()
            || self.discovery_endpoints.iter().any(|endpoint| is_https(endpoint));
        if !is_secure {
            return Ok(None);
        }
        let tls = Tls::client(files, crate::tls::reader()).map_err(|error| {
            usage(format!(
                "{error}\nhint: --discovery-cacert, --discovery-cert and --discovery-key name files in PEM form"
            ))
        })?;
        Ok(Some(Arc::new(tls)))
    }

    fn service(&self, world: &RealWorld, token: Option<String>) -> Result<Service, Failure> {
        let channel = ChannelOptions {
            connect_timeout: self.discovery_dial_timeout,
            keepalive_interval: Some(self.discovery_keepalive_time.max(KEEPALIVE_MIN)),
            keepalive_timeout: self.discovery_keepalive_timeout,
            layer: self.layer()?,
            token,
            ..ChannelOptions::default()
        };
        let options = ClientOptions {
            request_timeout: self.discovery_request_timeout,
            backoff_min: Duration::from_millis(50),
            ..ClientOptions::default()
        };
        seatrial_wire::connect(world, &self.discovery_endpoints, &channel, options)
            .map_err(|error| usage(format!("--discovery-endpoints: {error}\nhint: http://host:2379")))
    }

    fn user(&self) -> Result<Option<(String, String)>, Failure> {
        let user = &self.discovery_user;
        match (user.split_once(':'), self.discovery_password.as_str()) {
            (None, "") if user.is_empty() => Ok(None),
            (Some((name, password)), "") => Ok(Some((name.to_owned(), password.to_owned()))),
            // etcd's client would ask at the terminal.
            (None, "") => Err(usage(format!(
                "--discovery-user {user} has no password\nhint: --discovery-password, or ETCD_DISCOVERY_PASSWORD"
            ))),
            (_, _) if user.is_empty() => Err(usage("--discovery-password is given, and no --discovery-user")),
            (_, password) => Ok(Some((user.clone(), password.to_owned()))),
        }
    }

    /// The service as one who may ask it; tried again until it answers.
    async fn logged_in(&self, world: &RealWorld) -> Result<Service, Failure> {
        let service = self.service(world, None)?;
        let Some((name, password)) = self.user()? else { return Ok(service) };
        let mut backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(10));
        loop {
            let password = Secret::Plain(password.clone());
            let ask = AuthRequest::Authenticate { name: name.clone(), password };
            match service.call(Request::Auth(ask)).await {
                Ok(Response::Auth(AuthResponse { body: AuthAnswer::Token { token, .. }, .. })) => {
                    return self.service(world, Some(token));
                }
                // Nobody has to say who he is there.
                Err(error) if error.error == Error::AuthNotEnabled => return Ok(service),
                Err(error) if error.is_unavailable() => {
                    tracing::warn!(%error, "the discovery service could not be asked");
                    backoff.wait(world).await;
                }
                Err(error) => {
                    return Err(Failure::Failed(format!("--discovery-user {name}: {error}")));
                }
                Ok(_) => {
                    let odd = "the discovery service gave an answer of another kind than asked for";
                    return Err(Failure::Failed(odd.to_owned()));
                }
            }
        }
    }

    /// Registers, and waits for the others.
    pub(super) async fn found(
        &self,
        world: &RealWorld,
        name: &str,
        peer_urls: &[String],
    ) -> Result<Found, Failure> {
        let token = &self.discovery_token;
        if token.is_empty() || self.discovery_endpoints.is_empty() {
            return Err(usage(
                "both --discovery-token and --discovery-endpoints must be set\nhint: the token is a word of this cluster alone; the endpoints are those of the cluster that keeps it",
            ));
        }
        if self.discovery_endpoints.iter().any(|endpoint| endpoint.trim().is_empty()) {
            return Err(usage("--discovery-endpoints must not contain empty endpoints"));
        }
        let registry = Registry::new(token).map_err(usage)?;
        let bad = |error: seatrial_node::BootstrapError| usage(error.to_string());
        let alone = Cluster::bootstrap([(name, peer_urls.to_vec())], token).map_err(bad)?;
        let id = format!("{:x}", alone.id_of(name).map_err(bad)?.0);
        let value: Vec<String> = peer_urls.iter().map(|url| format!("{name}={url}")).collect();
        let value = value.join(",");
        tracing::info!(token, endpoints = self.discovery_endpoints.join(","), "asks the discovery service");
        let roster = loop {
            let service = self.logged_in(world).await?;
            match join_cluster(world, &service, &registry, &id, &value).await {
                Ok(roster) => break roster,
                Err(JoinError::Refused(error)) if self.is_outdated(&error) => {
                    // The wait may outlast what was shown.
                    tracing::debug!(%error, "logs in again");
                    world.sleep(Duration::from_millis(200)).await;
                }
                Err(error) => return Err(Failure::Failed(format!("--discovery-token {token}: {error}"))),
            }
        };
        let members = named_urls(&roster.members()).map_err(|error| {
            Failure::Failed(format!("--discovery-token {token}: what was registered: {error}"))
        })?;
        tracing::info!(members = members.len(), "found the members of the new cluster");
        Ok(Found { members, own: name.to_owned(), token: token.clone() })
    }

    fn is_outdated(&self, error: &ClientError) -> bool {
        !self.discovery_user.is_empty()
            && matches!(error.error, Error::InvalidAuthToken | Error::AuthOldRevision)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        args: V3Args,
    }

    fn parse(words: &[&str]) -> V3Args {
        Line::try_parse_from([&["server"], words].concat()).unwrap().args
    }

    fn text(failure: Failure) -> String {
        match failure {
            Failure::Usage(text) | Failure::Failed(text) => text,
        }
    }

    #[test]
    fn flags_have_etcds_defaults() {
        let args = parse(&[]);
        assert!(!args.is_given() && args.layer().is_ok_and(|layer| layer.is_none()));
        let times = [
            args.discovery_dial_timeout,
            args.discovery_request_timeout,
            args.discovery_keepalive_time,
            args.discovery_keepalive_timeout,
        ];
        assert_eq!(times.map(|time| time.as_secs()), [2, 5, 2, 6]);
        assert!(Line::try_parse_from(["server", "--discovery-dial-timeout", "5"]).is_err());
        assert!(Line::try_parse_from(["server", "--discovery-request-timeout", "0s"]).is_err());
    }

    #[test]
    fn a_user_has_a_password_in_one_of_two_places() {
        let user = |words: &[&str]| parse(words).user();
        let ann = |password: &str| Some(("ann".to_owned(), password.to_owned()));
        assert_eq!(user(&[]).ok(), Some(None));
        assert_eq!(user(&["--discovery-user", "ann:a:b"]).ok(), Some(ann("a:b")));
        assert_eq!(user(&["--discovery-user", "ann", "--discovery-password", "x"]).ok(), Some(ann("x")));
        assert!(text(user(&["--discovery-user", "ann"]).unwrap_err()).contains("has no password"));
        assert!(text(user(&["--discovery-password", "x"]).unwrap_err()).contains("no --discovery-user"));
    }
}
