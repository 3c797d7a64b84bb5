//! `build` and `develop`: how an image comes about, and what happens while its source changes.

use super::decode::{record, words};
use super::scalar::{Size, Word};
use super::service::{Grant, Hook, UlimitText};
use super::shape::{Dict, Form, Hosts, Items, List, Pairs};

record! {
    /// How to build the container image.
    pub struct Build: "a build section" {
        /// Directory of the sources.
        context: String,
        /// The Dockerfile, relative to the context.
        dockerfile: String,
        /// The Dockerfile's text.
        dockerfile_inline: String,
        /// Privileges of the build.
        entitlements: List<String>,
        /// Build arguments.
        args: Pairs,
        /// SSH agents or keys.
        ssh: Pairs,
        /// Labels of the image.
        labels: Pairs,
        /// Where cached layers come from.
        cache_from: List<String>,
        /// Where cached layers go.
        cache_to: List<String>,
        /// Build without cache.
        no_cache: bool,
        /// More named contexts.
        additional_contexts: Pairs,
        /// Network of the build.
        network: String,
        /// Provenance attestation.
        provenance: Word,
        /// SBOM attestation.
        sbom: Word,
        /// Always pull base images.
        pull: bool,
        /// The stage to build.
        target: String,
        /// Size of `/dev/shm`.
        shm_size: Size,
        /// Additional host names.
        extra_hosts: Hosts,
        /// Isolation technology.
        isolation: String,
        /// Extended privileges.
        privileged: bool,
        /// Secrets of the build.
        secrets: List<Form<String, Grant>>,
        /// Tags of the image.
        tags: List<String>,
        /// Resource limits of the build.
        ulimits: Dict<Form<i64, UlimitText>>,
        /// Platforms to build for.
        platforms: List<String>,
    }
}

record! {
    /// What happens on file changes.
    pub struct Develop: "a develop section" {
        /// The rules.
        watch: List<Watch>,
    }
}

record! {
    /// One watch rule.
    pub struct Watch: "a watch rule" requires ["path", "action"] {
        /// What is watched.
        path: String,
        /// What happens.
        action: WatchAction,
        /// Where files go.
        target: String,
        /// Patterns left out.
        ignore: Items<String>,
        /// Patterns taken.
        include: Items<String>,
        /// Run after a sync.
        exec: Hook,
        /// Sync at the start too.
        initial_sync: bool,
    }
}

words! {
    /// What happens when a watched file changes.
    pub enum WatchAction: "a watch action" {
        /// Build again.
        Rebuild = "rebuild",
        /// Copy.
        Sync = "sync",
        /// Start again.
        Restart = "restart",
        /// Copy and start again.
        SyncRestart = "sync+restart",
        /// Copy and run a command.
        SyncExec = "sync+exec",
    }
}
