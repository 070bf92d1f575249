//! The lock among a store's clients: `client::Mutex` as it is shipped, and the store's state machine, with leases that end while their
//! holder stands still and does not know it. Beside it a resource that only the holder is to write, outside the store.
//!
//! No lock that lives on leases keeps two from believing that they hold it. So the resource asks every writer for its token
//! ([`seatrial_client::Place::revision`]) and turns away whom a later one has preceded. What comes of a resource that does not ask is in
//! the model too.

mod hall;
mod model;

pub use hall::{Client, Hall, Phase};
pub use model::{Bounds, Fate, Step};
