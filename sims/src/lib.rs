//! Room `sims`.
