//! The driver: the one loop that carries out what the manager wants and tells it what happens.

use crate::DriveError;
use crate::follow::Follow;
use crate::group::{Run, Snapshot};
use crate::logs::Log;
use crate::notify::Socket;
use crate::proc;
use crate::reap::{self, Seen};
use crate::saved::{self, Saved};
use seatrial_service::{
    Effect, Exit, Input, JobResult, KillMode, Left, Machine, Manager, Output, Signal, Spawn, SpawnFailure,
    SubState, Target, Timer, UnitStatus, Verb, Warning, Who,
};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ffi::OsString;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How often processes are looked at while something is under way, and while nothing is.
const PACE_BUSY: Duration = Duration::from_millis(20);
const PACE_IDLE: Duration = Duration::from_millis(100);

/// How often all processes are looked at for the sake of those that nobody waits for.
const PACE_STRAYS: Duration = Duration::from_secs(5);

/// How often a group on its way down is looked at as a whole.
const PACE_GROUP: Duration = Duration::from_millis(60);

/// How often a group is looked at that has no known main process.
const PACE_ALONE: Duration = Duration::from_millis(500);

/// The last events that are kept.
const EVENTS_MAX: usize = 1000;

/// How a driver works.
#[derive(Clone, Debug)]
pub struct Options {
    /// Its own files: what it writes down for the next one, and sockets. One driver at a time.
    pub folder: PathBuf,
    /// Where logs go.
    pub logs: PathBuf,
    /// The launcher and its first arguments: this crate's binary, or another that calls [`crate::launch`].
    pub launcher: Vec<OsString>,
    /// A folder of control groups that can be written, where every unit gets one of its own; none: processes are found by
    /// session, descent and environment.
    pub control_groups: Option<PathBuf>,
    /// Whether orphans of units become children of this process, so that their exit is known. It holds for the whole
    /// process; children that are not a unit's are left alone.
    pub subreaper: bool,
    /// What fills in the specifiers of unit files.
    pub machine: Machine,
    /// A log longer than this is moved away.
    pub log_bytes_max: u64,
    /// So many old logs are kept.
    pub log_files: usize,
    /// So many last lines are kept at hand.
    pub tail_lines: usize,
}

impl Options {
    /// With everything below one folder, and a launcher.
    #[must_use]
    pub fn new(folder: PathBuf, launcher: Vec<OsString>) -> Self {
        let logs = folder.join("logs");
        Self {
            folder,
            logs,
            launcher,
            control_groups: None,
            subreaper: true,
            machine: Machine::default(),
            log_bytes_max: 16 * 1024 * 1024,
            log_files: 3,
            tail_lines: 1000,
        }
    }

    fn state_file(&self) -> PathBuf {
        self.folder.join("units.json")
    }

    pub(crate) fn log_file(&self, unit: &str) -> PathBuf {
        self.logs.join(format!("{unit}.log"))
    }

    /// Paths of sockets must be short, so it goes by the run's id.
    pub(crate) fn notify_socket(&self, run: &Run) -> PathBuf {
        self.folder.join("notify").join(run.invocation.get(..12).unwrap_or("none"))
    }
}

/// Something that happened to a unit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Its state is a new one, in systemd's word.
    State {
        /// The unit.
        unit: String,
        /// Its state.
        sub: String,
    },
    /// A job has ended.
    Job {
        /// The unit.
        unit: String,
        /// What was to be done.
        verb: Verb,
        /// What came of it.
        result: JobResult,
    },
    /// Something went wrong that nobody waits for an answer to.
    Trouble {
        /// The unit.
        unit: String,
        /// What went wrong.
        error: String,
    },
}

/// Runs units; lives on the thread of [`crate::start`], and is reached through [`crate::Handle`].
pub struct Driver {
    options: Options,
    manager: Manager,
    runs: BTreeMap<String, Run>,
    timers: BTreeMap<(String, Timer), Instant>,
    pid_files: BTreeMap<String, PathBuf>,
    sockets: BTreeMap<String, Socket>,
    logs: BTreeMap<String, Log>,
    /// Units whose run has ended since a process of theirs was started.
    ended: BTreeSet<String>,
    events: VecDeque<Event>,
    looked_for_strays: Instant,
    looked_at_groups: Instant,
    boot: String,
    /// What is in the file.
    written: String,
    busy: bool,
    /// Held as long as we live.
    _lock: File,
}

/// Takes a folder for ourselves: two drivers would both start what is to run once. The kernel lets go of the lock when we
/// end, however we end; units do not inherit it.
fn lock(path: &Path) -> Result<File, DriveError> {
    let file =
        File::options().create(true).truncate(false).write(true).open(path).map_err(|error| {
            DriveError::File { what: "cannot open", path: path.display().to_string(), error }
        })?;
    match rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(rustix::io::Errno::WOULDBLOCK) => Err(DriveError::Taken { path: path.display().to_string() }),
        Err(error) => Err(DriveError::File {
            what: "cannot lock",
            path: path.display().to_string(),
            error: error.into(),
        }),
    }
}

impl Driver {
    /// Opens the folder, and goes on with the units that an earlier driver left running.
    ///
    /// # Errors
    /// The folder cannot be used, or what was written down there not be read.
    pub fn open(options: Options) -> Result<Self, DriveError> {
        for folder in [&options.folder, &options.logs, &options.folder.join("notify")] {
            std::fs::create_dir_all(folder).map_err(|error| DriveError::File {
                what: "cannot make",
                path: folder.display().to_string(),
                error,
            })?;
        }
        let lock = lock(&options.folder.join("lock"))?;
        if options.subreaper
            && let Err(error) = rustix::process::set_child_subreaper(Some(rustix::process::getpid()))
        {
            tracing::warn!(%error, "orphans of units will not become children of this process");
        }
        let boot = proc::boot_id();
        let saved = Saved::read(&options.state_file(), &boot)?;
        let (manager, runs) = match saved {
            Some(saved) => (saved.manager, saved.runs),
            None => (Manager::new(options.machine.clone()), BTreeMap::new()),
        };
        let now = Instant::now();
        let mut driver = Self {
            options,
            manager,
            runs,
            timers: BTreeMap::new(),
            pid_files: BTreeMap::new(),
            sockets: BTreeMap::new(),
            logs: BTreeMap::new(),
            ended: BTreeSet::new(),
            events: VecDeque::new(),
            looked_for_strays: now,
            looked_at_groups: now,
            boot,
            written: String::new(),
            busy: true,
            _lock: lock,
        };
        driver.adopt()?;
        Ok(driver)
    }

    /// Finds the processes of units that were running, and tells the units of those that have ended meanwhile.
    fn adopt(&mut self) -> Result<(), DriveError> {
        let units: Vec<String> = self.runs.keys().cloned().collect();
        for unit in &units {
            self.open_log(unit);
            self.open_socket(unit);
        }
        let effects = self.manager.resume();
        self.run(effects)?;
        let waited: Vec<(String, Vec<u32>)> = self
            .manager
            .services()
            .map(|(name, service)| (name.to_owned(), service.processes().collect()))
            .collect();
        let snapshot = Snapshot::take();
        for (unit, pids) in waited {
            let Some(run) = self.runs.get(&unit) else { continue };
            let known: Vec<(u32, Option<u64>)> = pids
                .iter()
                .map(|pid| (*pid, run.started.get(pid).or_else(|| run.members.get(pid)).copied()))
                .collect();
            let mut adopted = 0;
            for (pid, started) in known {
                // Without the time of its start nobody can say that the number is still the same process.
                let seen =
                    started.map_or(Seen::Ended(Exit::Unknown), |started| reap::look(pid, Some(started)));
                match seen {
                    Seen::Lives => adopted += 1,
                    Seen::Ended(exit) => {
                        let left = self.left(&unit, &snapshot);
                        let effects = self.manager.step(&unit, Input::Exited { pid, exit, left });
                        self.run(effects)?;
                    }
                }
            }
            tracing::info!(unit, adopted, "took over a unit");
        }
        self.poll_groups(true)
    }

    /// One turn: looks at everything that can have happened. How long to wait until the next, unless somebody asks.
    pub(crate) fn turn(&mut self) -> Result<Duration, DriveError> {
        self.busy = false;
        self.poll_processes()?;
        self.poll_groups(false)?;
        self.poll_sockets()?;
        self.poll_pid_files()?;
        self.poll_timers()?;
        for (unit, log) in &mut self.logs {
            log.poll();
            if let Err(error) = log.rotate(self.options.log_bytes_max, self.options.log_files) {
                tracing::warn!(unit, %error, "could not rotate a log");
            }
        }
        let pace = if self.busy { PACE_BUSY } else { PACE_IDLE };
        let due = self.timers.values().min().map(|at| at.saturating_duration_since(Instant::now()));
        Ok(due.map_or(pace, |due| due.min(pace)).max(Duration::from_millis(1)))
    }

    /// Loads a unit file; see [`Manager::load`]. Takes effect at once where the unit does not run.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn load(
        &mut self,
        name: &str,
        options: &[(String, String, String)],
    ) -> Result<Vec<Warning>, DriveError> {
        let triples = options
            .iter()
            .map(|(section, option, value)| (section.as_str(), option.as_str(), value.as_str()));
        let loaded = self.manager.load(name, triples);
        self.save()?;
        Ok(loaded?)
    }

    /// Forgets a unit file; see [`Manager::unload`].
    ///
    /// # Errors
    /// What happened cannot be written down.
    pub fn unload(&mut self, name: &str) -> Result<(), DriveError> {
        self.manager.unload(name);
        self.save()
    }

    /// Replaced files count from here on; see [`Manager::daemon_reload`].
    ///
    /// # Errors
    /// What happened cannot be written down.
    pub fn daemon_reload(&mut self) -> Result<(), DriveError> {
        self.manager.daemon_reload();
        self.save()
    }

    /// Starts a unit; see [`Manager::start`].
    ///
    /// # Errors
    /// Why that cannot be.
    pub fn start(&mut self, name: &str) -> Result<(), DriveError> {
        let effects = self.manager.start(name)?;
        self.run(effects)
    }

    /// Stops a unit; see [`Manager::stop`].
    ///
    /// # Errors
    /// The unit is unknown.
    pub fn stop(&mut self, name: &str) -> Result<(), DriveError> {
        let effects = self.manager.stop(name)?;
        self.run(effects)
    }

    /// Stops a unit and starts it; see [`Manager::restart`].
    ///
    /// # Errors
    /// As of a start.
    pub fn restart(&mut self, name: &str) -> Result<(), DriveError> {
        let effects = self.manager.restart(name)?;
        self.run(effects)
    }

    /// Lets a service read its configuration anew; see [`Manager::reload`].
    ///
    /// # Errors
    /// It cannot.
    pub fn reload(&mut self, name: &str) -> Result<(), DriveError> {
        let effects = self.manager.reload(name)?;
        self.run(effects)
    }

    /// Sends a signal to a service's processes; see [`Manager::kill`].
    ///
    /// # Errors
    /// There is none.
    pub fn kill(&mut self, name: &str, who: Who, signal: Signal) -> Result<(), DriveError> {
        let effects = self.manager.kill(name, who, signal)?;
        self.run(effects)
    }

    /// Forgets that a unit failed; see [`Manager::reset_failed`].
    ///
    /// # Errors
    /// The unit is unknown.
    pub fn reset_failed(&mut self, name: &str) -> Result<(), DriveError> {
        let effects = self.manager.reset_failed(name)?;
        self.run(effects)
    }

    /// One unit; `None` where it is unknown.
    #[must_use]
    pub fn status(&self, name: &str) -> Option<UnitStatus> {
        self.manager.status(name)
    }

    /// All units, by name.
    #[must_use]
    pub fn list(&self) -> Vec<UnitStatus> {
        self.manager.list().collect()
    }

    /// The last lines of a unit's log.
    pub fn logs(&mut self, name: &str, lines: usize) -> Vec<String> {
        let log = self.open_log(name);
        log.poll();
        log.tail(lines)
    }

    /// The last lines of a unit's log, and those to come.
    pub fn follow(&mut self, name: &str, lines: usize) -> Follow {
        let log = self.open_log(name);
        log.poll();
        log.follow(lines)
    }

    /// The living processes of a unit.
    #[must_use]
    pub fn processes(&self, name: &str) -> Vec<u32> {
        let run = self.runs.get(name);
        run.map_or_else(Vec::new, |run| Snapshot::take().members(run).0.into_keys().collect())
    }

    /// Takes what has happened since it was asked last; the oldest is dropped where nobody asks.
    pub fn take_events(&mut self) -> Vec<Event> {
        self.events.drain(..).collect()
    }

    fn note(&mut self, event: Event) {
        if self.events.len() >= EVENTS_MAX {
            self.events.pop_front();
        }
        self.events.push_back(event);
    }

    /// Carries out effects and all that comes of them, and writes down where that leads.
    fn run(&mut self, effects: Vec<Effect>) -> Result<(), DriveError> {
        let mut queue = VecDeque::from(effects);
        while let Some(effect) = queue.pop_front() {
            match effect {
                Effect::Do { unit, output } => {
                    if let Some(input) = self.carry_out(&unit, output) {
                        queue.extend(self.manager.step(&unit, input));
                    }
                }
                Effect::Job { unit, verb, result } => {
                    tracing::info!(unit, ?verb, ?result, "a job has ended");
                    self.note(Event::Job { unit, verb, result });
                }
                Effect::Trouble { unit, error } => {
                    tracing::warn!(unit, error, "could not start a unit");
                    self.note(Event::Trouble { unit, error });
                }
            }
        }
        self.save()
    }

    fn carry_out(&mut self, unit: &str, output: Output) -> Option<Input> {
        match output {
            Output::Spawn(spawn) => return Some(self.spawn(unit, &spawn)),
            Output::Signal { target, signal } => self.signal(unit, &target, signal),
            Output::Arm { timer, after } => {
                self.timers.insert((unit.to_owned(), timer), Instant::now() + after);
            }
            Output::ArmSinceBoot { timer, after } => {
                let left = after.saturating_sub(proc::uptime());
                self.timers.insert((unit.to_owned(), timer), Instant::now() + left);
            }
            Output::Disarm(timer) => {
                self.timers.remove(&(unit.to_owned(), timer));
            }
            Output::WatchPidFile(path) => {
                self.pid_files.insert(unit.to_owned(), PathBuf::from(path));
            }
            Output::RemovePidFile(path) => {
                // It may never have been there.
                let _ = std::fs::remove_file(path);
            }
            Output::State(sub) => {
                tracing::info!(unit, %sub, "changed state");
                if sub.is_over() || sub == SubState::AutoRestart {
                    self.ended.insert(unit.to_owned());
                }
                if sub != SubState::Start {
                    self.pid_files.remove(unit);
                }
                self.note(Event::State { unit: unit.to_owned(), sub: sub.to_string() });
            }
        }
        None
    }

    fn spawn(&mut self, unit: &str, spawn: &Spawn) -> Input {
        // After an end of which nobody is left this is another run, with a number of its own.
        let anybody = self.manager.services().any(|(name, service)| name == unit && service.has_processes());
        let another = self.ended.remove(unit) && !anybody;
        if another || !self.runs.contains_key(unit) {
            if let Some(socket) = self.sockets.remove(unit) {
                socket.close();
            }
            let mut run = Run { invocation: proc::draw_id(), ..Run::default() };
            run.control_group = self.options.control_groups.as_ref().and_then(|folder| {
                let group = folder.join(unit);
                match std::fs::create_dir_all(&group) {
                    Ok(()) => Some(group),
                    Err(error) => {
                        tracing::warn!(unit, %error, "could not make a control group; processes are found without");
                        None
                    }
                }
            });
            self.runs.insert(unit.to_owned(), run);
        }
        if spawn.notify {
            self.open_socket(unit);
        }
        self.open_log(unit);
        // Before the process is there: a driver that ends right behind this line leaves a trace by which the next finds it.
        // A process of which no trace can be left is not started at all.
        if let Err(error) = self.save() {
            return Input::SpawnFailed(SpawnFailure { status: None, text: error.to_string() });
        }
        let run = self.runs.get_mut(unit).expect("just made");
        match crate::spawn::spawn(&self.options, unit, spawn, run) {
            Ok(pid) => {
                let started = proc::look(pid).map_or(0, |process| process.started);
                run.started.insert(pid, started);
                tracing::debug!(unit, pid, program = spawn.command.program, "started a process");
                Input::Spawned(pid)
            }
            Err(failure) => {
                tracing::warn!(
                    unit,
                    program = spawn.command.program,
                    error = failure.text,
                    "could not start a process"
                );
                Input::SpawnFailed(failure)
            }
        }
    }

    fn signal(&mut self, unit: &str, target: &Target, signal: Signal) {
        self.busy = true;
        // Everybody is looked for before anybody is told: with its parent, a process may lose all that marks it as ours.
        self.left(unit, &Snapshot::take());
        match target {
            Target::Process(pid) => reap::send(*pid, signal),
            Target::Group { except } => {
                let Some(run) = self.runs.get(unit) else { return };
                for pid in run.members.keys().filter(|pid| !except.contains(pid)) {
                    reap::send(*pid, signal);
                }
            }
        }
    }

    fn poll_processes(&mut self) -> Result<(), DriveError> {
        let waited: Vec<(String, u32)> = self
            .manager
            .services()
            .flat_map(|(name, service)| {
                service.processes().map(|pid| (name.to_owned(), pid)).collect::<Vec<_>>()
            })
            .collect();
        for (unit, pid) in waited {
            let started =
                self.runs.get(&unit).and_then(|run| run.started.get(&pid).or_else(|| run.members.get(&pid)));
            if let Seen::Ended(exit) = reap::look(pid, started.copied()) {
                let left = self.left(&unit, &Snapshot::take());
                tracing::info!(unit, pid, %exit, "a process has ended");
                let effects = self.manager.step(&unit, Input::Exited { pid, exit, left });
                self.run(effects)?;
                self.busy = true;
            }
        }
        Ok(())
    }

    /// Who is left of a unit; ended ones are taken off the kernel's list.
    fn left(&mut self, unit: &str, snapshot: &Snapshot) -> Left {
        let Some(run) = self.runs.get_mut(unit) else { return Left::Nobody };
        let (living, ended) = snapshot.members(run);
        // Whoever is waited for is told of by its own input.
        let waited: BTreeSet<u32> = self
            .manager
            .services()
            .filter(|(name, _)| *name == unit)
            .flat_map(|(_, service)| service.processes().collect::<Vec<_>>())
            .collect();
        for pid in ended.into_iter().filter(|pid| !waited.contains(pid)) {
            let _ = reap::look(pid, None);
        }
        let left = match living.len() {
            0 => Left::Nobody,
            1 => Left::One(*living.keys().next().expect("one")),
            _ => Left::Many,
        };
        run.members = living;
        left
    }

    /// Looks at units whose processes nobody waits for by number.
    fn poll_groups(&mut self, now: bool) -> Result<(), DriveError> {
        let strays = now || self.looked_for_strays.elapsed() >= PACE_STRAYS;
        let elapsed = self.looked_at_groups.elapsed();
        let states: Vec<(String, bool, bool)> = self
            .manager
            .services()
            .filter(|(name, _)| self.runs.contains_key(*name))
            .map(|(name, service)| {
                let over = service.sub().is_over() || service.sub() == SubState::AutoRestart;
                // What is left behind on purpose is looked at now and then.
                let kept = over && service.config().kill.mode != KillMode::ControlGroup;
                let urgent = service.sub().is_stopping();
                // A daemon that nobody knows the main process of, or what is left of a run.
                let alone =
                    service.processes().next().is_none() && (service.has_processes() || over) && !kept;
                self.busy |= urgent;
                let watched = (urgent && elapsed >= PACE_GROUP) || (alone && elapsed >= PACE_ALONE);
                (name.to_owned(), watched, over)
            })
            .collect();
        if !(strays || states.iter().any(|(_, watched, _)| *watched)) {
            return Ok(());
        }
        self.looked_at_groups = Instant::now();
        if strays {
            self.looked_for_strays = Instant::now();
        }
        let snapshot = Snapshot::take();
        for (unit, watched, over) in states {
            if !(watched || strays) {
                continue;
            }
            if self.left(&unit, &snapshot) == Left::Nobody {
                let effects = self.manager.step(&unit, Input::GroupEmpty);
                self.run(effects)?;
                if over {
                    self.forget_run(&unit)?;
                }
            }
        }
        // Units that the manager has forgotten meanwhile.
        let known: BTreeSet<String> = self.manager.list().map(|unit| unit.name).collect();
        let gone: Vec<String> = self.runs.keys().filter(|unit| !known.contains(*unit)).cloned().collect();
        for unit in gone {
            self.forget_run(&unit)?;
        }
        Ok(())
    }

    /// A run is over and nobody of it is left: its number, socket and control group are not needed any more.
    fn forget_run(&mut self, unit: &str) -> Result<(), DriveError> {
        if let Some(socket) = self.sockets.remove(unit) {
            socket.close();
        }
        if let Some(group) = self.runs.remove(unit).and_then(|run| run.control_group) {
            // Somebody else's processes may be in it; then it stays.
            let _ = std::fs::remove_dir(group);
        }
        self.save()
    }

    fn poll_sockets(&mut self) -> Result<(), DriveError> {
        let mut received = Vec::new();
        for (unit, socket) in &self.sockets {
            while let Some((from, message)) = socket.next() {
                received.push((unit.clone(), from, message));
            }
        }
        for (unit, from, mut message) in received {
            if let Some(pid) = message.main_pid {
                let snapshot = Snapshot::take();
                self.left(&unit, &snapshot);
                let ours = self.runs.get(&unit).is_some_and(|run| run.members.contains_key(&pid));
                if !ours || snapshot.get(pid).is_none() {
                    tracing::warn!(unit, pid, "a service named a main process that is none of its own");
                    message.main_pid = None;
                }
            }
            let effects = self.manager.step(&unit, Input::Notify { from, message });
            self.run(effects)?;
        }
        Ok(())
    }

    fn poll_pid_files(&mut self) -> Result<(), DriveError> {
        let watched: Vec<(String, PathBuf)> =
            self.pid_files.iter().map(|(unit, path)| (unit.clone(), path.clone())).collect();
        for (unit, path) in watched {
            self.busy = true;
            let Ok(content) = std::fs::read_to_string(&path) else { continue };
            let pid = content.split_whitespace().next().and_then(|pid| pid.parse::<u32>().ok());
            self.left(&unit, &Snapshot::take());
            let ours =
                self.runs.get(&unit).is_some_and(|run| pid.is_some_and(|pid| run.members.contains_key(&pid)));
            if ours {
                self.pid_files.remove(&unit);
                let effects = self.manager.step(&unit, Input::PidFile(content));
                self.run(effects)?;
            }
        }
        Ok(())
    }

    fn poll_timers(&mut self) -> Result<(), DriveError> {
        let now = Instant::now();
        let due: Vec<(String, Timer)> =
            self.timers.iter().filter(|(_, at)| **at <= now).map(|(key, _)| key.clone()).collect();
        for (unit, timer) in due {
            // One that fires may disarm another.
            if self.timers.remove(&(unit.clone(), timer)).is_some() {
                let effects = self.manager.step(&unit, Input::Fired(timer));
                self.run(effects)?;
            }
        }
        Ok(())
    }

    fn open_log(&mut self, unit: &str) -> &mut Log {
        let (path, lines) = (self.options.log_file(unit), self.options.tail_lines);
        self.logs.entry(unit.to_owned()).or_insert_with(|| Log::open(path, lines))
    }

    fn open_socket(&mut self, unit: &str) {
        let Some(run) = self.runs.get(unit) else { return };
        if self.sockets.contains_key(unit) {
            return;
        }
        match Socket::open(&self.options.notify_socket(run)) {
            Ok(socket) => drop(self.sockets.insert(unit.to_owned(), socket)),
            Err(error) => tracing::warn!(unit, %error, "could not open a notification socket"),
        }
    }

    /// Writes down what another driver needs, where that has changed.
    fn save(&mut self) -> Result<(), DriveError> {
        let path = self.options.state_file();
        let saved = Saved::new(self.boot.clone(), self.manager.clone(), self.runs.clone());
        let text = serde_json::to_string(&saved)
            .map_err(|error| DriveError::State { path: path.display().to_string(), error })?;
        if text != self.written {
            saved::write(&path, &text)?;
            self.written = text;
        }
        Ok(())
    }
}
