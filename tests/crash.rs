//! The server is killed at random moments while clients enrol and renew. What a client was given it has put on disk, and all of
//! it must be found in the record; and what is in the record, a client that asks again is given.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::future::Future;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use client_lib::{Ca, KeyType, PrivateKey, Proof, Svid, Wish};
use identity::{JoinToken, TrustBundle};
use proto::v1::token::State;
use serde::{Deserialize, Serialize};
use tokio::sync::RwLock;
use zeroize::Zeroizing;

use crate::support::{Admin, DEADLINE, Server, Settings, run};

const KILLS: usize = 20;
const CLIENTS: usize = 6;
/// A client renews this often before it enrols anew.
const RENEWALS: usize = 2;
/// The server lives so long, in milliseconds after it was looked through.
const LIFE: std::ops::Range<u64> = 20..900;
const PAUSE: Duration = Duration::from_millis(10);

/// What a client puts on disk before it goes on.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Receipt {
    token: String,
    token_id: String,
    renewed: bool,
    key: String,
    serial: String,
    der: String,
}

/// What all clients share.
struct Field {
    data: PathBuf,
    bundle: Arc<TrustBundle>,
    /// Each attempt holds it for reading; whoever holds it for writing has quiet.
    quiet: RwLock<()>,
    stopping: AtomicBool,
    interrupted: AtomicUsize,
    repeats: AtomicUsize,
}

impl Field {
    /// Asks until there is an answer; only what a killed server may cause is borne.
    async fn insist<T, E, F>(&self, what: &str, may_pass: fn(&E) -> bool, ask: impl Fn() -> F) -> T
    where
        E: std::fmt::Display,
        F: Future<Output = Result<T, E>>,
    {
        let until = Instant::now() + DEADLINE;
        loop {
            let attempt = self.quiet.read().await;
            match ask().await {
                Ok(answer) => return answer,
                Err(e) => {
                    assert!(may_pass(&e), "{what} was refused: {e}");
                    assert!(Instant::now() < until, "{what} failed for {DEADLINE:?}: {e}");
                    self.interrupted.fetch_add(1, Ordering::SeqCst);
                }
            }
            drop(attempt);
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn token(&self, spiffe_id: &str) -> (String, String) {
        let created = || async {
            let admin = Admin::connect(&self.data).await.map_err(|e| e.to_string())?;
            admin.create_token(spiffe_id).await.map_err(|e| e.to_string())
        };
        self.insist("a token", |_| true, created).await
    }

    fn ca(&self, proof: &Proof) -> Ca {
        let server = proof.server().expect("a token names its server");
        Ca::new(server).trusting(Arc::clone(&self.bundle))
    }

    async fn enrol(&self, token: &str, key: &PrivateKey) -> Arc<Svid> {
        let proof = Proof::token(JoinToken::parse(token).expect("a token"));
        let ask = || async {
            let mut ca = self.ca(&proof);
            ca.enrol(&proof, key, &Wish::default()).await
        };
        let snapshot = self.insist("enrolment", client_lib::Error::may_pass, ask).await;
        Arc::clone(snapshot.svid())
    }

    async fn renew(&self, token: &str, own: &Svid, key: &PrivateKey) -> Arc<Svid> {
        let proof = Proof::token(JoinToken::parse(token).expect("a token"));
        let ask = || async {
            let mut ca = self.ca(&proof);
            ca.renew(own, key, &Wish::default()).await
        };
        let snapshot = self.insist("renewal", client_lib::Error::may_pass, ask).await;
        Arc::clone(snapshot.svid())
    }

    /// Enrols and renews until told to stop, and keeps what it was given.
    async fn client(self: Arc<Self>, number: usize, mut receipts: File) {
        let spiffe_id = format!("spiffe://example.org/ns/default/sa/client-{number}");
        while !self.stopping.load(Ordering::SeqCst) {
            let (token, id) = self.token(&spiffe_id).await;
            let first_key = key();
            let first = self.enrol(&token, &first_key).await;
            keep(&mut receipts, &token, &id, false, &first);
            let mut newest = Arc::clone(&first);
            for _ in 0..RENEWALS {
                newest = self.renew(&token, &newest, &key()).await;
                keep(&mut receipts, &token, &id, true, &newest);
            }
            self.repeat(&token, &first_key, &first.chain()[0]).await;
        }
    }

    async fn repeat(&self, token: &str, key: &PrivateKey, der: &[u8]) {
        let again = self.enrol(token, key).await;
        assert_eq!(
            &again.chain()[0][..],
            der,
            "the same request got another certificate"
        );
        self.repeats.fetch_add(1, Ordering::SeqCst);
    }
}

fn key() -> PrivateKey {
    PrivateKey::generate(KeyType::P256).expect("a key")
}

fn keep(receipts: &mut File, token: &str, token_id: &str, renewed: bool, svid: &Svid) {
    let receipt = Receipt {
        token: token.to_owned(),
        token_id: token_id.to_owned(),
        renewed,
        key: STANDARD.encode(svid.key().pkcs8()),
        serial: svid.leaf().serial().to_string(),
        der: STANDARD.encode(&svid.chain()[0]),
    };
    let line = serde_json::to_string(&receipt).expect("JSON");
    writeln!(receipts, "{line}").expect("a line is written");
    receipts.sync_data().expect("it is on disk");
}

/// What the clients have on disk, in the order of each.
fn received(folder: &Path) -> Vec<Vec<Receipt>> {
    let read = |number| {
        let text = std::fs::read_to_string(folder.join(format!("client-{number}"))).expect("receipts");
        let lines = text.lines().map(serde_json::from_str);
        lines.collect::<Result<_, _>>().expect("receipts in JSON")
    };
    (0..CLIENTS).map(read).collect()
}

/// Certificates in the journal that callers asked for: serial to token, empty for a renewal.
fn recorded(server: &Server) -> BTreeMap<String, String> {
    let mut by_serial = BTreeMap::new();
    let mut tokens = BTreeSet::new();
    for line in run(&mut server.signet(&["journal", "export"])).lines() {
        let entry: serde_json::Value = serde_json::from_str(line).expect("JSON");
        let issued = &entry["issued"];
        let text = |name: &str| issued[name].as_str().unwrap_or_default().to_owned();
        if !matches!(text("method").as_str(), "token" | "renewal") {
            continue;
        }
        let token = text("token");
        assert!(
            token.is_empty() || tokens.insert(token.clone()),
            "token {token} has two certificates"
        );
        let before = by_serial.insert(text("serial"), token);
        assert_eq!(
            before,
            None,
            "serial {} stands twice in the journal",
            text("serial")
        );
    }
    by_serial
}

/// Compares what the clients have with what the server says after its restart; returns how many answers were lost.
async fn look_through(server: &Server, field: &Field) -> usize {
    let admin = Admin::connect(&field.data).await.expect("the server is there");
    let received = received(server.folder());
    let recorded = tokio::task::block_in_place(|| recorded(server));
    let mut known = BTreeSet::new();
    for receipt in received.iter().flatten() {
        let found = admin.certificate(&receipt.serial).await;
        let found = found.unwrap_or_else(|e| panic!("{} is not found: {e}", receipt.serial));
        assert_eq!(STANDARD.encode(&found.der), receipt.der);
        assert!(recorded.contains_key(&receipt.serial));
        known.insert(&receipt.serial);
    }
    let tokens = admin.tokens().await.expect("tokens are listed");
    for token in &tokens {
        let spent = token.state() == State::Redeemed;
        let certificate = recorded.iter().find(|(_, redeemed)| **redeemed == token.id);
        assert_eq!(
            certificate.map(|(serial, _)| serial.as_str()),
            spent.then_some(token.redeemed_serial.as_str()),
            "token {} is {:?}",
            token.id,
            token.state()
        );
    }
    let listed: BTreeSet<_> = tokens.iter().map(|token| &token.id).collect();
    for receipts in &received {
        let Some(last) = receipts.iter().rfind(|receipt| !receipt.renewed) else {
            continue;
        };
        assert!(listed.contains(&last.token_id));
        let key = Zeroizing::new(STANDARD.decode(&last.key).expect("base64"));
        let key = PrivateKey::from_pkcs8(key).expect("a key");
        let der = STANDARD.decode(&last.der).expect("base64");
        let proof = Proof::token(JoinToken::parse(&last.token).expect("a token"));
        let again = field.ca(&proof).enrol(&proof, &key, &Wish::default()).await;
        let again = again.expect("the same request is answered after a restart");
        assert_eq!(&again.svid().chain()[0][..], der, "it got another certificate");
        field.repeats.fetch_add(1, Ordering::SeqCst);
    }
    recorded.keys().filter(|serial| !known.contains(serial)).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn after_twenty_kills_every_certificate_that_was_received_is_in_the_record_and_no_token_has_two() {
    let mut server = Server::up();
    let bundle = std::fs::read(server.fact("bundle")).expect("a bundle");
    let trust_domain = identity::TrustDomain::new(server.fact("trustDomain")).expect("a trust domain");
    let field = Arc::new(Field {
        data: server.data(),
        bundle: Arc::new(TrustBundle::from_pem(trust_domain, &bundle).expect("a bundle")),
        quiet: RwLock::new(()),
        stopping: AtomicBool::new(false),
        interrupted: AtomicUsize::new(0),
        repeats: AtomicUsize::new(0),
    });
    // Tokens name the port, so it stays.
    let address = server.fact("grpc").to_owned();
    let clients: Vec<_> = (0..CLIENTS)
        .map(|number| {
            let receipts = File::create(server.path(&format!("client-{number}"))).expect("a file");
            tokio::spawn(Arc::clone(&field).client(number, receipts))
        })
        .collect();

    let mut lost = 0;
    for _ in 0..KILLS {
        let life = LIFE.start + getrandom::u64().expect("random numbers") % (LIFE.end - LIFE.start);
        tokio::time::sleep(Duration::from_millis(life)).await;
        let (folder, _) = server.kill();
        let quiet = field.quiet.write().await;
        let settings = Settings {
            arguments: vec!["--listen-grpc".to_owned(), address.clone()],
            ..Settings::default()
        };
        server = tokio::task::block_in_place(|| Server::start_in(folder, settings));
        lost += look_through(&server, &field).await;
        drop(quiet);
    }
    field.stopping.store(true, Ordering::SeqCst);
    for client in clients {
        client.await.expect("a client that was served to its end");
    }

    // Whoever lost an answer has asked again and was given it: nothing is recorded that its client does not have.
    let unanswered = look_through(&server, &field).await;
    let recorded = recorded(&server);
    let renewed = recorded.values().filter(|token| token.is_empty()).count();
    println!(
        "{KILLS} kills; {} certificates by token and {renewed} by renewal; {} attempts failed, {lost} answers lost and given \
         again, {} requests repeated",
        recorded.len() - renewed,
        field.interrupted.load(Ordering::SeqCst),
        field.repeats.load(Ordering::SeqCst),
    );
    assert_eq!(unanswered, 0, "certificates that no client has");
    assert!(recorded.len() > KILLS * CLIENTS, "the load was none");
    let verified = run(&mut server.signet(&["journal", "verify"]));
    print!("{verified}");
}
