//! Flags, variables and file together, and what of them is refused.

use super::*;
use clap::{CommandFactory, Parser};
use serde_json::Value;

const SAMPLE: &str = include_str!("../../../docs/server.yaml");
const DOCUMENT: &str = include_str!("../../../docs/CONFIGURATION.md");
const JWKS: &str = r#"{"keys":[{"kty":"EC","crv":"P-256","use":"sig","kid":"1",
    "x":"MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4","y":"4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM"}]}"#;

#[derive(Parser)]
struct Command {
    #[command(flatten)]
    server: ServerArgs,
}

fn args(words: &[&str]) -> ServerArgs {
    Command::try_parse_from([&["server"], words].concat())
        .unwrap()
        .server
}

fn config(yaml: &str) -> Result<Config, ConfigError> {
    Config::parse(yaml, Path::new("server.yaml"))
}

fn settings(yaml: &str) -> Result<Settings, ConfigError> {
    let mut config = config(yaml)?;
    config
        .data_dir
        .get_or_insert_with(|| PathBuf::from("/var/lib/signet"));
    Settings::new(config, Mode::Server)
}

/// Every leaf of a mapping as `(path, value)`; lists are leaves.
fn leaves(value: &Value, path: &str, out: &mut Vec<String>) {
    match value.as_object() {
        Some(fields) => {
            for (name, value) in fields {
                let path = if path.is_empty() {
                    name.clone()
                } else {
                    format!("{path}.{name}")
                };
                leaves(value, &path, out);
            }
        }
        None => out.push(path.to_owned()),
    }
}

fn every_field() -> Vec<String> {
    let mut config = config(SAMPLE).unwrap();
    config.authentication = AuthenticationConfig::default();
    config.audit.file = Some(PathBuf::from("-"));
    let mut paths = Vec::new();
    let filled = Settings::new(config, Mode::Server).unwrap().config().clone();
    leaves(&serde_json::to_value(filled).unwrap(), "", &mut paths);
    paths
}

fn by_path(path: &str, between: char) -> String {
    let mut word = String::new();
    for c in path.chars() {
        match c {
            '.' => word.push(between),
            c if c.is_uppercase() => word.extend([between, c.to_ascii_lowercase()]),
            c => word.push(c),
        }
    }
    word
}

#[test]
fn the_sample_parses_and_shows_the_defaults() {
    let sample = config(SAMPLE).unwrap();
    let mut bare = Config::default();
    bare.data_dir.clone_from(&sample.data_dir);
    let defaults = Settings::new(bare, Mode::Server).unwrap();
    assert_eq!(sample.listen, defaults.config().listen);
    assert_eq!(sample.profiles, defaults.config().profiles);
    assert_eq!(sample.limits, defaults.config().limits);
    assert_eq!(sample.log.format, defaults.config().log.format);
    assert_eq!(sample.authentication.jwt.len(), 1);
    assert_eq!(
        sample.authentication.certificate[0].id_from,
        IdFromConfig::SerialNumber
    );
}

#[test]
fn every_field_is_a_flag_and_a_variable_by_its_path_and_stands_in_the_document() {
    let command = Command::command();
    let fields = every_field();
    assert!(fields.len() > 25, "{fields:?}");
    for path in fields {
        let flag = match path.as_str() {
            "dataDir" => "data".to_owned(),
            "serverNames" => "server-name".to_owned(),
            path => by_path(path, '-'),
        };
        let variable = match path.as_str() {
            "dataDir" => "SIGNET_DATA".to_owned(),
            path => format!("SIGNET_{}", by_path(path, '_').to_uppercase()),
        };
        let argument = command
            .get_arguments()
            .find(|argument| argument.get_long() == Some(flag.as_str()))
            .unwrap_or_else(|| panic!("no --{flag} for {path}"));
        assert_eq!(
            argument.get_env().and_then(|name| name.to_str()),
            Some(variable.as_str())
        );
        for word in [
            format!("`{path}`"),
            format!("`--{flag}`"),
            format!("`{variable}`"),
        ] {
            assert!(DOCUMENT.contains(&word), "{word} is not in docs/CONFIGURATION.md");
        }
    }
}

#[test]
fn every_flag_says_its_default_in_its_help() {
    for argument in Command::command().get_arguments() {
        let (id, help) = (
            argument.get_id().as_str(),
            argument.get_help().map(ToString::to_string),
        );
        if !["config", "print_config", "help"].contains(&id) {
            assert!(help.is_some_and(|help| help.contains("[default: ")), "{id}");
        }
    }
}

#[test]
fn a_flag_beats_the_file_and_the_file_beats_the_default() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("server.yaml");
    std::fs::write(
        &file,
        "limits: { perIdentity: 50/s, inFlight: 7 }\nlisten: { grpc: \"127.0.0.1:1\" }\n",
    )
    .unwrap();
    let file = file.to_str().unwrap();
    let words = [
        "--config",
        file,
        "--data",
        "x",
        "--limits-in-flight",
        "0",
        "--profiles-jwt-life",
        "1m",
    ];
    let settings = Settings::load(&args(&words), Mode::Up).unwrap();
    assert_eq!(settings.limits().in_flight, None);
    assert_eq!(
        settings.limits().per_identity.per_second().map(u32::from),
        Some(50)
    );
    assert_eq!(settings.addresses().grpc.to_string(), "127.0.0.1:1");
    assert_eq!(settings.addresses().crl.to_string(), "127.0.0.1:8080");
    assert_eq!(settings.profiles().jwt.life.as_secs(), 60);
    assert_eq!(settings.profiles().workload.default_life().as_secs(), 3600);
    assert!(settings.data_dir().is_absolute() && settings.data_dir().ends_with("x"));
    assert_eq!(
        *settings.audit(),
        AuditSink::File(settings.data_dir().join("audit.log"))
    );
}

#[test]
fn up_stays_on_loopback_and_a_server_is_open() {
    let addresses = |mode| {
        let config = Config {
            data_dir: Some(PathBuf::from("/d")),
            ..Config::default()
        };
        let settings = Settings::new(config, mode).unwrap();
        let Addresses {
            grpc,
            https,
            crl,
            dashboard,
            metrics,
        } = *settings.addresses();
        [grpc, https, crl, dashboard, metrics].map(|address| address.to_string())
    };
    let up = [
        "127.0.0.1:15012",
        "127.0.0.1:8443",
        "127.0.0.1:8080",
        "127.0.0.1:20001",
        "127.0.0.1:15014",
    ];
    assert_eq!(addresses(Mode::Up), up);
    let server = [
        "[::]:15012",
        "[::]:8443",
        "[::]:8080",
        "127.0.0.1:20001",
        "127.0.0.1:15014",
    ];
    assert_eq!(addresses(Mode::Server), server);
}

#[test]
fn what_is_in_force_prints_as_yaml_that_is_in_force_again() {
    let given = "serverNames: [ ca.example.org, 10.0.0.1 ]\nprofiles: { workload: { life: 90s } }\ncrl: { baseUrl: http://h/ }\n";
    let printed = settings(given).unwrap().to_yaml();
    let again = settings(&printed).unwrap();
    assert_eq!(again.to_yaml(), printed);
    assert_eq!(again.profiles().workload.default_life().as_secs(), 90);
    assert_eq!(again.server_names().len(), 2);
    assert!(printed.contains("inFlight: 512"), "{printed}");
}

#[test]
fn unknown_fields_and_wrong_values_are_refused_with_line_and_column() {
    for (yaml, line, column, word) in [
        ("dataDir: /d\nlimts: { inFlight: 1 }\n", 2, 1, "limts"),
        ("limits:\n  inFlight: 1\n  perHost: 0\n", 3, 3, "perHost"),
        ("limits:\n  perIdentity: 50\n", 2, 16, "50/s"),
        ("profiles:\n  jwt:\n    life: 5\n", 3, 11, "duration"),
        ("listen: { grpc: localhost }\n", 1, 17, "ADDR:PORT"),
        ("serverNames:\n  - ok\n  - \"*.bad\"\n", 3, 5, "server name"),
        ("serverNames: [ my_host ]\n", 1, 16, "server name"),
        (
            "crl: { baseUrl: 'http://[[' }\n",
            1,
            17,
            "its host is not a DNS name",
        ),
        ("trustDomain: Example.org\n", 1, 14, "trust domain"),
        ("limits: { inFlight: 1, inFlight: 2 }\n", 1, 24, "inFlight"),
        ("dataDir: [ a ]\n", 1, 10, "string"),
        ("listen: { grpc: \n", 1, 9, "bracket"),
    ] {
        let error = config(yaml).unwrap_err();
        let text = error.to_string();
        assert_eq!(error.position(), Some((line, column)), "{text}");
        assert!(
            text.starts_with(&format!("server.yaml:{line}:{column}: ")) && text.contains(word),
            "{text}"
        );
        assert!(!text.contains('\n') && !text.contains("at line"), "{text}");
    }
}

#[test]
fn a_broken_rule_names_its_field() {
    let jwt = |fields: &str| format!("authentication: {{ jwt: [ {{ {fields} }} ] }}");
    for (yaml, field) in [
        (
            "profiles: { device: { life: 91d } }".to_owned(),
            "profiles.device.life",
        ),
        ("profiles: { jwt: { life: 9s } }".to_owned(), "profiles.jwt.life"),
        (
            "profiles: { agent: { maxLife: 1h } }".to_owned(),
            "profiles.agent.life",
        ),
        ("serverNames: [ a, A ]".to_owned(), "serverNames"),
        (format!("serverNames: [ {} ]", numbered_names(100)), "serverNames"),
        (
            "listen: { grpc: '127.0.0.1:15014', metrics: '127.0.0.1:15014' }".to_owned(),
            "listen.metrics",
        ),
        ("audit: { file: /nowhere/audit.log }".to_owned(), "audit.file"),
        ("audit: { file: /tmp }".to_owned(), "audit.file"),
        (format!("dataDir: /{}", "d".repeat(120)), "dataDir"),
        (
            jwt("name: k8s, issuer: i, audiences: [ a ], jwksUrl: 'https://i'"),
            "authentication.jwt[0].jwksUrl",
        ),
        (
            jwt("name: k8s, issuer: i, audiences: [ a ]"),
            "authentication.jwt[0].jwksFile",
        ),
        (
            jwt("name: k8s, issuer: i, audiences: [], jwksFile: f"),
            "authentication.jwt[0].audiences",
        ),
        (
            jwt("name: 'a:b', issuer: i, audiences: [ a ], jwksFile: f"),
            "authentication.jwt[0].name",
        ),
        (
            jwt("name: self, issuer: i, audiences: [ a ], jwksFile: f"),
            "authentication.jwt[0].name",
        ),
    ] {
        let error = settings(&yaml).map(|_| ()).unwrap_err();
        assert_eq!(error.field(), Some(field), "{error}");
    }
}

#[test]
fn files_that_are_missing_or_broken_are_named_with_their_field_and_read_again_when_they_change() {
    let dir = tempfile::tempdir().unwrap();
    let (keys, roots) = (dir.path().join("keys.json"), dir.path().join("roots.pem"));
    let yaml = format!(
        "authentication:\n  jwt: [ {{ name: k8s, issuer: i, audiences: [ a ], jwksFile: {} }} ]\n  certificate: [ {{ name: factory, rootsFile: {}, idFrom: uri }} ]\n",
        keys.display(),
        roots.display()
    );
    let refused = |field: &str, file: &Path, why: &str| {
        let error = settings(&yaml).map(|_| ()).unwrap_err();
        assert_eq!((error.field(), error.file()), (Some(field), Some(file)));
        assert!(error.to_string().contains(why), "{error}");
    };
    refused("authentication.jwt[0].jwksFile", &keys, "No such file");
    std::fs::write(&keys, "{}").unwrap();
    refused("authentication.jwt[0].jwksFile", &keys, "JWK Set");
    std::fs::write(&keys, JWKS).unwrap();
    refused("authentication.certificate[0].rootsFile", &roots, "No such file");
    std::fs::write(&roots, "nothing").unwrap();
    refused(
        "authentication.certificate[0].rootsFile",
        &roots,
        "no certificate",
    );
    std::fs::write(&roots, root_pem()).unwrap();
    let good = settings(&yaml).unwrap();
    assert_eq!(
        (good.jwt_providers().len(), good.certificate_providers().len()),
        (1, 1)
    );
    let mut watch = good.watch();
    assert!(!watch.changed());
    std::fs::write(&keys, "broken").unwrap();
    assert!(watch.changed());
    assert!(good.reread().is_err());
    std::fs::write(&keys, JWKS).unwrap();
    assert!(watch.changed());
    assert!(good.needs_restart(&good.reread().unwrap()).is_empty());
}

fn numbered_names(count: usize) -> String {
    let names: Vec<String> = (0..count).map(|number| format!("n{number}")).collect();
    names.join(", ")
}

fn root_pem() -> String {
    let mut params = rcgen::CertificateParams::default();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    params
        .self_signed(&rcgen::KeyPair::generate().unwrap())
        .unwrap()
        .pem()
}

#[test]
fn a_reload_tells_which_changes_count_only_at_a_start() {
    let old = settings("").unwrap();
    let lives = settings("profiles: { workload: { life: 10m } }\nlimits: { inFlight: 9 }\n").unwrap();
    assert!(old.needs_restart(&lives).is_empty());
    let moved = settings("trustDomain: other.org\nlisten: { grpc: \"[::]:1\" }\n").unwrap();
    assert_eq!(old.needs_restart(&moved), ["trustDomain", "listen"]);
}

#[test]
fn a_server_without_names_has_those_of_this_machine() {
    let names = default_server_names();
    let first: Vec<&str> = names.iter().take(3).map(ServerName::as_str).collect();
    assert_eq!(first, ["localhost", "127.0.0.1", "::1"]);
}
