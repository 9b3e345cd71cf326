//! `framehost status`: asks the running hub over its local socket, as a session like any other.

use std::{
    io::{self, Write},
    process::{self, ExitCode},
    time::Duration,
};

use anyhow::{Context, bail};
use serde_json::{Value, json};

use super::{arguments::StatusArguments, say};
use crate::{
    config::{ConfigError, Paths},
    framing::{MAX_INBOUND_BODY, encode_prefix},
    hub::RuntimeFile,
    link::{self, Frame, HubPreamble, LinkError, RelayPreamble},
    local::Stream,
    relay,
};

/// How long the hub may take for each answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

pub(super) fn run(arguments: &StatusArguments) -> anyhow::Result<ExitCode> {
    let Some((mut hub, _)) = connect(&super::paths()?)? else {
        say(if arguments.json { r#"{"running":false}"# } else { "no hub is running" })?;
        return Ok(ExitCode::FAILURE);
    };
    let mut status = overview_of(&mut hub)?;
    let streams = streams(&mut hub)?;
    if let Some(fields) = status.as_object_mut() {
        fields.insert("running".to_owned(), true.into());
        fields.insert("streams".to_owned(), streams.into());
    }
    if arguments.json {
        say(status)?
    } else {
        print(&status)?
    }
    Ok(ExitCode::SUCCESS)
}

/// What the running hub tells of itself, without its streams; `None` if none runs.
pub(super) fn overview(paths: &Paths) -> anyhow::Result<Option<Value>> {
    connect(paths)?.map(|(mut hub, _)| overview_of(&mut hub)).transpose()
}

/// Where the running hub is; `None` if none runs. A file that a killed hub has left names nobody, and its port may be
/// somebody else's by now: the hub itself says who it is.
pub(super) fn running(paths: &Paths) -> anyhow::Result<Option<RuntimeFile>> {
    let Some((_, hub)) = connect(paths)? else {
        return Ok(None);
    };
    // It has written the file before it could be connected to.
    Ok(RuntimeFile::read(&paths.runtime_dir).filter(|file| file.pid == hub.pid))
}

/// The session that asks is left out.
fn overview_of(hub: &mut Stream) -> anyhow::Result<Value> {
    let mut status = ask(hub, &json!({"id": 1, "type": "status"}))?;
    if let Some(sessions) = status.get_mut("sessions").and_then(Value::as_array_mut) {
        sessions.retain(|session| session.get("pid") != Some(&json!(process::id())));
    }
    Ok(status)
}

fn connect(paths: &Paths) -> anyhow::Result<Option<(Stream, HubPreamble)>> {
    // Another user's would be believed, and workers sent there with the user's tokens.
    match paths.check_runtime_dir() {
        Ok(()) => {}
        Err(ConfigError::Directory { source, .. }) if source.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.into()),
    }
    let preamble =
        RelayPreamble { version: env!("CARGO_PKG_VERSION").to_owned(), argv: Vec::new(), pid: process::id() };
    match relay::dial(&paths.runtime_dir, &preamble) {
        Ok((hub, preamble)) => {
            hub.set_read_timeout(Some(ANSWER_TIMEOUT))?;
            Ok(Some((hub, preamble)))
        }
        Err(LinkError::Io(error))
            if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) =>
        {
            Ok(None)
        }
        Err(error) => Err(error).context("the hub does not answer"),
    }
}

fn ask(hub: &mut Stream, request: &Value) -> anyhow::Result<Value> {
    let body = serde_json::to_vec(request)?;
    let message = [&encode_prefix(body.len(), MAX_INBOUND_BODY)?[..], &body].concat();
    // A hub that has no place says so and leaves, perhaps before we have asked: its word comes first.
    let asked = hub.write_all(&message);
    let Frame::Message(answer) = link::read_frame(hub).context("the hub does not answer")? else {
        bail!("the hub is leaving");
    };
    let mut answer: Value = serde_json::from_slice(&answer)?;
    match answer.get_mut("ok") {
        Some(ok) => {
            asked?;
            Ok(ok.take())
        }
        None => bail!("the hub refused: {}", show(answer.get("error").unwrap_or(&answer), "message")),
    }
}

fn streams(hub: &mut Stream) -> anyhow::Result<Vec<Value>> {
    let mut streams = Vec::new();
    let mut page_token = Value::Null;
    loop {
        let mut page = ask(hub, &json!({"id": 2, "type": "stream.list", "page_token": page_token}))?;
        if let Some(items) = page.get_mut("streams").and_then(Value::as_array_mut) {
            streams.append(items);
        }
        page_token = page.get_mut("next_page_token").map(Value::take).unwrap_or_default();
        if page_token.is_null() {
            return Ok(streams);
        }
    }
}

/// A field for a person: text without quotes, a dash for what is not there.
fn show(value: &Value, field: &str) -> String {
    match value.get(field) {
        None | Some(Value::Null) => "-".to_owned(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    }
}

fn print(status: &Value) -> io::Result<()> {
    let list = |value: &Value, field: &str| value.get(field).and_then(Value::as_array).cloned().unwrap_or_default();
    let embedded = if status.get("embedded") == Some(&Value::Bool(true)) { ", in a relay's process" } else { "" };
    say(format_args!("framehost {}, process {}{embedded}", show(status, "version"), show(status, "pid")))?;
    say(format_args!("gRPC and HTTP: {}", show(status, "grpc")))?;
    say(format_args!("model cache:   {}", show(status, "cache_dir")))?;
    let (sessions, streams) = (list(status, "sessions"), list(status, "streams"));
    say(format_args!("sessions:      {}", sessions.len()))?;
    for session in &sessions {
        let [id, extension, client, pid, streams] =
            ["session", "extension", "client", "pid", "streams"].map(|field| show(session, field));
        say(format_args!("  {id}  {extension}  {client}  process {pid}  {streams} streams"))?;
        let allowed = list(session, "allowed");
        if session.get("allowed").is_some_and(Value::is_array) {
            let words: Vec<_> = allowed.iter().filter_map(Value::as_str).collect();
            say(format_args!("    may: {}", if words.is_empty() { "nothing".to_owned() } else { words.join(", ") }))?;
        }
    }
    say(format_args!("streams:       {}", streams.len()))?;
    for stream in &streams {
        let [id, source, width, height, format, fps] =
            ["stream_id", "source", "width", "height", "format", "fps"].map(|field| show(stream, field));
        let [published, dropped, bytes, latency] =
            ["published", "dropped", "bytes", "latency_ms"].map(|field| show(stream, field));
        say(format_args!("  {id}  {source}  {width}x{height} {format}  {fps} fps, {latency} ms from capture on"))?;
        say(format_args!("    {published} published, {bytes} bytes, {dropped} dropped"))?;
        if let Some(Value::String(lost)) = stream.get("lost") {
            say(format_args!("    lost: {lost}"))?;
        }
        for subscriber in list(stream, "subscribers") {
            let [id, delivered, dropped, queued, depth] =
                ["subscriber_id", "delivered", "dropped", "queued", "depth"].map(|field| show(&subscriber, field));
            say(format_args!(
                "    subscriber {id}: {delivered} delivered, {dropped} dropped, {queued} of {depth} queued"
            ))?;
        }
    }
    Ok(())
}
