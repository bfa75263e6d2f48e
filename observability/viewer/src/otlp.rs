//! The two ports that take OTLP: gRPC, and protobuf over HTTP, each gzip or not.
//!
//! Metrics are answered and not kept, so that a service may send both signals to one endpoint.

use std::io::Read as _;

use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::routing::post;
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
use prost::Message as _;
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::codec::CompressionEncoding;
use tonic::{Request, Response, Status};

use crate::jaeger;
use crate::store::Store;

/// The largest request that is taken, packed or unpacked: what Jaeger takes over HTTP, too.
const REQUEST_MAX: usize = 20 * 1024 * 1024;

pub(crate) async fn serve_grpc(listener: TcpListener, store: Store) -> Result<(), tonic::transport::Error> {
    let traces = TraceServiceServer::new(store.clone());
    let metrics = MetricsServiceServer::new(store);
    tonic::transport::Server::builder()
        // Some senders compress whatever they are told.
        .add_service(
            traces.accept_compressed(CompressionEncoding::Gzip).max_decoding_message_size(REQUEST_MAX),
        )
        .add_service(
            metrics.accept_compressed(CompressionEncoding::Gzip).max_decoding_message_size(REQUEST_MAX),
        )
        .serve_with_incoming(TcpListenerStream::new(listener))
        .await
}

pub(crate) async fn serve_http(listener: TcpListener, store: Store) -> std::io::Result<()> {
    let metrics = || async { ExportMetricsServiceResponse::default().encode_to_vec() };
    let routes = axum::Router::new()
        .route("/v1/traces", post(traces))
        .route("/v1/metrics", post(metrics))
        .layer(DefaultBodyLimit::max(REQUEST_MAX))
        .with_state(store);
    axum::serve(listener, routes).await
}

fn keep(store: &Store, request: ExportTraceServiceRequest) {
    store.add(request.resource_spans.into_iter().flat_map(jaeger::spans));
}

#[tonic::async_trait]
impl TraceService for Store {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        keep(self, request.into_inner());
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

#[tonic::async_trait]
impl MetricsService for Store {
    async fn export(
        &self,
        _: Request<ExportMetricsServiceRequest>,
    ) -> Result<Response<ExportMetricsServiceResponse>, Status> {
        Ok(Response::new(ExportMetricsServiceResponse::default()))
    }
}

async fn traces(State(store): State<Store>, headers: HeaderMap, body: Bytes) -> (StatusCode, Vec<u8>) {
    match decoded(&headers, &body) {
        Ok(request) => {
            keep(&store, request);
            (StatusCode::OK, ExportTraceServiceResponse::default().encode_to_vec())
        }
        Err(refused) => refused,
    }
}

/// Unpacks and reads a request; else what to answer.
fn decoded(headers: &HeaderMap, body: &[u8]) -> Result<ExportTraceServiceRequest, (StatusCode, Vec<u8>)> {
    let is = |name, value: &str| headers.get(name).is_some_and(|found| found.as_bytes() == value.as_bytes());
    if !is(header::CONTENT_TYPE, "application/x-protobuf") {
        return Err((StatusCode::UNSUPPORTED_MEDIA_TYPE, b"only application/x-protobuf is taken".to_vec()));
    }
    let mut plain = Vec::new();
    let bytes = if is(header::CONTENT_ENCODING, "gzip") {
        // One byte more than allowed tells whether there is more.
        let limit = u64::try_from(REQUEST_MAX + 1).unwrap_or(u64::MAX);
        let read = flate2::read::GzDecoder::new(body).take(limit).read_to_end(&mut plain);
        read.map_err(|error| (StatusCode::BAD_REQUEST, error.to_string().into_bytes()))?;
        plain.as_slice()
    } else {
        body
    };
    if bytes.len() > REQUEST_MAX {
        return Err((StatusCode::PAYLOAD_TOO_LARGE, Vec::new()));
    }
    ExportTraceServiceRequest::decode(bytes)
        .map_err(|error| (StatusCode::BAD_REQUEST, error.to_string().into_bytes()))
}
