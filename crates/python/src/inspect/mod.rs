//! The inspect listener: a page, its data, metrics and the report, served from a thread of its own.
//!
//! It stays alive while the loop is blocked, and so must not need the GIL: what it serves comes from [`gather`], which reads
//! the atomics and the locks of [`crate::watch::Shared`], or from workers, which send the same as lines of JSON. It is kept in
//! the [`hub`], on the listener's thread alone.

mod feed;
mod gather;
mod hub;
mod listener;
mod metrics;
mod model;
mod process;
mod python;
mod steps;

pub(crate) use python::{Inspector, InspectorFeed};
