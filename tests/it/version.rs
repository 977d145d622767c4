//! The commit that `atcost --version` names, and where the build script of `jobs` has it from.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use tests::atcost::Atcost;
use tests::machine::workspace;

#[test]
fn the_version_names_commit_and_build() {
    let printed = Atcost::empty().ok(&["--version"]);
    let inner = printed
        .strip_prefix(concat!("atcost ", env!("CARGO_PKG_VERSION"), " ("))
        .and_then(|rest| rest.strip_suffix(")\n"))
        .unwrap_or_else(|| panic!("{printed:?}"));
    let (commit, build) = inner.rsplit_once(", ").expect("a commit and a build");
    assert!(["dev build", "release build"].contains(&build), "{printed:?}");
    assert!(!commit.is_empty(), "{printed:?}");
}

/// A copy of the build script, and a repository for it to ask.
struct Repository {
    folder: tempfile::TempDir,
    script: PathBuf,
}

impl Repository {
    /// One commit, made on the last day of October in Berlin.
    fn with_a_commit() -> Self {
        let folder = tempfile::tempdir().expect("the machine has room for a folder");
        let script = folder.path().join("script");
        let compiled = Command::new(Path::new(env!("CARGO")).with_file_name("rustc"))
            .args(["--edition", "2024", "--cap-lints", "allow", "-o"])
            .arg(&script)
            .arg(workspace().join("jobs/build.rs"))
            .output()
            .expect("rustc is beside cargo");
        assert!(compiled.status.success(), "{}", String::from_utf8_lossy(&compiled.stderr));
        let repository = Self { folder, script };
        repository.git("", &["init", "--quiet", "--initial-branch", "main", "clone"]);
        fs::create_dir(repository.folder("clone/jobs")).expect("a folder");
        fs::write(repository.folder("clone/jobs/build.rs"), "").expect("a file");
        repository.git("clone", &["add", "."]);
        repository.commit("clone");
        repository
    }

    fn folder(&self, path: &str) -> PathBuf {
        self.folder.path().join(path)
    }

    fn commit(&self, clone: &str) {
        self.git(clone, &["commit", "--quiet", "--allow-empty", "--message", "One"]);
    }

    /// The line that git prints.
    fn git(&self, folder: &str, arguments: &[&str]) -> String {
        let output = Command::new("git")
            .args(["-c", "user.name=A", "-c", "user.email=a@b.invalid", "-c", "commit.gpgSign=false"])
            .args(arguments)
            .current_dir(self.folder(folder))
            .env("GIT_COMMITTER_DATE", "2025-10-31T00:30:00+01:00")
            .output()
            .expect("git is a command");
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("git prints text").trim_end().to_owned()
    }

    /// The version that the script tells in a folder, and the files that it has watched.
    fn run(&self, folder: &str, commit: &str) -> (String, Vec<PathBuf>) {
        let output = Command::new(&self.script)
            .current_dir(self.folder(folder))
            .env("CARGO_PKG_VERSION", "1.2.3")
            .env("PROFILE", "release")
            .env("ATCOST_COMMIT", commit)
            .output()
            .expect("the script starts");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8(output.stdout).expect("it prints text");
        let after =
            |prefix: &str| text.lines().filter_map(|line| line.strip_prefix(prefix)).collect::<Vec<_>>();
        assert_eq!(after("cargo::rerun-if-env-changed="), ["ATCOST_COMMIT"]);
        let watched = after("cargo::rerun-if-changed=").into_iter();
        let watched = watched.map(|path| self.folder(folder).join(path)).collect();
        let told = after("cargo::rustc-env=ATCOST_VERSION=");
        assert_eq!(told.len(), 1, "{text}");
        (told[0].to_owned(), watched)
    }

    /// Asserts that the script names the commit of a clone, and that one of the files that it
    /// watches is another after the next commit.
    #[track_caller]
    fn assert_followed(&self, clone: &str) {
        let jobs = format!("{clone}/jobs");
        let (told, watched) = self.run(&jobs, "");
        let hash = self.git(clone, &["rev-parse", "HEAD"]);
        assert_eq!(told, format!("1.2.3 ({} 2025-10-31, release build)", &hash[..12]));
        let states = || watched.iter().map(|path| state(path)).collect::<Vec<_>>();
        let before = states();
        self.commit(clone);
        assert_ne!(before, states(), "{watched:?}");
    }
}

/// The content of a file, or what is in a folder. It must exist.
fn state(path: &Path) -> String {
    if !path.is_dir() {
        return fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    }
    let entries = fs::read_dir(path).expect("it can be listed");
    let mut names: Vec<_> = entries.map(|entry| entry.expect("it can be listed").file_name()).collect();
    names.sort();
    format!("{names:?}")
}

#[test]
fn the_build_script_follows_git() {
    let repository = Repository::with_a_commit();
    repository.assert_followed("clone");
    repository.git("clone", &["pack-refs", "--all"]);
    repository.assert_followed("clone");
    repository.git("clone", &["worktree", "add", "--quiet", "-b", "side/branch", "../side"]);
    repository.assert_followed("side");
    repository.git("side", &["pack-refs", "--all"]);
    repository.assert_followed("side");
    repository.git("clone", &["checkout", "--quiet", "--detach"]);
    repository.assert_followed("clone");
}

#[test]
fn without_a_repository_the_builder_says_the_commit_or_nobody() {
    let repository = Repository::with_a_commit();
    let said = "0123456789ab 2026-01-31";
    assert_eq!(repository.run("clone/jobs", said).0, format!("1.2.3 ({said}, release build)"));
    fs::create_dir_all(repository.folder("clone/vendor/jobs")).expect("a folder");
    fs::create_dir_all(repository.folder("archive/jobs")).expect("a folder");
    for folder in ["clone/vendor/jobs", "archive/jobs"] {
        let unknown = ("1.2.3 (unknown commit, release build)".to_owned(), Vec::new());
        assert_eq!(repository.run(folder, ""), unknown, "{folder}");
        assert_eq!(repository.run(folder, said).0, format!("1.2.3 ({said}, release build)"), "{folder}");
    }
}
