//! Sources that run: one thread for each device, shared by the streams that show it in the same mode.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::sync::watch;

use super::{
    Granted, SourceError, SourceOptions, SourceSpec, Stop,
    devices::{self, Devices},
    thread::{Device, SourceState},
};
use crate::{
    error::ErrorKind,
    streams::{Origin, Owner, Publisher, StreamError, StreamId, StreamSnapshot, Streams},
};

/// How long a closing device is waited for. A driver that takes longer is left behind on its thread.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// Opens sources. Cloning shares what is open.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    options: SourceOptions,
    /// Devices that are open only once, by their stable names.
    devices: Mutex<HashMap<String, Leased>>,
}

#[derive(Debug)]
struct Leased {
    device: Arc<Device>,
    leases: usize,
}

/// Why a stream could not be opened from a source.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The source.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The stream.
    #[error(transparent)]
    Stream(#[from] StreamError),
}

impl OpenError {
    /// Class reported to peers.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Source(error) => error.kind(),
            Self::Stream(error) => error.kind(),
        }
    }
}

/// A stream that a source feeds. Dropping it closes the stream, and with its last stream the device: that waits for the
/// picture at hand.
#[derive(Debug)]
pub struct Running {
    // Before the publisher: the source's thread does not drop the last handle of one, as a linger needs a runtime.
    lease: Lease,
    publisher: Arc<Publisher>,
    granted: Granted,
}

/// The use of a device, until it is dropped.
#[derive(Debug)]
struct Lease {
    sources: Sources,
    device: Arc<Device>,
    /// Its name, if others may use it, too.
    name: Option<String>,
}

impl Sources {
    /// Nothing is open yet.
    pub fn new(options: SourceOptions) -> Self {
        Self { shared: Arc::new(Shared { options, devices: Mutex::default() }) }
    }

    /// What this machine has to capture from. Blocks for as long as the devices take to answer.
    pub fn list_devices(&self) -> Devices {
        devices::list(&self.shared.options)
    }

    /// Opens a stream that shows `spec`, and waits until its device is open. Blocks for as long as that takes.
    ///
    /// `owner`: who opens it. `stop`: ends the wait, and the opening with it if nobody else waits; it has
    /// no say in what is open.
    ///
    /// # Errors
    ///
    /// [`OpenError`]; subscribers that wait for the stream go on waiting.
    pub fn open(
        &self,
        streams: &Streams,
        id: &StreamId,
        spec: SourceSpec,
        owner: Owner,
        stop: &Stop,
    ) -> Result<Running, OpenError> {
        spec.check()?;
        if stop.is_set() {
            // Before a device is touched: this may have waited for its turn.
            return Err(SourceError::Abandoned { device: spec.mode() }.into());
        }
        // Before a camera lights up for a stream that cannot be.
        streams.check_free(id, owner.extension.as_deref())?;
        let origin = Origin { source: spec.kind(), owner, is_lossless: spec.is_lossless() };
        let lease = self.lease(spec)?;
        let granted = lease.device.wait_until_open(stop)?;
        let publisher = Arc::new(streams.open(id, origin)?);
        lease.device.attach(Arc::clone(&publisher));
        Ok(Running { publisher, granted, lease })
    }

    fn lease(&self, spec: SourceSpec) -> Result<Lease, SourceError> {
        let name = spec.shared_name()?;
        self.lease_by(name, spec)
    }

    fn lease_by(&self, name: Option<String>, spec: SourceSpec) -> Result<Lease, SourceError> {
        let Some(name) = name else {
            let device = Device::start(spec, self.shared.options.clone())?;
            return Ok(Lease { sources: self.clone(), device, name: None });
        };
        loop {
            let mut devices = self.devices();
            let Some(leased) = devices.get_mut(&name) else {
                let device = Device::start(spec, self.shared.options.clone())?;
                devices.insert(name.clone(), Leased { device: Arc::clone(&device), leases: 1 });
                return Ok(Lease { sources: self.clone(), device, name: Some(name) });
            };
            let device = Arc::clone(&leased.device);
            if device.is_over() {
                // Its thread is about to close it, or has.
                drop(devices);
                device.wait_until_done(CLOSE_TIMEOUT);
                self.forget(&name, &device);
            } else if device.spec().is_same_mode(&spec) {
                leased.leases += 1;
                return Ok(Lease { sources: self.clone(), device, name: Some(name) });
            } else {
                return Err(SourceError::UnsupportedMode {
                    device: name,
                    wanted: spec.mode(),
                    possible: vec![format!("{} (the mode in which it is open)", device.spec().mode())],
                });
            }
        }
    }

    fn forget(&self, name: &str, device: &Arc<Device>) {
        let mut devices = self.devices();
        if devices.get(name).is_some_and(|leased| Arc::ptr_eq(&leased.device, device)) {
            devices.remove(name);
        }
    }

    fn devices(&self) -> MutexGuard<'_, HashMap<String, Leased>> {
        self.shared.devices.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Running {
    /// What was granted.
    pub const fn granted(&self) -> &Granted {
        &self.granted
    }

    /// The stream.
    pub const fn publisher(&self) -> &Arc<Publisher> {
        &self.publisher
    }

    /// How the source is, from now on.
    pub fn state(&self) -> watch::Receiver<SourceState> {
        self.lease.device.watch()
    }

    /// Closes the stream and tells its last counters.
    pub fn close(self) -> StreamSnapshot {
        self.publisher.snapshot()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.lease.device.detach(&self.publisher);
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(name) = &self.name {
            let mut devices = self.sources.devices();
            if let Some(leased) = devices.get_mut(name)
                && Arc::ptr_eq(&leased.device, &self.device)
            {
                leased.leases -= 1;
                if leased.leases > 0 {
                    return;
                }
                // Under the lock: whoever comes now finds a device that is over, and waits.
                self.device.stop();
            }
        }
        self.device.stop();
        if !self.device.wait_until_done(CLOSE_TIMEOUT) {
            tracing::error!(mode = self.device.spec().mode(), "a device does not close: its thread is left behind");
        }
        if let Some(name) = &self.name {
            self.sources.forget(name, &self.device);
        }
    }
}

#[cfg(unix)]
#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::hanging::Hanging;

    #[tokio::test]
    async fn an_opening_goes_on_until_the_last_who_waits_for_it_has_gone() {
        let hanging = Hanging::new();
        let sources = Sources::new(hanging.options());
        let wait = |stop: &Stop| {
            let (lease, stop) = (sources.lease_by(Some("one".to_owned()), hanging.spec()).unwrap(), stop.clone());
            tokio::task::spawn_blocking(move || lease.device.wait_until_open(&stop))
        };
        let (stop, others) = (Stop::default(), Stop::default());
        let (first, second) = (wait(&stop), wait(&others));
        let begun = hanging.begun().await;
        drop(stop.on_drop());
        assert_eq!(first.await.unwrap().unwrap_err().reason(), "abandoned");
        assert!(!second.is_finished() && !sources.devices()["one"].device.is_over());
        others.set();
        begun.given_up().await;
        assert_eq!(second.await.unwrap().unwrap_err().reason(), "abandoned");
        assert!(sources.devices().is_empty());
    }
}
