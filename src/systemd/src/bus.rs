//! The connection to systemd: made when it is needed, made anew when it breaks, and not too often.

use crate::SystemdError;
use crate::details::{Properties, unreadable};
use crate::jobs::{JobResult, Jobs};
use crate::plan::{Call, Rows};
use futures::StreamExt;
use seatrial_fleet::run::SystemdState;
use seatrial_world::{Backoff, Task, World, timeout};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use zbus::connection::Builder;
use zbus::{
    Connection, DBusError, DynamicType, MatchRule, Message, MessageStream, OwnedObjectPath, OwnedVariant,
};

const SERVICE: &str = "org.freedesktop.systemd1";
const MANAGER: &str = "org.freedesktop.systemd1.Manager";
const OBJECT: &str = "/org/freedesktop/systemd1";
const PROPERTIES: &str = "org.freedesktop.DBus.Properties";

/// How long a question may take. systemd answers in a moment or, while it reads files, in some; the agent has a lease to watch
/// meanwhile.
const QUESTION: Duration = Duration::from_secs(3);

/// Pauses between attempts to connect.
const PAUSE_MIN: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// A row of `ListUnits`: name, description, load, active, sub, followed unit, object, job, its type, its object.
type Row = (String, String, String, String, String, String, OwnedObjectPath, u32, String, OwnedObjectPath);

/// Stops a task with its owner.
struct Guarded<T: Task>(T);

impl<T: Task> Drop for Guarded<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// One connection. Cheap to clone.
pub(crate) struct Link<W: World> {
    connection: Connection,
    /// When this systemd has begun, in microseconds since the boot: another number is another systemd.
    pub(crate) since: u64,
    world: W,
    _listener: Arc<Guarded<W::Task>>,
}

impl<W: World> Clone for Link<W> {
    fn clone(&self) -> Self {
        Self {
            connection: self.connection.clone(),
            since: self.since,
            world: self.world.clone(),
            _listener: Arc::clone(&self._listener),
        }
    }
}

struct Line<W: World> {
    link: Option<Link<W>>,
    backoff: Backoff,
    retry_at: Duration,
    last: String,
}

/// The way to systemd. Cheap to clone; clones share one connection.
pub(crate) struct Bus<W: World> {
    world: W,
    addresses: Arc<Vec<String>>,
    line: Arc<tokio::sync::Mutex<Line<W>>>,
    jobs: Arc<Mutex<Jobs>>,
}

impl<W: World> Clone for Bus<W> {
    fn clone(&self) -> Self {
        Self {
            world: self.world.clone(),
            addresses: Arc::clone(&self.addresses),
            line: Arc::clone(&self.line),
            jobs: Arc::clone(&self.jobs),
        }
    }
}

/// What D-Bus's library says of a call, in our words.
fn failure(call: &str, error: zbus::Error) -> SystemdError {
    let refused = |name: &str, message: &str| SystemdError::Refused {
        call: call.to_owned(),
        name: name.to_owned(),
        message: message.to_owned(),
    };
    match error {
        zbus::Error::MethodError(name, message, _) => {
            refused(name.as_str(), message.as_deref().unwrap_or("no reason was given"))
        }
        zbus::Error::FDO(error) => match *error {
            zbus::fdo::Error::ZBus(error) => failure(call, error),
            error => {
                let name = error.name();
                refused(name.as_str(), error.description().unwrap_or("no reason was given"))
            }
        },
        zbus::Error::InputOutput(problem) => {
            SystemdError::Broken { call: call.to_owned(), problem: problem.to_string() }
        }
        other => unreadable(call, &other),
    }
}

async fn method<W: World, B: serde::Serialize + DynamicType + Sync>(
    world: &W,
    connection: &Connection,
    (object, interface, member): (&str, &str, &str),
    body: &B,
    (call, patience): (&str, Duration),
) -> Result<Message, SystemdError> {
    let asked = connection.call_method(Some(SERVICE), object, Some(interface), member, body);
    match timeout(world, patience, asked).await {
        Ok(answer) => answer.map_err(|error| failure(call, error)),
        Err(_) => Err(SystemdError::Silent { call: call.to_owned(), patience }),
    }
}

/// What is to be heard: ends of jobs, and that systemd leaves the bus or comes to it.
fn signals() -> zbus::Result<[MatchRule<'static>; 2]> {
    let signal = || MatchRule::builder().msg_type(zbus::message::Type::Signal);
    let of_jobs = signal().interface(MANAGER).member("JobRemoved").build()?;
    let of_names =
        signal().sender("org.freedesktop.DBus").member("NameOwnerChanged").arg(0, SERVICE).build()?;
    Ok([of_jobs, of_names])
}

/// Hears what becomes of jobs, until the connection ends. It ends it, too, where another systemd has taken the name: that one
/// knows nothing of us.
async fn listen(
    connection: Connection,
    mut news: futures::stream::SelectAll<MessageStream>,
    jobs: Arc<Mutex<Jobs>>,
) {
    while let Some(message) = news.next().await {
        let Ok(message) = message else { break };
        let header = message.header();
        match header.member().map(|member| member.as_str()) {
            Some("JobRemoved") => {
                let body = message.body();
                let Ok((_, job, unit, result)) = body.deserialize::<(u32, OwnedObjectPath, String, String)>()
                else {
                    continue;
                };
                let result = JobResult(result);
                let mut jobs = jobs.lock().unwrap_or_else(PoisonError::into_inner);
                if jobs.ended(&unit, job.as_str(), result.clone()) {
                    tracing::warn!(%unit, %result, "a job of a unit failed");
                }
            }
            Some("NameOwnerChanged") => {
                let body = message.body();
                let Ok((_, old, _)) = body.deserialize::<(String, String, String)>() else { continue };
                // Where nobody had the name before, we have waited for who has it now.
                if !old.is_empty() {
                    tracing::info!("systemd has left the bus");
                    break;
                }
            }
            _ => {}
        }
    }
    let _ = connection.close().await;
}

impl<W: World> Bus<W> {
    pub(crate) fn new(world: W, addresses: Vec<String>) -> Self {
        let backoff = Backoff::new(PAUSE_MIN, PAUSE_MAX);
        let line = Line { link: None, backoff, retry_at: Duration::ZERO, last: String::new() };
        Self {
            world,
            addresses: Arc::new(addresses),
            line: Arc::new(tokio::sync::Mutex::new(line)),
            jobs: Arc::default(),
        }
    }

    pub(crate) fn jobs(&self) -> MutexGuard<'_, Jobs> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn connect(&self, address: &str) -> Result<Link<W>, SystemdError> {
        let call = "connect";
        let connection = match timeout(&self.world, QUESTION, Builder::address(address).build()).await {
            Ok(built) => built.map_err(|error| failure(call, error))?,
            Err(_) => return Err(SystemdError::Silent { call: call.to_owned(), patience: QUESTION }),
        };
        let mut news = futures::stream::SelectAll::new();
        for rule in signals().map_err(|error| failure("listen", error))? {
            let heard = MessageStream::for_match_rule(rule, &connection, None).await;
            news.push(heard.map_err(|error| failure("AddMatch", error))?);
        }
        let subscribed =
            method(&self.world, &connection, (OBJECT, MANAGER, "Subscribe"), &(), ("Subscribe", QUESTION))
                .await;
        match subscribed {
            Ok(_) => {}
            // By whoever had this name on the bus before; nothing is lost.
            Err(SystemdError::Refused { name, .. }) if name.ends_with(".AlreadySubscribed") => {}
            Err(error) => return Err(error),
        }
        let call = "Get UserspaceTimestampMonotonic";
        let body = (MANAGER, "UserspaceTimestampMonotonic");
        let answer =
            method(&self.world, &connection, (OBJECT, PROPERTIES, "Get"), &body, (call, QUESTION)).await?;
        let since = answer.body().deserialize::<OwnedVariant>();
        let since = since.and_then(|value| u64::try_from(&*value));
        let since = since.map_err(|error| unreadable(call, &error))?;
        let listener = self.world.spawn(listen(connection.clone(), news, Arc::clone(&self.jobs)));
        let listener = Arc::new(Guarded(listener));
        Ok(Link { connection, since, world: self.world.clone(), _listener: listener })
    }

    /// The connection, as it is or made anew.
    pub(crate) async fn link(&self) -> Result<Link<W>, SystemdError> {
        let mut line = self.line.lock().await;
        if let Some(link) = line.link.as_ref().filter(|link| !link.connection.is_closed()) {
            return Ok(link.clone());
        }
        if line.link.take().is_some() {
            tracing::warn!("the connection to systemd is gone; units run on");
        }
        let now = self.world.now();
        if now < line.retry_at {
            let pause = Duration::from_millis((line.retry_at - now).as_millis() as u64);
            return Err(SystemdError::Waiting { pause, last: line.last.clone() });
        }
        let mut tried = Vec::new();
        for address in self.addresses.iter() {
            match self.connect(address).await {
                Ok(link) => {
                    tracing::info!(%address, "speaks to systemd");
                    line.backoff.reset();
                    line.link = Some(link.clone());
                    return Ok(link);
                }
                Err(error) => tried.push(format!("{address}: {}", error.problem())),
            }
        }
        let pause = line.backoff.next(self.world.rand());
        line.retry_at = self.world.now() + pause;
        line.last = tried.join("; ");
        Err(SystemdError::Away { tried: line.last.clone() })
    }

    /// Lets go of a connection that is of no use any more.
    pub(crate) async fn drop_link(&self) {
        let link = self.line.lock().await.link.take();
        if let Some(link) = link {
            let _ = link.connection.close().await;
        }
    }
}

impl<W: World> Link<W> {
    async fn method<B: serde::Serialize + DynamicType + Sync>(
        &self,
        target: (&str, &str, &str),
        body: &B,
        call: (&str, Duration),
    ) -> Result<Message, SystemdError> {
        method(&self.world, &self.connection, target, body, call).await
    }

    /// Asks the manager. The path of the job, where the answer is one.
    pub(crate) async fn ask(&self, call: &Call) -> Result<Option<String>, SystemdError> {
        let (text, patience) = (call.to_string(), call.patience());
        let of = |member| (OBJECT, MANAGER, member);
        let told = (text.as_str(), patience);
        let target = of(call.member());
        // Booleans: until the next boot only, and in place of links that are there.
        let answer = match call {
            Call::LinkUnitFiles(files) | Call::EnableUnitFiles(files) => {
                self.method(target, &(files, true, true), told).await?
            }
            Call::DisableUnitFiles(names) => self.method(target, &(names, true), told).await?,
            Call::Reload => self.method(target, &(), told).await?,
            Call::ResetFailedUnit(name) => self.method(target, &(name,), told).await?,
            Call::StartUnit(name) | Call::StopUnit(name) => {
                let answer = self.method(target, &(name, "replace"), told).await?;
                let job = answer.body().deserialize::<OwnedObjectPath>();
                return Ok(Some(job.map_err(|error| unreadable(&text, &error))?.to_string()));
            }
        };
        drop(answer);
        Ok(None)
    }

    /// How these units do.
    pub(crate) async fn rows(&self, names: &[&str]) -> Result<Rows, SystemdError> {
        if names.is_empty() {
            return Ok(Rows::new());
        }
        let call = "ListUnitsByNames";
        let asked = self.method((OBJECT, MANAGER, call), &(names,), (call, QUESTION)).await;
        let (call, answer) = match asked {
            Ok(answer) => (call, answer),
            // Before systemd 230, and where it does not take one of the names after all.
            Err(error) if error.is_unknown_method() => {
                let call = "ListUnits";
                (call, self.method((OBJECT, MANAGER, call), &(), (call, QUESTION)).await?)
            }
            Err(error) => return Err(error),
        };
        let body = answer.body();
        let rows: Vec<Row> = body.deserialize().map_err(|error| unreadable(call, &error))?;
        let rows = rows
            .into_iter()
            .map(|(name, _, load, active, sub, ..)| (name, SystemdState { load, active, sub }));
        Ok(rows.filter(|(name, _)| names.contains(&name.as_str())).collect())
    }

    /// A unit's object; systemd reads its file for that, where it has not yet.
    async fn object(&self, name: &str) -> Result<OwnedObjectPath, SystemdError> {
        let call = format!("LoadUnit {name}");
        let answer = self.method((OBJECT, MANAGER, "LoadUnit"), &(name,), (&call, QUESTION)).await?;
        answer.body().deserialize().map_err(|error| unreadable(&call, &error))
    }

    async fn properties(&self, object: &str, kind: &str) -> Result<Properties, SystemdError> {
        let call = format!("GetAll {kind} of {object}");
        let interface = format!("{SERVICE}.{kind}");
        let answer = self.method((object, PROPERTIES, "GetAll"), &(interface,), (&call, QUESTION)).await?;
        let body = answer.body();
        let all: BTreeMap<String, OwnedVariant> =
            body.deserialize().map_err(|error| unreadable(&call, &error))?;
        Ok(Properties(all))
    }

    /// The file from which systemd has a unit; nothing where it has none.
    pub(crate) async fn fragment(&self, name: &str) -> Result<Option<String>, SystemdError> {
        let object = self.object(name).await?;
        let path = self.properties(object.as_str(), "Unit").await?.text("FragmentPath");
        Ok(Some(path).filter(|path| !path.is_empty()))
    }

    /// What there is to say of a unit: properties of all units, those of services, and its processes.
    pub(crate) async fn look(&self, name: &str) -> Result<(Properties, Properties, Vec<u32>), SystemdError> {
        let object = self.object(name).await?;
        let unit = self.properties(object.as_str(), "Unit").await?;
        let is_service = name.ends_with(".service");
        let service = if is_service {
            self.properties(object.as_str(), "Service").await?
        } else {
            Properties::default()
        };
        let call = format!("GetUnitProcesses {name}");
        let asked = self.method((OBJECT, MANAGER, "GetUnitProcesses"), &(name,), (&call, QUESTION)).await;
        let processes = match asked {
            Ok(answer) => {
                let body = answer.body();
                let rows: Vec<(String, u32, String)> =
                    body.deserialize().map_err(|error| unreadable(&call, &error))?;
                rows.into_iter().map(|(_, pid, _)| pid).collect()
            }
            // A unit that is not there has none, nor has a type without processes, and old versions do not tell.
            Err(SystemdError::Refused { .. }) => Vec::new(),
            Err(error) => return Err(error),
        };
        Ok((unit, service, processes))
    }
}
