//! Presents somebody else's certificate with a key of its own, as a thief of a certificate would. The other end must refuse it: the
//! signature in the handshake does not fit. (openssl and Python will not even start with a pair that does not fit.)
#![allow(
    clippy::print_stdout,
    reason = "an example talks to people and tests on stdout"
)]

use std::error::Error;
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser;
use rustls::client::ResolvesClientCert;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::ring;
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, SignatureScheme};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};

/// Exit codes: 0 let in, 1 refused.
#[derive(Parser)]
struct Arguments {
    /// Address of the server that demands a certificate
    #[arg(long)]
    connect: String,
    /// Certificate to present, PEM, leaf first
    #[arg(long)]
    certificate: PathBuf,
    /// Any private key, PEM
    #[arg(long)]
    key: PathBuf,
}

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let arguments = Arguments::parse();
    let chain = CertificateDer::pem_file_iter(&arguments.certificate)?.collect::<Result<Vec<_>, _>>()?;
    let key = ring::sign::any_supported_type(&PrivateKeyDer::from_pem_file(&arguments.key)?)?;
    // `from_der` would check that they fit.
    let pair = CertifiedKey::new(chain, key);
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anybody))
        .with_client_cert_resolver(Arc::new(Presents(Arc::new(pair))));
    let mut tls = ClientConnection::new(Arc::new(config), ServerName::try_from("echo.invalid")?)?;
    let mut tcp = TcpStream::connect(&arguments.connect)?;
    let mut stream = rustls::Stream::new(&mut tls, &mut tcp);
    // A client of TLS 1.3 hears of its refusal only when it reads.
    Ok(match round(&mut stream) {
        Ok(()) => {
            println!("let in");
            ExitCode::SUCCESS
        }
        Err(why) => {
            println!("refused: {why}");
            ExitCode::FAILURE
        }
    })
}

fn round(stream: &mut (impl std::io::Read + std::io::Write)) -> std::io::Result<()> {
    stream.write_all(b"open up")?;
    stream.read_exact(&mut [0; 7])
}

#[derive(Debug)]
struct Presents(Arc<CertifiedKey>);

impl ResolvesClientCert for Presents {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }

    fn has_certs(&self) -> bool {
        true
    }
}

/// An impostor does not care who the server is.
#[derive(Debug)]
struct Anybody;

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        ring::default_provider()
            .signature_verification_algorithms
            .supported_schemes()
    }
}
