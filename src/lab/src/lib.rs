//! The lab: whole members with their network, disks, timers and clocks as one value that can be cloned at any step.
//!
//! What runs is the member that production runs (`node::Member`, with Raft, store, leases and watches in it), over a store
//! in memory and a log that is a value too. There are no bytes and no tasks between members: messages are values on their
//! way, a sync that is done is an event, and so is a timer. Therefore it is quick, and therefore it can be forked.
//!
//! Knows nothing of sockets, files or protocols, nor of what hides in the code around members: for that there is the
//! simulation.
//!
//! Read first: [`Lab`] (the value, and [`Lab::step`]), `driver.rs` (what `node::runner` is elsewhere), [`Laboratory`] (plays
//! a plan).

mod agenda;
mod asks;
mod calls;
mod client;
mod clock;
mod declined;
mod disk;
mod driver;
mod lab;
mod links;
mod machine;
mod parcel;
mod queues;
mod seam;
mod seats;
mod stage;
mod tasks;
mod theatre;
mod told;
mod translate;

pub use calls::{CallId, SleepId, WatchId};
pub use client::LabClient;
pub use declined::why_not;
pub use driver::member_options;
pub use lab::{Lab, LabOptions};
pub use seam::{Nobody, Spawned};
pub use seats::{CLIENT_PORT, PEER_PORT, client_url, host, peer_url};
pub use stage::Laboratory;
pub use theatre::{LabTheatre, Sleep};
pub use told::Told;
pub use translate::translate;
