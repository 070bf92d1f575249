//! When reboots are allowed.

mod go_duration;
mod locksmith;
mod periodic;
mod zone;

pub use go_duration::parse_go_duration;
pub use locksmith::LocksmithWindow;
pub use periodic::{Day, PeriodicWindow};
pub use zone::Zone;

use crate::guard::Closed;
use crate::wall::Wall;
use std::time::Duration;

/// How far ahead the next opening is looked for: two weeks, so that a weekly window is found whatever a change of
/// clocks does to one of its openings.
const AHEAD: Duration = Duration::from_secs(14 * 24 * 3600);

/// One stretch of time in which reboots are allowed, again and again.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Window {
    /// As locksmith's settings have it.
    Locksmith(LocksmithWindow),
    /// As Zincati's have it.
    Periodic(PeriodicWindow),
}

/// The windows of a machine, in its time zone.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Windows {
    zone: Zone,
    windows: Vec<Window>,
}

impl Windows {
    /// Reboots are allowed at any time.
    #[must_use]
    pub fn always() -> Self {
        Self { zone: Zone::utc(), windows: Vec::new() }
    }

    /// Reboots are allowed within any of these; at any time where there is none.
    #[must_use]
    pub fn new(zone: Zone, windows: Vec<Window>) -> Self {
        Self { zone, windows }
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_always(&self) -> bool {
        self.windows.is_empty()
    }

    /// Whether a reboot is allowed at this moment.
    #[must_use]
    pub fn is_open(&self, at: Wall) -> bool {
        self.is_always()
            || self.windows.iter().any(|window| match window {
                Window::Locksmith(window) => window.contains(&self.zone, at),
                Window::Periodic(window) => window.contains(&self.zone, at),
            })
    }

    /// What speaks against a reboot at this moment.
    #[must_use]
    pub fn closed(&self, at: Wall) -> Option<Closed> {
        (!self.is_open(at)).then(|| Closed { opens_in: self.opens_in(at) })
    }

    /// How long until one opens; nothing where one is open. `None` where none opens within two weeks.
    #[must_use]
    pub fn opens_in(&self, at: Wall) -> Option<Duration> {
        if self.is_open(at) {
            return Some(Duration::ZERO);
        }
        // All begin on a minute of the clock, in zones whose offsets are whole seconds.
        let starts = self.windows.iter().flat_map(|window| match window {
            Window::Locksmith(window) => window.starts(&self.zone, at, AHEAD),
            Window::Periodic(window) => window.starts(&self.zone, at, AHEAD),
        });
        starts.filter(|start| *start > at && self.is_open(*start)).min().map(|start| start.since(at))
    }
}
