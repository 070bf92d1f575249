//! A client on a machine of its own, in any world: real gRPC over whatever connections that world makes.

use crate::reboots;
use futures::StreamExt;
use seatrial_client::{Client, ClientError, ClientOptions, Endpoint, LockError, WatchChannel};
use seatrial_scenario::machines::{AgentHost, AgentWish, Order};
use seatrial_scenario::theatre::{
    CallError, FleetAnswer, FleetAsk, JoinTrouble, LeaderKey, Leaders, LockHeld, LockWish, Registered,
    V2Answered, V2Trouble, Watch,
};
use seatrial_types::auth::{AuthAnswer, AuthRequest, AuthResponse, Secret};
use seatrial_types::v2::{V2Action, V2Change, V2Request, V2Watch};
use seatrial_types::watch::{WatchCreate, WatchRequest, WatchResponse};
use seatrial_types::{Code, Error, KeyValue, LeaseId, MemberId, Request, Response, Revision};
use seatrial_wire::{
    ChannelOptions, DiscoveryError, GrpcEndpoint, GrpcWatch, Leadership, V2Client, V2ClientError,
    V2ClientOptions, V2Delete, V2Get, V2Put, V2Told, v2_key,
};
use seatrial_world::World;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// A client. Keeps one connection to each member it has asked.
pub struct GrpcClient<W: World> {
    world: W,
    /// Where each member serves clients, as `http://host:port`.
    addresses: Arc<BTreeMap<MemberId, String>>,
    endpoints: BTreeMap<MemberId, GrpcEndpoint<W>>,
    v2: BTreeMap<MemberId, V2Client<W>>,
    /// Name and password, for members that ask.
    user: Option<(String, String)>,
    token: Option<String>,
}

impl<W: World> GrpcClient<W> {
    /// A client that has asked nobody yet. Who is not in `addresses` must never be asked.
    #[must_use]
    pub fn new(world: W, addresses: Arc<BTreeMap<MemberId, String>>) -> Self {
        Self { world, addresses, endpoints: BTreeMap::new(), v2: BTreeMap::new(), user: None, token: None }
    }

    fn endpoint(&mut self, member: MemberId) -> &GrpcEndpoint<W> {
        let (world, token, addresses) = (&self.world, &self.token, &self.addresses);
        self.endpoints.entry(member).or_insert_with(|| {
            // Short pauses: a client that rests for long after an outage sees little of what follows it.
            let options = ChannelOptions {
                connect_timeout: Duration::from_secs(1),
                backoff_max: Duration::from_millis(200),
                token: token.clone(),
                ..ChannelOptions::default()
            };
            let address = addresses.get(&member).expect("only members of the plan are asked");
            GrpcEndpoint::new(world.clone(), address, options).expect("a well-formed address")
        })
    }

    fn v2_client(&mut self, member: MemberId, timeout: Duration) -> V2Client<W> {
        let (world, addresses) = (&self.world, &self.addresses);
        let client = self.v2.entry(member).or_insert_with(|| {
            let options = V2ClientOptions {
                connect_timeout: Duration::from_secs(1),
                header_timeout: timeout,
                request_timeout: timeout,
                ..V2ClientOptions::default()
            };
            let address = addresses.get(&member).expect("only members of the plan are asked");
            V2Client::new(world.clone(), &[address], options).expect("nobody's name is sent")
        });
        client.clone()
    }

    /// As an application uses it: all members, and whichever answers.
    fn store(&mut self, timeout: Duration) -> Client<W, GrpcEndpoint<W>> {
        let addresses = Arc::clone(&self.addresses);
        let endpoints = addresses.keys().map(|machine| self.endpoint(*machine).clone()).collect();
        let options = ClientOptions { request_timeout: timeout, ..ClientOptions::default() };
        Client::new(self.world.clone(), endpoints, options)
    }

    /// Gets a token for the user, where the member knows users. The old one is forgotten either way.
    async fn log_in(&mut self, member: MemberId, timeout: Duration) {
        let Some((name, password)) = self.user.clone() else { return };
        self.token = None;
        self.endpoints.clear();
        let request = AuthRequest::Authenticate { name, password: Secret::Plain(password) };
        let answer = self.endpoint(member).clone().call(Request::Auth(request), timeout).await;
        if let Ok(Response::Auth(AuthResponse { body: AuthAnswer::Token { token, .. }, .. })) = answer {
            self.token = Some(token);
            // Every request shows it from now on.
            self.endpoints.clear();
        }
    }
}

fn failed(error: ClientError) -> CallError {
    CallError { error: error.error, ambiguous: error.ambiguous }
}

impl<W: World> seatrial_scenario::theatre::Client for GrpcClient<W> {
    type Watch = ClientWatch;

    async fn call(
        &mut self,
        member: MemberId,
        request: Request,
        timeout: Duration,
    ) -> Result<Response, CallError> {
        let endpoint = self.endpoint(member).clone();
        let answer = endpoint.call(request.clone(), timeout).await;
        let wants_user = matches!(&answer, Err(error) if !error.ambiguous && asks_who(&error.error));
        if wants_user && self.user.is_some() {
            self.log_in(member, timeout).await;
            let endpoint = self.endpoint(member).clone();
            return endpoint.call(request, timeout).await.map_err(failed);
        }
        answer.map_err(failed)
    }

    async fn watch(
        &mut self,
        member: MemberId,
        create: WatchCreate,
        timeout: Duration,
    ) -> Result<ClientWatch, CallError> {
        let mut stream = self.endpoint(member).watch();
        stream.send(WatchRequest::Create(create));
        // The first answer says that the watch stands; without one in time there is none.
        let first = seatrial_world::timeout(&self.world, timeout, stream.next()).await;
        match first {
            Ok(Ok(said)) => Ok(ClientWatch { stream, first: Some(said) }),
            Ok(Err(error)) => Err(CallError { error: error.error, ambiguous: false }),
            Err(_) => {
                let error = Error::Other(Code::DeadlineExceeded, "the watch was not answered".to_owned());
                Err(CallError { error, ambiguous: false })
            }
        }
    }

    async fn lock(
        &mut self,
        member: MemberId,
        wish: LockWish,
        timeout: Duration,
    ) -> Result<LockHeld, CallError> {
        let LockWish { name, lease, by_member } = wish;
        let (key, revision) = if by_member {
            let endpoint = self.endpoint(member).clone();
            let (key, header) = endpoint.lock(name.into(), lease, timeout).await.map_err(failed)?;
            (key, header.revision)
        } else {
            let lock = seatrial_client::Mutex::new(self.store(timeout), name.as_bytes(), lease);
            let held = seatrial_world::timeout(&self.world, timeout, lock.lock()).await;
            let place = match held {
                Ok(Ok(place)) => place,
                Ok(Err(LockError::Client(error))) => return Err(failed(error)),
                Ok(Err(error)) => {
                    let error = Error::Other(Code::Unknown, error.to_string());
                    return Err(CallError { error, ambiguous: true });
                }
                Err(_) => return Err(failed(ClientError::deadline(true))),
            };
            (place.key, place.header.revision)
        };
        Ok(LockHeld { key: String::from_utf8_lossy(&key).into_owned(), revision: revision.0 })
    }

    async fn unlock(&mut self, member: MemberId, key: String, timeout: Duration) -> Result<(), CallError> {
        let endpoint = self.endpoint(member).clone();
        endpoint.unlock(key.into(), timeout).await.map(|_| ()).map_err(failed)
    }

    async fn campaign(
        &mut self,
        member: MemberId,
        name: String,
        lease: LeaseId,
        value: String,
        timeout: Duration,
    ) -> Result<LeaderKey, CallError> {
        let endpoint = self.endpoint(member).clone();
        let leads =
            endpoint.campaign(name.clone().into(), lease, value.into(), timeout).await.map_err(failed)?;
        let key = String::from_utf8_lossy(&leads.key).into_owned();
        Ok(LeaderKey { name, key, revision: leads.revision.0, lease })
    }

    async fn proclaim(
        &mut self,
        member: MemberId,
        leader: LeaderKey,
        value: String,
        timeout: Duration,
    ) -> Result<i64, CallError> {
        let endpoint = self.endpoint(member).clone();
        let header = endpoint.proclaim(leadership(leader), value.into(), timeout).await.map_err(failed)?;
        Ok(header.revision.0)
    }

    async fn resign(
        &mut self,
        member: MemberId,
        leader: LeaderKey,
        timeout: Duration,
    ) -> Result<(), CallError> {
        let endpoint = self.endpoint(member).clone();
        endpoint.resign(leadership(leader), timeout).await.map(|_| ()).map_err(failed)
    }

    async fn leader(
        &mut self,
        member: MemberId,
        name: String,
        timeout: Duration,
    ) -> Result<(i64, KeyValue), CallError> {
        let endpoint = self.endpoint(member).clone();
        let (header, kv) = endpoint.leader(name.into(), timeout).await.map_err(failed)?;
        Ok((header.revision.0, kv))
    }

    async fn observe(
        &mut self,
        member: MemberId,
        name: String,
        timeout: Duration,
    ) -> Result<Leaders, CallError> {
        let endpoint = self.endpoint(member).clone();
        let opened = seatrial_world::timeout(&self.world, timeout, endpoint.observe(name.into())).await;
        let Ok(opened) = opened else { return Err(failed(ClientError::deadline(false))) };
        let observer = opened.map_err(failed)?;
        let leaders = futures::stream::unfold(observer, |mut observer| async move {
            let (header, kv) = observer.next().await?;
            Some(((header.revision.0, kv), observer))
        });
        Ok(leaders.boxed())
    }

    async fn v2(&mut self, member: MemberId, request: V2Request, timeout: Duration) -> V2Answered {
        let client = self.v2_client(member, timeout);
        let answer = match request {
            V2Request::Read { path, recursive, quorum } => {
                client.get(v2_key(&path), V2Get { recursive, sorted: true, quorum }).await
            }
            V2Request::Change(change) => v2_change(&client, &change).await,
            V2Request::Stats | V2Request::Standing => unreachable!("nobody asks for it here"),
        };
        v2_answered(answer)
    }

    async fn v2_wait(&mut self, member: MemberId, watch: V2Watch) -> V2Answered {
        let client = self.v2_client(member, Duration::from_secs(2));
        v2_answered(client.watch(v2_key(&watch.path), watch.recursive, watch.since).await)
    }

    async fn v2_join(
        &mut self,
        directory: String,
        id: String,
        value: String,
    ) -> Result<Registered, JoinTrouble> {
        let addresses: Vec<&String> = self.addresses.values().collect();
        let client = V2Client::new(self.world.clone(), &addresses, V2ClientOptions::default())
            .expect("nobody's name is sent");
        match seatrial_wire::discover(&self.world, &client, &directory, &id, &value).await {
            Ok(roster) => Ok(roster.entries),
            Err(DiscoveryError::Full { roster }) => Err(JoinTrouble::Full(roster.entries)),
            Err(error) => Err(JoinTrouble::Refused(error.to_string())),
        }
    }

    async fn reboot_agent<H: AgentHost>(&mut self, wish: AgentWish, host: H) -> Result<(), CallError> {
        reboots::run_agent(&self.world, &self.addresses, wish, host).await
    }

    async fn reboot_order(
        &mut self,
        group: String,
        order: Order,
        timeout: Duration,
    ) -> Result<Vec<String>, CallError> {
        reboots::order(&self.world, &self.addresses, group, order, timeout).await
    }

    async fn fleet(&mut self, ask: FleetAsk, timeout: Duration) -> Result<FleetAnswer, CallError> {
        let store = self.store(timeout);
        crate::fleet::ask(&store, ask).await.map_err(failed)
    }

    fn identify(&mut self, user: &str, password: &str) {
        self.user = Some((user.to_owned(), password.to_owned()));
    }
}

async fn v2_change<W: World>(client: &V2Client<W>, change: &V2Change) -> Result<V2Told, V2ClientError> {
    let key = v2_key(&change.path);
    let put = |dir: &bool, life: &seatrial_types::v2::V2Life, prev_exist: Option<bool>| V2Put {
        dir: *dir,
        ttl_seconds: life.ttl_seconds,
        refresh: life.refresh,
        prev_exist,
        ..V2Put::default()
    };
    match &change.action {
        V2Action::Set { dir, value, life } => client.set(key, value, &put(dir, life, None)).await,
        V2Action::Create { dir, value, life } => client.set(key, value, &put(dir, life, Some(false))).await,
        V2Action::CreateInOrder { value, life, .. } => {
            client.create_in_order(key, value, life.ttl_seconds).await
        }
        V2Action::Update { value, life } => client.set(key, value, &put(&false, life, Some(true))).await,
        V2Action::CompareAndSwap { prev, value, life } => {
            let how = V2Put { prev: prev.clone(), ..put(&false, life, None) };
            client.set(key, value, &how).await
        }
        V2Action::Delete { dir, recursive } => {
            let how = V2Delete { dir: *dir, recursive: *recursive, ..V2Delete::default() };
            client.delete(key, &how).await
        }
        V2Action::CompareAndDelete { prev } => client.compare_and_delete(key, prev.clone()).await,
    }
}

fn v2_answered(answer: Result<V2Told, V2ClientError>) -> V2Answered {
    match answer {
        Ok(told) => Ok((told.event, told.index)),
        Err(V2ClientError::Refused(error)) => Err(V2Trouble::Refused(error)),
        Err(error) => Err(V2Trouble::Lost { ambiguous: error.is_ambiguous(), text: error.to_string() }),
    }
}

fn leadership(leader: LeaderKey) -> Leadership {
    let LeaderKey { name, key, revision, lease } = leader;
    Leadership { name: name.into(), key: key.into(), revision: Revision(revision), lease }
}

/// Whether the member wants to know who asks, or does not know the token any more.
fn asks_who(error: &Error) -> bool {
    matches!(error, Error::UserEmpty | Error::InvalidAuthToken | Error::AuthOldRevision)
}

/// A client's open watch.
pub struct ClientWatch {
    stream: GrpcWatch,
    first: Option<WatchResponse>,
}

impl Watch for ClientWatch {
    async fn next(&mut self) -> Option<WatchResponse> {
        if let Some(first) = self.first.take() {
            return Some(first);
        }
        self.stream.next().await.ok()
    }

    fn ask_progress(&mut self) {
        self.stream.send(WatchRequest::Progress);
    }
}
