//! Workloads in the test's own process that talk to each other over mutual TLS without pause, each with a source of client-lib.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use client_lib::{Authorize, X509Source};
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_rustls::client::TlsStream;
use tokio_rustls::{TlsAcceptor, TlsConnector};

/// Pause of a member between two connections.
const PAUSE: Duration = Duration::from_millis(100);
/// Longest a connection may take with its one question and answer.
const PATIENCE: Duration = Duration::from_secs(10);
const MESSAGE: &[u8; 16] = b"how do you do?\r\n";

/// What happened so far.
#[derive(Default)]
pub struct Tally {
    /// Connections begun.
    pub attempts: AtomicU64,
    /// What went wrong, on either side.
    failures: Mutex<Vec<String>>,
    /// Connections whose ends had certificates of different authorities.
    pub across: AtomicU64,
    /// Bytes that went out on the connection that stays open.
    pub sent: AtomicU64,
    /// Bytes that came back on it.
    pub returned: AtomicU64,
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let failures = self.failures().len();
        let [attempts, across, sent, returned] = [&self.attempts, &self.across, &self.sent, &self.returned]
            .map(|count| count.load(Ordering::SeqCst));
        write!(
            f,
            "attempts {attempts}, failures {failures}, between authorities {across}, \
             on the open connection {sent} bytes out and {returned} back"
        )
    }
}

impl Tally {
    /// A connection that did not do what it should.
    fn fail(&self, what: &str, error: &io::Error) {
        self.failures().push(format!("{what}: {error}"));
    }

    /// What went wrong so far.
    pub fn failures(&self) -> MutexGuard<'_, Vec<String>> {
        self.failures
            .lock()
            .expect("nothing panics while it holds this lock")
    }
}

/// Members that call each other until they are told to stop.
pub struct Mesh {
    /// What happened so far.
    pub tally: Arc<Tally>,
    stopping: Arc<AtomicBool>,
    callers: Vec<JoinHandle<()>>,
}

impl Mesh {
    /// Each member listens, and calls the others in turn; the first keeps one connection to the second for the whole time.
    pub async fn start(members: &[X509Source]) -> Self {
        let tally = Arc::new(Tally::default());
        let stopping = Arc::new(AtomicBool::new(false));
        let mut addresses = Vec::new();
        for member in members {
            addresses.push(listen(member, Arc::clone(&tally)).await);
        }
        let mut callers: Vec<_> = members
            .iter()
            .enumerate()
            .map(|(own, member)| {
                let caller = Caller::new(member, &tally, &stopping);
                let others = [&addresses[own + 1..], &addresses[..own]].concat();
                tokio::spawn(caller.call(others))
            })
            .collect();
        let first = Caller::new(&members[0], &tally, &stopping);
        callers.push(tokio::spawn(first.stay(addresses[1])));
        Self {
            tally,
            stopping,
            callers,
        }
    }

    /// Lets what is under way end.
    pub async fn stop(self) -> Arc<Tally> {
        self.stopping.store(true, Ordering::SeqCst);
        for caller in self.callers {
            caller.await.expect("a caller does not panic");
        }
        self.tally
    }
}

/// Answers on a free port for as long as the runtime lives.
async fn listen(member: &X509Source, tally: Arc<Tally>) -> SocketAddr {
    let acceptor = TlsAcceptor::from(Arc::new(member.server_config(peers(member))));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.expect("connections are accepted");
            let (acceptor, tally) = (acceptor.clone(), Arc::clone(&tally));
            tokio::spawn(async move {
                if let Err(error) = answer(acceptor, stream).await {
                    tally.fail("accepting", &error);
                }
            });
        }
    });
    address
}

/// Sends back what comes until the other end closes.
async fn answer(acceptor: TlsAcceptor, stream: TcpStream) -> io::Result<()> {
    let mut stream = acceptor.accept(stream).await?;
    let mut message = [0; MESSAGE.len()];
    loop {
        match stream.read_exact(&mut message).await {
            Ok(_) => stream.write_all(&message).await?,
            Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
            Err(e) => return Err(e),
        }
    }
}

fn peers(member: &X509Source) -> Authorize {
    Authorize::trust_domain(member.bundle().trust_domain())
}

struct Caller {
    source: X509Source,
    connector: TlsConnector,
    tally: Arc<Tally>,
    stopping: Arc<AtomicBool>,
}

impl Caller {
    fn new(source: &X509Source, tally: &Arc<Tally>, stopping: &Arc<AtomicBool>) -> Self {
        Self {
            source: source.clone(),
            connector: TlsConnector::from(Arc::new(source.client_config(peers(source)))),
            tally: Arc::clone(tally),
            stopping: Arc::clone(stopping),
        }
    }

    fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::SeqCst)
    }

    async fn call(self, others: Vec<SocketAddr>) {
        for address in others.iter().cycle() {
            if self.is_stopping() {
                return;
            }
            self.tally.attempts.fetch_add(1, Ordering::SeqCst);
            let called = tokio::time::timeout(PATIENCE, self.once(*address)).await;
            if let Err(error) = called.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())) {
                self.tally.fail(&format!("{} calling", self.source.id()), &error);
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn once(&self, address: SocketAddr) -> io::Result<()> {
        let mut stream = self.open(address).await?;
        exchange(&mut stream).await?;
        let theirs = stream.get_ref().1.peer_certificates().and_then(issuer);
        if theirs != issuer(self.source.svid().chain()) {
            self.tally.across.fetch_add(1, Ordering::SeqCst);
        }
        stream.shutdown().await
    }

    async fn stay(self, address: SocketAddr) {
        let stayed = async {
            let mut stream = self.open(address).await?;
            while !self.is_stopping() {
                self.tally.sent.fetch_add(MESSAGE.len() as u64, Ordering::SeqCst);
                exchange(&mut stream).await?;
                self.tally
                    .returned
                    .fetch_add(MESSAGE.len() as u64, Ordering::SeqCst);
                tokio::time::sleep(PAUSE / 10).await;
            }
            stream.shutdown().await
        };
        if let Err(error) = stayed.await {
            self.tally.fail("the connection that stays open", &error);
        }
    }

    async fn open(&self, address: SocketAddr) -> io::Result<TlsStream<TcpStream>> {
        let stream = TcpStream::connect(address).await?;
        let name = ServerName::try_from("peer.invalid").expect("a DNS name");
        self.connector.connect(name, stream).await
    }
}

async fn exchange(stream: &mut TlsStream<TcpStream>) -> io::Result<()> {
    stream.write_all(MESSAGE).await?;
    let mut answer = [0; MESSAGE.len()];
    stream.read_exact(&mut answer).await?;
    if answer == *MESSAGE {
        Ok(())
    } else {
        Err(io::Error::other("the answer is not what was sent"))
    }
}

/// The certificate of the authority above a leaf.
fn issuer<'a>(chain: &'a [CertificateDer<'static>]) -> Option<&'a CertificateDer<'static>> {
    chain.get(1)
}
