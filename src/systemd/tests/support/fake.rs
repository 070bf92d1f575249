//! A systemd that is played, with the bus on which it is heard: it reads unit files as far as these tests use them, and does what
//! it is told to: be slow, be silent, break off, begin anew.

use futures::StreamExt;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use zbus::connection::Builder;
use zbus::message::{Header, Type};
use zbus::{Connection, Guid, Message, MessageStream, ObjectPath, OwnedObjectPath, Variant};

const MANAGER: &str = "org.freedesktop.systemd1.Manager";
const OBJECT: &str = "/org/freedesktop/systemd1";
const NO_SUCH_UNIT: &str = "org.freedesktop.systemd1.NoSuchUnit";

/// One unit in memory.
#[derive(Clone, Debug)]
struct Unit {
    path: Option<PathBuf>,
    text: String,
    active: &'static str,
    sub: &'static str,
    result: &'static str,
}

impl Unit {
    fn has(&self, word: &str) -> bool {
        self.text.lines().any(|line| line.starts_with(word))
    }

    fn load(&self) -> &'static str {
        match () {
            () if self.path.is_none() => "not-found",
            () if !self.has("ExecStart=/") => "bad-setting",
            () if self.has("Type=dbus") && !self.has("BusName=") => "bad-setting",
            () => "loaded",
        }
    }

    /// How it is once its start is through.
    fn begin(&mut self) -> &'static str {
        let (active, sub, result) = if self.has("ExecStart=/bin/false") {
            ("failed", "failed", "exit-code")
        } else if self.has("Type=oneshot") && self.has("RemainAfterExit=yes") {
            ("active", "exited", "success")
        } else if self.has("Type=oneshot") {
            ("inactive", "dead", "success")
        } else {
            ("active", "running", "success")
        };
        (self.active, self.sub, self.result) = (active, sub, result);
        if active == "failed" { "failed" } else { "done" }
    }
}

#[derive(Debug, Default)]
struct State {
    since: u64,
    /// Files that are linked, by the unit's name.
    links: BTreeMap<String, PathBuf>,
    enabled: BTreeSet<String>,
    units: BTreeMap<String, Unit>,
    /// Names of units that the machine has by itself, with where their files lie.
    machine: BTreeMap<String, PathBuf>,
    calls: Vec<String>,
    starts: BTreeMap<String, u64>,
    silent: BTreeSet<String>,
    unknown: BTreeSet<String>,
    refused: BTreeMap<String, String>,
    job: u32,
    stop_takes: Duration,
    connections: Vec<Connection>,
}

/// The played systemd. It ends with this value.
pub(crate) struct FakeSystemd {
    dir: tempfile::TempDir,
    state: Arc<Mutex<State>>,
    runtime: Option<tokio::runtime::Runtime>,
    listening: Option<tokio::task::JoinHandle<()>>,
}

type Shared = Arc<Mutex<State>>;

fn lock(state: &Shared) -> MutexGuard<'_, State> {
    state.lock().unwrap()
}

/// A name as it stands in an object's path.
fn object(name: &str) -> OwnedObjectPath {
    let hex: String = name.bytes().map(|byte| format!("{byte:02x}")).collect();
    ObjectPath::try_from(format!("{OBJECT}/unit/u{hex}")).unwrap().into()
}

fn name_of(object: &str) -> String {
    let hex = object.rsplit_once("/u").unwrap().1.as_bytes();
    let bytes = hex.chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap());
    String::from_utf8(bytes.collect()).unwrap()
}

impl State {
    /// As it is in memory; what was not is read.
    fn unit(&mut self, name: &str) -> &mut Unit {
        let path = self.links.get(name).or_else(|| self.machine.get(name)).cloned();
        self.units.entry(name.to_owned()).or_insert_with(|| {
            let text = path.as_ref().and_then(|path| std::fs::read_to_string(path).ok());
            Unit {
                path: path.filter(|_| text.is_some()),
                text: text.unwrap_or_default(),
                active: "inactive",
                sub: "dead",
                result: "success",
            }
        })
    }

    fn reload(&mut self) {
        let names: Vec<String> = self.units.keys().cloned().collect();
        for name in names {
            let old = self.units.remove(&name).unwrap();
            let new = self.unit(&name);
            (new.active, new.sub, new.result) = (old.active, old.sub, old.result);
            if new.path.is_none() && new.active == "inactive" {
                self.units.remove(&name);
            }
        }
    }

    fn next_job(&mut self) -> (u32, OwnedObjectPath) {
        self.job += 1;
        (self.job, ObjectPath::try_from(format!("{OBJECT}/job/{}", self.job)).unwrap().into())
    }
}

type Refusal = (String, String);

fn no_such_unit(name: &str, what: &str) -> Refusal {
    (NO_SUCH_UNIT.to_owned(), format!("Unit {name} {what}."))
}

/// What a call is answered, and what happens after the answer: a job that ends, and how.
struct Answer {
    message: Message,
    job: Option<(u32, OwnedObjectPath, String, &'static str, Option<Duration>)>,
}

fn plain<B: serde::Serialize + zbus::DynamicType>(header: &Header<'_>, body: &B) -> Answer {
    Answer { message: Message::method_return(header).build(body).unwrap(), job: None }
}

fn properties(state: &mut State, name: &str, interface: &str) -> BTreeMap<&'static str, Variant<'static>> {
    let unit = state.unit(name).clone();
    let path = unit.path.as_ref().map(|path| path.display().to_string()).unwrap_or_default();
    let load = unit.load();
    let error = match load {
        "bad-setting" => (
            "org.freedesktop.systemd1.BadUnitSetting".to_owned(),
            format!("Unit {name} has a bad unit file setting."),
        ),
        _ => Default::default(),
    };
    let description = unit.text.lines().find_map(|line| line.strip_prefix("Description=")).unwrap_or(name);
    if interface.ends_with(".Service") {
        let pid: u32 = if unit.sub == "running" { 4242 } else { 0 };
        let code: i32 = i32::from(unit.active == "failed");
        return [
            ("MainPID", Variant::from(pid)),
            ("Result", Variant::from(unit.result)),
            ("ExecMainCode", Variant::from(code)),
            ("ExecMainStatus", Variant::from(code)),
            ("NRestarts", Variant::from(0_u32)),
            ("StatusText", Variant::from("")),
        ]
        .into();
    }
    [
        ("Description", Variant::from(description.to_owned())),
        ("LoadState", Variant::from(load)),
        ("ActiveState", Variant::from(unit.active)),
        ("SubState", Variant::from(unit.sub)),
        ("FragmentPath", Variant::from(path)),
        ("LoadError", Variant::from(error)),
    ]
    .into()
}

type Row = (
    String,
    String,
    &'static str,
    &'static str,
    &'static str,
    &'static str,
    OwnedObjectPath,
    u32,
    &'static str,
    OwnedObjectPath,
);

fn row(state: &mut State, name: &str) -> Row {
    let unit = state.unit(name).clone();
    let row = (name.to_owned(), String::new(), unit.load(), unit.active, unit.sub, "");
    let (name, description, load, active, sub, followed) = row;
    let job = ObjectPath::try_from("/").unwrap().into();
    let object = object(&name);
    (name, description, load, active, sub, followed, object, 0, "", job)
}

fn answer(state: &mut State, call: &Message, header: &Header<'_>) -> Result<Answer, Refusal> {
    let member = header.member().unwrap().to_string();
    let body = call.body();
    let name = || body.deserialize::<(String,)>().unwrap().0;
    let job_name = || body.deserialize::<(String, String)>().unwrap().0;
    let noted = match member.as_str() {
        "StartUnit" | "StopUnit" => Some(job_name()),
        "ResetFailedUnit" => Some(name()),
        _ => None,
    };
    let noted_name = noted.clone();
    state.calls.push(noted.map_or_else(|| member.clone(), |name| format!("{member} {name}")));
    if let Some(template) = noted_name.filter(|name| name.contains("@.")) {
        let text = format!("Unit name {template} is missing the instance name.");
        return Err(("org.freedesktop.DBus.Error.InvalidArgs".into(), text));
    }
    if let Some(message) = state.refused.get(&member) {
        return Err(("org.freedesktop.DBus.Error.AccessDenied".into(), message.clone()));
    }
    if state.unknown.contains(&member) {
        return Err(("org.freedesktop.DBus.Error.UnknownMethod".into(), format!("Unknown method {member}")));
    }
    type Changes = Vec<(&'static str, String, String)>;
    match member.as_str() {
        // The bus.
        "Hello" => Ok(plain(header, &":1.7")),
        "AddMatch" | "RemoveMatch" => Ok(plain(header, &())),
        "Subscribe" => Ok(plain(header, &())),
        "Reload" => {
            state.reload();
            Ok(plain(header, &()))
        }
        "Get" => Ok(plain(header, &Variant::from(state.since))),
        "GetAll" => {
            let name = name_of(header.path().unwrap().as_str());
            let (interface,) = body.deserialize::<(String,)>().unwrap();
            Ok(plain(header, &properties(state, &name, &interface)))
        }
        "LinkUnitFiles" | "EnableUnitFiles" => {
            let (files, runtime, force) = body.deserialize::<(Vec<String>, bool, bool)>().unwrap();
            assert!(runtime && force);
            for file in &files {
                let path = PathBuf::from(file);
                let name = path.file_name().unwrap().to_string_lossy().into_owned();
                if !path.is_file() {
                    let text = format!("Unit file {name} does not exist.");
                    return Err(("org.freedesktop.DBus.Error.FileNotFound".into(), text));
                }
                if member == "EnableUnitFiles" {
                    state.enabled.insert(name.clone());
                }
                state.links.insert(name, path);
            }
            let changes = Changes::new();
            Ok(if member == "LinkUnitFiles" {
                plain(header, &(changes,))
            } else {
                plain(header, &(true, changes))
            })
        }
        "DisableUnitFiles" => {
            let (names, runtime) = body.deserialize::<(Vec<String>, bool)>().unwrap();
            assert!(runtime);
            for name in names {
                state.links.remove(&name);
                state.enabled.remove(&name);
            }
            Ok(plain(header, &(Changes::new(),)))
        }
        "ListUnitsByNames" => {
            let (names,) = body.deserialize::<(Vec<String>,)>().unwrap();
            let rows: Vec<Row> = names.iter().map(|name| row(state, name)).collect();
            Ok(plain(header, &(rows,)))
        }
        "ListUnits" => {
            let names: Vec<String> = state.units.keys().cloned().collect();
            let rows: Vec<Row> = names.iter().map(|name| row(state, name)).collect();
            Ok(plain(header, &(rows,)))
        }
        "LoadUnit" => {
            let name = name();
            state.unit(&name);
            Ok(plain(header, &object(&name)))
        }
        "GetUnitProcesses" => {
            let rows: Vec<(String, u32, String)> = match state.unit(&name()).sub {
                "running" => vec![("/x".into(), 4242, "/bin/sleep".into())],
                _ => Vec::new(),
            };
            Ok(plain(header, &(rows,)))
        }
        "ResetFailedUnit" => {
            let name = name();
            let Some(unit) = state.units.get_mut(&name) else {
                return Err(no_such_unit(&name, "not loaded"));
            };
            if unit.active == "failed" {
                (unit.active, unit.sub) = ("inactive", "dead");
            }
            Ok(plain(header, &()))
        }
        "StartUnit" => {
            let name = job_name();
            let unit = state.unit(&name);
            match unit.load() {
                "not-found" => return Err(no_such_unit(&name, "not found")),
                "bad-setting" => {
                    let text = format!("Unit {name} has a bad unit file setting.");
                    return Err(("org.freedesktop.systemd1.BadUnitSetting".into(), text));
                }
                _ => {}
            }
            let is_up = unit.active == "active";
            let result = if is_up { "done" } else { unit.begin() };
            *state.starts.entry(name.clone()).or_default() += u64::from(!is_up);
            let (id, job) = state.next_job();
            let answer = plain(header, &job);
            Ok(Answer { job: Some((id, job, name, result, None)), ..answer })
        }
        "StopUnit" => {
            let name = job_name();
            let takes = state.stop_takes;
            let Some(unit) = state.units.get_mut(&name) else {
                return Err(no_such_unit(&name, "not loaded"));
            };
            if unit.active == "active" {
                (unit.active, unit.sub) = ("deactivating", "stop-sigterm");
            }
            let (id, job) = state.next_job();
            let answer = plain(header, &job);
            Ok(Answer { job: Some((id, job, name, "done", Some(takes))), ..answer })
        }
        other => Err(("org.freedesktop.DBus.Error.UnknownMethod".into(), format!("Unknown method {other}"))),
    }
}

async fn serve(connection: Connection, mut calls: MessageStream, state: Shared) {
    while let Some(Ok(call)) = calls.next().await {
        let header = call.header();
        if header.message_type() != Type::MethodCall {
            continue;
        }
        let member = header.member().unwrap().to_string();
        if lock(&state).silent.contains(&member) {
            continue;
        }
        let done = answer(&mut lock(&state), &call, &header);
        let sent = match done {
            Err((name, text)) => connection.reply_error(&header, name.as_str(), &text).await,
            Ok(Answer { message, job }) => {
                let sent = connection.send(&message).await;
                if let Some((id, job, unit, result, takes)) = job {
                    let (state, connection) = (Arc::clone(&state), connection.clone());
                    tokio::spawn(async move {
                        tokio::time::sleep(takes.unwrap_or_default()).await;
                        if let Some(unit) = lock(&state).units.get_mut(&unit).filter(|_| takes.is_some())
                            && unit.active == "deactivating"
                        {
                            (unit.active, unit.sub) = ("inactive", "dead");
                        }
                        let body = (id, job, unit, result);
                        let nobody = None::<zbus::names::BusName<'_>>;
                        let _ = connection.emit_signal(nobody, OBJECT, MANAGER, "JobRemoved", &body).await;
                    });
                }
                sent
            }
        };
        if sent.is_err() {
            break;
        }
    }
}

impl FakeSystemd {
    pub(crate) fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let state = State { since: 1, ..State::default() };
        let mut fake =
            Self { dir, state: Arc::new(Mutex::new(state)), runtime: Some(runtime), listening: None };
        fake.listen();
        fake
    }

    fn socket(&self) -> PathBuf {
        self.dir.path().join("bus")
    }

    /// Where it is heard, as D-Bus writes it.
    pub(crate) fn address(&self) -> String {
        format!("unix:path={}", self.socket().display())
    }

    /// Begins to listen.
    pub(crate) fn listen(&mut self) {
        let _ = std::fs::remove_file(self.socket());
        let runtime = self.runtime.as_ref().unwrap();
        let _inside = runtime.enter();
        let listener = tokio::net::UnixListener::bind(self.socket()).unwrap();
        let state = Arc::clone(&self.state);
        self.listening = Some(runtime.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let state = Arc::clone(&state);
                tokio::spawn(async move {
                    let builder = Builder::unix_stream(stream.into_std().unwrap());
                    let built = builder.server(Guid::generate()).p2p().build_message_stream().await;
                    let Ok(calls) = built else { return };
                    let connection = Connection::from(&calls);
                    lock(&state).connections.push(connection.clone());
                    serve(connection, calls, state).await;
                });
            }
        }));
    }

    /// All connections break. Who comes anew is heard, unless it does not [`FakeSystemd::listen`] any more.
    pub(crate) fn hang_up(&self) {
        let connections = std::mem::take(&mut lock(&self.state).connections);
        let (done, wait) = std::sync::mpsc::channel();
        self.runtime.as_ref().unwrap().spawn(async move {
            for connection in connections {
                let _ = connection.close().await;
            }
            let _ = done.send(());
        });
        wait.recv().unwrap();
    }

    /// Nobody is heard any more, until [`FakeSystemd::listen`].
    pub(crate) fn go_away(&mut self) {
        self.listening.take().unwrap().abort();
        let _ = std::fs::remove_file(self.socket());
        self.hang_up();
    }

    /// Another systemd takes its place: it knows no unit, and none runs.
    pub(crate) fn begin_anew(&self) {
        let mut state = lock(&self.state);
        state.since += 1;
        state.units.clear();
        state.links.clear();
        drop(state);
        self.hang_up();
    }

    /// From now on this method is not answered.
    pub(crate) fn be_silent(&self, member: &str, is_silent: bool) {
        let mut state = lock(&self.state);
        if is_silent {
            state.silent.insert(member.into())
        } else {
            state.silent.remove(member)
        };
    }

    /// From now on this method is not known, as in older versions.
    pub(crate) fn be_without(&self, member: &str) {
        lock(&self.state).unknown.insert(member.into());
    }

    /// From now on this method is refused.
    pub(crate) fn refuse(&self, member: &str, message: &str) {
        lock(&self.state).refused.insert(member.into(), message.into());
    }

    pub(crate) fn refuse_nothing(&self) {
        lock(&self.state).refused.clear();
    }

    /// How long every stop takes.
    pub(crate) fn stops_take(&self, time: Duration) {
        lock(&self.state).stop_takes = time;
    }

    /// The machine has a unit by itself.
    pub(crate) fn has(&self, name: &str, text: &str) -> PathBuf {
        let path = self.dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        lock(&self.state).machine.insert(name.into(), path.clone());
        path
    }

    /// What was asked so far.
    pub(crate) fn calls(&self) -> Vec<String> {
        lock(&self.state).calls.clone()
    }

    /// How often a unit went up.
    pub(crate) fn starts(&self, name: &str) -> u64 {
        lock(&self.state).starts.get(name).copied().unwrap_or(0)
    }

    /// Which units are linked, and whether also enabled.
    pub(crate) fn links(&self) -> Vec<(String, bool)> {
        let state = lock(&self.state);
        state.links.keys().map(|name| (name.clone(), state.enabled.contains(name))).collect()
    }

    /// Where files of a test may lie.
    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }
}

impl Drop for FakeSystemd {
    fn drop(&mut self) {
        // A runtime must not be dropped inside another one.
        self.runtime.take().unwrap().shutdown_background();
    }
}
