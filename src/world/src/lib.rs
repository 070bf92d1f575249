//! Room `world`.
