//! Volumes, secrets, configs, networks and models: the top-level sections beside `services`, and how a
//! service mounts them.

use schemars::{Schema, SchemaGenerator, json_schema};

use super::decode::{Decode, Faults, record, words};
use super::scalar::{Size, Word};
use super::shape::{Dict, List, Pairs, Switch};
use crate::tree::Node;

/// A mount in its short form: `[SOURCE:]TARGET[:MODE]`.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(transparent)]
pub struct VolumeMount(pub String);

impl Decode for VolumeMount {
    fn decode(node: &Node, faults: &mut Faults) -> Option<Self> {
        let text = String::decode(node, faults)?;
        let parts: Vec<&str> = text.split(':').collect();
        if text.is_empty() || parts.len() > 3 || parts.iter().any(|part| part.is_empty()) {
            let message = format!("`{}` is not a mount", super::decode::shown(&text));
            faults.bad_value(node.span, message, "write it like `source:/target:ro`");
            return None;
        }
        Some(Self(text))
    }

    fn shape(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string" })
    }
}

record! {
    /// A mount in its long form.
    pub struct Mount: "a mount" requires ["type"] {
        /// What is mounted.
        r#type: MountType,
        /// From where.
        source: String,
        /// Where to.
        target: String,
        /// Not to be written.
        read_only: bool,
        /// Consistency requirement.
        consistency: String,
        /// For a bind mount.
        bind: BindOptions,
        /// For a volume.
        volume: VolumeOptions,
        /// For a tmpfs.
        tmpfs: TmpfsOptions,
        /// For an image.
        image: ImageOptions,
    }
}

words! {
    /// What is mounted.
    pub enum MountType: "a mount type" {
        /// A directory of the host.
        Bind = "bind",
        /// A volume.
        Volume = "volume",
        /// Memory.
        Tmpfs = "tmpfs",
        /// A cluster volume.
        Cluster = "cluster",
        /// A named pipe.
        Npipe = "npipe",
        /// An image.
        Image = "image",
    }
}

record! {
    /// Options of a bind mount.
    pub struct BindOptions: "a bind section" {
        /// Propagation mode.
        propagation: String,
        /// Make the directory of the host when it is missing.
        create_host_path: bool,
        /// Mounts below.
        recursive: BindRecursive,
        /// SELinux relabelling.
        selinux: Selinux,
    }
}

words! {
    /// What happens to mounts below a bind mount.
    pub enum BindRecursive: "a recursive mode" {
        /// Mounted too.
        Enabled = "enabled",
        /// Left out.
        Disabled = "disabled",
        /// Mounted, writable.
        Writable = "writable",
        /// Mounted, read-only.
        Readonly = "readonly",
    }
}

words! {
    /// SELinux relabelling.
    pub enum Selinux: "an SELinux option" {
        /// Shared.
        Shared = "z",
        /// Private.
        Private = "Z",
    }
}

record! {
    /// Options of a volume mount.
    pub struct VolumeOptions: "a volume section" {
        /// Labels of the volume.
        labels: Pairs,
        /// Do not copy what the image has there.
        nocopy: bool,
        /// A directory inside the volume.
        subpath: String,
    }
}

record! {
    /// Options of a tmpfs mount.
    pub struct TmpfsOptions: "a tmpfs section" {
        /// Its size.
        size: Size,
        /// Mode bits.
        mode: Word,
    }
}

record! {
    /// Options of an image mount.
    pub struct ImageOptions: "an image section" {
        /// A directory inside the image.
        subpath: String,
    }
}

record! {
    /// Something that exists outside of this app, by the older form.
    pub struct External: "an external section" {
        /// Its name.
        name: String,
    }
}

record! {
    /// A network.
    pub struct Network: "a network" {
        /// Its name outside of the app.
        name: String,
        /// The driver.
        driver: String,
        /// Its options.
        driver_opts: Dict<Word>,
        /// Address management.
        ipam: Ipam,
        /// It exists already.
        external: Switch<External>,
        /// No way out.
        internal: bool,
        /// IPv4 addresses.
        enable_ipv4: bool,
        /// IPv6 addresses.
        enable_ipv6: bool,
        /// Containers outside of the app may join.
        attachable: bool,
        /// Labels.
        labels: Pairs,
    }
}

record! {
    /// Address management.
    pub struct Ipam: "an ipam section" {
        /// The driver.
        driver: String,
        /// Address ranges.
        config: List<IpamRange>,
        /// Driver options.
        options: Dict<Word>,
    }
}

record! {
    /// An address range.
    pub struct IpamRange: "an address range" {
        /// The subnet.
        subnet: String,
        /// What is given to containers.
        ip_range: String,
        /// The gateway.
        gateway: String,
        /// Addresses in use.
        aux_addresses: Dict<String>,
    }
}

record! {
    /// A volume.
    pub struct Volume: "a volume" {
        /// Its name outside of the app.
        name: String,
        /// The driver.
        driver: String,
        /// Its options.
        driver_opts: Dict<Word>,
        /// It exists already.
        external: Switch<External>,
        /// Labels.
        labels: Pairs,
    }
}

record! {
    /// A secret.
    pub struct Secret: "a secret" {
        /// Its name outside of the app.
        name: String,
        /// The variable that has it.
        environment: String,
        /// The file that has it.
        file: String,
        /// It exists already.
        external: Switch<External>,
        /// Labels.
        labels: Pairs,
        /// The driver.
        driver: String,
        /// Its options.
        driver_opts: Dict<Word>,
        /// Templating driver.
        template_driver: String,
    }
}

record! {
    /// A config.
    pub struct Config: "a config" {
        /// Its name outside of the app.
        name: String,
        /// Its text.
        content: String,
        /// The variable that has it.
        environment: String,
        /// The file that has it.
        file: String,
        /// It exists already.
        external: Switch<External>,
        /// Labels.
        labels: Pairs,
        /// Templating driver.
        template_driver: String,
    }
}

record! {
    /// An AI model.
    pub struct Model: "a model" requires ["model"] {
        /// Its name outside of the app.
        name: String,
        /// The model.
        model: String,
        /// Size of the context.
        context_size: u64,
        /// Flags of its runtime.
        runtime_flags: List<String>,
    }
}
