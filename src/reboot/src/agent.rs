//! The agent of one machine, as a machine of states: when it asks, when it reboots, and when it gives the slot back.
//!
//! The window is looked at before the lock is asked for and once more, with the lock, in the very last step before the reboot:
//! what lies in between (a queue, users who get a warning, a drain) may take longer than the window.

use crate::error::RebootError;
use crate::wall::Wall;
use crate::window::Windows;
use seatrial_types::planted::{Planted, is_planted};
use std::fmt;
use std::time::Duration;

/// How a machine comes to its reboot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Strategy {
    /// As soon as it is needed and the windows allow it, without a lock (`reboot`, `immediate`).
    Reboot,
    /// With a slot of the semaphore in the store (`etcd-lock`).
    EtcdLock,
    /// With a slot that a FleetLock server grants (`fleet_lock`).
    FleetLock,
    /// Within its windows, without a lock (`periodic`).
    Periodic,
    /// Never (`off`).
    Off,
}

impl Strategy {
    /// By the name that locksmith or Zincati gives it.
    ///
    /// # Errors
    /// [`RebootError::Strategy`].
    pub fn named(name: &str) -> Result<Self, RebootError> {
        let bad = |hint| Err(RebootError::Strategy { name: name.to_owned(), hint });
        match name {
            "reboot" | "immediate" => Ok(Self::Reboot),
            "etcd-lock" => Ok(Self::EtcdLock),
            "fleet_lock" => Ok(Self::FleetLock),
            "periodic" => Ok(Self::Periodic),
            "off" => Ok(Self::Off),
            "best-effort" => bad(
                "best-effort rebooted without a lock where there was no store; choose etcd-lock or reboot",
            ),
            _ => bad("there are reboot (immediate), etcd-lock, fleet_lock, periodic and off"),
        }
    }

    /// Whether it takes a slot.
    #[must_use]
    pub fn takes_lock(self) -> bool {
        matches!(self, Self::EtcdLock | Self::FleetLock)
    }
}

impl fmt::Display for Strategy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Reboot => "reboot",
            Self::EtcdLock => "etcd-lock",
            Self::FleetLock => "fleet_lock",
            Self::Periodic => "periodic",
            Self::Off => "off",
        })
    }
}

/// What the file `coordinator.conf` says of the agent, in locksmith's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum State {
    /// It is not ready yet.
    Starting,
    /// It will never reboot.
    Disabled,
    /// Nothing is to be done.
    Running,
    /// It will reboot once it may.
    RebootPlanned,
    /// It is about to.
    Rebooting,
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Starting => "starting",
            Self::Disabled => "disabled",
            Self::Running => "running",
            Self::RebootPlanned => "reboot-planned",
            Self::Rebooting => "rebooting",
        })
    }
}

/// How an agent behaves.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Settings {
    /// How it comes to its reboot.
    pub strategy: Strategy,
    /// When it may.
    pub windows: Windows,
    /// What runs on the machine is moved first.
    pub drains: bool,
    /// What users who are logged in get before the reboot.
    pub users_delay: Duration,
    /// How long a reboot command that was accepted may take until it is taken to have done nothing.
    pub reboot_patience: Duration,
    /// The first pause after a failed attempt to give a slot back; it doubles.
    pub release_pause: Duration,
    /// The first pause after the lock was refused; it doubles.
    pub lock_pause: Duration,
    /// The longest pause of either.
    pub pause_max: Duration,
}

impl Default for Settings {
    /// Locksmith's times, and its default strategy.
    fn default() -> Self {
        Self {
            strategy: Strategy::Reboot,
            windows: Windows::always(),
            drains: false,
            users_delay: Duration::from_secs(300),
            reboot_patience: Duration::from_secs(600),
            release_pause: Duration::from_secs(5),
            lock_pause: Duration::from_secs(10),
            pause_max: Duration::from_secs(300),
        }
    }
}

/// One moment on the machine's two clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Moment {
    /// The one that never goes back; pauses are counted by it.
    pub now: Duration,
    /// The calendar; windows are.
    pub wall: Wall,
}

/// Everything that can wake an agent.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Input {
    /// A reboot is needed: a sentinel file, or somebody said so.
    NeedReboot,
    /// [`Agent::deadline`] has come.
    Due,
    /// The semaphore was changed.
    Woken,
    /// The answer to [`Action::CheckHealth`].
    Healthy(Result<(), String>),
    /// The answer to [`Action::Release`].
    Released(Result<(), String>),
    /// The answer to [`Action::Lock`]: the grant, or why not.
    Locked(Result<u64, String>),
    /// The answer to [`Action::Users`].
    Users(u32),
    /// The answer to [`Action::Drain`].
    Drained(Result<(), String>),
    /// The answer to [`Action::Confirm`]: whether the grant is still held.
    Confirmed(Result<bool, String>),
    /// The answer to [`Action::Reboot`]: whether the command was accepted.
    Sent(Result<(), String>),
}

/// What an agent wants done, in this order; at most the last one has an answer.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// Write the state file.
    Write(State),
    /// Find out whether the machine does its work.
    CheckHealth,
    /// Give the slot back and leave the queue: of this grant, or whatever is held.
    Release(Option<u64>),
    /// Ask for a slot.
    Lock,
    /// Count who is logged in.
    Users,
    /// Warn them.
    Warn(Duration),
    /// Move what runs here.
    Drain,
    /// Let it come back.
    Undrain,
    /// Write down that the reboot begins, and find out whether the grant is still held.
    Confirm(u64),
    /// Reboot. Nothing may come between this and the answer that led to it.
    Reboot,
}

/// What happens once a slot was given back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Next {
    /// Rest until then, and try again where a reboot is still needed.
    Idle(Duration),
    /// Wait for the window.
    Plan,
    /// Ask again after a pause.
    Pause,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Stage {
    Off,
    CheckingHealth,
    SickUntil(Duration),
    Releasing(Next),
    ReleaseUntil(Duration, Next),
    /// Nothing to do, or nothing before that.
    Idle(Duration),
    WindowUntil(Duration),
    Locking,
    LockUntil(Duration),
    CountingUsers,
    UsersUntil(Duration),
    Draining,
    Confirming,
    Sending,
    RebootUntil(Duration),
}

/// The agent. See the module.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Agent {
    settings: Settings,
    stage: Stage,
    /// A reboot is needed.
    needed: bool,
    /// The grant we hold, as far as we know.
    grant: Option<u64>,
    /// We stand in the queue, perhaps.
    queued: bool,
    drained: bool,
    /// The next pause of the kind that is being made.
    pause: Duration,
    /// Why it waits, for people.
    why: String,
}

impl Agent {
    /// An agent that has just started, and what it wants done first: whatever it held before is given back once the
    /// machine is healthy.
    #[must_use]
    pub fn new(settings: Settings) -> (Self, Vec<Action>) {
        let off = settings.strategy == Strategy::Off;
        let agent = Self {
            stage: if off { Stage::Off } else { Stage::CheckingHealth },
            needed: false,
            grant: None,
            queued: false,
            drained: false,
            pause: settings.release_pause,
            why: String::new(),
            settings,
        };
        let actions = if off {
            vec![Action::Write(State::Disabled)]
        } else {
            vec![Action::Write(State::Starting), Action::CheckHealth]
        };
        (agent, actions)
    }

    /// When [`Input::Due`] is wanted.
    #[must_use]
    pub fn deadline(&self) -> Option<Duration> {
        match self.stage {
            Stage::SickUntil(until)
            | Stage::ReleaseUntil(until, _)
            | Stage::WindowUntil(until)
            | Stage::LockUntil(until)
            | Stage::UsersUntil(until)
            | Stage::RebootUntil(until) => Some(until),
            Stage::Idle(until) => self.needed.then_some(until),
            Stage::Off
            | Stage::CheckingHealth
            | Stage::Releasing(_)
            | Stage::Locking
            | Stage::CountingUsers
            | Stage::Draining
            | Stage::Confirming
            | Stage::Sending => None,
        }
    }

    /// Whether [`Input::Woken`] is of use: it waits for a slot.
    #[must_use]
    pub fn waits_for_slot(&self) -> bool {
        matches!(self.stage, Stage::LockUntil(_))
    }

    /// Whether nothing is to be done, so that a need for a reboot should be looked for.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        matches!(self.stage, Stage::Idle(_)) && !self.needed
    }

    /// Why it waits, for people; empty where it does not.
    #[must_use]
    pub fn why(&self) -> &str {
        &self.why
    }

    /// Takes what has happened, and says what is to be done. An answer that does not fit the stage is ignored.
    #[must_use]
    pub fn step(&mut self, at: Moment, input: Input) -> Vec<Action> {
        if input == Input::Due && self.deadline().is_none_or(|deadline| at.now < deadline) {
            return Vec::new();
        }
        match (self.stage, input) {
            (Stage::Off, _) => Vec::new(),
            (Stage::Idle(until), Input::NeedReboot) => {
                self.needed = true;
                if at.now >= until { self.plan(at) } else { Vec::new() }
            }
            (_, Input::NeedReboot) => {
                self.needed = true;
                Vec::new()
            }
            (Stage::CheckingHealth, Input::Healthy(Ok(()))) => {
                self.pause = self.settings.release_pause;
                self.drained = self.settings.drains;
                if is_planted(Planted::K05) {
                    return self.go(at, Next::Idle(at.now));
                }
                self.give_back(at, Next::Idle(at.now))
            }
            (Stage::CheckingHealth, Input::Healthy(Err(why))) => {
                self.stage = Stage::SickUntil(self.pause_from(at, why));
                Vec::new()
            }
            (Stage::SickUntil(_), Input::Due) => {
                self.stage = Stage::CheckingHealth;
                vec![Action::CheckHealth]
            }
            (Stage::Releasing(next), Input::Released(Ok(()))) => {
                (self.grant, self.queued) = (None, false);
                self.go(at, next)
            }
            (Stage::Releasing(next), Input::Released(Err(why))) => {
                self.stage = Stage::ReleaseUntil(self.pause_from(at, why), next);
                Vec::new()
            }
            (Stage::ReleaseUntil(_, next), Input::Due) => {
                self.stage = Stage::Releasing(next);
                vec![Action::Release(self.grant)]
            }
            (Stage::Idle(_) | Stage::WindowUntil(_) | Stage::LockUntil(_), Input::Due) => self.plan(at),
            (Stage::LockUntil(until), Input::Woken) => {
                // Not at once: all who wait are woken, and the store need not answer them in the same moment.
                self.stage = Stage::LockUntil(until.min(at.now + Duration::from_secs(1)));
                Vec::new()
            }
            (Stage::Locking, Input::Locked(Ok(grant))) => {
                self.grant = Some(grant);
                self.why.clear();
                if !self.is_still_open(at) {
                    return self.give_back(at, Next::Plan);
                }
                self.stage = Stage::CountingUsers;
                vec![Action::Users]
            }
            (Stage::Locking, Input::Locked(Err(why))) => {
                self.stage = Stage::LockUntil(self.pause_from(at, why));
                Vec::new()
            }
            (Stage::CountingUsers, Input::Users(0)) => self.drain(at),
            (Stage::CountingUsers, Input::Users(_)) => {
                self.stage = Stage::UsersUntil(at.now + self.settings.users_delay);
                vec![Action::Warn(self.settings.users_delay)]
            }
            (Stage::UsersUntil(_), Input::Due) => self.drain(at),
            (Stage::Draining, Input::Drained(Ok(()))) => self.confirm(at),
            (Stage::Draining, Input::Drained(Err(why))) => {
                self.why = why;
                self.give_back(at, Next::Pause)
            }
            (Stage::Confirming, Input::Confirmed(Ok(true))) => self.reboot(at),
            (Stage::Confirming, Input::Confirmed(Ok(false))) if is_planted(Planted::K20) => self.reboot(at),
            (Stage::Confirming, Input::Confirmed(Ok(false))) => {
                // An operator took the slot: somebody else may have it by now.
                self.why = "the slot was taken back".to_owned();
                self.give_back(at, Next::Pause)
            }
            (Stage::Confirming, Input::Confirmed(Err(why))) => {
                self.why = why;
                self.give_back(at, Next::Pause)
            }
            (Stage::Sending, Input::Sent(Ok(()))) => {
                self.stage = Stage::RebootUntil(at.now + self.settings.reboot_patience);
                Vec::new()
            }
            (Stage::Sending, Input::Sent(Err(why))) => self.not_rebooted(at, why),
            (Stage::RebootUntil(_), Input::Due) => self
                .not_rebooted(at, "the reboot command was accepted, and the machine still runs".to_owned()),
            _ => Vec::new(),
        }
    }

    fn is_open(&self, at: Moment) -> bool {
        self.settings.windows.is_open(at.wall)
    }

    /// Once a slot is held.
    fn is_still_open(&self, at: Moment) -> bool {
        self.is_open(at) || is_planted(Planted::K11)
    }

    /// A reboot is needed: what is the first thing that it waits for?
    fn plan(&mut self, at: Moment) -> Vec<Action> {
        if !self.is_open(at) {
            if self.queued {
                // Others need not wait for one whose window is closed.
                return self.give_back(at, Next::Plan);
            }
            // The calendar may be set meanwhile: look again now and then.
            let opens_in = self.settings.windows.opens_in(at.wall).unwrap_or(self.settings.pause_max);
            self.stage = Stage::WindowUntil(at.now + opens_in.min(self.settings.pause_max));
            self.why = "outside of the reboot window".to_owned();
            self.pause = self.settings.lock_pause;
            return vec![Action::Write(State::RebootPlanned)];
        }
        let planned = Action::Write(State::RebootPlanned);
        if self.settings.strategy.takes_lock() {
            self.stage = Stage::Locking;
            self.queued = true;
            vec![planned, Action::Lock]
        } else {
            self.stage = Stage::CountingUsers;
            vec![planned, Action::Users]
        }
    }

    fn drain(&mut self, at: Moment) -> Vec<Action> {
        if !self.is_still_open(at) {
            return self.give_back(at, Next::Plan);
        }
        if !self.settings.drains {
            return self.confirm(at);
        }
        self.stage = Stage::Draining;
        // Also where it fails half-way, there is something to undo.
        self.drained = true;
        vec![Action::Drain]
    }

    fn confirm(&mut self, at: Moment) -> Vec<Action> {
        if !self.is_still_open(at) {
            return self.give_back(at, Next::Plan);
        }
        match self.grant {
            Some(grant) => {
                self.stage = Stage::Confirming;
                vec![Action::Write(State::Rebooting), Action::Confirm(grant)]
            }
            None => {
                assert!(!self.settings.strategy.takes_lock(), "about to reboot without the slot it takes");
                self.reboot(at)
            }
        }
    }

    /// The last look at the window, and nothing after it but the command.
    fn reboot(&mut self, at: Moment) -> Vec<Action> {
        if !self.is_still_open(at) {
            return self.give_back(at, Next::Plan);
        }
        self.stage = Stage::Sending;
        if self.grant.is_some() {
            vec![Action::Reboot]
        } else {
            vec![Action::Write(State::Rebooting), Action::Reboot]
        }
    }

    fn not_rebooted(&mut self, at: Moment, why: String) -> Vec<Action> {
        self.why = why;
        // Whoever said that it is needed must say it again: a command that does nothing is not repeated for ever.
        self.needed = false;
        self.give_back(at, Next::Idle(at.now + self.settings.reboot_patience))
    }

    fn give_back(&mut self, at: Moment, next: Next) -> Vec<Action> {
        let mut actions = Vec::new();
        if std::mem::take(&mut self.drained) {
            actions.push(Action::Undrain);
        }
        if self.settings.strategy.takes_lock() {
            self.stage = Stage::Releasing(next);
            actions.push(Action::Release(self.grant));
        } else {
            actions.extend(self.go(at, next));
        }
        actions
    }

    fn go(&mut self, at: Moment, next: Next) -> Vec<Action> {
        match next {
            Next::Idle(until) => {
                self.stage = Stage::Idle(until);
                self.pause = self.settings.lock_pause;
                let running = Action::Write(State::Running);
                if self.needed && at.now >= until {
                    let mut actions = vec![running];
                    actions.extend(self.plan(at));
                    return actions;
                }
                vec![running]
            }
            Next::Plan => self.plan(at),
            Next::Pause => {
                let why = std::mem::take(&mut self.why);
                self.stage = Stage::LockUntil(self.pause_from(at, why));
                vec![Action::Write(State::RebootPlanned)]
            }
        }
    }

    /// The end of the next pause; the one after it is twice as long.
    fn pause_from(&mut self, at: Moment, why: String) -> Duration {
        self.why = why;
        let until = at.now + self.pause;
        self.pause = (self.pause * 2).min(self.settings.pause_max);
        until
    }
}

#[cfg(test)]
#[path = "agent_tests.rs"]
mod tests;
