//! `framehost models verify`, `remove`, `gc`, `pin` and `unpin`.

use std::process::ExitCode;

use anyhow::Context;
use serde_json::{Value, json};

use super::{say, warn};
use crate::models::{
    FileState, GcOptions, GcReport, ModelId, ModelStore, Pin, Revision, SharedModels, VerifiedFile, VerifiedSnapshot,
};

/// Characters of a commit that people are shown.
const SHORT_COMMIT: usize = 12;

/// What a repair of a file came to; `None`: it was not tried.
type Repair = Option<Result<VerifiedFile, String>>;

/// What was found of a file, and what a repair came to.
struct Checked {
    file: VerifiedFile,
    repair: Repair,
}

impl Checked {
    /// What it is at the end.
    fn state(&self) -> FileState {
        match &self.repair {
            Some(Ok(repaired)) => repaired.state,
            Some(Err(_)) | None => self.file.state,
        }
    }
}

pub(super) fn verify(
    models: SharedModels,
    model_id: Option<ModelId>,
    repair: bool,
    json: bool,
) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Runtime::new().context("cannot start threads")?;
    let result = runtime.block_on(async {
        let mut checked = Vec::new();
        for snapshot in models.verify(model_id).await? {
            let mut files = Vec::new();
            for file in &snapshot.files {
                let repair = if repair && file.state.is_wrong() {
                    let repaired = models.repair(&snapshot.model_id, &snapshot.commit, &file.file_path).await;
                    Some(repaired.map_err(|error| error.to_string()))
                } else {
                    None
                };
                files.push(Checked { file: file.clone(), repair });
            }
            checked.push((snapshot, files));
        }
        Ok::<_, anyhow::Error>(checked)
    });
    // A file that is being fetched may not keep the process.
    runtime.shutdown_background();
    let checked = result?;
    let is_wrong = checked.iter().flat_map(|(_, files)| files).any(|file| file.state().is_wrong());
    if json {
        verified_json(&checked)?
    } else {
        verified(&checked)?
    }
    Ok(if is_wrong { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn verified(checked: &[(VerifiedSnapshot, Vec<Checked>)]) -> std::io::Result<()> {
    for (snapshot, files) in checked {
        let (id, commit) = (snapshot.model_id.as_str(), snapshot.commit.as_str());
        let short = commit.get(..SHORT_COMMIT).unwrap_or(commit);
        for Checked { file, repair } in files.iter().filter(|file| file.file.state != FileState::Ok) {
            let outcome = match repair {
                None => String::new(),
                Some(Ok(again)) if !again.state.is_wrong() => "; fetched anew".to_owned(),
                Some(Ok(again)) => format!("; fetched anew and still {}: {}", again.state.as_str(), again.problem),
                Some(Err(problem)) => format!("; not fetched: {problem}"),
            };
            say(format_args!("{id}  {short}  {}  {}: {}{outcome}", file.file_path, file.state.as_str(), file.problem))?;
        }
        let counts = counts(files);
        let count = |state: FileState| counts.iter().find(|(counted, _)| *counted == state).map_or(0, |(_, n)| *n);
        let names = snapshot.revisions.join(", ");
        let names = if names.is_empty() { "no name" } else { &names };
        say(format_args!(
            "{id}  {short}  ({names})  {} ok, {} damaged, {} missing, {} unknown",
            count(FileState::Ok),
            count(FileState::Damaged),
            count(FileState::Missing),
            count(FileState::Unknown)
        ))?;
    }
    Ok(())
}

/// How many files are what, at the end.
fn counts(files: &[Checked]) -> [(FileState, usize); 4] {
    [FileState::Ok, FileState::Damaged, FileState::Missing, FileState::Unknown]
        .map(|state| (state, files.iter().filter(|file| file.state() == state).count()))
}

fn verified_json(checked: &[(VerifiedSnapshot, Vec<Checked>)]) -> std::io::Result<()> {
    let file = |checked: &Checked| {
        let file = &checked.file;
        let mut value = json!({
            "file_path": file.file_path, "state": file.state.as_str(), "size_bytes": file.size_bytes,
        });
        if let Value::Object(fields) = &mut value {
            if !file.problem.is_empty() {
                fields.insert("problem".to_owned(), file.problem.clone().into());
            }
            match &checked.repair {
                None => {}
                Some(Ok(again)) => drop(fields.insert("repaired".to_owned(), (!again.state.is_wrong()).into())),
                Some(Err(problem)) => {
                    fields.insert("repaired".to_owned(), false.into());
                    fields.insert("repair_problem".to_owned(), problem.clone().into());
                }
            }
        }
        value
    };
    let snapshot = |(snapshot, files): &(VerifiedSnapshot, Vec<Checked>)| {
        let counts = counts(files).into_iter().map(|(state, n)| (state.as_str().to_owned(), n.into()));
        json!({
            "model_id": snapshot.model_id.as_str(),
            "commit": snapshot.commit.as_str(),
            "revisions": snapshot.revisions,
            "counts": Value::Object(counts.collect()),
            "files": files.iter().map(file).collect::<Vec<_>>(),
        })
    };
    say(json!({"snapshots": checked.iter().map(snapshot).collect::<Vec<_>>()}))
}

pub(super) fn remove(store: &ModelStore, model_id: &ModelId, revision: Option<&Revision>) -> anyhow::Result<()> {
    let report = store.remove(model_id, revision)?;
    for commit in &report.commits {
        say(format_args!("removed {} {}", model_id.as_str(), commit.as_str()))?;
    }
    if report.commits.is_empty() && !report.revisions.is_empty() {
        say(format_args!("removed the name {} of {}", report.revisions.join(", "), model_id.as_str()))?;
    }
    say(format_args!("{} bytes freed", report.freed_bytes))?;
    Ok(())
}

pub(super) fn gc(store: &ModelStore, options: GcOptions, json: bool) -> anyhow::Result<ExitCode> {
    let report = store.gc(options)?;
    if json {
        gc_json(&report, options)?;
    } else {
        gc_text(&report, options)?;
    }
    Ok(if report.failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn gc_text(report: &GcReport, options: GcOptions) -> std::io::Result<()> {
    let done = if options.dry_run { "would remove" } else { "removed" };
    for cleared in &report.cleared {
        let kind = cleared.kind.as_str().replace('_', " ");
        say(format_args!("{done} {kind} {}  {} bytes", cleared.path.display(), cleared.size_bytes))?;
    }
    for kept in &report.kept {
        say(format_args!("kept {}: {}", kept.model_id.as_str(), kept.because.as_str().replace('_', " ")))?;
    }
    for failed in &report.failed {
        warn(format_args!("not cleared: {}: {}", failed.model_id.as_str(), failed.problem));
    }
    say(format_args!("{} bytes freed, {} bytes of models left", report.freed_bytes, report.size_bytes))?;
    if let Some(max_bytes) = options.max_bytes.filter(|max_bytes| report.size_bytes > *max_bytes) {
        say(format_args!("which is more than {max_bytes}: what is left is in use or pinned"))?;
    }
    Ok(())
}

fn gc_json(report: &GcReport, options: GcOptions) -> std::io::Result<()> {
    let cleared = report.cleared.iter().map(|cleared| {
        json!({
            "kind": cleared.kind.as_str(),
            "model_id": cleared.model_id.as_ref().map(ModelId::as_str),
            "path": cleared.path.to_string_lossy(),
            "size_bytes": cleared.size_bytes,
        })
    });
    let kept =
        report.kept.iter().map(|kept| json!({"model_id": kept.model_id.as_str(), "because": kept.because.as_str()}));
    let failed =
        report.failed.iter().map(|failed| json!({"model_id": failed.model_id.as_str(), "problem": failed.problem}));
    say(json!({
        "dry_run": options.dry_run,
        "max_bytes": options.max_bytes,
        "cleared": cleared.collect::<Vec<_>>(),
        "kept": kept.collect::<Vec<_>>(),
        "failed": failed.collect::<Vec<_>>(),
        "freed_bytes": report.freed_bytes,
        "size_bytes": report.size_bytes,
    }))
}

pub(super) fn pins(store: &ModelStore) -> anyhow::Result<()> {
    for pin in store.pins()? {
        say(described(&pin))?;
    }
    Ok(())
}

pub(super) fn pin(store: &ModelStore, model_id: &str, revision: Option<String>) -> anyhow::Result<()> {
    let pin = read(model_id, revision)?;
    let is_new = store.pin(pin.clone())?;
    Ok(say(format_args!("{} is pinned{}", described(&pin), if is_new { "" } else { " already" }))?)
}

pub(super) fn unpin(store: &ModelStore, model_id: &str, revision: Option<String>) -> anyhow::Result<()> {
    let pin = read(model_id, revision)?;
    let was_there = store.unpin(&pin)?;
    Ok(say(format_args!("{} {}", described(&pin), if was_there { "is pinned no more" } else { "was not pinned" }))?)
}

fn read(model_id: &str, revision: Option<String>) -> anyhow::Result<Pin> {
    let revision = revision.map(|name| Revision::parse(&name)).transpose()?;
    Ok(Pin { model_id: ModelId::parse(model_id)?, revision })
}

fn described(pin: &Pin) -> String {
    match &pin.revision {
        Some(revision) => format!("{} {}", pin.model_id.as_str(), revision.as_str()),
        None => pin.model_id.as_str().to_owned(),
    }
}
