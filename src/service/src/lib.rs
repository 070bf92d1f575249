//! Services as systemd knows them, without systemd: what a unit file asks for, the life of a service as a state
//! machine, and a manager of many.
//!
//! [`load`] reads the options of a unit file by systemd's rules. [`Service`] takes inputs (start, stop, a process
//! ended, a timer fired) and gives outputs (spawn this, signal that, arm a timer). [`Manager`] holds many units, their
//! order and their dependencies. All of it is plain values: same state and same input, same output.
//!
//! Knows nothing of processes, files, clocks, users or sockets: a driver carries the outputs out and tells what came
//! of them. Nor does it know how a unit file is written: options come as triples of section, name and value.
//!
//! Read first: [`Service`], [`Input`] and [`Output`] (the driver's duties), [`Manager`].

mod command;
mod config;
mod definition;
mod enums;
mod environment;
mod error;
mod io;
mod known;
mod manager;
mod name;
mod notify;
mod service;
mod service_section;
mod signal;
mod span;
mod specifier;
mod state;
mod timer_section;
mod timer_unit;
mod unit_section;
mod words;

pub use command::Command;
pub use config::{
    Base, Commands, Elapse, EnvironmentFile, ExecConfig, KillConfig, KillMode, Limit, NotifyAccess, Restart,
    ServiceConfig, ServiceType, TimerConfig, UnitConfig, WorkingDirectory,
};
pub use definition::{Definition, Kind, Loaded, load};
pub use environment::{Environment, parse_environment_file};
pub use error::{BadValue, UnitError, Warning};
pub use io::{
    Execution, Input, Left, Output, Pid, Purpose, SEARCH_PATH, Slot, Spawn, SpawnFailure, Target, Timer, Who,
};
pub use manager::{Effect, JobResult, Manager, UnitStatus, Verb};
pub use name::{UnitName, UnitType, unescape};
pub use notify::Notification;
pub use service::{Service, Status};
pub use signal::{Exit, Signal, StatusSet};
pub use span::parse_span;
pub use specifier::{Machine, expand};
pub use state::{ActiveState, LoadState, Outcome, SubState};
pub use timer_unit::TimerUnit;
