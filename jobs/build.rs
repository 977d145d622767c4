//! Names the commit that the program is built from, for `atcost --version`.
//!
//! ATCOST_COMMIT says it where there is no repository: in an image, or from an archive of the
//! sources. Otherwise git does. It is for people who report or look for a defect, and enters
//! neither a file nor a run's id.
//!
//! Invariant: one commit and one profile give one text on every machine and on every day.

use std::path::{Path, PathBuf};
use std::process::Command;

#[expect(clippy::disallowed_methods, reason = "cargo tells a build script its settings in the environment")]
fn main() {
    println!("cargo::rerun-if-env-changed=ATCOST_COMMIT");
    let given = std::env::var("ATCOST_COMMIT").ok();
    let commit = given
        .and_then(|commit| Some(commit.lines().next()?.trim().to_owned()))
        .filter(|commit| !commit.is_empty())
        .or_else(commit)
        .unwrap_or_else(|| "unknown commit".to_owned());
    let build = match std::env::var("PROFILE").as_deref() {
        Ok("release") => "release build",
        _ => "dev build",
    };
    println!("cargo::rustc-env=ATCOST_VERSION={} ({commit}, {build})", env("CARGO_PKG_VERSION"));
}

#[expect(clippy::disallowed_methods, reason = "cargo tells a build script its settings in the environment")]
fn env(name: &str) -> String {
    std::env::var(name).expect("cargo sets it")
}

/// The commit that is checked out, and its date, where this folder is of a repository of ours.
fn commit() -> Option<String> {
    // Sources that were unpacked inside another repository are not of its commit.
    if git(&["rev-parse", "--show-prefix"])? != "jobs/" {
        return None;
    }
    for path in watched() {
        println!("cargo::rerun-if-changed={}", path.display());
    }
    git(&["log", "-1", "--no-show-signature", "--abbrev=12", "--format=%h %cs"])
}

/// The files that change when another commit is made or checked out. One that does not exist would
/// have everything built anew each time.
fn watched() -> Vec<PathBuf> {
    let place = |name: &str| git(&["rev-parse", "--git-path", name]).map(PathBuf::from);
    let mut places = vec![place("HEAD")];
    // None where HEAD is a commit rather than a branch.
    if let Some(branch) = git(&["symbolic-ref", "--quiet", "HEAD"]).and_then(|name| place(&name)) {
        if !branch.exists() {
            // The branch is one line among others until its next commit, which makes the file.
            places.push(place("packed-refs"));
            places.push(branch.ancestors().find(|folder| folder.is_dir()).map(Path::to_owned));
        }
        places.push(Some(branch));
    }
    places.into_iter().flatten().filter(|place| place.exists()).collect()
}

/// A line that git prints, unless there is no git, no repository or no such thing.
fn git(arguments: &[&str]) -> Option<String> {
    let output =
        Command::new("git").args(arguments).output().ok().filter(|output| output.status.success())?;
    Some(String::from_utf8(output.stdout).ok()?.trim_end().to_owned()).filter(|line| !line.is_empty())
}
