//! Which app a command is about, and where its node answers.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};

use api::Client;
use manifest::Request;

use crate::failure::{CliError, Failure, remark};
use crate::flags::AppFlags;
use crate::load;

/// The directory, in the project directory, with the state of each app.
const STATE: &str = ".atoll";

/// The environment variable that says where the state lives.
const STATE_DIR: &str = "ATOLL_STATE_DIR";

/// A file on standard input longer than this is cut, in bytes; `manifest` refuses it then.
const MOST_STDIN: u64 = 16 << 20;

/// Where an app is, as the command line says.
#[derive(Clone, Debug, Default)]
pub(crate) struct Place {
    flags: AppFlags,
    /// A directory or file given as first argument.
    location: Option<PathBuf>,
}

/// Whether an argument says where the app is rather than naming a service.
pub(crate) fn is_location(text: &str) -> bool {
    text.contains('/') || text == "." || text == ".." || text.ends_with(".yaml") || text.ends_with(".yml")
}

impl Place {
    /// The place that flags say, and `location` if one was given.
    pub(crate) fn new(mut flags: AppFlags, location: Option<PathBuf>) -> Self {
        if flags.more.state_dir.is_none() {
            let environment = std::env::var_os(STATE_DIR).filter(|dir| !dir.is_empty());
            flags.more.state_dir = environment.map(PathBuf::from);
        }
        Self { flags, location }
    }

    /// The state directory, if a flag or the environment says where it is. Absolute.
    pub(crate) fn given_state_dir(&self) -> Option<PathBuf> {
        let dir = self.flags.more.state_dir.as_ref()?;
        Some(std::path::absolute(dir).unwrap_or_else(|_| dir.clone()))
    }

    /// The place and the services of a list of arguments whose first may be a location.
    pub(crate) fn of_targets(flags: AppFlags, targets: &[String]) -> (Self, Vec<String>) {
        match targets {
            [first, rest @ ..] if is_location(first) => (Self::new(flags, Some(first.into())), rest.to_vec()),
            _ => (Self::new(flags, None), targets.to_vec()),
        }
    }

    /// `--isolated`.
    pub(crate) const fn isolated(&self) -> bool {
        self.flags.more.isolated
    }

    /// What to load.
    pub(crate) fn request(&self) -> Result<Request, Failure> {
        let here = std::env::current_dir()
            .map_err(|source| CliError::Machine { what: "tell the working directory", source })?;
        let environment = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect();
        let mut request = self.request_from(&here, environment)?;
        if request.files.iter().any(|file| file.as_os_str() == "-") {
            let mut text = String::new();
            std::io::stdin()
                .take(MOST_STDIN)
                .read_to_string(&mut text)
                .map_err(|source| CliError::Machine { what: "read standard input", source })?;
            request.stdin = Some(text);
        }
        Ok(request)
    }

    fn request_from(
        &self,
        here: &Path,
        mut environment: BTreeMap<String, String>,
    ) -> Result<Request, Failure> {
        let mut working_dir = here.to_owned();
        let mut files = Vec::new();
        for path in self.location.iter().chain(&self.flags.files) {
            if path.as_os_str() == "-" {
                files.push(path.clone());
                continue;
            }
            let full = here.join(path);
            let kind = std::fs::metadata(&full)
                .map_err(|source| CliError::NoSuchPlace { path: path.clone(), source })?;
            if kind.is_dir() {
                // As if the command were typed there; a list of files in the environment is another place.
                working_dir = full.canonicalize().unwrap_or(full);
                environment.remove("COMPOSE_FILE");
            } else {
                files.push(full);
            }
        }
        let more = &self.flags.more;
        Ok(Request {
            working_dir,
            files,
            project_dir: more.project_directory.as_ref().map(|dir| here.join(dir)),
            project_name: more.project_name.clone(),
            profiles: more.profiles.clone(),
            env_files: more.env_files.iter().map(|file| here.join(file)).collect(),
            environment,
            stdin: None,
        })
    }

    /// The state directory of the app `name`. Absolute.
    pub(crate) fn state_dir(&self, project_dir: &Path, name: &str) -> PathBuf {
        self.given_state_dir().unwrap_or_else(|| project_dir.join(STATE).join(name))
    }

    /// Makes the state directory. In the usual place it is kept out of version control.
    pub(crate) fn make_state_dir(&self, project_dir: &Path, name: &str) -> Result<PathBuf, Failure> {
        let dir = self.state_dir(project_dir, name);
        std::fs::create_dir_all(&dir).map_err(|source| CliError::State { path: dir.clone(), source })?;
        if self.flags.more.state_dir.is_none() {
            let ignore = project_dir.join(STATE).join(".gitignore");
            if !ignore.exists() {
                std::fs::write(&ignore, "*\n").map_err(|source| CliError::State { path: ignore, source })?;
            }
        }
        Ok(dir)
    }

    /// A client for the app's node. Works with a file that has faults, as long as it is clear which app is
    /// meant: a node must be seen and stopped while its file is being edited.
    pub(crate) fn client(&self) -> Result<Client, Failure> {
        if let Some(dir) = self.given_state_dir() {
            return Ok(Client::new(dir));
        }
        let request = self.request()?;
        let loaded = manifest::load(&request);
        if let Some(app) = &loaded.app {
            return Ok(Client::new(self.state_dir(&loaded.project_dir, app.name.as_str())));
        }
        let start = if loaded.project_dir.as_os_str().is_empty() {
            &request.working_dir
        } else {
            &loaded.project_dir
        };
        match known_app(start, request.project_name.as_deref())? {
            Some(dir) => {
                remark("note: the application file cannot be used now (`atoll check`); this is what runs");
                Ok(Client::new(dir))
            }
            None => Err(load::faulty(&loaded)),
        }
    }
}

/// The state directory of the one app (or the one called `name`) that has a node's socket in `start` or in
/// the nearest directory above it that has any.
fn known_app(start: &Path, name: Option<&str>) -> Result<Option<PathBuf>, Failure> {
    for directory in start.ancestors() {
        let state = directory.join(STATE);
        let Ok(entries) = std::fs::read_dir(&state) else { continue };
        let mut apps: Vec<PathBuf> = entries
            .filter_map(|entry| Some(entry.ok()?.path()))
            .filter(|path| path.join(api::SOCKET).exists())
            .filter(|path| name.is_none_or(|name| path.ends_with(name)))
            .collect();
        apps.sort();
        match apps.as_slice() {
            [] => {}
            [only] => return Ok(Some(only.clone())),
            _ => {
                let names: Vec<_> =
                    apps.iter().filter_map(|path| Some(path.file_name()?.to_string_lossy())).collect();
                return Err(CliError::ManyApps { path: state, names: names.join(", ") }.into());
            }
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flags::MoreFlags;

    #[test]
    fn an_argument_with_a_slash_or_a_yaml_ending_is_a_place() {
        for place in [".", "..", "./shop", "examples/bookshop", "shop.yaml", "compose.yml", "/srv/shop"] {
            assert!(is_location(place), "{place}");
        }
        for service in ["catalog", "user.api", "yaml", "catalog-2"] {
            assert!(!is_location(service), "{service}");
        }
    }

    #[test]
    fn a_directory_is_where_discovery_starts_and_a_file_is_a_file() {
        let dir = tempfile::tempdir().unwrap();
        let here = dir.path().canonicalize().unwrap();
        std::fs::create_dir(here.join("shop")).unwrap();
        std::fs::write(here.join("shop/other.yaml"), "").unwrap();
        let environment = BTreeMap::from([("COMPOSE_FILE".to_owned(), "elsewhere.yaml".to_owned())]);
        let at = |location: &str| {
            Place::new(AppFlags::default(), Some(location.into())).request_from(&here, environment.clone())
        };
        let shop = at("./shop").unwrap();
        assert_eq!(shop.working_dir, here.join("shop"));
        assert!(shop.files.is_empty() && shop.environment.is_empty());
        let file = at("shop/other.yaml").unwrap();
        assert_eq!((file.working_dir, file.files), (here.clone(), vec![here.join("shop/other.yaml")]));
        assert!(at("./nowhere").is_err());
    }

    #[test]
    fn state_is_found_by_its_socket_upwards() {
        let dir = tempfile::tempdir().unwrap();
        let state = dir.path().join(".atoll");
        let deep = dir.path().join("a/b");
        std::fs::create_dir_all(&deep).unwrap();
        assert!(known_app(&deep, None).unwrap().is_none());
        for app in ["one", "two", "gone"] {
            std::fs::create_dir_all(state.join(app)).unwrap();
        }
        std::fs::write(state.join("one").join(api::SOCKET), "").unwrap();
        assert_eq!(known_app(&deep, None).unwrap(), Some(state.join("one")));
        std::fs::write(state.join("two").join(api::SOCKET), "").unwrap();
        assert!(known_app(&deep, None).is_err());
        assert_eq!(known_app(&deep, Some("two")).unwrap(), Some(state.join("two")));
    }

    #[test]
    fn a_given_state_directory_is_taken_as_it_is() {
        let more = MoreFlags { state_dir: Some("/var/lib/shop".into()), ..MoreFlags::default() };
        let place = Place::new(AppFlags { more, ..AppFlags::default() }, None);
        assert_eq!(place.state_dir(Path::new("/srv"), "shop"), Path::new("/var/lib/shop"));
        let usual = Place::default().state_dir(Path::new("/srv"), "shop");
        assert_eq!(usual, Path::new("/srv/.atoll/shop"));
    }
}
