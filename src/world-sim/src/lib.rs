//! The simulated world: every process of a cluster, its network, its disks and its clocks in one thread, on
//! virtual time, from one seed.
//!
//! Of madsim it uses the executor, nodes, time and entropy; network and disks are its own, because only what is
//! modelled can fail: streams that stall, freeze and reset, disks that lose, reorder and tear what was not durable,
//! clocks that drift and jump. All that happens goes into a rolling hash, equal in every run of a seed.
//!
//! Knows nothing of what runs on it, nor of scenarios: it has faults, and others decide when.
//!
//! Read first: [`run_seed`], [`Sim`], [`SimWorld`].

// rustdoc is not given the flags of RUSTFLAGS; a page without items is better there than no documentation of the
// whole workspace.
#[cfg(not(any(madsim, doc)))]
compile_error!(
    "the simulation needs the compiler flag `--cfg madsim`, which is missing: an exported RUSTFLAGS replaces the \
     flags in .cargo/config.toml, and that file is found only from within the checkout. \
     hint: build with RUSTFLAGS=\"$RUSTFLAGS --cfg madsim\", or build a server without simulation with \
     `cargo build --no-default-features`."
);

#[cfg(madsim)]
mod chance;
#[cfg(madsim)]
mod clock;
#[cfg(madsim)]
mod core;
#[cfg(madsim)]
mod disk;
#[cfg(madsim)]
mod faults;
#[cfg(madsim)]
mod machine;
#[cfg(madsim)]
mod net;
#[cfg(madsim)]
mod observe;
#[cfg(madsim)]
mod panics;
#[cfg(madsim)]
mod queue;
#[cfg(madsim)]
mod sim;
#[cfg(madsim)]
mod trace;
#[cfg(madsim)]
mod world;

#[cfg(madsim)]
pub use self::{
    chance::Chance,
    disk::{Crash, CrashReport, DiskLatency, LatencyRange, SimDisk, SimFile},
    faults::{ClockFaults, DiskFaults, NetFaults, Times},
    net::{CutKind, LinkRule, NetOptions, SimListener, SimStream},
    observe::{Event, Name, Observer},
    sim::{Failure, NodeBuilder, NodeId, Options, Outcome, Sim, check_determinism, run_seed},
    trace::{Divergence, Recording, TraceEvent, What, hash},
    world::{SimSleep, SimTask, SimWorld},
};
