//! Export over TLS: to a receiver behind a door of TLS, with certificates that live as long as the test.
//!
//! The receiver is that of the other tests; the door takes TLS off in front of it, for gRPC and HTTP alike.
//! A package of its own, which a bare `cargo test` leaves out: `cargo test -p volery-tls-tests`.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{RootCertStore, ServerConfig, crypto};
use volery_observability::trace::{RunEnd, RunStart, RunStatus};
use volery_observability::{Environment, FlushReport, Otlp, TelemetryError, init};
use volery_otlp_receiver::Receiver;

const LIMIT: Duration = Duration::from_secs(20);

/// An authority of the test's own, and what it signs.
struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new() -> Self {
        let mut parameters = CertificateParams::new(Vec::new()).expect("no names are well formed");
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("the system gives chance");
        Self(CertifiedIssuer::self_signed(parameters, key).expect("the parameters are well formed"))
    }

    fn pem(&self) -> String {
        self.0.pem()
    }

    /// A certificate and its key, for a name.
    fn sign(&self, name: &str) -> (String, String) {
        let mut parameters = CertificateParams::new([name.to_owned()]).expect("the name is well formed");
        parameters.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let key = KeyPair::generate().expect("the system gives chance");
        let certificate = parameters.signed_by(&key, &self.0).expect("the parameters are well formed");
        (certificate.pem(), key.serialize_pem())
    }
}

/// A receiver over gRPC or HTTP behind a door of TLS on a runtime of its own.
struct Door {
    receiver: Receiver,
    at: SocketAddr,
    _runtime: Runtime,
}

impl Door {
    /// With `clients`, who comes has to show a certificate of that authority.
    fn open(transport: Transport, authority: &Authority, clients: Option<&Authority>) -> Self {
        let receiver = Receiver::start();
        let inner = match transport {
            Transport::Grpc => receiver.grpc_endpoint(),
            Transport::Http => receiver.http_endpoint(),
        };
        let inner: SocketAddr = inner["http://".len()..].parse().expect("an address");
        let acceptor = TlsAcceptor::from(Arc::new(config(transport, authority, clients)));
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.expect("the system gives a runtime to a test");
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).expect("a free port");
        let at = listener.local_addr().expect("it is bound");
        runtime.spawn(async move {
            while let Ok((outside, _)) = listener.accept().await {
                let acceptor = acceptor.clone();
                tokio::spawn(async move {
                    // A client that does not trust the certificate hangs up; some tests are about that.
                    let Ok(mut outside) = acceptor.accept(outside).await else { return };
                    let mut inside = TcpStream::connect(inner).await.expect("the receiver is there");
                    copy_bidirectional(&mut outside, &mut inside).await.ok();
                });
            }
        });
        Self { receiver, at, _runtime: runtime }
    }
}

#[derive(Clone, Copy, Debug)]
enum Transport {
    Grpc,
    Http,
}

impl Transport {
    fn otlp(self, at: SocketAddr) -> Otlp {
        let otlp = match self {
            Self::Grpc => Otlp::grpc(),
            Self::Http => Otlp::http(),
        };
        otlp.endpoint(format!("https://localhost:{}", at.port()))
    }
}

fn config(transport: Transport, authority: &Authority, clients: Option<&Authority>) -> ServerConfig {
    let (certificate, key) = authority.sign("localhost");
    let provider = Arc::new(crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider));
    let builder = builder.with_safe_default_protocol_versions().expect("ring has them");
    let builder = match clients {
        None => builder.with_no_client_auth(),
        Some(clients) => {
            let mut roots = RootCertStore::empty();
            let root = CertificateDer::from_pem_slice(clients.pem().as_bytes()).expect("it is PEM");
            roots.add(root).expect("it is an authority");
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
            builder.with_client_cert_verifier(verifier.expect("there is a root"))
        }
    };
    let chain = vec![CertificateDer::from_pem_slice(certificate.as_bytes()).expect("it is PEM")];
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).expect("it is PEM");
    let mut config = builder.with_single_cert(chain, key).expect("the key is that of the certificate");
    if matches!(transport, Transport::Grpc) {
        config.alpn_protocols = vec![b"h2".to_vec()];
    }
    config
}

/// A file that the variables can name.
fn file(name: &str, text: &str) -> String {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    fs::write(&path, text).expect("the target directory can be written to");
    path.display().to_string()
}

/// Exports one run, and says what became of it.
fn send(otlp: Otlp, environment: Environment) -> Result<FlushReport, TelemetryError> {
    let telemetry = init("shop").environment(environment).otlp(otlp).start()?;
    let spans = telemetry.providers().spans();
    let run = spans.run(RunStart::new(&"run-1", "sealed", SystemTime::UNIX_EPOCH));
    run.end(RunEnd {
        status: RunStatus::Completed,
        published: 0,
        jobs_ok: 0,
        jobs_failed: 0,
        jobs_cancelled: 0,
        at: SystemTime::UNIX_EPOCH,
    });
    Ok(telemetry.shutdown_blocking(LIMIT))
}

fn trusting(file: &str) -> Environment {
    Environment::empty().with("OTEL_EXPORTER_OTLP_CERTIFICATE", file)
}

#[test]
fn a_run_arrives_over_tls_at_a_receiver_whose_authority_is_named() -> Result<(), TelemetryError> {
    for transport in [Transport::Grpc, Transport::Http] {
        let authority = Authority::new();
        let door = Door::open(transport, &authority, None);
        let trusted = file(&format!("trusted-{transport:?}.pem"), &authority.pem());
        let report = send(transport.otlp(door.at), trusting(&trusted))?;
        assert!(report.is_complete(), "{transport:?}: {report}");
        assert_eq!(door.receiver.spans().len() as u64, report.exported);
        assert_eq!(report.exported, 2);
    }
    Ok(())
}

#[test]
fn a_receiver_that_is_not_trusted_gets_nothing_and_what_is_lost_is_counted() -> Result<(), TelemetryError> {
    for transport in [Transport::Grpc, Transport::Http] {
        let door = Door::open(transport, &Authority::new(), None);
        let other = file(&format!("other-{transport:?}.pem"), &Authority::new().pem());
        let report = send(transport.otlp(door.at), trusting(&other))?;
        assert_eq!((report.exported, report.lost()), (0, 2), "{transport:?}: {report}");
        assert!(door.receiver.spans().is_empty());
    }
    Ok(())
}

#[test]
fn a_receiver_that_asks_for_a_certificate_gets_the_clients_own() -> Result<(), TelemetryError> {
    for transport in [Transport::Grpc, Transport::Http] {
        let (authority, clients) = (Authority::new(), Authority::new());
        let door = Door::open(transport, &authority, Some(&clients));
        let trusted = trusting(&file(&format!("mutual-{transport:?}.pem"), &authority.pem()));
        let report = send(transport.otlp(door.at), trusted.clone())?;
        assert_eq!(report.exported, 0, "{transport:?} without one: {report}");
        let (certificate, key) = clients.sign("shop");
        let own = trusted
            .with(
                "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE",
                file(&format!("own-{transport:?}.pem"), &certificate),
            )
            .with("OTEL_EXPORTER_OTLP_CLIENT_KEY", file(&format!("key-{transport:?}.pem"), &key));
        let report = send(transport.otlp(door.at), own)?;
        assert!(report.is_complete(), "{transport:?}: {report}");
    }
    Ok(())
}

#[test]
fn files_that_cannot_be_used_are_found_when_the_set_up_starts() {
    let words = file("words.pem", "no certificate");
    let certificate = Authority::new().sign("shop").0;
    let own = file("alone.pem", &certificate);
    for (environment, says) in [
        (trusting("/nowhere/ca.pem"), "OTEL_EXPORTER_OTLP_CERTIFICATE names /nowhere/ca.pem"),
        (trusting(&words), "OTEL_EXPORTER_OTLP_CERTIFICATE has no certificate"),
        (
            Environment::empty().with("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", &own),
            "OTEL_EXPORTER_OTLP_CLIENT_KEY",
        ),
    ] {
        for otlp in [Otlp::grpc(), Otlp::http()] {
            let started = send(otlp.endpoint("https://localhost:1"), environment.clone());
            let error = started.err().map(|error| error.to_string()).unwrap_or_default();
            assert!(error.contains(says), "{error}");
        }
    }
    // An export without TLS needs no certificate.
    let plain = init("shop").environment(trusting("/nowhere/ca.pem")).otlp(Otlp::http());
    assert!(plain.start().is_ok());
}
