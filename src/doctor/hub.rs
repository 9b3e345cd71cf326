//! The hub that runs, or what one has left.

use super::Finding;

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
    },
}

/// What is compared with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HubFacts {
    /// What was found.
    pub state: HubState,
    /// The runtime directory.
    pub runtime_dir: String,
    /// This program's version.
    pub version: &'static str,
    /// The port that hubs are to have; 0 for any.
    pub wanted_port: u16,
}

/// What there is to say of the hub.
pub fn check_hub(facts: &HubFacts) -> Vec<Finding> {
    let subject = &facts.runtime_dir;
    match &facts.state {
        HubState::None { leftovers } if leftovers.is_empty() => {
            vec![Finding::ok("hub", subject, "no hub is running; browsers start one when they need it")]
        }
        HubState::None { leftovers } => {
            let problem = format!("no hub is running, and one that ended badly has left {}", leftovers.join(", "));
            let advice = "the next hub replaces them; to be rid of them now, remove these files";
            vec![Finding::warning("stale_runtime_files", subject, problem, advice)]
        }
        HubState::Silent { problem } => {
            let advice =
                "framehost logs may say why; end the process that hub.json names, and browsers start another hub";
            vec![Finding::error(
                "hub_silent",
                subject,
                format!("a hub is running and does not answer: {problem}"),
                advice,
            )]
        }
        HubState::Answers { version, pid, port, sessions } => {
            let message = format!("framehost {version} is running as process {pid}, with {sessions} sessions");
            let mut findings = vec![Finding::ok("hub", subject, message)];
            if version != facts.version {
                let problem = format!("the hub that runs is framehost {version}, this program is {}", facts.version);
                let advice = format!("end process {pid} when nobody needs it; browsers then start the new one");
                findings.push(Finding::warning("hub_version", subject, problem, advice));
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
    let advice = format!("end what listens there (ss -ltnp 'sport = :{port}' names it), or set FRAMEHOST_PORT");
    Finding::warning("port_taken", format!("127.0.0.1:{port}"), problem, advice)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(state: HubState) -> Vec<&'static str> {
        let facts = HubFacts { state, runtime_dir: "/run".to_owned(), version: "2", wanted_port: 50_052 };
        check_hub(&facts).iter().map(|finding| finding.check).collect()
    }

    fn answers(version: &str, port: u16) -> HubState {
        HubState::Answers { version: version.to_owned(), pid: 7, port: Some(port), sessions: 0 }
    }

    #[test]
    fn each_state_of_a_hub_is_told_from_the_others() {
        assert_eq!(names(HubState::None { leftovers: Vec::new() }), ["hub"]);
        assert_eq!(names(HubState::None { leftovers: vec!["hub.sock".to_owned()] }), ["stale_runtime_files"]);
        assert_eq!(names(HubState::Silent { problem: "-".to_owned() }), ["hub_silent"]);
        assert_eq!(names(answers("2", 50_052)), ["hub"]);
        assert_eq!(names(answers("1", 50_052)), ["hub", "hub_version"]);
        assert_eq!(names(answers("2", 50_053)), ["hub", "port_taken"]);
    }
}
