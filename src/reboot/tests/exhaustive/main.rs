//! Small worlds, walked through completely: K1 to K5 hold in every state, and from every state everybody gets through
//! once nothing fails any more (K6, K7).
//!
//! `keys` interleaves operations at every single access to a key, with clients that stop anywhere and an old one that writes
//! the semaphore by itself. `agents` takes operations as one step each and walks through whole agents: windows that close,
//! crashes, reboots, an operator. The types are those that the product runs.

mod agents;
mod keys;
mod walk;
