//! A service as the file has it.

use super::balance::{BalanceLong, BalanceWord, Protocol};
use super::build::{Build, Develop};
use super::command::{Command, Script};
use super::decode::{record, words};
use super::deploy::{Deploy, Gpus};
use super::health::HealthCheck;
use super::pipes::{QueueText, TopicText};
use super::ports::{Expose, Port};
use super::routing::{CallOptions, Routes, ScaleText};
use super::scalar::{Loose, Size, Time, Word};
use super::shape::{Dict, Form, Hosts, Items, List, Names, Pairs};
use super::slo::{MeasureText, SloText};
use super::storage::{Mount, VolumeMount};

record! {
    /// One service: a program that runs in one or more instances.
    pub struct Service: "a service" {
        /// A command run to its end before the first instance starts, by a shell when it is a text.
        prepare: Script,
        /// The program and its arguments. Without `image` and `build` it is a host process.
        command: Command,
        /// Put before `command`.
        entrypoint: Command,
        /// Where commands run, relative to the project directory.
        working_dir: String,
        /// The user that runs it: `name|uid[:group|gid]`.
        user: String,
        /// Environment variables. A key without a value is taken from the environment of the command.
        environment: Pairs,
        /// Files with environment variables.
        env_file: Items<Form<String, EnvFile>>,
        /// The port every instance listens on. Left out, Atoll picks one and passes it as `PORT`.
        port: u16,
        /// What it speaks on its port: `http` (default), `h2` or `grpc`.
        protocol: Protocol,
        /// How requests are spread over its instances.
        balance: Form<BalanceWord, BalanceLong>,
        /// What the gateway sends here.
        routes: Routes,
        /// Whom it may call: each becomes `<NAME>_URL`.
        calls: Names<CallOptions>,
        /// How to tell that an instance is ready.
        healthcheck: HealthCheck,
        /// Where it says what it counts, in the text format of Prometheus: `/metrics`.
        metrics: String,
        /// How many instances: a number, or bounds for scaling.
        scale: ScaleText,
        /// What must be there before it starts.
        depends_on: Names<DependsOn>,
        /// When an instance that ended starts again: `no`, `always`, `on-failure[:max]`, `unless-stopped`.
        restart: String,
        /// The signal that asks an instance to end.
        stop_signal: String,
        /// How long an instance may take to end before it is killed.
        stop_grace_period: Time,
        /// Resource limits of each process.
        ulimits: Dict<Form<i64, UlimitText>>,
        /// CPU time per wall time.
        cpus: f64,
        /// Memory of an instance.
        mem_limit: Size,
        /// Processes and threads of an instance.
        pids_limit: i64,
        /// How the service is deployed.
        deploy: Deploy,
        /// How output is kept.
        logging: LoggingText,
        /// Labels, for people and tools.
        labels: Pairs,
        /// Files with labels.
        label_file: Items<String>,
        /// Annotations, for people and tools.
        annotations: Pairs,
        /// The service is enabled only when one of these profiles is.
        profiles: List<String>,
        /// Take another service as a base.
        extends: Form<String, Extends>,

        /// Tables this service owns.
        tables: Loose,
        /// Queues this service owns.
        queues: Names<QueueText>,
        /// Topics this service owns.
        topics: Names<TopicText>,
        /// Streams this service owns.
        streams: Loose,
        /// What is promised of this service.
        slo: SloText,
        /// Series that are made of what it logs: `revenue: { field: amount, text: order placed }`.
        measures: Names<MeasureText>,

        /// The container image.
        image: String,
        /// How to build the container image.
        build: Form<String, Build>,
        /// Published ports.
        ports: List<Port>,
        /// Ports other containers reach.
        expose: List<Expose>,
        /// Networks it joins.
        networks: Names<ServiceNetwork>,
        /// What is mounted.
        volumes: List<Form<VolumeMount, Mount>>,
        /// Secrets it may read.
        secrets: List<Form<String, Grant>>,
        /// Configs it may read.
        configs: List<Form<String, Grant>>,
        /// What happens on file changes.
        develop: Develop,
        /// AI models it uses.
        models: Names<ModelUse>,
        /// Whether output is collected on the terminal.
        attach: bool,
        /// Block I/O limits.
        blkio_config: BlkioConfig,
        /// Linux capabilities to add.
        cap_add: List<String>,
        /// Linux capabilities to drop.
        cap_drop: List<String>,
        /// Cgroup namespace.
        cgroup: CgroupMode,
        /// Parent cgroup.
        cgroup_parent: String,
        /// Name of the container.
        container_name: String,
        /// Number of usable CPUs.
        cpu_count: u32,
        /// Usable share of the CPUs.
        cpu_percent: f64,
        /// Relative CPU weight.
        cpu_shares: f64,
        /// CPU CFS quota.
        cpu_quota: Word,
        /// CPU CFS period.
        cpu_period: Word,
        /// Real-time period.
        cpu_rt_period: Word,
        /// Real-time run time.
        cpu_rt_runtime: Word,
        /// CPUs it may run on.
        cpuset: Word,
        /// Credential spec of a managed account.
        credential_spec: CredentialSpec,
        /// Device cgroup rules.
        device_cgroup_rules: List<String>,
        /// Device mappings.
        devices: List<Form<String, DeviceMapping>>,
        /// DNS servers.
        dns: Items<String>,
        /// DNS resolver options.
        dns_opt: List<String>,
        /// DNS search domains.
        dns_search: Items<String>,
        /// Domain name.
        domainname: String,
        /// A provider outside of the platform.
        provider: Provider,
        /// Links to containers outside of this app.
        external_links: List<String>,
        /// Additional host names.
        extra_hosts: Hosts,
        /// GPU devices.
        gpus: Gpus,
        /// Additional groups of the user.
        group_add: List<Word>,
        /// Host name.
        hostname: String,
        /// Run an init inside the container.
        init: bool,
        /// IPC namespace.
        ipc: String,
        /// Isolation technology.
        isolation: String,
        /// Links to other services.
        links: List<String>,
        /// MAC address.
        mac_address: String,
        /// Reserved memory.
        mem_reservation: Size,
        /// Swappiness, 0 to 100.
        mem_swappiness: u32,
        /// Memory and swap together; -1: unlimited.
        memswap_limit: Size,
        /// Network mode.
        network_mode: String,
        /// Whether the OOM killer is off.
        oom_kill_disable: bool,
        /// Preference of the OOM killer, -1000 to 1000.
        oom_score_adj: i64,
        /// PID namespace.
        pid: String,
        /// Platform of the container.
        platform: String,
        /// Run after the container has started.
        post_start: List<Hook>,
        /// Run before the container is stopped.
        pre_stop: List<Hook>,
        /// Extended privileges.
        privileged: bool,
        /// When images are pulled.
        pull_policy: String,
        /// When a pulled image is refreshed.
        pull_refresh_after: String,
        /// Read-only root file system.
        read_only: bool,
        /// Container runtime.
        runtime: String,
        /// Security options.
        security_opt: List<String>,
        /// Size of `/dev/shm`.
        shm_size: Size,
        /// Keep standard input open.
        stdin_open: bool,
        /// Storage driver options.
        storage_opt: Loose,
        /// Kernel parameters.
        sysctls: Pairs,
        /// Temporary file systems.
        tmpfs: Items<String>,
        /// A terminal of its own.
        tty: bool,
        /// Use the engine's API socket.
        use_api_socket: bool,
        /// User namespace.
        userns_mode: String,
        /// UTS namespace.
        uts: String,
        /// Mount all volumes of another service.
        volumes_from: List<String>,
    }
}

record! {
    /// A file with environment variables.
    pub struct EnvFile: "an env_file" requires ["path"] {
        /// The file, relative to the project directory.
        path: String,
        /// How the file is written: as Compose's `.env` (default), or `raw`.
        format: EnvFormat,
        /// `false`: a file that does not exist is no fault.
        required: bool,
    }
}

words! {
    /// How an environment file is written.
    pub enum EnvFormat: "an env_file format" {
        /// Quotes and variables as in `.env`.
        Default = "default",
        /// Each line as it is.
        Raw = "raw",
    }
}

record! {
    /// How a dependency must stand.
    pub struct DependsOn: "a dependency" {
        /// The state to wait for.
        condition: DependencyCondition,
        /// Restart this service when the dependency is restarted.
        restart: bool,
        /// `false`: go on without it when it is not there.
        required: bool,
    }
}

words! {
    /// The state of a dependency.
    pub enum DependencyCondition: "a condition" {
        /// Its instances have been started.
        Started = "service_started",
        /// Its instances pass their health check.
        Healthy = "service_healthy",
        /// Its instances ran to their end with status 0.
        Completed = "service_completed_successfully",
    }
}

record! {
    /// A soft and a hard limit.
    pub struct UlimitText: "a ulimit" requires ["soft", "hard"] {
        /// The limit that is enforced; -1: unlimited.
        soft: i64,
        /// The ceiling; -1: unlimited.
        hard: i64,
    }
}

record! {
    /// How output is kept.
    pub struct LoggingText: "a logging section" {
        /// `json-file` or `local`: files under the app's directory.
        driver: String,
        /// `max-size` and `max-file`.
        options: Pairs,
    }
}

record! {
    /// Take another service as a base.
    pub struct Extends: "an extends section" requires ["service"] {
        /// The service.
        service: String,
        /// The file that has it; left out: this one.
        file: String,
    }
}

record! {
    /// How a service joins a network.
    pub struct ServiceNetwork: "a network of a service" {
        /// Other names on this network.
        aliases: List<String>,
        /// Name of the interface.
        interface_name: String,
        /// Fixed IPv4 address.
        ipv4_address: String,
        /// Fixed IPv6 address.
        ipv6_address: String,
        /// Link-local addresses.
        link_local_ips: List<String>,
        /// MAC address.
        mac_address: String,
        /// Driver options.
        driver_opts: Dict<Word>,
        /// Order of connection.
        priority: f64,
        /// Which network is the default gateway.
        gw_priority: f64,
    }
}

record! {
    /// A secret or config given to a service.
    pub struct Grant: "a grant of a secret or config" {
        /// Its name at the top level.
        source: String,
        /// Where the service finds it.
        target: String,
        /// Owner.
        uid: String,
        /// Group.
        gid: String,
        /// Mode bits.
        mode: Word,
    }
}

record! {
    /// How a service uses a model.
    pub struct ModelUse: "a model of a service" {
        /// The variable with the model's address.
        endpoint_var: String,
        /// The variable with the model's name.
        model_var: String,
    }
}

record! {
    /// Block I/O limits.
    pub struct BlkioConfig: "a blkio_config" {
        /// Bytes per second read.
        device_read_bps: List<BlkioLimit>,
        /// Reads per second.
        device_read_iops: List<BlkioLimit>,
        /// Bytes per second written.
        device_write_bps: List<BlkioLimit>,
        /// Writes per second.
        device_write_iops: List<BlkioLimit>,
        /// Relative weight.
        weight: u32,
        /// Relative weight by device.
        weight_device: List<BlkioWeight>,
    }
}

record! {
    /// A limit of a block device.
    pub struct BlkioLimit: "a block I/O limit" {
        /// The device.
        path: String,
        /// The rate.
        rate: Word,
    }
}

record! {
    /// The weight of a block device.
    pub struct BlkioWeight: "a block I/O weight" {
        /// The device.
        path: String,
        /// The weight.
        weight: u32,
    }
}

words! {
    /// Cgroup namespace.
    pub enum CgroupMode: "a cgroup namespace" {
        /// The host's.
        Host = "host",
        /// Its own.
        Private = "private",
    }
}

record! {
    /// Credential spec of a managed account.
    pub struct CredentialSpec: "a credential_spec" {
        /// From a config.
        config: String,
        /// From a file.
        file: String,
        /// From the registry.
        registry: String,
    }
}

record! {
    /// A device mapping.
    pub struct DeviceMapping: "a device mapping" requires ["source"] {
        /// The device of the host.
        source: String,
        /// The device inside.
        target: String,
        /// `r`, `w`, `m`.
        permissions: String,
    }
}

record! {
    /// A provider outside of the platform.
    pub struct Provider: "a provider" requires ["type"] {
        /// The provider's program.
        r#type: String,
        /// Its options.
        options: Dict<Items<Word>>,
    }
}

record! {
    /// A command run at a moment of a container's life.
    pub struct Hook: "a hook" requires ["command"] {
        /// The command.
        command: Command,
        /// The user that runs it.
        user: String,
        /// Extended privileges.
        privileged: bool,
        /// Where it runs.
        working_dir: String,
        /// Its environment.
        environment: Pairs,
    }
}
