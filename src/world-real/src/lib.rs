//! Room `world-real`.
