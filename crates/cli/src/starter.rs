//! Guesses an application file from what lies in a directory: something to start from, never a verdict.

use std::fs;
use std::path::Path;

/// The names of the Compose Specification that `atoll` takes as they are.
const COMPOSE: [&str; 4] = ["compose.yaml", "compose.yml", "docker-compose.yaml", "docker-compose.yml"];

/// Our own names.
const OWN: [&str; 2] = ["atoll.yaml", "atoll.yml"];

/// A file that is read to guess from is cut here, in bytes.
const MOST_READ: usize = 256 << 10;

/// Services guessed at most.
const MOST_SERVICES: usize = 12;

/// What to do in a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Start {
    /// There is an application file of our own.
    HasOwn(&'static str),
    /// There is a Compose file, which works as it is.
    HasCompose(&'static str),
    /// This file, made of what was found.
    Write {
        /// The text of `atoll.yaml`.
        file: String,
        /// What it was made of, for people.
        from: String,
    },
}

/// One service of the guess.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Guess {
    name: String,
    prepare: Option<String>,
    /// A YAML flow sequence.
    command: String,
    /// Takes requests from outside.
    web: bool,
}

impl Guess {
    fn new(name: &str, prepare: Option<&str>, words: &[&str]) -> Self {
        let words: Vec<String> = words.iter().map(|word| quoted(word)).collect();
        Self {
            name: service_name(name),
            prepare: prepare.map(str::to_owned),
            command: format!("[{}]", words.join(", ")),
            web: true,
        }
    }

    /// Run by a shell, for what needs one (`$PORT`, pipes). A single command takes the shell's place, so that
    /// signals reach it.
    fn shell(name: &str, line: &str) -> Self {
        let first = line.split_whitespace().next().unwrap_or_default();
        let single = !line.contains(['&', '|', ';', '(', ')', '{', '}', '`']) && !first.contains('=');
        let line = if single { format!("exec {line}") } else { line.to_owned() };
        Self::new(name, None, &["sh", "-c", &line])
    }
}

/// Looks at a directory.
pub(crate) fn look(directory: &Path) -> Start {
    let there = |name: &&str| directory.join(name).exists();
    if let Some(name) = OWN.iter().copied().find(|name| there(name)) {
        return Start::HasOwn(name);
    }
    if let Some(name) = COMPOSE.iter().copied().find(|name| there(name)) {
        return Start::HasCompose(name);
    }
    let (file, from) = starter(directory);
    Start::Write { file, from: from.to_owned() }
}

/// The guess, whatever application file is there already, and what it was made of.
pub(crate) fn starter(directory: &Path) -> (String, &'static str) {
    let (mut guesses, from) = guess(directory);
    guesses.truncate(MOST_SERVICES);
    guesses.dedup_by(|a, b| a.name == b.name);
    let app = directory.canonicalize().ok();
    let app = app.as_deref().and_then(Path::file_name).map(|name| name.to_string_lossy().into_owned());
    let app = app.and_then(|name| manifest::spec::AppName::normalize(&name));
    let app = app.as_ref().map_or("app", |name| name.as_str());
    (write(app, &guesses), from)
}

/// The first that fits, the most explicit first.
fn guess(directory: &Path) -> (Vec<Guess>, &'static str) {
    let read = |name: &str| read(&directory.join(name));
    if let Some(text) = read("Procfile") {
        let guesses = procfile(&text);
        if !guesses.is_empty() {
            return (guesses, "Procfile");
        }
    }
    if let Some(text) = read("Cargo.toml") {
        let guesses = cargo(directory, &text);
        if !guesses.is_empty() {
            return (guesses, "Cargo.toml");
        }
    }
    if let Some(text) = read("package.json") {
        return (vec![node(directory, &text)], "package.json");
    }
    if directory.join("manage.py").exists() {
        let serve = "python3 manage.py runserver --noreload 127.0.0.1:$PORT";
        return (vec![Guess::shell("web", serve)], "manage.py");
    }
    if let Some(text) = read("go.mod") {
        let module = text.lines().find_map(|line| line.strip_prefix("module ")).unwrap_or("web").trim();
        let name = module.rsplit('/').next().unwrap_or(module);
        return (vec![Guess::new(name, Some("go build -o bin/app ."), &["bin/app"])], "go.mod");
    }
    let main = ["main.py", "app.py", "server.py"].into_iter().find(|name| directory.join(name).exists());
    let python = ["requirements.txt", "pyproject.toml"].iter().any(|name| directory.join(name).exists());
    if python || main.is_some() {
        return (vec![Guess::new("web", None, &["python3", main.unwrap_or("main.py")])], "Python sources");
    }
    let serve = "python3 -m http.server --bind 127.0.0.1 $PORT";
    (vec![Guess::shell("web", serve)], "nothing that is known here: it serves the directory")
}

fn read(path: &Path) -> Option<String> {
    let mut text = fs::read_to_string(path).ok()?;
    if text.len() > MOST_READ {
        let end = (0..=MOST_READ).rev().find(|at| text.is_char_boundary(*at))?;
        text.truncate(end);
    }
    Some(text)
}

/// `name: command` a line.
fn procfile(text: &str) -> Vec<Guess> {
    let mut guesses = Vec::new();
    for line in text.lines() {
        let Some((name, command)) = line.split_once(':') else { continue };
        let (name, command) = (name.trim(), command.trim());
        // `release` runs once before a deployment: no service.
        if name.is_empty() || name.starts_with('#') || command.is_empty() || name == "release" {
            continue;
        }
        let mut guess = Guess::shell(name, command);
        guess.web = name == "web";
        guesses.push(guess);
    }
    guesses
}

/// The binaries of a package, or of each package of a workspace. Reads just enough of TOML for that.
fn cargo(directory: &Path, text: &str) -> Vec<Guess> {
    let mut packages = Vec::new();
    if let Some(name) = toml_value(text, "package", "name") {
        packages.push((directory.to_owned(), name, text.to_owned()));
    }
    for member in toml_list(text, "workspace", "members") {
        let folders = match member.strip_suffix("/*") {
            Some(parent) => subdirectories(&directory.join(parent)),
            None => vec![directory.join(member)],
        };
        for folder in folders {
            let Some(text) = read(&folder.join("Cargo.toml")) else { continue };
            let Some(name) = toml_value(&text, "package", "name") else { continue };
            packages.push((folder, name, text));
        }
    }
    let mut guesses = Vec::new();
    for (folder, package, text) in packages {
        let mut binaries = Vec::new();
        if folder.join("src/main.rs").exists() {
            binaries.push(toml_value(&text, "[bin]", "name").unwrap_or_else(|| package.clone()));
        }
        if let Ok(entries) = fs::read_dir(folder.join("src/bin")) {
            let mut more: Vec<String> = entries
                .flatten()
                .filter_map(|entry| entry.path().file_stem().map(|stem| stem.to_string_lossy().into_owned()))
                .collect();
            more.sort();
            binaries.extend(more);
        }
        let prepare = format!("cargo build --release -p {package}");
        for binary in binaries {
            guesses.push(Guess::new(&binary, Some(&prepare), &[&format!("target/release/{binary}")]));
        }
    }
    guesses
}

fn subdirectories(parent: &Path) -> Vec<std::path::PathBuf> {
    let mut folders: Vec<_> = fs::read_dir(parent)
        .map(|entries| entries.flatten().map(|entry| entry.path()).filter(|path| path.is_dir()).collect())
        .unwrap_or_default();
    folders.sort();
    folders
}

/// The string under `key` in `[section]`.
fn toml_value(text: &str, section: &str, key: &str) -> Option<String> {
    let line = toml_section(text, section)?.find(|line| is_key(line, key))?;
    let value = line.split_once('=')?.1.trim();
    let value = value.strip_prefix('"')?;
    Some(value.split_once('"')?.0.to_owned())
}

/// The strings under `key` in `[section]`.
fn toml_list(text: &str, section: &str, key: &str) -> Vec<String> {
    let Some(lines) = toml_section(text, section) else { return Vec::new() };
    let rest: Vec<&str> = lines.skip_while(|line| !is_key(line, key)).collect();
    let rest = rest.join("\n");
    let Some((_, list)) = rest.split_once('[') else { return Vec::new() };
    let list = list.split_once(']').map_or(list, |(list, _)| list);
    list.split('"').skip(1).step_by(2).map(str::to_owned).collect()
}

fn toml_section<'a>(text: &'a str, section: &str) -> Option<impl Iterator<Item = &'a str>> {
    let head = format!("[{section}]");
    let mut lines = text.lines();
    lines.find(|line| line.trim() == head)?;
    Some(lines.take_while(|line| !line.starts_with('[')))
}

fn is_key(line: &str, key: &str) -> bool {
    line.trim_start().strip_prefix(key).is_some_and(|rest| rest.trim_start().starts_with('='))
}

fn node(directory: &Path, text: &str) -> Guess {
    let package: serde_json::Value = serde_json::from_str(text).unwrap_or_default();
    let name = package["name"].as_str().unwrap_or("web");
    let name = name.rsplit('/').next().unwrap_or(name);
    let install = if directory.join("package-lock.json").exists() { "npm ci" } else { "npm install" };
    if package["scripts"]["start"].is_string() {
        return Guess::new(name, Some(install), &["npm", "start"]);
    }
    let main = package["main"].as_str().unwrap_or("index.js");
    Guess::new(name, Some(install), &["node", main])
}

/// A name that the file takes for a service.
fn service_name(text: &str) -> String {
    let kept: String = text
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.') { c } else { '-' })
        .collect();
    let kept = kept.trim_start_matches(['-', '_', '.']);
    let kept: String = kept.chars().take(manifest::spec::ServiceName::MAX_LEN).collect();
    if kept.is_empty() { "web".to_owned() } else { kept }
}

/// A YAML string in double quotes where it needs them, every `$` doubled: what a service's shell sees is
/// `$PORT`.
fn quoted(text: &str) -> String {
    let text = text.replace('$', "$$");
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'/' | b'.' | b'-' | b'_');
    let word = text.bytes().all(plain) && text.bytes().any(|b| b.is_ascii_alphabetic());
    if word && !text.starts_with('-') {
        return text;
    }
    serde_json::Value::from(text).to_string()
}

fn write(app: &str, guesses: &[Guess]) -> String {
    let mut file = format!(
        "# The application file: what runs, and how it is reached. `atoll up` runs it, `atoll check` checks it,\n\
         # `atoll schema` describes every key for editors. Every key of a Compose file works here too.\n\
         name: {}\n\nservices:\n",
        quoted(app)
    );
    let mut routed = false;
    for guess in guesses {
        file.push_str(&format!("  {}:\n", quoted(&guess.name)));
        if let Some(prepare) = &guess.prepare {
            file.push_str(&format!("    prepare: {}    # run before start\n", quoted(prepare)));
        }
        file.push_str(&format!("    command: {}\n", guess.command));
        if guess.web && !routed {
            routed = true;
            file.push_str(
                "    # The service listens on $PORT. A check tells when it is ready: `http: /healthz` asks for a page.\n\
                 \x20   healthcheck: { tcp: true, interval: 1s }\n\
                 \x20   routes:                           # what the gateway sends here; `GET /books/{id}` for less\n\
                 \x20     - /: { timeout: 15s }\n\
                 \x20     - /{*rest}: { timeout: 15s }\n\
                 \x20   # scale: 2                        # so many instances\n\
                 \x20   # calls: [other]                  # whom it may call: OTHER_URL appears in its environment\n",
            );
        }
    }
    file.push_str("\n# gateway:\n#   listen: 8080                       # this is the default\n");
    file
}

#[cfg(test)]
mod tests {
    use super::*;

    fn directory(files: &[(&str, &str)]) -> tempfile::TempDir {
        let dir = tempfile::Builder::new().prefix("shop").tempdir().unwrap();
        for (name, text) in files {
            let path = dir.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        dir
    }

    /// The services of the file that is written, each with prepare and command; the file must be right.
    fn written(files: &[(&str, &str)]) -> Vec<String> {
        let dir = directory(files);
        let Start::Write { file, .. } = look(dir.path()) else { panic!("nothing to write") };
        fs::write(dir.path().join("atoll.yaml"), &file).unwrap();
        let request = manifest::Request {
            working_dir: dir.path().canonicalize().unwrap(),
            ..manifest::Request::default()
        };
        let loaded = manifest::load(&request);
        assert!(
            loaded.faults.is_empty(),
            "{}\n{file}",
            manifest::report(&loaded.faults, &loaded.sources, false)
        );
        let told = |service: &manifest::spec::Service| {
            let manifest::spec::Work::Process(command) = &service.work else { panic!("{service:?}") };
            let prepare = service.prepare.iter().flatten().last().map(|line| format!("{line} && "));
            let prepare = prepare.unwrap_or_default();
            format!("{}: {prepare}{}", service.name, command.join(" "))
        };
        loaded.app.unwrap().services.values().map(told).collect()
    }

    #[test]
    fn each_kind_of_project_becomes_a_file_that_is_right() {
        assert_eq!(written(&[("app.py", "")]), ["web: python3 app.py"]);
        assert_eq!(written(&[]), ["web: sh -c exec python3 -m http.server --bind 127.0.0.1 $PORT"]);
        assert_eq!(
            written(&[(
                "Procfile",
                "web: bin/web --port $PORT\nworker: bin/work | cat\n# no: thing\nrelease: x\n"
            )]),
            ["web: sh -c exec bin/web --port $PORT", "worker: sh -c bin/work | cat"]
        );
        assert_eq!(
            written(&[
                ("Cargo.toml", "[package]\nname = \"shop\"\n"),
                ("src/main.rs", ""),
                ("src/bin/job.rs", "")
            ]),
            [
                "job: cargo build --release -p shop && target/release/job",
                "shop: cargo build --release -p shop && target/release/shop"
            ]
        );
        assert_eq!(
            written(&[
                ("Cargo.toml", "[workspace]\nmembers = [\n  \"crates/*\",\n]\n"),
                ("crates/a/Cargo.toml", "[package]\nname = \"a\"\n"),
                ("crates/a/src/main.rs", ""),
                ("crates/lib/Cargo.toml", "[package]\nname = \"lib\"\n"),
            ]),
            ["a: cargo build --release -p a && target/release/a"]
        );
        assert_eq!(
            written(&[("package.json", r#"{"name":"@us/web-shop","scripts":{"start":"x"}}"#)]),
            ["web-shop: npm install && npm start"]
        );
        assert_eq!(written(&[("package.json", "not json")]), ["web: npm install && node index.js"]);
        assert_eq!(
            written(&[("manage.py", ""), ("requirements.txt", "")]),
            ["web: sh -c exec python3 manage.py runserver --noreload 127.0.0.1:$PORT"]
        );
        assert_eq!(written(&[("requirements.txt", ""), ("app.py", "")]), ["web: python3 app.py"]);
        assert_eq!(
            written(&[("go.mod", "module example.org/us/shop\n")]),
            ["shop: go build -o bin/app . && bin/app"]
        );
    }

    #[test]
    fn a_file_that_is_there_is_left_alone() {
        assert_eq!(look(directory(&[("compose.yml", "")]).path()), Start::HasCompose("compose.yml"));
        assert_eq!(look(directory(&[("atoll.yaml", "")]).path()), Start::HasOwn("atoll.yaml"));
    }
}
