//! `cert renew`: once, or for ever as the library's source does it. The folder is swapped before the program of `--exec` runs.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use client_lib::boot_time::Reading;
use client_lib::renewal::Stage;
use client_lib::{Ca, Folder, KeyType, PrivateKey, Stored, Svid, SvidRefused, Wish, X509Source};
use identity::{Reason, TrustBundle, VerifyError};
use rustls::SignatureScheme;
use serde_json::json;
use tokio::process::Command;
use tokio::signal::unix::{SignalKind, signal};

use crate::cli::Global;
use crate::failure::Failure;
use crate::output::{self, Format};

pub(super) const EXAMPLE: &str = "Examples:\n  signet cert renew web\n  \
    signet cert renew web --daemon --exec systemctl reload nginx\n\n\
    With --daemon it renews half a life after receipt, tries again with growing pauses, and ends with SIGTERM. A wrong \
    clock changes nothing of that. While the folder cannot be written it renews in memory, and writes when it can again.";

const ENROL_AGAIN: &str = "enrol again with `signet cert issue` and a new proof";

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
    /// Verify the CA by this trust bundle (PEM) in place of the one in D, after a replacement of the root was
    /// missed
    #[arg(long, value_name = "FILE")]
    bundle: Option<PathBuf>,
    /// Program with its arguments (no shell), run after each renewal; takes the rest of the line
    #[arg(long, value_name = "ARGV", num_args = 1.., allow_hyphen_values = true)]
    exec: Vec<OsString>,
}

pub(super) async fn run(arguments: Arguments, global: &Global) -> Result<(), Failure> {
    let folder = Folder::new(&arguments.folder)?;
    let held = Held::read(&folder, arguments.bundle.as_deref())?;
    let is_due = held.stage() != Stage::Current;
    if arguments.force || (!arguments.daemon && is_due) {
        let next = held.renew(&folder).await?;
        report(&next, true, global.output)?;
        execute(&arguments.exec).await?;
    } else if !arguments.daemon {
        report(&held.svid, false, global.output)?;
    }
    if arguments.daemon {
        let held = Held::read(&folder, arguments.bundle.as_deref())?;
        return stay(held, &arguments, global.output).await;
    }
    Ok(())
}

/// A certificate folder that can be renewed.
struct Held {
    stored: Stored,
    key: PrivateKey,
    svid: Svid,
    /// The bundle given by hand, else that of the folder.
    bundle: TrustBundle,
}

impl Held {
    fn read(folder: &Folder, bundle: Option<&Path>) -> Result<Self, Failure> {
        let path = folder.path().display();
        let stored = folder.read()?.ok_or_else(|| {
            Failure::new(
                Reason::NotFound,
                format!("{path} does not exist, expected a folder that `signet cert issue` wrote"),
            )
        })?;
        let unusable = |e: SvidRefused| Failure::new(e.reason(), format!("{path}: {e}")).hint(ENROL_AGAIN);
        let svid = stored.svid_as_received().map_err(unusable)?;
        let (Some(svid), Some(key)) = (svid, stored.key.clone()) else {
            let message = format!("{path} holds no key, so it proves nothing");
            return Err(Failure::new(Reason::NoProof, message).hint(
                "it was issued for a CSR: `signet cert issue --csr F --certificate F --key F` renews it with the key you keep",
            ));
        };
        let bundle = match bundle {
            Some(file) => read_bundle(file, &stored)?,
            None => stored.bundle.clone(),
        };
        let held = Self {
            stored,
            key,
            svid,
            bundle,
        };
        if held.stage() == Stage::Lapsed {
            return Err(unusable(SvidRefused::Peers(VerifyError::Expired {
                not_after: held.svid.leaf().validity().not_after(),
                now: held.svid.receipt().ca_time_at(&Reading::now()),
            })));
        }
        Ok(held)
    }

    /// Whether the certificate is due, by the time since it was received.
    fn stage(&self) -> Stage {
        let receipt = self.svid.receipt();
        receipt.stage(receipt.renew_in(0.0), &Reading::now())
    }

    fn wish(&self) -> Wish {
        Wish {
            spiffe_id: Some(self.svid.id().clone()),
            dns_names: self.svid.leaf().dns_names().to_vec(),
            life: self.stored.life,
        }
    }

    /// The key is on disk before it is sent: without a folder that can be written there is nothing to renew
    /// for.
    async fn renew(self, folder: &Folder) -> Result<Svid, Failure> {
        let wish = self.wish();
        let pending = folder.next_key(key_type(&self.key)?, &[self.key.digest()])?;
        let request = pending.key.request(Some(self.svid.id()), &wish.dns_names)?;
        let receipt = self.svid.receipt();
        let mut ca = Ca::new(self.stored.server.clone())
            .trusting(Arc::new(self.bundle))
            .timed_by(receipt);
        let issued = ca
            .issue_next(&self.svid, &request, &wish)
            .await
            .inspect_err(|error| super::issue::forget(folder, error.reason()))?;
        let next = issued.snapshot(&pending.key, pending.age, Some(receipt))?;
        let stored = Stored::of(&next, &self.stored.server, self.stored.life);
        folder.write(&stored.enrolled_with(self.stored.proof))?;
        super::issue::warn_of_clock(next.svid().receipt(), next.svid().leaf());
        Ok(Svid::clone(next.svid()))
    }
}

fn read_bundle(file: &Path, stored: &Stored) -> Result<TrustBundle, Failure> {
    let text = std::fs::read(file).map_err(|e| Failure::file("read", file, &e))?;
    let bundle = TrustBundle::from_pem(stored.server.trust_domain().clone(), &text);
    let bundle = bundle.map_err(|e| Failure::content(file, e.to_string()))?;
    if bundle.roots().is_empty() {
        return Err(Failure::content(
            file,
            "no certificate, expected a root".to_owned(),
        ));
    }
    Ok(bundle)
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
    let mut reported = held.svid.leaf().serial();
    let mut builder = X509Source::resume(&arguments.folder)?
        .spiffe_id(held.svid.id().clone())
        .key_type(key_type(&held.key)?);
    if arguments.bundle.is_some() {
        builder = builder.bundle(held.bundle);
    }
    let source = builder.start().await?;
    let mut status = source.status();
    loop {
        let svid = source.svid();
        let serial = svid.leaf().serial();
        // The program is run for files that it can read; a certificate in memory is in the log.
        if serial != reported && status.borrow_and_update().stored == Some(serial) {
            reported = serial;
            // An output that cannot be written, on a full disk, does not end the renewals.
            if let Err(failure) = report(&svid, true, format) {
                output::complain(&failure, format);
            }
            if let Err(failure) = execute(&arguments.exec).await {
                output::complain(&failure, format);
            }
        }
        let changed = tokio::select! {
            _ = terminate.recv() => return Ok(()),
            _ = interrupt.recv() => return Ok(()),
            changed = status.changed() => changed,
        };
        if changed.is_err() {
            return Err(Failure::internal("renewal has ended by itself"));
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
    let receipt = svid.receipt();
    let (until, due) = (
        output::moment(svid.leaf().validity().not_after()),
        output::moment(receipt.due_at(receipt.renew_in(0.0), &Reading::now())),
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
