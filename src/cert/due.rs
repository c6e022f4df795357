//! `cert needs-renewal`: answers by its exit code, so that a timer can call `cert renew` only when it is time.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use client_lib::Folder;
use client_lib::boot_time::Reading;
use client_lib::renewal::{Receipt, Stage};
use identity::{Leaf, Validity};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use serde_json::json;

use super::OTHER_ERROR;
use crate::cli::Global;
use crate::failure::Failure;
use crate::output;

pub(super) const EXAMPLE: &str = "Example:\n  signet cert needs-renewal web && signet cert renew web";
const NO_SUCH_FILE: u8 = 2;
const NOT_DUE: u8 = 1;

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Folder of a certificate, or a PEM file, leaf first
    #[arg(value_name = "D|FILE")]
    path: PathBuf,
    /// Part of the life after which it is due
    #[arg(long, value_name = "PERCENT", default_value = "50%", value_parser = percent)]
    at: f64,
}

pub(super) fn run(arguments: &Arguments, global: &Global) -> Result<ExitCode, Failure> {
    let (validity, receipt) = read(&arguments.path)?;
    let now = Reading::now();
    let after = receipt.life().mul_f64(arguments.at);
    let due_at = receipt.due_at(after, &now);
    let is_due = receipt.stage(after, &now) != Stage::Current;
    let value = json!({
        "needsRenewal": is_due,
        "dueAt": output::moment(due_at),
        "notAfter": output::moment(validity.not_after()),
    });
    let (word, code) = if is_due {
        ("due since", ExitCode::SUCCESS)
    } else {
        ("due at", ExitCode::from(NOT_DUE))
    };
    output::show(global.output, &value, || {
        format!("{word} {}", output::moment(due_at))
    })
    .map_err(|e| e.exit(OTHER_ERROR))?;
    Ok(code)
}

/// A certificate folder says when its certificate was received: whether it is due does not depend on the wall
/// clock being right. Of a file only the validity is known.
fn read(path: &Path) -> Result<(Validity, Receipt), Failure> {
    let file = if path.is_dir() {
        path.join("svid.pem")
    } else {
        path.to_owned()
    };
    let text = std::fs::read(&file).map_err(|e| {
        let absent = e.kind() == std::io::ErrorKind::NotFound;
        Failure::file("read", &file, &e).exit(if absent { NO_SUCH_FILE } else { OTHER_ERROR })
    })?;
    let wrong = |why: String| Failure::content(&file, why).exit(OTHER_ERROR);
    let leaf = CertificateDer::from_pem_slice(&text)
        .map_err(|e| wrong(format!("{e}, expected a PEM certificate")))?;
    let validity = Leaf::parse(&leaf).map_err(|e| wrong(e.to_string()))?.validity();
    let stored = if path.is_dir() {
        Folder::new(path).and_then(|folder| folder.read())
    } else {
        Ok(None)
    };
    let receipt = match stored {
        Ok(Some(stored)) if stored.chain.first() == Some(&leaf) => stored.receipt,
        _ => None,
    };
    Ok((validity, receipt.unwrap_or_else(|| Receipt::assumed(validity))))
}

fn percent(text: &str) -> Result<f64, String> {
    let number = text.strip_suffix('%').unwrap_or(text).parse::<u8>().ok();
    match number.filter(|number| *number <= 100) {
        Some(number) => Ok(f64::from(number) / 100.0),
        None => Err(format!("found {text:?}, expected 0% to 100%")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_of_the_life_is_a_percentage() {
        assert_eq!(percent("50%"), Ok(0.5));
        assert_eq!(percent("0"), Ok(0.0));
        for bad in ["101%", "-1%", "half", ""] {
            assert!(percent(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_absent_file_and_a_wrong_one_have_codes_of_their_own() {
        let folder = tempfile::tempdir().unwrap();
        let code = |path: &Path| format!("{:?}", read(path).unwrap_err().exit_code());
        assert_eq!(
            code(&folder.path().join("none.pem")),
            format!("{:?}", ExitCode::from(2))
        );
        let wrong = folder.path().join("wrong.pem");
        std::fs::write(&wrong, "nonsense").unwrap();
        assert_eq!(code(&wrong), format!("{:?}", ExitCode::from(255)));
    }
}
