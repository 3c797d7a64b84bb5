//! Small apps for tests of the controller.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use control::desired::Desired;
use kit::units::Bytes;
use manifest::spec::{App, Gateway, Logging, Restart, RestartWhen, Scale, Service, Work};

/// A service that asks for nothing but its instances.
pub(crate) fn service(name: &str, replicas: u32) -> Service {
    Service {
        name: name.parse().unwrap(),
        work: Work::Process(vec![name.into()]),
        prepare: None,
        environment: BTreeMap::new(),
        working_dir: PathBuf::from("/app"),
        port: None,
        user: None,
        ulimits: BTreeMap::new(),
        limits: Default::default(),
        restart: Restart {
            when: RestartWhen::OnFailure,
            max_attempts: None,
            delay: Duration::from_millis(100),
            window: Duration::from_secs(10),
        },
        stop_signal: "SIGTERM".into(),
        stop_grace: Duration::from_secs(10),
        depends_on: BTreeMap::new(),
        healthcheck: None,
        metrics: None,
        measures: BTreeMap::new(),
        slo: None,
        scale: Scale { replicas, min: replicas, max: replicas, target: BTreeMap::new(), predict: false },
        wire: Default::default(),
        balance: Default::default(),
        routes: Vec::new(),
        calls: BTreeMap::new(),
        logging: Logging { max_size: Bytes(1 << 20), max_files: 3 },
        labels: BTreeMap::new(),
    }
}

/// An app of these services.
pub(crate) fn app(services: &[Service]) -> Desired {
    let app = App {
        name: "drama".parse().unwrap(),
        root: PathBuf::from("/app"),
        services: services.iter().map(|s| (s.name.clone(), s.clone())).collect(),
        gateway: Gateway::default(),
        pipes: Default::default(),
        telemetry: None,
        console: Default::default(),
    };
    Desired::of(&app, &BTreeMap::new(), &BTreeMap::new(), &BTreeMap::new())
}
