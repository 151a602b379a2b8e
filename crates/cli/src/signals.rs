//! Signals that end a run: the first lets its step finish, the second does not wait.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;

/// SIGINT (Ctrl-C) and SIGTERM of this process.
#[derive(Debug)]
pub(crate) struct Signals {
    caught: Arc<AtomicUsize>,
    ends_at_once: Arc<AtomicBool>,
}

/// A signal that was caught.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Signal(usize);

impl Signals {
    /// Watches; until [`wait_for_steps`](Self::wait_for_steps) a signal ends the process at once,
    /// as it does without watching.
    ///
    /// # Errors
    /// Where the system refuses.
    pub(crate) fn watch() -> io::Result<Self> {
        let signals = Self {
            caught: Arc::default(),
            ends_at_once: Arc::new(AtomicBool::new(true)),
        };
        for signal in [SIGINT, SIGTERM] {
            // In this order: the first signal arms what ends the process at the second.
            let ends_at_once = &signals.ends_at_once;
            flag::register_conditional_shutdown(signal, 128 + signal, Arc::clone(ends_at_once))?;
            flag::register(signal, Arc::clone(ends_at_once))?;
            flag::register_usize(signal, Arc::clone(&signals.caught), signal as usize)?;
        }
        Ok(signals)
    }

    /// From now on the first signal is only noted.
    pub(crate) fn wait_for_steps(&self) {
        self.ends_at_once.store(false, Ordering::SeqCst);
    }

    /// From now on the first signal ends the process.
    pub(crate) fn end_at_once(&self) {
        self.ends_at_once.store(true, Ordering::SeqCst);
    }

    /// The signal that was noted.
    pub(crate) fn caught(&self) -> Option<Signal> {
        let signal = self.caught.load(Ordering::SeqCst);
        (signal > 0).then_some(Signal(signal))
    }
}

impl Signal {
    /// The signal that leaves this exit code; `None` for 0.
    pub(crate) fn of_exit_code(code: u8) -> Option<Self> {
        code.checked_sub(128)
            .map(|signal| Self(usize::from(signal)))
    }

    /// The exit code of a process that it ended, as shells have it.
    pub(crate) fn exit_code(self) -> u8 {
        128 + self.0 as u8
    }
}

impl std::fmt::Display for Signal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if self.0 == SIGINT as usize {
            "SIGINT"
        } else {
            "SIGTERM"
        })
    }
}
