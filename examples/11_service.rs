//! A service: signals, health probes, systemd's watchdog, callbacks of the shutdown, and an exit code.
//!
//! Without arguments it probes and stops itself. `-- --serve` makes it wait for a signal:
//! `curl localhost:8080/health/ready`, then Ctrl-C. A service with an HTTP server puts the two answers there;
//! the responder below speaks just enough HTTP.

#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use volery::prelude::*;

#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
struct Order {
    cents: u64,
}

async fn book(order: Order, ctx: Context) -> volery::Result<()> {
    // A section that must not be half done is protected: a cancellation waits for its end.
    let _section = ctx.protect();
    println!("booked {} cents", order.cents);
    Ok(())
}

/// Answers one probe: 200 if it is so, 503 with the reasons if it is not.
async fn answer(mut stream: TcpStream, volery: &Volery) -> std::io::Result<()> {
    let mut request = [0; 1_024];
    let read = stream.read(&mut request).await?;
    let request = String::from_utf8_lossy(&request[..read]);
    let health = volery.health().await;
    let status = match request.split(' ').nth(1) {
        Some("/health/live") if health.live => "200 OK",
        Some("/health/ready") if health.ready => "200 OK",
        Some("/health/live" | "/health/ready") => "503 Service Unavailable",
        _ => "404 Not Found",
    };
    let body = health.to_string();
    let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(body.as_bytes()).await
}

/// Answers probes, each in a task of its own, also while the runtime stops. A probe that dawdles is given up.
async fn serve(listener: TcpListener, volery: &Volery) -> std::io::Result<()> {
    let mut probes = tokio::task::JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await?;
        while probes.try_join_next().is_some() {}
        let volery = volery.clone();
        probes.spawn(async move {
            match tokio::time::timeout(Duration::from_secs(2), answer(stream, &volery)).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => println!("a probe went away: {error}"),
                Err(_) => println!("a probe took too long"),
            }
        });
    }
}

async fn probe(address: std::net::SocketAddr, path: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n").as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer.lines().next().unwrap_or_default().to_owned())
}

/// The requests of a platform and a customer: look, send work, and stop the service.
async fn demonstrate(address: std::net::SocketAddr, volery: &Volery) -> volery::Result<()> {
    println!("live:  {}", probe(address, "/health/live").await?);
    let ready = probe(address, "/health/ready").await?;
    println!("ready: {ready}");
    assert_eq!(ready, "HTTP/1.1 200 OK");
    volery.publish(Order { cents: 500 }).await?;
    volery.interrupt();
    Ok(())
}

#[tokio::main]
async fn main() -> volery::Result<()> {
    let serves = std::env::args().any(|argument| argument == "--serve");
    let volery = Volery::builder("shop")
        .agent(Agent::new("booking").consumes(one::<Order>()).engine(book))
        .configure(|settings| settings.shutdown_within = Duration::from_secs(20))
        .start()
        .await?;
    volery.shutdown_on_signals()?;
    // Under systemd: READY=1 now, WATCHDOG=1 while it lives, STOPPING=1 at the end. Elsewhere nothing.
    #[cfg(unix)]
    println!("told systemd: {}", volery.notify_systemd()?);
    volery.on_shutdown("discovery", |cause| async move {
        println!("left the load balancer: {cause}");
        Ok::<_, volery::Error>(())
    })?;
    volery.on_flush("buffers", |_| async {
        println!("wrote the buffers");
        Ok::<_, volery::Error>(())
    })?;

    let listener = TcpListener::bind(if serves { "0.0.0.0:8080" } else { "127.0.0.1:0" }).await?;
    let address = listener.local_addr()?;
    let report = tokio::select! {
        report = async {
            if !serves {
                demonstrate(address, &volery).await?;
            }
            volery.wait_for_shutdown().await
        } => report?,
        ended = serve(listener, &volery) => return Err(ended.expect_err("it serves for ever").into()),
    };
    println!("{report}");
    // Not `return`: the end of `main` would wait for a thread that an engine blocks.
    report.exit()
}
