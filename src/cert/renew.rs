//! `cert renew`: once, or for ever as the library's source does it. The folder is swapped before the program of `--exec` runs.

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use client_lib::renewal::{self, Stage};
use client_lib::{Ca, Folder, KeyType, PrivateKey, Proof, Stored, Svid, Wish, X509Source};
use identity::{Clock as _, Reason, SystemClock, TrustBundle};
use rustls::SignatureScheme;
use serde_json::json;
use tokio::process::Command;
use tokio::signal::unix::{SignalKind, signal};

use crate::cli::Global;
use crate::failure::Failure;
use crate::output::{self, Format};

pub(super) const EXAMPLE: &str = "Examples:\n  signet cert renew web\n  \
    signet cert renew web --daemon --exec systemctl reload nginx\n\n\
    With --daemon it renews at the middle of each life, tries again with growing pauses, and ends with SIGTERM.";

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Folder that `cert issue` wrote
    #[arg(value_name = "D")]
    folder: PathBuf,
    /// Renew even if it is not due
    #[arg(long)]
    force: bool,
    /// Stay, and renew whenever it is due
    #[arg(long)]
    daemon: bool,
    /// Program with its arguments (no shell), run after each renewal; takes the rest of the line
    #[arg(long, value_name = "ARGV", num_args = 1.., allow_hyphen_values = true)]
    exec: Vec<OsString>,
}

pub(super) async fn run(arguments: Arguments, global: &Global) -> Result<(), Failure> {
    let folder = Folder::new(&arguments.folder)?;
    let held = Held::read(&folder)?;
    let due = renewal::stage(
        held.svid.leaf().validity(),
        held.svid.leaf().validity().middle(),
        SystemClock.now(),
    );
    if arguments.force || (!arguments.daemon && due == Stage::Due) {
        let next = held.renew(&folder).await?;
        report(&next, true, global.output)?;
        execute(&arguments.exec).await?;
    } else if !arguments.daemon {
        report(&held.svid, false, global.output)?;
    }
    if arguments.daemon {
        return stay(Held::read(&folder)?, &arguments, global.output).await;
    }
    Ok(())
}

/// A certificate folder that can be renewed.
struct Held {
    stored: Stored,
    key: PrivateKey,
    svid: Svid,
}

impl Held {
    fn read(folder: &Folder) -> Result<Self, Failure> {
        let path = folder.path().display();
        let stored = folder.read()?.ok_or_else(|| {
            Failure::new(
                Reason::NotFound,
                format!("{path} does not exist, expected a folder that `signet cert issue` wrote"),
            )
        })?;
        let key = stored.key.clone().ok_or_else(|| {
            Failure::new(Reason::NoProof, format!("{path} holds no key, so it proves nothing"))
                .hint("it was issued for a CSR: `signet cert issue --csr F --certificate F --key F` renews it with the key you keep")
        })?;
        let svid = Svid::new(
            stored.chain.clone(),
            key.clone(),
            &stored.bundle,
            SystemClock.now(),
        )
        .map_err(|e| {
            Failure::new(e.reason(), format!("{path}: {e}"))
                .hint("enrol again with `signet cert issue` and a new proof")
        })?;
        Ok(Self { stored, key, svid })
    }

    fn wish(&self) -> Wish {
        Wish {
            spiffe_id: Some(self.svid.id().clone()),
            dns_names: self.svid.leaf().dns_names().to_vec(),
            life: self.stored.life,
        }
    }

    async fn renew(self, folder: &Folder) -> Result<Svid, Failure> {
        let wish = self.wish();
        let key = folder.pending_key(key_type(&self.key)?)?;
        let mut ca = Ca::new(self.stored.server.clone()).trusting(Arc::new(self.stored.bundle.clone()));
        let next = ca
            .renew(&self.svid, &key, &wish)
            .await
            .inspect_err(|error| super::issue::forget(folder, error.reason()))?;
        folder.write(&Stored {
            chain: next.svid().chain().to_vec(),
            key: Some(key),
            bundle: TrustBundle::clone(next.bundle()),
            ..self.stored
        })?;
        Ok(Svid::clone(next.svid()))
    }
}

/// What kind of key to make next: the kind there is.
fn key_type(key: &PrivateKey) -> Result<KeyType, Failure> {
    let signer = key.signing_key()?;
    let kinds = [
        (SignatureScheme::ECDSA_NISTP256_SHA256, KeyType::P256),
        (SignatureScheme::ECDSA_NISTP384_SHA384, KeyType::P384),
        (SignatureScheme::ED25519, KeyType::Ed25519),
        (SignatureScheme::RSA_PSS_SHA256, KeyType::Rsa2048),
    ];
    let found = kinds
        .into_iter()
        .find(|(scheme, _)| signer.choose_scheme(&[*scheme]).is_some());
    Ok(found.map(|(_, kind)| kind).unwrap_or_default())
}

async fn stay(held: Held, arguments: &Arguments, format: Format) -> Result<(), Failure> {
    let (mut terminate, mut interrupt) = (listen(SignalKind::terminate())?, listen(SignalKind::interrupt())?);
    runtime::logs::start(runtime::logs::Format::Text, None).map_err(Failure::internal)?;
    let wish = held.wish();
    let mut builder = X509Source::builder(Proof::certificate(held.stored.chain, &held.key)?)
        .server(held.stored.server)
        .bundle(held.stored.bundle)
        .spiffe_id(held.svid.id().clone())
        .key_type(key_type(&held.key)?)
        .folder(&arguments.folder);
    for name in wish.dns_names {
        builder = builder.dns_name(name);
    }
    if let Some(life) = wish.life {
        builder = builder.life(life);
    }
    let source = builder.start().await?;
    let mut identities = source.identities().clone();
    let mut serial = source.svid().leaf().serial();
    loop {
        let changed = tokio::select! {
            _ = terminate.recv() => return Ok(()),
            _ = interrupt.recv() => return Ok(()),
            changed = identities.changed() => changed,
        };
        let Some(snapshot) = changed else {
            return Err(Failure::internal("renewal has ended by itself"));
        };
        let next = snapshot.svid().leaf().serial();
        // The trust bundle alone may change too.
        if next != serial {
            serial = next;
            report(snapshot.svid(), true, format)?;
            if let Err(failure) = execute(&arguments.exec).await {
                output::complain(&failure, format);
            }
        }
    }
}

fn listen(kind: SignalKind) -> Result<tokio::signal::unix::Signal, Failure> {
    signal(kind).map_err(|e| Failure::internal(format!("cannot listen for signals: {e}")))
}

async fn execute(argv: &[OsString]) -> Result<(), Failure> {
    let Some((program, arguments)) = argv.split_first() else {
        return Ok(());
    };
    let named = program.to_string_lossy();
    let status = Command::new(program)
        .args(arguments)
        .status()
        .await
        .map_err(|e| Failure::internal(format!("certificate is renewed, but {named} cannot be run: {e}")))?;
    if status.success() {
        return Ok(());
    }
    Err(Failure::internal(format!(
        "certificate is renewed, but {named} failed: {status}"
    )))
}

fn report(svid: &Svid, renewed: bool, format: Format) -> Result<(), Failure> {
    let validity = svid.leaf().validity();
    let (until, due) = (
        output::moment(validity.not_after()),
        output::moment(validity.middle()),
    );
    let value = json!({
        "renewed": renewed,
        "spiffeId": svid.id().as_str(),
        "serial": svid.leaf().serial().to_string(),
        "notAfter": until,
        "dueAt": due,
    });
    output::show(format, &value, || {
        if renewed {
            format!(
                "{} renewed until {until}, serial {}",
                svid.id(),
                svid.leaf().serial()
            )
        } else {
            format!("{} is not due before {due}; --force renews it now", svid.id())
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_key_is_of_the_kind_of_the_present_one() {
        for kind in KeyType::ALL {
            let key = PrivateKey::generate(*kind).unwrap();
            assert_eq!(key_type(&key).unwrap(), *kind);
        }
    }

    #[tokio::test]
    async fn a_program_gets_its_arguments_without_a_shell_and_its_failure_is_told() {
        let argv = |words: &[&str]| words.iter().map(OsString::from).collect::<Vec<_>>();
        execute(&argv(&["test", "$HOME", "=", "$HOME"])).await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        let name = folder.path().join("a b;c");
        execute(&[OsString::from("touch"), name.clone().into_os_string()])
            .await
            .unwrap();
        assert!(name.exists());
        assert!(
            execute(&argv(&["false"]))
                .await
                .unwrap_err()
                .text()
                .contains("false failed")
        );
        assert!(execute(&argv(&["/no/such/program"])).await.is_err());
        execute(&[]).await.unwrap();
    }
}
