//! Reads the configuration again on SIGHUP, and the files that it names when they change. All or nothing: what cannot be read leaves
//! in force what was.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use runtime::drain::Hangups;
use runtime::threads::run_task;

use super::Server;
use crate::audit::Audit;
use crate::caller::{Callers, CertificateJudge};
use crate::config::{ConfigError, Mode, ServerArgs, Settings};
use crate::store::Store;

/// How often the files are looked at.
const LOOK: Duration = Duration::from_secs(5);

struct Reload {
    args: ServerArgs,
    mode: Mode,
    settings: Settings,
    callers: Arc<Callers>,
    store: Arc<dyn Store>,
    audit: Arc<Audit>,
}

/// Watches until the process ends, on a thread of its own, as it reads files.
pub(super) fn spawn(server: &Server, args: ServerArgs, mode: Mode) -> io::Result<()> {
    let mut reload = Reload {
        args,
        mode,
        settings: server.settings.clone(),
        callers: Arc::clone(&server.callers),
        store: Arc::clone(&server.store) as Arc<dyn Store>,
        audit: Arc::clone(&server.audit),
    };
    run_task("reload", async move {
        let mut hangups = match Hangups::listen() {
            Ok(hangups) => hangups,
            Err(e) => {
                tracing::error!("SIGHUP cannot be received, the configuration is not read again: {e}");
                return;
            }
        };
        let mut watch = reload.settings.watch();
        loop {
            let asked = tokio::select! {
                () = hangups.next() => true,
                () = tokio::time::sleep(LOOK) => false,
            };
            if asked {
                reload.audit.reopen();
                reload.take(Settings::load(&reload.args, reload.mode));
                watch = reload.settings.watch();
            } else if watch.changed() {
                reload.take(reload.settings.reread());
            }
        }
    })
}

impl Reload {
    fn take(&mut self, read: Result<Settings, ConfigError>) {
        let fresh = match read {
            Ok(fresh) => fresh,
            Err(e) => {
                tracing::error!("the configuration was not taken, the old one stays in force: {e}");
                return;
            }
        };
        let fixed = self.settings.needs_restart(&fresh);
        if !fixed.is_empty() {
            tracing::warn!(
                "these fields count only at a start and stay as they were: {}",
                fixed.join(", ")
            );
        }
        let judge = CertificateJudge::new(Arc::clone(&self.store), fresh.certificate_providers().to_vec());
        self.callers.replace(judge, fresh.jwt_providers().to_vec());
        self.settings = fresh;
        tracing::info!("key sets and roots were read again");
    }
}
