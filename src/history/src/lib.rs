//! Room `history`.
