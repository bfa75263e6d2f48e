//! Metrics: counted on a meter of OpenTelemetry's, and served as text for a Prometheus that scrapes.
//!
//! `cargo run --features prometheus --example 15_metrics`.
//! Without arguments it asks itself once. `-- 127.0.0.1:9464` goes on working and answering until Ctrl-C.

#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::io;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::sleep;
use volery::prelude::*;
use volery::telemetry::{Telemetry, init};

const MS: Duration = Duration::from_millis(1);

#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
struct Letter {
    number: u64,
}

#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
struct Stamped {
    number: u64,
}

/// Every fifth letter needs a second attempt, every tenth is dead.
async fn stamp(letter: Letter, context: Context) -> Result<Publish<Stamped>, String> {
    sleep(2 * MS).await;
    match letter.number {
        number if number.is_multiple_of(10) => Err("no stamp fits".to_owned()),
        number if number.is_multiple_of(5) && context.attempt() == 1 => Err("the stamp fell off".to_owned()),
        number => Ok(Publish(Stamped { number })),
    }
}

async fn carry(letters: Vec<Stamped>, _: Context) -> volery::Result<()> {
    sleep(u32::try_from(letters.len()).map_err(volery::Error::other)? * MS).await;
    Ok(())
}

/// Publishes a run of letters, and waits for it.
async fn post(volery: &Volery) -> volery::Result<()> {
    let run = volery.run("post").open();
    run.publish_all((1..=20).map(|number| Letter { number }).collect::<Vec<_>>()).await?;
    run.finish().await.map(drop)
}

async fn work(volery: &Volery) -> volery::Result<()> {
    loop {
        post(volery).await?;
        sleep(500 * MS).await;
    }
}

/// Answers with the metrics. A service with an HTTP server puts the text there, at `/metrics`.
async fn answer(mut stream: TcpStream, text: &str) -> io::Result<()> {
    if stream.read(&mut [0; 4_096]).await? == 0 {
        return Ok(());
    }
    let head = "HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\nConnection: close\r\n";
    stream.write_all(format!("{head}Content-Length: {}\r\n\r\n{text}", text.len()).as_bytes()).await
}

async fn serve(listener: TcpListener, telemetry: &Telemetry) -> io::Result<()> {
    loop {
        let (stream, _) = listener.accept().await?;
        let text = telemetry.prometheus_text().unwrap_or_default();
        if let Err(error) = answer(stream, &text).await {
            println!("a scrape went away: {error}");
        }
    }
}

async fn scrape(address: std::net::SocketAddr) -> io::Result<String> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n").await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer)
}

#[tokio::main]
async fn main() -> volery::Result<()> {
    let told = std::env::args().nth(1);
    let telemetry = init("post").prometheus().start().map_err(volery::Error::other)?;
    let retry = Retry::fixed(2, 5 * MS);
    let volery = Volery::builder("post")
        .agent(Agent::new("stamp").consumes(one::<Letter>()).retry(retry).concurrency(4).engine(stamp))
        .agent(Agent::new("carry").consumes(one::<Stamped>().batch(Batch::of(6))).engine(carry))
        .telemetry(telemetry.providers())
        .start()
        .await?;

    let listener = TcpListener::bind(told.as_deref().unwrap_or("127.0.0.1:0")).await?;
    let address = listener.local_addr()?;
    println!("metrics    http://{address}/metrics");
    let look = async {
        post(&volery).await?;
        let text = scrape(address).await?;
        let shown = ["volery_jobs_total{", "volery_retries_total{", "volery_dead_letters_total{"];
        for line in text.lines().filter(|line| shown.iter().any(|name| line.starts_with(name))) {
            println!("{line}");
        }
        assert!(
            text.lines().any(|line| line.starts_with("volery_dead_letters_total{") && line.ends_with(" 2"))
        );
        Ok::<_, volery::Error>(())
    };
    tokio::select! {
        ended = serve(listener, &telemetry) => ended?,
        ended = work(&volery), if told.is_some() => ended?,
        signal = tokio::signal::ctrl_c(), if told.is_some() => signal?,
        looked = look, if told.is_none() => looked?,
    }
    volery.shutdown().await?;
    Ok(())
}
