//! Durable records of 700 bytes with four keys each: gathered in batches of 64, and one by one. Criterion divides by the
//! records, so both lines are time for a record; most of it is the disk's sync, not CPU.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use journal::{Journal, Options, Record, generate_signing_key};

const PAYLOAD_BYTES: usize = 700;

fn append(c: &mut Criterion) {
    let mut group = c.benchmark_group("append");
    for batch in [1, 64] {
        let dir = tempfile::tempdir().expect("a folder for the journal");
        let key = generate_signing_key().expect("random bytes");
        let opened = Journal::open(dir.path(), Options::new(key.to_vec())).expect("a new journal");
        let mut journal = opened.journal;
        let mut records = vec![new_record(0); batch];
        let mut next = 0;
        group.throughput(Throughput::Elements(batch as u64));
        group.bench_function(format!("batch of {batch}"), |b| {
            b.iter(|| {
                for record in &mut records {
                    next += 1;
                    for (field, fingerprint) in &mut record.keys {
                        *fingerprint = scatter(next * 4 + u64::from(*field));
                    }
                }
                journal.append(black_box(&records)).expect("the disk has space")
            });
        });
    }
    group.finish();
}

fn new_record(seed: u64) -> Record {
    let payload = (0..PAYLOAD_BYTES as u64)
        .map(|i| scatter(seed + i).to_le_bytes()[7])
        .collect();
    Record {
        kind: 1,
        ends: 1_800_000_000,
        keys: (1..=4).map(|field| (field, 0)).collect(),
        payload,
    }
}

/// Keys as a hash gives them: no order.
fn scatter(number: u64) -> u64 {
    number
        .wrapping_mul(0x9e37_79b9_7f4a_7c15)
        .rotate_left(31)
        .wrapping_mul(0xbf58_476d_1ce4_e5b9)
}

criterion_group!(benches, append);
criterion_main!(benches);
