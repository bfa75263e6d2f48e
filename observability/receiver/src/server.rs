//! The receiver itself: two ports of the loopback on a thread of its own.
//!
//! It has a runtime of its own, so that it goes on while a test blocks its thread or pauses its clock.

use std::io::Read as _;
use std::net::SocketAddr;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use opentelemetry_proto::tonic::collector::metrics::v1::metrics_service_server::{
    MetricsService, MetricsServiceServer,
};
use opentelemetry_proto::tonic::collector::metrics::v1::{
    ExportMetricsServiceRequest, ExportMetricsServiceResponse,
};
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use prost::Message;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::codec::CompressionEncoding;
use tonic::{Request, Response, Status};

use crate::span::{self, Metric, Span};

/// A receiver that runs until it is dropped.
#[derive(Debug)]
pub struct Receiver {
    store: Store,
    grpc: SocketAddr,
    http: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// The arrived spans, and a signal for those that wait for them.
#[derive(Clone, Debug, Default)]
struct Store(Arc<(Mutex<Arrived>, Condvar)>);

#[derive(Debug, Default)]
struct Arrived {
    spans: Vec<Span>,
    metrics: Vec<Metric>,
    requests: u64,
}

impl Receiver {
    /// Starts a receiver on free ports of the loopback.
    ///
    /// # Panics
    /// When the system gives no port or no thread.
    #[must_use]
    pub fn start() -> Self {
        let store = Store::default();
        let (stop, stopped) = oneshot::channel();
        let (started, ports) = std::sync::mpsc::sync_channel(1);
        let of_thread = store.clone();
        let run = move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let runtime = runtime.expect("the system gives a runtime to a test");
            runtime.block_on(serve(of_thread, started, stopped));
        };
        let thread = std::thread::Builder::new().name("otlp-receiver".to_owned()).spawn(run);
        let thread = thread.expect("the system gives a thread to a test");
        let (grpc, http) = ports.recv().expect("the thread tells its ports or panics");
        Self { store, grpc, http, stop: Some(stop), thread: Some(thread) }
    }

    /// Where it takes gRPC, gzip or not.
    #[must_use]
    pub fn grpc_endpoint(&self) -> String {
        format!("http://{}", self.grpc)
    }

    /// Where it takes protobuf over HTTP, gzip or not; paths are `/v1/traces` and `/v1/metrics`.
    #[must_use]
    pub fn http_endpoint(&self) -> String {
        format!("http://{}", self.http)
    }

    /// Every span that arrived, in the order of arrival.
    #[must_use]
    pub fn spans(&self) -> Vec<Span> {
        self.store.lock().spans.clone()
    }

    /// Every metric that arrived, the latest last.
    #[must_use]
    pub fn metrics(&self) -> Vec<Metric> {
        self.store.lock().metrics.clone()
    }

    /// Requests that arrived.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.store.lock().requests
    }

    /// Waits until so many spans have arrived, and returns them.
    ///
    /// # Panics
    /// When `limit` of real time is over first.
    #[must_use]
    pub fn wait_for(&self, spans: usize, limit: Duration) -> Vec<Span> {
        let (_, bell) = &*self.store.0;
        let few = |arrived: &mut Arrived| arrived.spans.len() < spans;
        let (arrived, waited) =
            bell.wait_timeout_while(self.store.lock(), limit, few).unwrap_or_else(PoisonError::into_inner);
        assert!(!waited.timed_out(), "only {} of {spans} spans arrived in {limit:?}", arrived.spans.len());
        arrived.spans.clone()
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            // The thread may have ended by a panic of its own.
            stop.send(()).ok();
        }
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

impl Store {
    fn lock(&self) -> std::sync::MutexGuard<'_, Arrived> {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take_spans(&self, request: ExportTraceServiceRequest) {
        let mut arrived = self.lock();
        arrived.requests += 1;
        arrived.spans.extend(request.resource_spans.into_iter().flat_map(span::spans));
        self.0.1.notify_all();
    }

    fn take_metrics(&self, request: ExportMetricsServiceRequest) {
        let mut arrived = self.lock();
        arrived.requests += 1;
        arrived.metrics.extend(request.resource_metrics.into_iter().flat_map(span::metrics));
        self.0.1.notify_all();
    }
}

async fn serve(
    store: Store,
    started: std::sync::mpsc::SyncSender<(SocketAddr, SocketAddr)>,
    stopped: oneshot::Receiver<()>,
) {
    let grpc = TcpListener::bind("127.0.0.1:0").await.expect("the loopback has a free port");
    let http = TcpListener::bind("127.0.0.1:0").await.expect("the loopback has a free port");
    let port = |listener: &TcpListener| listener.local_addr().expect("it is bound");
    started.send((port(&grpc), port(&http))).expect("the test waits for the ports");

    // Rotel and others compress always, whatever they are told.
    let traces = TraceServiceServer::new(store.clone()).accept_compressed(CompressionEncoding::Gzip);
    let metrics = MetricsServiceServer::new(store.clone()).accept_compressed(CompressionEncoding::Gzip);
    let over_grpc = tonic::transport::Server::builder()
        .add_service(traces)
        .add_service(metrics)
        .serve_with_incoming(TcpListenerStream::new(grpc));
    let routes = axum::Router::new()
        .route("/v1/traces", axum::routing::post(traces_over_http))
        .route("/v1/metrics", axum::routing::post(metrics_over_http))
        .layer(axum::extract::DefaultBodyLimit::max(64 * 1024 * 1024))
        .with_state(store);
    let over_http = async { axum::serve(http, routes).await };
    // Dropping the servers drops their connections.
    tokio::select! {
        ended = over_grpc => ended.expect("the gRPC server runs until it is dropped"),
        ended = over_http => ended.expect("the HTTP server runs until it is dropped"),
        _ = stopped => {}
    }
}

#[tonic::async_trait]
impl TraceService for Store {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        self.take_spans(request.into_inner());
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

#[tonic::async_trait]
impl MetricsService for Store {
    async fn export(
        &self,
        request: Request<ExportMetricsServiceRequest>,
    ) -> Result<Response<ExportMetricsServiceResponse>, Status> {
        self.take_metrics(request.into_inner());
        Ok(Response::new(ExportMetricsServiceResponse::default()))
    }
}

async fn traces_over_http(
    State(store): State<Store>,
    headers: HeaderMap,
    body: Bytes,
) -> (StatusCode, Vec<u8>) {
    match decoded::<ExportTraceServiceRequest>(&headers, &body) {
        Some(request) => {
            store.take_spans(request);
            (StatusCode::OK, ExportTraceServiceResponse::default().encode_to_vec())
        }
        None => (StatusCode::BAD_REQUEST, Vec::new()),
    }
}

async fn metrics_over_http(
    State(store): State<Store>,
    headers: HeaderMap,
    body: Bytes,
) -> (StatusCode, Vec<u8>) {
    match decoded::<ExportMetricsServiceRequest>(&headers, &body) {
        Some(request) => {
            store.take_metrics(request);
            (StatusCode::OK, ExportMetricsServiceResponse::default().encode_to_vec())
        }
        None => (StatusCode::BAD_REQUEST, Vec::new()),
    }
}

fn decoded<M: Message + Default>(headers: &HeaderMap, body: &[u8]) -> Option<M> {
    let is =
        |name: &str, value: &str| headers.get(name).is_some_and(|found| found.as_bytes() == value.as_bytes());
    if !is("content-type", "application/x-protobuf") {
        return None;
    }
    if !is("content-encoding", "gzip") {
        return M::decode(body).ok();
    }
    let mut plain = Vec::new();
    flate2::read::GzDecoder::new(body).read_to_end(&mut plain).ok()?;
    M::decode(plain.as_slice()).ok()
}
