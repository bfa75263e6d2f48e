//! The SQLite store of a Volery blackboard: a durable store in one file, written by one thread and read by a
//! few.
//!
//! A commit that was answered is on disk. Any SQLite tool can open the file while it is in use;
//! `docs/storage.md` describes its tables. `store` is the handle, `writer` writes, `reader` and `session`
//! read, `file` and `schema` are the file itself.
//!
//! The crate needs no async runtime: its threads are its own, and its answers can be awaited anywhere.

#![cfg_attr(docsrs, feature(doc_cfg))]

mod block;
mod cache;
mod fault;
mod file;
mod options;
mod reader;
mod row;
mod schema;
mod session;
mod shared;
mod store;
mod writer;

#[cfg(test)]
mod tests;

pub use options::{Durability, Options};
pub use store::Sqlite;
