//! The independent validators: crypto/x509 by way of one Go program, `openssl verify`, and rustls-webpki.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls_pki_types::{CertificateDer, UnixTime};
use serde_json::{Value, json};
use webpki::{EndEntityCert, KeyUsage, anchor_from_trusted_cert};

use super::certificate::NOW;
use super::generator::Case;
use crate::support::{repository, run};

/// Most cases that one `openssl verify` takes.
const GROUP: usize = 40;

/// The message of a validator that refuses; empty where it accepts.
pub type Objection = String;

/// The results of one validator for one case.
#[derive(Clone, Default)]
pub struct Results {
    pub client: Objection,
    pub server: Objection,
}

/// The results of crypto/x509 for a case, and the facts that it reads in the leaf; null if it cannot read it.
pub struct GoResults {
    pub results: Results,
    pub leaf: Value,
}

/// Has one Go program verify all cases.
pub fn go(cases: &[Case], folder: &Path) -> Vec<GoResults> {
    let program = folder.join("verify");
    let cache = Path::new(env!("CARGO_TARGET_TMPDIR")).join("go");
    run(Command::new("go")
        .current_dir(repository("tests/go/verify"))
        .env("GOCACHE", cache)
        .envs([
            ("GOTOOLCHAIN", "local"),
            ("GOPROXY", "off"),
            ("GOFLAGS", ""),
            ("CGO_ENABLED", "0"),
        ])
        .args(["build", "-o"])
        .arg(&program));
    let encode = |list: &[Vec<u8>]| list.iter().map(|der| STANDARD.encode(der)).collect::<Vec<_>>();
    let mut input = String::new();
    for case in cases {
        let line = json!({ "roots": encode(&case.roots), "chain": encode(&case.chain), "now": NOW });
        writeln!(input, "{line}").expect("a string grows");
    }
    let file = folder.join("cases.json");
    std::fs::write(&file, input).expect("a file of cases");
    let output =
        run(Command::new(program).stdin(Stdio::from(std::fs::File::open(file).expect("it is there"))));
    let text = |value: &Value| value.as_str().expect("a string").to_owned();
    let lines = output.lines().map(|line| {
        let found: Value = serde_json::from_str(line).expect("JSON");
        let (client, server) = (text(&found["client"]), text(&found["server"]));
        let leaf = found["leaf"].clone();
        GoResults {
            results: Results { client, server },
            leaf,
        }
    });
    lines.collect()
}

/// Has `openssl verify` verify all cases. Cases whose certificates have names of their own share a process.
pub fn openssl(cases: &[Case], folder: &Path) -> Vec<Results> {
    let (alone, grouped): (Vec<&Case>, Vec<&Case>) = cases.iter().partition(|case| case.shares_names());
    let groups: Vec<&[&Case]> = grouped.chunks(GROUP).chain(alone.chunks(1)).collect();
    let share = groups.len().div_ceil(2).max(1);
    let found: BTreeMap<usize, Results> = std::thread::scope(|scope| {
        let halves: Vec<_> = groups
            .chunks(share)
            .map(|half| {
                scope.spawn(|| {
                    half.iter()
                        .flat_map(|group| verify_group(group, folder))
                        .collect::<Vec<_>>()
                })
            })
            .collect();
        halves
            .into_iter()
            .flat_map(|half| half.join().expect("it does not panic"))
            .collect()
    });
    cases.iter().map(|case| found[&case.index].clone()).collect()
}

fn verify_group(group: &[&Case], folder: &Path) -> Vec<(usize, Results)> {
    let client = run_openssl(group, "sslclient", folder);
    let server = run_openssl(group, "sslserver", folder);
    let complete = [&client, &server]
        .iter()
        .all(|results| results.len() == group.len());
    match group {
        _ if complete => {
            let both = client.into_iter().zip(server.into_values());
            both.map(|((index, client), server)| (index, Results { client, server }))
                .collect()
        }
        // A certificate that openssl cannot load keeps it from verifying anything.
        [case] => {
            let (client, server) = ("cannot be loaded".to_owned(), "cannot be loaded".to_owned());
            vec![(case.index, Results { client, server })]
        }
        several => several
            .iter()
            .flat_map(|case| verify_group(&[*case], folder))
            .collect(),
    }
}

/// Runs one `openssl verify` and returns its message for each leaf.
fn run_openssl(group: &[&Case], purpose: &str, folder: &Path) -> BTreeMap<usize, Objection> {
    let name = |kind: &str| folder.join(format!("{purpose}-{}-{kind}.pem", group[0].index));
    let write = |file: PathBuf, certificates: &mut dyn Iterator<Item = &Vec<u8>>| {
        let text: String = certificates
            .map(|der| identity::bundle::certificate_pem(der))
            .collect();
        std::fs::write(&file, text).expect("a file of certificates");
        file
    };
    let mut command = Command::new("openssl");
    command
        .current_dir(folder)
        .args(["verify", "-x509_strict", "-purpose", purpose]);
    command.args([
        "-no-CApath",
        "-no-CAfile",
        "-no-CAstore",
        "-attime",
        &NOW.to_string(),
    ]);
    let roots = write(name("roots"), &mut group.iter().flat_map(|case| &case.roots));
    let above = write(name("above"), &mut group.iter().flat_map(|case| &case.chain[1..]));
    for (option, file) in [("-trusted", roots), ("-untrusted", above)] {
        if std::fs::metadata(&file).expect("it is there").len() > 0 {
            command.arg(option).arg(file);
        }
    }
    for case in group {
        let leaf = write(
            folder.join(format!("{}.pem", case.index)),
            &mut case.chain[..1].iter(),
        );
        command.arg(leaf.file_name().expect("it has a name"));
    }
    let output = command.output().expect("openssl runs");
    let index = |file: &str| file.strip_suffix(".pem").and_then(|number| number.parse().ok());
    let text = String::from_utf8_lossy(&output.stdout);
    let accepted = text.lines().filter_map(|line| index(line.strip_suffix(": OK")?));
    let mut found: BTreeMap<usize, Objection> = accepted.map(|index| (index, String::new())).collect();
    let mut objections = Vec::new();
    for line in String::from_utf8_lossy(&output.stderr).lines() {
        if let Some((_, objection)) = line.split_once(" depth lookup: ") {
            objections.push(objection.to_owned());
        } else if let Some(file) = line
            .strip_prefix("error ")
            .and_then(|rest| rest.strip_suffix(": verification failed"))
        {
            let index = index(file).expect("a file of a leaf");
            found.insert(index, std::mem::take(&mut objections).join(", "));
        }
    }
    found
}

/// Has rustls-webpki verify a case.
pub fn webpki(case: &Case) -> Results {
    let roots: Vec<CertificateDer<'_>> = case
        .roots
        .iter()
        .map(|der| CertificateDer::from(&der[..]))
        .collect();
    let anchors: Vec<_> = roots
        .iter()
        .filter_map(|root| anchor_from_trusted_cert(root).ok())
        .collect();
    let chain: Vec<CertificateDer<'_>> = case
        .chain
        .iter()
        .map(|der| CertificateDer::from(&der[..]))
        .collect();
    let now = UnixTime::since_unix_epoch(std::time::Duration::from_secs(NOW.unsigned_abs()));
    let verify = |usage: KeyUsage| -> Objection {
        let result = EndEntityCert::try_from(&chain[0]).and_then(|leaf| {
            let algorithms = webpki::ALL_VERIFICATION_ALGS;
            leaf.verify_for_usage(algorithms, &anchors, &chain[1..], now, usage, None, None)
                .map(|_| ())
        });
        result.err().map_or(String::new(), |error| error.to_string())
    };
    Results {
        client: verify(KeyUsage::client_auth()),
        server: verify(KeyUsage::server_auth()),
    }
}
