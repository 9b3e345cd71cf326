//! The hub that runs, or what one has left.

use std::path::PathBuf;

use super::{Finding, quoted, system};
use crate::hub::lock::LOCK_FILE;

/// What happens then.
const RESTART: &str = "browsers and workers start another hub when they need it";

/// What was found of a hub.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HubState {
    /// Nobody holds the lock. `leftovers`: files that a hub which runs would have.
    None {
        /// Names of files in the runtime directory.
        leftovers: Vec<String>,
    },
    /// It has told of itself.
    Answers {
        /// framehost's version.
        version: String,
        /// Its process.
        pid: u64,
        /// The port of gRPC and HTTP.
        port: Option<u16>,
        /// Extensions' conversations.
        sessions: usize,
    },
    /// Somebody holds the lock and says nothing that can be understood.
    Silent {
        /// What came of asking.
        problem: String,
        /// Who holds the lock, where that can be told.
        process: Option<HubProcess>,
    },
}

/// The process that holds the lock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HubProcess {
    /// Its number.
    pub pid: u32,
    /// Its program's name, as the system shows it.
    pub name: String,
    /// It was stopped by a signal: Ctrl-Z in a terminal does that.
    pub is_stopped: bool,
}

/// What is compared with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HubFacts {
    /// What was found.
    pub state: HubState,
    /// The runtime directory.
    pub runtime_dir: PathBuf,
    /// What is wrong with `hub.json`, in which the hub that answers tells workers where it is.
    pub file_problem: Option<String>,
    /// This program's version.
    pub version: &'static str,
    /// The port that hubs are to have; 0 for any.
    pub wanted_port: u16,
}

/// What there is to say of the hub.
pub fn check_hub(facts: &HubFacts) -> Vec<Finding> {
    let subject = facts.runtime_dir.display();
    match &facts.state {
        HubState::None { leftovers } if leftovers.is_empty() => {
            vec![Finding::ok("hub", subject, "no hub is running; browsers start one when they need it")]
        }
        HubState::None { leftovers } => {
            let problem = format!("no hub is running, and one that ended badly has left {}", leftovers.join(", "));
            let files: Vec<String> = leftovers.iter().map(|name| quoted(&facts.runtime_dir.join(name))).collect();
            let remove = system::remove(&files.join(" "));
            let advice = format!("{remove}; or leave them: the next hub replaces them");
            vec![Finding::warning("stale_runtime_files", subject, problem, advice)]
        }
        HubState::Silent { problem, process } => {
            let (who, advice) = match process {
                Some(HubProcess { pid, name, is_stopped: true }) => {
                    let advice = format!("kill -CONT {pid}; or, to be rid of it, {}", system::end_at_once(*pid));
                    (format!(", as process {pid} ({name}) is stopped"), advice)
                }
                Some(HubProcess { pid, name, is_stopped: false }) => {
                    let (end, at_once) = (system::end(*pid), system::end_at_once(*pid));
                    let advice = format!(
                        "{end}; if it is still there 10 s later: {at_once}; {RESTART}; framehost logs may say why"
                    );
                    (format!(" (process {pid}, {name})"), advice)
                }
                None => {
                    let lock = quoted(&facts.runtime_dir.join(LOCK_FILE));
                    (String::new(), format!("end the process that holds {lock} (fuser names it); {RESTART}"))
                }
            };
            let message = format!("a hub is running and does not answer{who}: {problem}");
            vec![Finding::error("hub_silent", subject, message, advice)]
        }
        HubState::Answers { version, pid, port, sessions } => {
            let message = format!("framehost {version} is running as process {pid}, with {sessions} sessions");
            let mut findings = vec![Finding::ok("hub", &subject, message)];
            if version != facts.version {
                let problem = format!("the hub that runs is framehost {version}, this program is {}", facts.version);
                let end = system::end(*pid);
                let advice = format!("{end}; when nobody needs it: browsers then start the new one");
                findings.push(Finding::warning("hub_version", &subject, problem, advice));
            }
            if let Some(problem) = &facts.file_problem {
                let problem = format!("hub.json {problem}: workers do not find the hub, or somebody else does");
                findings.push(Finding::warning(
                    "hub_file",
                    subject,
                    problem,
                    format!("{}; {RESTART}", system::end(*pid)),
                ));
            }
            if let Some(port) = port.filter(|port| facts.wanted_port != 0 && *port != facts.wanted_port) {
                let wanted = facts.wanted_port;
                let problem = format!(
                    "the hub is at port {port}: when it started somebody else had port {wanted}, or it was told another"
                );
                findings.push(port_taken(wanted, &problem));
            }
            findings
        }
    }
}

/// The port is somebody else's.
pub(super) fn port_taken(port: u16, problem: &str) -> Finding {
    let advice = format!("end what listens there ({}), or set FRAMEHOST_PORT", system::name_listener(port));
    Finding::warning("port_taken", format!("127.0.0.1:{port}"), problem, advice)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(state: HubState) -> HubFacts {
        HubFacts { state, runtime_dir: "/a run".into(), file_problem: None, version: "2", wanted_port: 50_052 }
    }

    fn names(state: HubState) -> Vec<&'static str> {
        check_hub(&facts(state)).iter().map(|finding| finding.check).collect()
    }

    fn silent(is_stopped: bool) -> HubState {
        let process = HubProcess { pid: 7, name: "framehost".to_owned(), is_stopped };
        HubState::Silent { problem: "-".to_owned(), process: Some(process) }
    }

    fn answers(version: &str, port: u16) -> HubState {
        HubState::Answers { version: version.to_owned(), pid: 7, port: Some(port), sessions: 0 }
    }

    #[test]
    fn each_state_of_a_hub_is_told_from_the_others() {
        assert_eq!(names(HubState::None { leftovers: Vec::new() }), ["hub"]);
        assert_eq!(names(HubState::None { leftovers: vec!["hub.sock".to_owned()] }), ["stale_runtime_files"]);
        assert_eq!(names(HubState::Silent { problem: "-".to_owned(), process: None }), ["hub_silent"]);
        assert_eq!(names(silent(true)), ["hub_silent"]);
        assert_eq!(names(answers("2", 50_052)), ["hub"]);
        assert_eq!(names(answers("1", 50_052)), ["hub", "hub_version"]);
        assert_eq!(names(answers("2", 50_053)), ["hub", "port_taken"]);
    }
    #[test]
    fn what_is_to_be_done_names_the_process_and_the_files() {
        let advice = |state| check_hub(&facts(state)).pop().unwrap().advice;
        let (end, remove) = if cfg!(windows) {
            ("taskkill /f /pid 7; ", r#"cmd /c del "/a run\hub.json" "/a run\hub.sock"; "#)
        } else {
            ("kill 7; ", "rm -f '/a run/hub.json' '/a run/hub.sock'; ")
        };
        assert!(advice(silent(true)).starts_with("kill -CONT 7; "));
        assert!(advice(silent(false)).starts_with(end));
        assert!(advice(answers("1", 50_052)).starts_with(end));
        let leftovers = vec!["hub.json".to_owned(), "hub.sock".to_owned()];
        let advised = advice(HubState::None { leftovers });
        assert!(advised.starts_with(remove), "{advised}");
        let told_wrong = HubFacts { file_problem: Some("is missing".to_owned()), ..facts(answers("2", 50_052)) };
        assert_eq!(check_hub(&told_wrong).pop().unwrap().check, "hub_file");
    }
}
