//! The names that most services need, for one `use volery::prelude::*`.

pub use crate::{
    Agent, Batch, Context, Engine, ErrorKind, Failure, Fault, Filter, Memory, Outputs, Publish, Retry, Run,
    Shape, Shared, Visibility, Volery, all_of, by, count, join, on_thread, one,
};
pub use schemars::JsonSchema;
pub use serde::{Deserialize, Serialize};
