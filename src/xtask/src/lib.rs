//! Room `xtask`.
