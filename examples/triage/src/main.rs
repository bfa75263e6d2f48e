//! The program `triage`: reads its arguments, and leaves the rest to the library beside it.

use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    volery_triage::run(std::env::args_os()).await
}
