//! `framehost models pull`.

use std::time::Duration;

use anyhow::Context;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;
use tokio::sync::watch;

use super::say;
use crate::{
    error::ErrorKind,
    models::{ModelId, PullOptions, PullProgress, Revision, SharedModels},
};

/// How often the user sees how far it is.
const SHOW_INTERVAL: Duration = Duration::from_millis(100);

pub(super) fn run(
    models: SharedModels,
    model_id: &ModelId,
    revision: &Revision,
    options: &PullOptions,
    json: bool,
) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Runtime::new().context("cannot start threads")?;
    let result = runtime.block_on(async {
        let (progress, news) = watch::channel(PullProgress::default());
        // Shown on a terminal only, and on standard error.
        let bar = if json { ProgressBar::hidden() } else { ProgressBar::new(0) };
        let style = ProgressStyle::with_template("{msg:40!} {wide_bar} {bytes}/{total_bytes} {bytes_per_sec} {eta}");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        let pull = models.pull(model_id, revision, options, &progress);
        let show = show(news, &bar, json);
        let report = tokio::select! {
            report = pull => match report {
                // Whoever wants it looks for a network else.
                Err(missing) if !models.fetches() && missing.kind() == ErrorKind::NotFound => {
                    return Err(anyhow::Error::from(missing).context("nothing is fetched, as upstream is off or wrong"));
                }
                report => report?,
            },
            shown = show => return shown,
            interrupted = tokio::signal::ctrl_c() => {
                interrupted?;
                anyhow::bail!("interrupted: what has arrived is kept, and the next pull goes on from there");
            }
        };
        bar.finish_and_clear();
        let id = model_id.as_str();
        anyhow::ensure!(
            report.files > 0,
            "no file of {id} at {} is among those that are wanted",
            report.commit.as_str()
        );
        let (commit, snapshot) = (report.commit.as_str(), report.snapshot_dir.display());
        if json {
            let path = report.snapshot_dir.to_string_lossy();
            say(json!({
                "commit": commit, "snapshot_path": path, "files": report.files, "size_bytes": report.size_bytes,
                "from_cache": report.from_cache,
            }))?;
        } else {
            say(format_args!("{id} {} is {commit}", revision.as_str()))?;
            if report.from_cache {
                say("as the cache has it: upstream could not be asked")?;
            }
            say(format_args!("{} files, {} bytes", report.files, report.size_bytes))?;
            say(snapshot)?;
        }
        Ok(())
    });
    // A file that is being hashed may not keep the process.
    runtime.shutdown_background();
    result
}

/// Tells how far it is. Ends only when it cannot tell.
async fn show(mut news: watch::Receiver<PullProgress>, bar: &ProgressBar, json: bool) -> anyhow::Result<()> {
    loop {
        tokio::time::sleep(SHOW_INTERVAL).await;
        if !news.has_changed().unwrap_or(false) {
            continue;
        }
        let progress = news.borrow_and_update().clone();
        bar.set_length(progress.bytes_total);
        bar.set_position(progress.bytes_done);
        bar.set_message(format!("{}/{} {}", progress.files_done, progress.files_total, progress.file_path));
        if json {
            let PullProgress { file_path, bytes_done, bytes_total, files_done, files_total, commit } = progress;
            say(json!({
                "file_path": file_path, "bytes_done": bytes_done, "bytes_total": bytes_total,
                "files_done": files_done, "files_total": files_total, "commit": commit,
            }))?;
        }
    }
}
