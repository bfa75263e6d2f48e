//! TLS to a receiver: rustls with ring, for gRPC and for HTTP alike. Without the feature `otlp-tls` it only
//! refuses.
//!
//! Trusted are the system's roots, or the certificate authorities of `OTEL_EXPORTER_OTLP_CERTIFICATE` and no
//! others. A certificate of the client's own comes from `…_CLIENT_CERTIFICATE` and `…_CLIENT_KEY`. All are
//! files of PEM.

use super::environment::Environment;
use super::error::TelemetryError;

/// The values of the variables.
#[derive(Clone, Debug, Default)]
pub(super) struct Tls {
    /// Whether the endpoint asks for TLS.
    #[cfg(feature = "otlp-tls")]
    is_on: bool,
    /// The certificate authorities that are trusted instead of the system's.
    #[cfg(feature = "otlp-tls")]
    authorities: Option<Vec<u8>>,
    /// The client's certificate and key.
    #[cfg(feature = "otlp-tls")]
    identity: Option<(Vec<u8>, Vec<u8>)>,
}

/// Tells whether an endpoint asks for TLS.
pub(super) fn is_asked_for(endpoint: &str) -> bool {
    endpoint.get(..6).is_some_and(|scheme| scheme.eq_ignore_ascii_case("https:"))
}

#[cfg(not(feature = "otlp-tls"))]
impl Tls {
    /// The exporters would refuse as well, but one in words of its own, and the other when the first export
    /// fails.
    pub(super) fn for_endpoint(endpoint: &str, _: &Environment) -> Result<Self, TelemetryError> {
        if is_asked_for(endpoint) {
            return Err(TelemetryError::Exporter(format!(
                "{endpoint} needs TLS, which is not built in; turn the feature `otlp-tls` on, or export to a collector nearby"
            )));
        }
        Ok(Self::default())
    }
}

#[cfg(feature = "otlp-tls")]
mod rustls_with_ring {
    use std::sync::Arc;

    use opentelemetry_otlp::tonic_types::transport::{Certificate, ClientTlsConfig, Identity};
    use rustls::pki_types::pem::PemObject;
    use rustls::pki_types::{CertificateDer, PrivateKeyDer};
    use rustls::{ClientConfig, RootCertStore};

    use super::{Environment, TelemetryError, Tls};

    const AUTHORITIES: &str = "OTEL_EXPORTER_OTLP_CERTIFICATE";
    const CERTIFICATE: &str = "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE";
    const KEY: &str = "OTEL_EXPORTER_OTLP_CLIENT_KEY";

    impl Tls {
        /// Reads the files; for an endpoint without TLS none.
        pub(in super::super) fn for_endpoint(
            endpoint: &str,
            environment: &Environment,
        ) -> Result<Self, TelemetryError> {
            if !super::is_asked_for(endpoint) {
                return Ok(Self::default());
            }
            let authorities = file(environment, AUTHORITIES)?;
            let identity = match (file(environment, CERTIFICATE)?, file(environment, KEY)?) {
                (Some(certificate), Some(key)) => Some((certificate, key)),
                (None, None) => None,
                _ => {
                    return Err(TelemetryError::Tls(format!("set both {CERTIFICATE} and {KEY}, or neither")));
                }
            };
            let tls = Self { is_on: true, authorities, identity };
            // A file that is no certificate is found now, and not when the first export fails.
            tls.of_http()?;
            Ok(tls)
        }

        /// For gRPC.
        pub(in super::super) fn of_grpc(&self) -> ClientTlsConfig {
            let config = match &self.authorities {
                Some(authorities) => {
                    ClientTlsConfig::new().ca_certificate(Certificate::from_pem(authorities))
                }
                None => ClientTlsConfig::new().with_native_roots(),
            };
            match &self.identity {
                Some((certificate, key)) => config.identity(Identity::from_pem(certificate, key)),
                None => config,
            }
        }

        /// For HTTP, without TLS as well: the client wants a provider in any case. It is named here, because
        /// another crate of the build may bring a second one.
        pub(in super::super) fn of_http(&self) -> Result<ClientConfig, TelemetryError> {
            let provider = Arc::new(rustls::crypto::ring::default_provider());
            let builder = ClientConfig::builder_with_provider(provider)
                .with_safe_default_protocol_versions()
                .map_err(refused)?
                .with_root_certificates(self.roots()?);
            let Some((certificate, key)) = &self.identity else { return Ok(builder.with_no_client_auth()) };
            let chain = certificates(certificate, CERTIFICATE)?;
            let key = PrivateKeyDer::from_pem_slice(key)
                .map_err(|error| TelemetryError::Tls(format!("{KEY} has no private key: {error}")))?;
            builder.with_client_auth_cert(chain, key).map_err(refused)
        }

        fn roots(&self) -> Result<RootCertStore, TelemetryError> {
            let mut roots = RootCertStore::empty();
            if !self.is_on {
                return Ok(roots);
            }
            match &self.authorities {
                Some(authorities) => {
                    for authority in certificates(authorities, AUTHORITIES)? {
                        roots.add(authority).map_err(refused)?;
                    }
                }
                None => {
                    // A root that cannot be read must not cost the others.
                    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
                }
            }
            if roots.is_empty() {
                return Err(TelemetryError::Tls(format!(
                    "the system has no root certificates; set {AUTHORITIES}"
                )));
            }
            Ok(roots)
        }
    }

    fn file(environment: &Environment, variable: &str) -> Result<Option<Vec<u8>>, TelemetryError> {
        let Some(path) = environment.text(variable) else { return Ok(None) };
        let read = std::fs::read(path);
        read.map(Some).map_err(|error| TelemetryError::Tls(format!("{variable} names {path}: {error}")))
    }

    fn certificates(pem: &[u8], variable: &str) -> Result<Vec<CertificateDer<'static>>, TelemetryError> {
        let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
        match all {
            Ok(all) if !all.is_empty() => Ok(all),
            Ok(_) => Err(TelemetryError::Tls(format!("the file of {variable} has no certificate in PEM"))),
            Err(error) => Err(TelemetryError::Tls(format!("the file of {variable}: {error}"))),
        }
    }

    #[expect(clippy::needless_pass_by_value, reason = "for map_err")]
    fn refused(error: rustls::Error) -> TelemetryError {
        TelemetryError::Tls(error.to_string())
    }
}
