//! A timer unit: starts another unit when time has passed.

use crate::config::{Base, TimerConfig};
use crate::io::{Output, Timer};
use std::collections::BTreeSet;
use std::sync::Arc;

/// One timer unit. Its times are counted each on its own; calendar times are refused when the file is read.
#[derive(Clone, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub struct TimerUnit {
    config: Arc<TimerConfig>,
    active: bool,
    /// Which of its times are being counted.
    armed: BTreeSet<u8>,
}

impl TimerUnit {
    /// A timer that does not run.
    #[must_use]
    pub fn new(config: Arc<TimerConfig>) -> Self {
        Self { config, active: false, armed: BTreeSet::new() }
    }

    /// What it starts.
    #[must_use]
    pub fn unit(&self) -> &str {
        &self.config.unit
    }

    /// What it was made from.
    #[must_use]
    pub fn config(&self) -> &Arc<TimerConfig> {
        &self.config
    }

    /// Whether it runs.
    #[must_use]
    pub fn is_active(&self) -> bool {
        self.active
    }

    /// systemd's word for its state.
    #[must_use]
    pub fn sub(&self) -> &'static str {
        match (self.active, self.armed.is_empty()) {
            (false, _) => "dead",
            (true, false) => "waiting",
            (true, true) => "elapsed",
        }
    }

    /// Begins to count, from now or from the boot; what is counted from its unit waits for that, or begins now where the
    /// unit is in that state already.
    #[must_use = "outputs are to be carried out"]
    pub fn start(&mut self, unit_active: bool) -> Vec<Output> {
        if self.active {
            return Vec::new();
        }
        self.active = true;
        let mut outputs = self.count(Base::Active);
        outputs.extend(self.count(Base::Boot));
        if unit_active {
            outputs.extend(self.count(Base::UnitActive));
        }
        outputs
    }

    /// Stops counting.
    #[must_use = "outputs are to be carried out"]
    pub fn stop(&mut self) -> Vec<Output> {
        self.active = false;
        std::mem::take(&mut self.armed)
            .into_iter()
            .map(|index| Output::Disarm(Timer::Elapse(index)))
            .collect()
    }

    /// Its unit has started or ended.
    #[must_use = "outputs are to be carried out"]
    pub fn unit_changed(&mut self, active: bool) -> Vec<Output> {
        if !self.active {
            return Vec::new();
        }
        self.count(if active { Base::UnitActive } else { Base::UnitInactive })
    }

    /// A time has passed; true where the unit is to be started.
    #[must_use]
    pub fn fired(&mut self, timer: Timer) -> bool {
        matches!(timer, Timer::Elapse(index) if self.armed.remove(&index)) && self.active
    }

    /// After it was read back by another driver: each time is counted anew.
    #[must_use = "outputs are to be carried out"]
    pub fn resume(&self) -> Vec<Output> {
        self.armed.iter().map(|index| self.arm(*index)).collect()
    }

    fn count(&mut self, base: Base) -> Vec<Output> {
        let which = self.config.elapses.iter().enumerate().filter(|(_, elapse)| elapse.base == base);
        let which: Vec<u8> =
            which.map(|(index, _)| u8::try_from(index).expect("at most 255 times")).collect();
        self.armed.extend(&which);
        which.into_iter().map(|index| self.arm(index)).collect()
    }

    fn arm(&self, index: u8) -> Output {
        let elapse = self.config.elapses[usize::from(index)];
        let (timer, after) = (Timer::Elapse(index), elapse.after);
        match elapse.base {
            Base::Boot => Output::ArmSinceBoot { timer, after },
            _ => Output::Arm { timer, after },
        }
    }
}
