//! The faults of docs/FAULTS.md that can only be judged from outside, on a server in a process of its own.

mod limits;
mod names;
mod proofs;
mod races;
mod starts;
mod table;

use std::sync::Arc;

use time::OffsetDateTime;

use crate::support::{Admin, Server, Settings, wait_for};

fn configured(yaml: &str) -> Server {
    Server::start(Settings {
        config: Some(yaml.to_owned()),
        ..Settings::default()
    })
}

async fn admin(server: &Server) -> Admin {
    Admin::connect(&server.data()).await.expect("the server is there")
}

/// Waits for the second after this one: a certificate counts through its last second (RFC 5280 section 4.1.2.5).
fn until_past(end: OffsetDateTime) {
    let over = end + time::Duration::SECOND;
    tokio::task::block_in_place(|| {
        wait_for("its end", || (OffsetDateTime::now_utc() >= over).then_some(()));
    });
}

/// Runs all at once and returns what each ended with, in their order.
async fn at_once<T, F>(all: impl IntoIterator<Item = F>) -> Vec<T>
where
    T: Send + 'static,
    F: Future<Output = T> + Send + 'static,
{
    let gate = Arc::new(tokio::sync::Semaphore::new(0));
    let started: Vec<_> = all
        .into_iter()
        .map(|one| {
            let gate = Arc::clone(&gate);
            tokio::spawn(async move {
                let _open = gate.acquire().await;
                one.await
            })
        })
        .collect();
    gate.close();
    let mut ended = Vec::with_capacity(started.len());
    for one in started {
        ended.push(one.await.expect("it does not panic"));
    }
    ended
}
