//! A tiny node for the tests of this crate: what `atoll` is to its users, without everything above the
//! driver. `__keep …` makes it a keeper, as with `atoll`; otherwise it opens the driver, starts what it is
//! told, and waits to be killed.
//!
//! `runtime_node <state dir> with-node|detached <token> <instance> …` starts each instance as a shell that
//! sleeps and prints `<instance> <pid>` for each, then `ready`.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use kit::Tasks;
use kit::units::Bytes;
use manifest::spec::{Limits, Logging};
use runtime::process::{Options, ProcessDriver};
use runtime::{Driver, Launch, Lifetime};

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1).peekable();
    if arguments.next_if(|first| first == "__keep").is_some() {
        return runtime::keeper::main(arguments);
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    match runtime.map_err(|error| error.to_string()).and_then(|runtime| runtime.block_on(node())) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("{why}");
            ExitCode::FAILURE
        }
    }
}

async fn node() -> Result<(), String> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [state_dir, lifetime, token, instances @ ..] = arguments.as_slice() else {
        return Err("usage: runtime_node <state dir> with-node|detached <token> <instance> …".to_owned());
    };
    let program = std::env::current_exe().map_err(|error| error.to_string())?;
    let options = Options {
        state_dir: PathBuf::from(state_dir),
        keeper_command: vec![program.into(), "__keep".into()],
        lifetime: if lifetime == "detached" { Lifetime::Detached } else { Lifetime::WithNode },
        tasks: Tasks::new(),
    };
    let driver = ProcessDriver::open(options).await.map_err(|error| kit::report::render(&error))?;
    let found = driver.recover().await.map_err(|error| error.to_string())?;
    for found in found {
        println!("found {} {}", found.launch.id, found.started.pid);
    }
    for instance in instances {
        let id = instance.parse().map_err(|_| format!("{instance} is no instance"))?;
        // A shell with a child, and a grandchild in a session of its own.
        let script = "sleep 1000 & (setsid sleep 1000 &) ; echo up; wait";
        let launch = Launch {
            id,
            revision: "1".to_owned(),
            command: ["sh", "-c", script, token].map(str::to_owned).to_vec(),
            working_dir: "/".into(),
            environment: BTreeMap::from([("TOKEN".to_owned(), token.clone())]),
            user: None,
            ulimits: BTreeMap::new(),
            limits: Limits::default(),
            port: None,
            stop_signal: "SIGTERM".to_owned(),
            stop_grace: Duration::from_secs(10),
            logging: Logging { max_size: Bytes(1 << 20), max_files: 2 },
        };
        let started = driver.start(launch).await.map_err(|error| kit::report::render(&error))?;
        println!("{instance} {}", started.pid);
    }
    println!("keeper {}", driver.keeper_pid());
    println!("ready");
    std::future::pending().await
}
