//! The table: medians, targets, and the best of others as measured on a machine of this kind.

use crate::rows::{Row, median, print as print_rows, say};

/// What was measured; ratios are in pairs.
#[derive(Default)]
pub(crate) struct Figures {
    pub(crate) cores: usize,
    /// Seconds of one pair, the mean of before and after each round.
    pub(crate) pair: Vec<f64>,
    pub(crate) issuance: Vec<f64>,
    pub(crate) signet_cpu: Vec<f64>,
    pub(crate) istio_cpu: Vec<f64>,
    /// Certificates a second, and that as a share of what all cores could do with nothing but pairs.
    pub(crate) signet_rate: Vec<(f64, f64)>,
    pub(crate) first_start: Vec<f64>,
    pub(crate) later_start: Vec<f64>,
    /// With the certificates of all rounds, which all still count.
    pub(crate) loaded_start: Vec<f64>,
    pub(crate) idle_bytes: Vec<f64>,
    /// Memory at the end of all rounds.
    pub(crate) loaded_bytes: Option<f64>,
    /// Certificates that were compared with the record.
    pub(crate) recorded: usize,
}

/// The whole table.
pub(crate) fn print(figures: &Figures) {
    let pair = median(&figures.pair);
    say(&format!(
        "\n{} cores; the pair (ring P-256 verify + sign) took {:.1} us of CPU; {} certificates, all in the record, none twice\n",
        figures.cores,
        pair * 1e6,
        figures.recorded
    ));
    print_rows(
        &rows(figures),
        &format!("{:24} {}", "best of others", "bounded by"),
    );
    if let Some(bytes) = figures.loaded_bytes {
        say(&format!("\nmemory after all rounds: {:.0} MB", bytes / 1e6));
    }
}

fn rows(figures: &Figures) -> Vec<Row> {
    let cpu = |what, values: &[f64], target, limit, field, bound_by| {
        let found = median(values);
        Row {
            what,
            found: format!("{found:.2} x"),
            target,
            met: found <= limit,
            remarks: remarks(field, bound_by),
        }
    };
    let seconds = |what, values: &[f64], target, limit, bound_by| {
        let found = median(values);
        Row {
            what,
            found: format!("{:.0} ms", found * 1e3),
            target,
            met: found <= limit,
            remarks: remarks("0.1 to 0.45 s", bound_by),
        }
    };
    let syncs = "syncs of the record";
    let rates: Vec<f64> = figures.signet_rate.iter().map(|(rate, _)| *rate).collect();
    let shares: Vec<f64> = figures.signet_rate.iter().map(|(_, share)| *share).collect();
    let (rate, share) = (median(&rates), median(&shares));
    let idle = median(&figures.idle_bytes) / 1e6;
    vec![
        cpu(
            "CPU per certificate inside issuance",
            &figures.issuance,
            "1.25 x",
            1.25,
            "2.7 x",
            "the pair",
        ),
        cpu(
            "server CPU per durable certificate, signet.v1",
            &figures.signet_cpu,
            "2.0 x",
            2.0,
            "4.7 x, 6.5 x with record",
            "the pair, HTTP/2, the kernel's sockets",
        ),
        cpu(
            "server CPU per durable certificate, istio.v1.auth",
            &figures.istio_cpu,
            "2.2 x",
            2.2,
            "4.7 x, no record",
            "the same, and PEM",
        ),
        Row {
            what: "durable certificates/s, load on the same cores",
            found: format!("{rate:.0} = {share:.2} x"),
            target: "0.30 x",
            met: share >= 0.30,
            remarks: remarks("2 400", "CPU of server and load generator"),
        },
        Row {
            what: "idle memory after first start",
            found: format!("{idle:.1} MB"),
            target: "40 MB",
            met: idle < 40.0,
            remarks: remarks("46 MB", "code and tables"),
        },
        seconds("first start to ready", &figures.first_start, "0.2 s", 0.2, syncs),
        seconds("later start to ready", &figures.later_start, "0.1 s", 0.1, syncs),
        seconds(
            "the same with all these certificates valid",
            &figures.loaded_start,
            "0.1 s",
            0.1,
            "the open segment, 32 MiB at most",
        ),
    ]
}

fn remarks(field: &str, bound_by: &str) -> String {
    format!("{field:24} {bound_by}")
}
