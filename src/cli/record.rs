//! `framehost record`: a stream of the running hub into a video file.
//!
//! Pictures come over gRPC, as every worker has them: the local socket carries messages for browsers, of 1 MiB at most.

use std::{future::pending, io, pin::Pin, process::ExitCode, time::Duration};

use serde_json::json;
use tokio::time::{Sleep, sleep};

use super::{arguments::RecordArguments, described, say, status, system::Interruptions};
use crate::{
    config::Config,
    error::ErrorKind,
    grpc::client::{Client, ClientError, Pictures, WatchOptions},
    hub::RuntimeFile,
    record::{RecordError, RecordOptions, Recorded, RecorderThread},
    streams::MAX_FIFO_DEPTH,
};

pub(super) fn run(arguments: &RecordArguments) -> anyhow::Result<ExitCode> {
    let paths = super::paths()?;
    let options = RecordOptions {
        path: arguments.output.clone(),
        force: arguments.force,
        lossy: arguments.lossy,
        ffmpeg: Config::read(&paths)?.ffmpeg,
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let result = RecorderThread::start(options).map_err(anyhow::Error::from).and_then(|recorder| {
        let hub = status::running(&paths)?;
        runtime.block_on(record(hub, recorder, arguments))
    });
    runtime.shutdown_background();
    match result {
        Ok(()) => Ok(ExitCode::SUCCESS),
        Err(error) if arguments.json => {
            say(json!({"error": described(&error)}))?;
            Ok(ExitCode::FAILURE)
        }
        Err(error) => Err(error),
    }
}

async fn record(
    hub: Option<RuntimeFile>,
    mut recorder: RecorderThread,
    arguments: &RecordArguments,
) -> anyhow::Result<()> {
    // From here on an interruption ends the recording well, whenever it comes.
    let mut interruptions = Interruptions::new()?;
    let hub = hub.ok_or(ClientError::NoHub)?;
    let mut client = Client::connect(&hub.grpc, &hub.token).await?;
    let mut pictures = tokio::select! {
        watching = watch(&mut client, arguments) => watching?,
        () = interruptions.next() => return Err(RecordError::Nothing { skipped: 0 }.into()),
    };
    let ended = carry(&mut pictures, &recorder, arguments, &mut interruptions).await;
    let (recorded, written) = tokio::select! {
        done = recorder.finish() => done,
        () = interruptions.next() => return Err(RecordError::BrokenOff.into()),
    };
    report(&recorded, pictures.dropped(), arguments.json)?;
    written?;
    Ok(ended?)
}

async fn watch(client: &mut Client, arguments: &RecordArguments) -> anyhow::Result<Pictures> {
    let options = WatchOptions { stream_id: arguments.stream_id.clone(), wait: arguments.wait, depth: MAX_FIFO_DEPTH };
    match client.watch(options).await {
        Ok(pictures) => Ok(pictures),
        Err(ClientError::Refused { kind: ErrorKind::NotFound, message }) => {
            let names = client.stream_ids().await?;
            let names = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
            let message = format!("{message}; there are: {names} (--wait waits for it)");
            Err(ClientError::Refused { kind: ErrorKind::NotFound, message }.into())
        }
        Err(error) => Err(error.into()),
    }
}

/// Hands pictures to the recorder until something ends it: the stream, a limit, the user, or the recorder itself.
async fn carry(
    pictures: &mut Pictures,
    recorder: &RecorderThread,
    arguments: &RecordArguments,
    interruptions: &mut Interruptions,
) -> Result<(), ClientError> {
    let mut left = arguments.frames.unwrap_or(u64::MAX);
    let mut time_is_up: Option<Pin<Box<Sleep>>> = None;
    while left > 0 {
        let next = async {
            match pictures.next().await {
                Ok(Some(frame)) => Ok(recorder.write(frame).await),
                Ok(None) => Ok(false),
                Err(error) => Err(error),
            }
        };
        let goes_on = tokio::select! {
            biased;
            () = interruptions.next() => return Ok(()),
            () = elapsed(&mut time_is_up) => return Ok(()),
            // The stream may be silent for long.
            () = recorder.failed() => return Ok(()),
            goes_on = next => goes_on?,
        };
        if !goes_on {
            return Ok(());
        }
        left -= 1;
        // From the first picture on, however long that was waited for.
        if let (None, Some(seconds)) = (&time_is_up, arguments.seconds) {
            time_is_up = Some(Box::pin(sleep(Duration::from_secs_f64(seconds))));
        }
    }
    Ok(())
}

async fn elapsed(time: &mut Option<Pin<Box<Sleep>>>) {
    match time {
        Some(time) => time.await,
        None => pending().await,
    }
}

/// Says what there is now.
pub(super) fn report(recorded: &Recorded, dropped: u64, as_json: bool) -> io::Result<()> {
    let Recorded { files, part, skipped, broken } = recorded;
    if as_json {
        let files: Vec<_> = files
            .iter()
            .map(|file| {
                json!({
                    "path": file.path, "codec": file.codec, "width": file.width, "height": file.height,
                    "frames": file.pictures, "bytes": file.bytes,
                    "first_timestamp_ms": file.first_timestamp_ms, "last_timestamp_ms": file.last_timestamp_ms,
                })
            })
            .collect();
        return say(json!({"recorded": {
            "files": files, "part": part, "dropped": dropped, "skipped": skipped, "broken": broken,
        }}));
    }
    for file in files {
        let (path, codec, width, height) = (file.path.display(), &file.codec, file.width, file.height);
        let (pictures, bytes, span) = (file.pictures, file.bytes, file.last_timestamp_ms - file.first_timestamp_ms);
        say(format_args!("{path}: {pictures} pictures of {width} x {height}, {codec}, {span} ms, {bytes} bytes"))?;
    }
    if let Some(part) = part {
        say(format_args!("not complete: {}", part.display()))?;
    }
    for (count, what) in [
        (dropped, "pictures dropped: disk or encoder were too slow"),
        (*skipped, "packets skipped: they came before the first key frame"),
        (*broken, "pictures left out: they could not be decoded"),
    ] {
        if count > 0 {
            say(format_args!("{count} {what}"))?;
        }
    }
    Ok(())
}
