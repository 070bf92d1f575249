//! Room `world-sim`.
