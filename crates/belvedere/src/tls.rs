//! The certificate and key that clients see, from PEM files.

use std::sync::Arc;

use belvedere_model::Diagnostic;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use crate::config::Tls;

/// Reads the files and checks that the key belongs to the certificate.
///
/// # Errors
/// At the place in the config that names the file.
pub fn server_config(tls: &Tls) -> Result<Arc<rustls::ServerConfig>, Box<Diagnostic>> {
    let problem = |at: &crate::config::At, what: &str, path: &std::path::Path, error: &dyn std::fmt::Display| {
        let help =
            "give PEM files that the server's user may read: the certificate with its chain, and its private key";
        Box::new(at.error(format!("cannot use {what} {}: {error}", path.display())).with_help(help))
    };
    let (cert_at, cert) = (&tls.cert.at, tls.cert.value.as_path());
    let (key_at, key_path) = (&tls.key.at, tls.key.value.as_path());
    let chain = CertificateDer::pem_file_iter(cert)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| problem(cert_at, "the certificate", cert, &error))?;
    if chain.is_empty() {
        return Err(problem(cert_at, "the certificate", cert, &"there is none in it"));
    }
    let key = PrivateKeyDer::from_pem_file(key_path).map_err(|error| problem(key_at, "the key", key_path, &error))?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| problem(cert_at, "the certificate", cert, &error))?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(|error| problem(key_at, "the key", key_path, &error))?;
    Ok(Arc::new(config))
}
