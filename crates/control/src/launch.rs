//! From what a service asks for to what a driver starts: the environment that Atoll adds, the port.

use std::collections::BTreeMap;
use std::time::Duration;

use manifest::spec::{InstanceId, Limits, Work};
use runtime::Launch;

use crate::desired::Want;

/// Where SDKs of AWS ask for credentials, last of all.
const CREDENTIALS: &str = "AWS_CONTAINER_CREDENTIALS_FULL_URI";
/// What they look at before. A terminal may have it, for another account; empty it would not do: a profile without a name
/// is one that cannot be found.
const BEFORE_CREDENTIALS: [&str; 6] = [
    "AWS_PROFILE",
    "AWS_DEFAULT_PROFILE",
    "AWS_ROLE_ARN",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
];

/// The address instances of host processes listen on.
pub const HOST: &str = "127.0.0.1";

/// What every instance of this node gets.
#[derive(Clone, Debug)]
pub struct Surroundings {
    /// The app's name.
    pub app: String,
    /// The environment that instances inherit; what the file says and what Atoll adds wins over it.
    pub environment: BTreeMap<String, String>,
}

impl Surroundings {
    /// How to start a replica that listens on `port`.
    pub fn replica(&self, want: &Want, id: InstanceId, port: u16) -> Launch {
        let command = match &want.service.work {
            Work::Process(command) => command.clone(),
            Work::Unsupported(_) => Vec::new(), // never planned
        };
        let mut environment = self.environment.clone();
        environment.insert("HOST".into(), HOST.into());
        environment.insert("PORT".into(), port.to_string());
        self.add_common(want, &id, &mut environment);
        self.launch(want, id, command, environment, Some(port))
    }

    /// How to run the `prepare` command of a service.
    pub fn prepare(&self, want: &Want, id: InstanceId) -> Launch {
        let command = want.service.prepare.clone().unwrap_or_default();
        let mut environment = self.environment.clone();
        self.add_common(want, &id, &mut environment);
        let mut launch = self.launch(want, id, command, environment, None);
        launch.limits = Limits::default(); // a build may need more than what it builds
        launch.stop_grace = Duration::from_secs(2);
        launch
    }

    fn add_common(&self, want: &Want, id: &InstanceId, environment: &mut BTreeMap<String, String>) {
        for (callee, address) in &want.urls {
            let prefix = callee.env_prefix();
            environment.insert(format!("{prefix}_URL"), format!("http://{address}"));
            environment.insert(format!("{prefix}_HOST"), address.ip().to_string());
            environment.insert(format!("{prefix}_PORT"), address.port().to_string());
        }
        if want.given.contains_key(CREDENTIALS) {
            environment.retain(|name, _| !BEFORE_CREDENTIALS.contains(&name.as_str()));
        }
        for (name, value) in &want.given {
            environment.insert(name.clone(), value.clone());
        }
        environment.insert("OTEL_SERVICE_NAME".into(), id.service.to_string());
        environment.insert(
            "OTEL_RESOURCE_ATTRIBUTES".into(),
            format!("service.namespace={},service.instance.id={}", self.app, id.name()),
        );
        for (name, value) in &want.service.environment {
            environment.insert(name.clone(), value.clone());
        }
    }

    fn launch(
        &self,
        want: &Want,
        id: InstanceId,
        command: Vec<String>,
        environment: BTreeMap<String, String>,
        port: Option<u16>,
    ) -> Launch {
        let service = &want.service;
        Launch {
            id,
            revision: want.revision.clone(),
            command,
            working_dir: service.working_dir.clone(),
            environment,
            user: service.user.clone(),
            ulimits: service.ulimits.clone(),
            limits: service.limits,
            port,
            stop_signal: service.stop_signal.clone(),
            stop_grace: service.stop_grace,
            logging: service.logging,
        }
    }
}

/// How to run a health check by command beside an instance: as the instance itself was started.
pub fn check(instance: &Launch, id: InstanceId, command: &[String]) -> Launch {
    Launch {
        id,
        command: command.to_vec(),
        limits: Limits::default(),
        stop_grace: Duration::ZERO,
        ..instance.clone()
    }
}
