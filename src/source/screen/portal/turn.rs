//! Whose turn it is to ask the user.

use std::{
    sync::{Mutex, MutexGuard, PoisonError, TryLockError},
    time::Instant,
};

use crate::source::{Stop, TICK};

static ASKING: Mutex<()> = Mutex::new(());

/// While it lives, nobody else in this process asks.
#[derive(Debug)]
pub(super) struct Turn {
    _asking: MutexGuard<'static, ()>,
}

impl Turn {
    /// Waits for the turn; `None` if it does not come before `due`, or `stop` does.
    pub(super) fn take(due: Instant, stop: &Stop) -> Option<Self> {
        loop {
            match ASKING.try_lock() {
                Ok(asking) => return Some(Self { _asking: asking }),
                Err(TryLockError::Poisoned(asking)) => return Some(Self { _asking: PoisonError::into_inner(asking) }),
                Err(TryLockError::WouldBlock) if Instant::now() < due && !stop.wait(TICK) => {}
                Err(TryLockError::WouldBlock) => return None,
            }
        }
    }
}
