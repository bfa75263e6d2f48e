//! Jaeger's user interface over an OTLP receiver in memory: one program, for machines without containers.
//!
//! ```text
//! volery-viewer [--ui PORT] [--grpc PORT] [--http PORT] [--config UI.json]
//! ```
//!
//! It listens on the loopback only, at the ports that Jaeger has (16686, 4317, 4318) unless told otherwise; 0
//! takes a free one. The addresses are printed, one per line. It keeps the newest traces (`store.rs`) until
//! it is ended, and takes metrics without keeping them.
//!
//! Not Jaeger's here: storage, search and the way from OTLP to the interface's JSON (`jaeger.rs`), which
//! follows the translator of the Collector. There are no Monitor page, no archive and no clock-skew
//! adjustment.

mod jaeger;
mod otlp;
mod page;
mod query;
mod store;

use std::error::Error;
use std::io::Write as _;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::process::ExitCode;

use tokio::net::TcpListener;

use store::Store;

const USAGE: &str = "usage: volery-viewer [--ui PORT] [--grpc PORT] [--http PORT] [--config UI.json]";

type Failure = Box<dyn Error + Send + Sync>;

/// The arguments; ports of 0 are free ones.
#[derive(Debug, PartialEq, Eq)]
struct Options {
    ui: u16,
    grpc: u16,
    http: u16,
    config: Option<PathBuf>,
}

impl Options {
    fn read(mut arguments: impl Iterator<Item = String>) -> Result<Self, Failure> {
        let mut options = Self { ui: 16_686, grpc: 4_317, http: 4_318, config: None };
        while let Some(argument) = arguments.next() {
            let value = arguments.next().ok_or(USAGE)?;
            match argument.as_str() {
                "--ui" => options.ui = value.parse()?,
                "--grpc" => options.grpc = value.parse()?,
                "--http" => options.http = value.parse()?,
                "--config" => options.config = Some(PathBuf::from(value)),
                _ => return Err(USAGE.into()),
            }
        }
        Ok(options)
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    match view().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            // When standard error is gone, the exit code has to do.
            writeln!(std::io::stderr(), "volery-viewer: {failure}").ok();
            ExitCode::FAILURE
        }
    }
}

async fn view() -> Result<(), Failure> {
    let options = Options::read(std::env::args().skip(1))?;
    let config = match &options.config {
        Some(path) => Some(serde_json::from_str(&std::fs::read_to_string(path)?)?),
        None => None,
    };
    let store = Store::default();
    let pages = page::routes(config.as_ref()).await?.merge(query::routes(store.clone()));

    let (ui, grpc, http) =
        (listen(options.ui).await?, listen(options.grpc).await?, listen(options.http).await?);
    let mut stdout = std::io::stdout();
    for (name, listener) in [("ui", &ui), ("grpc", &grpc), ("http", &http)] {
        writeln!(stdout, "{name} http://{}", listener.local_addr()?)?;
    }
    stdout.flush()?;

    tokio::select! {
        ended = async { axum::serve(ui, pages).await } => ended?,
        ended = otlp::serve_grpc(grpc, store.clone()) => ended?,
        ended = otlp::serve_http(http, store) => ended?,
    }
    Ok(())
}

async fn listen(port: u16) -> Result<TcpListener, Failure> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await;
    listener.map_err(|error| format!("port {port} of the loopback: {error}").into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(arguments: &[&str]) -> Result<Options, Failure> {
        Options::read(arguments.iter().map(ToString::to_string))
    }

    #[test]
    fn ports_are_those_of_jaeger_unless_told_otherwise() {
        let options = read(&[]).expect("no argument is needed");
        assert_eq!((options.ui, options.grpc, options.http), (16_686, 4_317, 4_318));
        let options = read(&["--http", "0", "--config", "ui.json"]).expect("both are known");
        assert_eq!((options.http, options.config), (0, Some("ui.json".into())));
    }

    #[test]
    fn unknown_arguments_are_refused() {
        for arguments in [&["--ui"][..], &["--ui", "x"], &["--port", "1"]] {
            read(arguments).expect_err("it is not known");
        }
    }
}
