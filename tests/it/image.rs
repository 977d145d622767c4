//! The Dockerfile, as far as it can be judged without Docker: the toolchain and the packages are
//! those of a fresh machine, all that is copied is there, and the health check tells a running
//! ingest from none.

use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::process::{Command, Output};
use std::time::Duration;
use tests::atcost::Atcost;
use tests::machine::{free_port, wait_for, workspace};

/// The lines of a Dockerfile's instructions, each with those that continue it.
fn instructions() -> Vec<String> {
    let mut instructions: Vec<String> = Vec::new();
    let mut continues = false;
    for line in read("Dockerfile").lines().filter(|line| !line.starts_with('#')) {
        let (text, more) = line.strip_suffix('\\').map_or((line, false), |text| (text, true));
        match instructions.last_mut().filter(|_| continues) {
            Some(last) => last.push_str(text),
            None if text.is_empty() => {}
            None => instructions.push(text.to_owned()),
        }
        continues = more;
    }
    instructions
}

fn read(file: &str) -> String {
    fs::read_to_string(workspace().join(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
}

/// The words after an instruction's name, of every instruction of that name.
fn arguments(name: &str) -> Vec<Vec<String>> {
    let instructions = instructions();
    let of_that_name = instructions.iter().filter_map(|line| line.strip_prefix(&format!("{name} ")));
    of_that_name.map(|rest| rest.split_whitespace().map(str::to_owned).collect()).collect()
}

#[test]
fn the_image_is_built_by_the_pinned_toolchain() {
    let toolchain = read("rust-toolchain.toml");
    let channel = toolchain.lines().find_map(|line| line.strip_prefix("channel = \"")?.strip_suffix('"'));
    let channel = channel.expect("the toolchain is pinned");
    let stages = arguments("FROM");
    let built_on = stages[0][0].strip_prefix(&format!("rust:{channel}-slim-"));
    let release = built_on.unwrap_or_else(|| panic!("{} is not Rust {channel}", stages[0][0]));
    // The program is linked with libraries of the release that it is built on.
    assert_eq!(stages[1][0], format!("debian:{release}-slim"));
}

#[test]
fn the_image_is_built_with_the_packages_of_a_fresh_machine() {
    let makefile = read("Makefile");
    let goal = makefile.split("\npackages:\n").nth(1).expect("the Makefile installs packages");
    let goal = goal.split("\n\n").next().unwrap_or_default();
    let asked: BTreeSet<&str> =
        goal.split("missing+=(").skip(1).filter_map(|rest| rest.split(')').next()).collect();
    let install = arguments("RUN").remove(0);
    let after = install.iter().skip_while(|word| *word != "--no-install-recommends").skip(1);
    let installed: BTreeSet<&str> = after.map(String::as_str).take_while(|word| *word != "&&").collect();
    assert_eq!(installed, asked, "left the Dockerfile, right the goal `packages` of the Makefile");
}

#[test]
fn the_image_is_built_from_every_member() {
    let copied: BTreeSet<String> = arguments("COPY")
        .into_iter()
        .filter(|words| !words[0].starts_with("--from"))
        .flat_map(|words| words[..words.len() - 1].to_vec())
        .collect();
    for source in &copied {
        assert!(workspace().join(source).exists(), "the Dockerfile copies {source}, which is not there");
    }
    let ignored = read(".dockerignore");
    let let_in: BTreeSet<String> =
        ignored.lines().filter_map(|line| line.strip_prefix('!')).map(str::to_owned).collect();
    assert_eq!(copied, let_in, "left the Dockerfile copies, right .dockerignore lets in");
    let manifest = read("Cargo.toml");
    let (_, members) = manifest.split_once("\nmembers = [").expect("the workspace has members");
    let (members, _) = members.split_once(']').expect("the list of members ends");
    for member in members.split('"').skip(1).step_by(2) {
        let folder = member.split('/').next().unwrap_or(member);
        assert!(copied.contains(folder), "the Dockerfile does not copy {member}");
    }
}

#[test]
fn the_health_check_tells_a_running_ingest_from_none() {
    let port = free_port();
    let check = arguments("HEALTHCHECK").remove(0).join(" ");
    let (_, command) = check.split_once("CMD ").expect("the health check is a command");
    let started = arguments("CMD").remove(0).join(" ");
    assert!(started.contains(":9464\""), "the health check asks the port that ingest serves: {started}");
    let command: Value = serde_json::from_str(&command.replace("9464", &port.to_string())).expect("JSON");
    let words: Vec<&str> =
        command.as_array().into_iter().flatten().map(|word| word.as_str().expect("a word")).collect();
    let ask = || -> Output {
        Command::new(words[0]).args(&words[1..]).output().expect("the health check's shell starts")
    };
    assert!(!ask().status.success(), "nothing runs, and the health check is content");

    let atcost = Atcost::initialised();
    fs::create_dir(atcost.folder().join("events")).expect("a folder can be made");
    let address = format!("127.0.0.1:{port}");
    let ingest = atcost.spawn(&["ingest", "--files", "events", "--metrics", &address]);
    let well = wait_for(Duration::from_secs(30), || ask().status.success().then_some(()));
    ingest.signal("TERM");
    let ended = ingest.wait();
    assert!(well.is_some(), "{:?}\n{}", ask(), ended.text());
}
