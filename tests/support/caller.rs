//! A foreign gRPC client in a process of its own: Python's grpcio, its stubs generated from our `.proto` files alone. It keeps its
//! one channel from call to call.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Stdio};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::{Server, python, repository};

/// A running client; it ends when dropped.
pub struct Caller {
    child: Child,
    requests: ChildStdin,
    answers: BufReader<ChildStdout>,
}

/// How a call failed, as the client saw it.
#[derive(Debug)]
pub struct Refused {
    /// Name of the gRPC code.
    pub code: String,
    /// What is said to people.
    pub message: String,
    /// The word in `ErrorInfo`; empty where there is none.
    pub reason: String,
    /// The metadata of `ErrorInfo`.
    pub evidence: Value,
    /// How many details came with it, of any kind.
    pub details: u64,
}

impl Caller {
    /// Calls over TLS, verified against the roots that the server published, by the name `localhost`; with the key and chain at these
    /// paths if any.
    pub fn new(server: &Server, identity: Option<(&Path, &Path)>) -> Self {
        let (_, port) = server.fact("grpc").rsplit_once(':').expect("host:port");
        let mut arguments = vec![PathBuf::from(format!("localhost:{port}"))];
        arguments.push(server.fact("bundle").into());
        if let Some((chain, key)) = identity {
            arguments.extend([chain.to_owned(), key.to_owned()]);
        }
        Self::start(&arguments)
    }

    /// Calls through `admin.sock`.
    pub fn admin(server: &Server) -> Self {
        Self::start(&[PathBuf::from(format!("unix:{}", server.fact("adminSocket")))])
    }

    fn start(arguments: &[PathBuf]) -> Self {
        let mut child = python()
            .arg(repository("tests/python/caller.py"))
            .arg(repository("proto/proto"))
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("python starts");
        Self {
            requests: child.stdin.take().expect("it is piped"),
            answers: BufReader::new(child.stdout.take().expect("it is piped")),
            child,
        }
    }

    /// One call; request and answer are proto3 JSON.
    pub fn call(
        &mut self,
        service: &str,
        method: &str,
        request: &Value,
        bearer: Option<&str>,
    ) -> Result<Value, Refused> {
        self.send(&json!({ "service": service, "method": method, "request": request, "bearer": bearer }));
        self.answer()
    }

    /// Begins a call that is answered by a stream, of which [`Caller::answer`] gives the first `take`.
    pub fn follow(&mut self, service: &str, method: &str, take: usize) {
        self.send(&json!({
            "service": service, "method": method, "request": {}, "bearer": null, "take": take,
        }));
    }

    fn send(&mut self, wanted: &Value) {
        writeln!(self.requests, "{wanted}").expect("the client listens");
    }

    /// The next answer; waits for it.
    pub fn answer(&mut self) -> Result<Value, Refused> {
        let mut line = String::new();
        self.answers.read_line(&mut line).expect("the client answers");
        let mut told: Value = serde_json::from_str(&line).expect("the client ended; it wrote why");
        if told.get("answer").is_some() {
            return Ok(told["answer"].take());
        }
        let text = |name: &str| told[name].as_str().expect("a text").to_owned();
        Err(Refused {
            code: text("code"),
            message: text("message"),
            reason: text("reason"),
            details: told["details"].as_u64().expect("a number"),
            evidence: told["evidence"].clone(),
        })
    }

    /// `signet.v1.CertificateAuthority/IssueCertificate` for a CSR, and further fields of the request.
    pub fn issue(&mut self, csr: &str, bearer: Option<&str>, more: Value) -> Result<Value, Refused> {
        let mut request = json!({ "csr": STANDARD.encode(csr) });
        if let (Value::Object(fields), Some(request)) = (more, request.as_object_mut()) {
            request.extend(fields);
        }
        self.call(
            "signet.v1.CertificateAuthority",
            "IssueCertificate",
            &request,
            bearer,
        )
    }

    /// `istio.v1.auth.IstioCertificateService/CreateCertificate` for a CSR, and further fields of the request.
    pub fn istio(&mut self, csr: &str, bearer: Option<&str>, more: Value) -> Result<Vec<String>, Refused> {
        let mut request = json!({ "csr": csr });
        if let (Value::Object(fields), Some(request)) = (more, request.as_object_mut()) {
            request.extend(fields);
        }
        let service = "istio.v1.auth.IstioCertificateService";
        let answer = self.call(service, "CreateCertificate", &request, bearer)?;
        let chain = answer["certChain"].as_array().expect("a chain");
        Ok(chain
            .iter()
            .map(|element| element.as_str().expect("PEM").to_owned())
            .collect())
    }
}

impl Drop for Caller {
    fn drop(&mut self) {
        // Both fail only if it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The leaf in an answer to `IssueCertificate`, DER.
pub fn leaf_of(answer: &Value) -> Vec<u8> {
    let leaf = answer["chain"][0].as_str().expect("a chain");
    STANDARD.decode(leaf).expect("base64")
}
