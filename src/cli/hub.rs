//! `framehost hub`.

use std::{process::ExitCode, time::Duration};

use anyhow::{Context, bail};
use tracing_subscriber::filter::LevelFilter;

use super::{arguments::HubArguments, system};
use crate::{
    config::{self, Config, ConfigError, Paths},
    hub::{
        self, HubOptions, HubSettings, RuntimeFile, VideoDirs,
        lock::{self, HubLock},
    },
    models::SharedModels,
    source::SourceOptions,
    telemetry::{self, Output},
};

/// How often a thread for work that blocks is used, so that it stays: less than the 10 s after which the runtime lets an
/// idle one go, and more than half of that, or two would stay in turns.
const KEEP_INTERVAL: Duration = Duration::from_secs(6);

/// Each so many of those rounds memory is given back: every 18 s.
const MEMORY_ROUNDS: u64 = 3;

/// Threads for sessions and calls: pictures of several streams in parallel, and no more than small machines have.
const WORKER_THREADS: usize = 4;

pub(super) fn run(arguments: &HubArguments) -> anyhow::Result<ExitCode> {
    let paths = super::paths()?;
    let output = if arguments.detached { Output::File(&paths.state_dir) } else { Output::Stderr };
    telemetry::start(output, super::log_level().as_deref(), LevelFilter::INFO);
    telemetry::crash::report_panics(&paths.state_dir, "hub");
    let result = serve(arguments, &paths);
    if let Err(error) = &result
        && arguments.detached
    {
        // Its standard error is nowhere.
        tracing::error!(error = super::in_full(error), "the hub could not run");
    }
    result
}

fn serve(arguments: &HubArguments, paths: &Paths) -> anyhow::Result<ExitCode> {
    if arguments.detached {
        // Away from the browser's process group and terminal: the hub outlives them.
        system::leave_session().context("cannot leave the browser's session")?;
    }
    paths.prepare_runtime_dir()?;
    let Some(lock) = lock::try_lock(&paths.runtime_dir).context("cannot take the hub's lock")? else {
        if arguments.detached {
            tracing::debug!("another hub holds the lock");
            return Ok(ExitCode::SUCCESS);
        }
        match RuntimeFile::read(&paths.runtime_dir) {
            Some(running) => bail!("a hub is running already: process {}, {}", running.pid, running.grpc),
            None => bail!("a hub is running already"),
        }
    };
    let idle_exit = match arguments.idle_exit {
        Some(seconds) => Some(Duration::from_secs(seconds.into())),
        None if arguments.detached => Some(super::idle_exit()?),
        None => None,
    };
    let settings = settings(paths, false)?;
    let options = HubOptions { runtime_dir: paths.runtime_dir.clone(), port: super::port()?, idle_exit, settings };
    let models = super::models::shared(paths)?;
    if arguments.detached {
        // Last of all, as variables may name directories from the one that we were started in.
        system::leave_directory(&paths.runtime_dir).context("cannot leave the browser's directory")?;
    }
    block_on(options, lock, models, || {
        let told_to_stop = system::told_to_stop();
        async {
            match told_to_stop {
                Ok(told_to_stop) => told_to_stop.await,
                Err(error) => {
                    tracing::error!(%error, "cannot wait for signals: only an idle exit ends this hub");
                    std::future::pending().await
                }
            }
            tracing::info!("told to stop");
        }
    })?;
    Ok(ExitCode::SUCCESS)
}

/// What a hub serves, by the configuration.
pub(super) fn settings(paths: &Paths, embedded: bool) -> Result<HubSettings, ConfigError> {
    let config = Config::read(paths)?;
    let sources = SourceOptions { ffmpeg: config.ffmpeg, state_dir: Some(paths.state_dir.clone()) };
    let read_from = paths.clone();
    // What cannot be read allows nothing.
    let video_dirs =
        VideoDirs::new(move || Config::read(&read_from).map(|config| config.video_dirs).unwrap_or_default());
    Ok(HubSettings { embedded, sources, video_dirs, grants: config::grants(paths) })
}

/// Runs a hub to its end on this thread and the workers it brings.
pub(super) fn block_on<Stop: Future<Output = ()>>(
    options: HubOptions,
    lock: HubLock,
    models: SharedModels,
    stop: impl FnOnce() -> Stop,
) -> anyhow::Result<()> {
    system::raise_descriptor_limit();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(std::thread::available_parallelism().map_or(1, usize::from).min(WORKER_THREADS))
        .thread_name("hub-worker")
        .enable_all()
        .build()
        .context("cannot start the hub's threads")?;
    runtime.spawn(keep_house());
    // Within the runtime, and before anybody can know of this hub: from then on a signal is heard.
    let result = runtime.block_on(async { hub::run(options, lock, models, stop()).await });
    // A file that is being hashed may not keep the process.
    runtime.shutdown_background();
    Ok(result?)
}

/// Gives back memory now and then, and sees to it that there always is a thread for work that blocks: where the system
/// gives no more of them, work waits for that one, and without it could not be done at all.
async fn keep_house() {
    for round in 0_u64.. {
        let work = move || {
            if round % MEMORY_ROUNDS == MEMORY_ROUNDS - 1 {
                hub::memory::give_back();
            }
        };
        if tokio::task::spawn_blocking(work).await.is_err() {
            return;
        }
        tokio::time::sleep(KEEP_INTERVAL).await;
    }
}
