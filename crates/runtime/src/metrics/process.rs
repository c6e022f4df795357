//! What Prometheus' users expect of any process, under the names of its client libraries, read from /proc at each scrape (proc(5)).

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Unit;
use std::fmt;
use std::fs;

/// Metrics of this process. What /proc does not tell is absent.
#[derive(Debug)]
pub(super) struct Process;

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut show = |name, help, unit: Option<Unit>, metric: &dyn EncodeMetric| {
            metric.encode(encoder.encode_descriptor(name, help, unit.as_ref(), metric.metric_type())?)
        };
        if let Some(bytes) = resident_bytes() {
            let help = "Resident memory size";
            show(
                "process_resident_memory",
                help,
                Some(Unit::Bytes),
                &ConstGauge::new(bytes),
            )?;
        }
        if let Some(files) = open_files() {
            show(
                "process_open_fds",
                "Number of open file descriptors",
                None,
                &ConstGauge::new(files),
            )?;
        }
        if let Some(times) = Times::read() {
            let help = "Total user and system CPU time spent";
            show(
                "process_cpu",
                help,
                Some(Unit::Seconds),
                &ConstCounter::new(times.cpu_seconds),
            )?;
            let help = "Start time of the process since the Unix epoch";
            show(
                "process_start_time",
                help,
                Some(Unit::Seconds),
                &ConstGauge::new(times.started),
            )?;
        }
        let help = "Lines of the log that were dropped, as stderr was not read";
        show(
            "signet_log_lines_dropped",
            help,
            None,
            &ConstCounter::new(crate::logs::lost()),
        )
    }
}

fn resident_bytes() -> Option<u64> {
    let statm = fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = statm.split(' ').nth(1)?.parse().ok()?;
    pages.checked_mul(u64::try_from(rustix::param::page_size()).ok()?)
}

fn open_files() -> Option<u64> {
    let listed = fs::read_dir("/proc/self/fd").ok()?.count();
    // The listing itself holds one.
    u64::try_from(listed.saturating_sub(1)).ok()
}

/// Seconds, with parts.
struct Times {
    cpu_seconds: f64,
    started: f64,
}

impl Times {
    fn read() -> Option<Self> {
        let stat = fs::read_to_string("/proc/self/stat").ok()?;
        let boot = fs::read_to_string("/proc/stat").ok()?;
        Self::parse(&stat, &boot, rustix::param::clock_ticks_per_second())
    }

    /// Fields 14, 15 and 22 of `stat`; the program's name, field 2, may hold anything, so counting begins after its closing bracket.
    fn parse(stat: &str, boot: &str, ticks_per_second: u64) -> Option<Self> {
        let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_ascii_whitespace().collect();
        let seconds = |number: usize| {
            let ticks: u32 = fields.get(number - 3)?.parse().ok()?;
            Some(f64::from(ticks) / f64::from(u32::try_from(ticks_per_second).ok()?))
        };
        let booted: u32 = boot
            .lines()
            .find_map(|line| line.strip_prefix("btime "))?
            .trim()
            .parse()
            .ok()?;
        Some(Self {
            cpu_seconds: seconds(14)? + seconds(15)?,
            started: f64::from(booted) + seconds(22)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, SystemTime, UNIX_EPOCH};

    #[test]
    fn a_program_name_with_brackets_and_blanks_does_not_shift_the_fields() {
        let stat = "7 (a) b (c) S 1 7 7 0 -1 4194304 100 0 0 0 250 50 0 0 20 0 4 0 1234 1000 200";
        let times = Times::parse(stat, "cpu 1\nbtime 1700000000\n", 100).unwrap();
        assert_eq!((times.cpu_seconds, times.started), (3.0, 1_700_000_012.34));
        assert!(Times::parse("7 (a) S", "btime 1", 100).is_none());
    }

    #[test]
    fn this_process_started_before_now_and_not_long_ago() {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap()
            .as_secs_f64();
        let started = Times::read().unwrap().started;
        let hour = Duration::from_secs(3600).as_secs_f64();
        assert!(
            started <= now + 2.0 && started > now - hour,
            "started {started}, now {now}"
        );
    }

    #[test]
    fn an_open_file_is_counted_and_memory_is_of_this_order() {
        let before = open_files().unwrap();
        // Other tests open files at the same time: many at once show above their noise.
        let many: Vec<_> = (0..200).map(|_| fs::File::open("/dev/null").unwrap()).collect();
        assert!(open_files().unwrap() >= before + 100);
        drop(many);
        let megabyte = 1 << 20;
        assert!((megabyte..1000 * megabyte).contains(&resident_bytes().unwrap()));
    }
}
