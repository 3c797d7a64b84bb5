//! Part of an app: the services named on a command line, with or without what they need.

use std::collections::BTreeSet;

use kit::{Explain, Help};

use crate::spec::{App, Guard, ServiceName};
use crate::text::decode::nearest;

/// Why a selection is not possible.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SelectError {
    /// No such service.
    #[error("there is no service `{name}`")]
    Unknown {
        /// What was asked for.
        name: ServiceName,
        /// The enabled service whose name is most like it.
        near: Option<ServiceName>,
    },
}

impl Explain for SelectError {
    fn help(&self) -> Help {
        let Self::Unknown { near, .. } = self;
        let help = Help::code("A0316").usage();
        match near {
            Some(near) => help.hint(format!("did you mean `{near}`?")),
            None => help.hint("`atoll config` lists the services; those in a profile need `--profile`"),
        }
    }
}

/// The part of `app` that `names` ask for; all of it when there are none. `with_deps` takes in what they
/// depend on, whom they call and what their guards name, and what these need. Without it dependencies on
/// services outside are dropped, and so are splits, mirrors and fallbacks that lead there; `calls` may name
/// services that are not in the selection. Queues and topics stay, whoever owns them: they hold data.
pub fn select(app: &App, names: &[ServiceName], with_deps: bool) -> Result<App, SelectError> {
    if names.is_empty() {
        return Ok(app.clone());
    }
    let mut wanted: BTreeSet<&ServiceName> = BTreeSet::new();
    let mut open: Vec<&ServiceName> = Vec::new();
    for name in names {
        let Some((name, _)) = app.services.get_key_value(name) else {
            let near = nearest(name.as_str(), app.services.keys().map(ServiceName::as_str));
            return Err(SelectError::Unknown {
                name: name.clone(),
                near: near.and_then(|near| near.parse().ok()),
            });
        };
        open.push(name);
    }
    while let Some(name) = open.pop() {
        if wanted.insert(name)
            && with_deps
            && let Some(service) = app.services.get(name)
        {
            open.extend(service.depends_on.keys().chain(service.calls.keys()));
            open.extend(service.guards().flat_map(Guard::services));
        }
    }
    let mut part = app.clone();
    part.services.retain(|name, _| wanted.contains(name));
    for service in part.services.values_mut() {
        service.depends_on.retain(|name, _| wanted.contains(name));
        let routes = service.routes.iter_mut().map(|route| &mut route.guard);
        for guard in routes.chain(service.calls.values_mut().map(|call| &mut call.guard)) {
            guard.retain(|name| wanted.contains(name));
        }
    }
    if part.services.values().all(|service| service.routes.is_empty()) {
        part.gateway.listen.clear();
    }
    Ok(part)
}
