//! A small disk of a trial's own, in memory, which can be filled and made read-only. Only root may
//! have one.

use crate::campaign::Trial;
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;
use tests::machine::wait_for;

pub struct Disk(PathBuf);

impl Disk {
    /// None, and a word in the report, where nothing may be mounted.
    pub fn mount(trial: &mut Trial) -> Option<Self> {
        let path = trial.folder().join("disk");
        fs::create_dir(&path).expect("the trial's folder is empty");
        if !succeeds(Command::new("mount").args(["-t", "tmpfs", "-o", "size=64m", "tmpfs"]).arg(&path)) {
            trial.tally("not run: only root may mount a disk");
            return None;
        }
        let disk = Self(path);
        fs::create_dir(disk.path()).expect("the disk is empty");
        Some(disk)
    }

    /// The folder to use; beside it is what fills the disk.
    pub fn path(&self) -> PathBuf {
        self.0.join("atcost")
    }

    /// Leaves about so many bytes.
    pub fn fill(&self, keep: u64) {
        let output = Command::new("df")
            .args(["-B1", "--output=avail"])
            .arg(&self.0)
            .output()
            .expect("df is a command");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let available: u64 = text
            .lines()
            .last()
            .and_then(|line| line.trim().parse().ok())
            .unwrap_or_else(|| panic!("df says {text:?}"));
        let filling = usize::try_from(available.saturating_sub(keep)).expect("a small disk");
        fs::write(self.filler(), vec![0; filling]).expect("there was room");
    }

    pub fn free(&self) {
        fs::remove_file(self.filler()).expect("the disk was filled");
    }

    fn filler(&self) -> PathBuf {
        self.0.join("filler")
    }

    /// Waits for a moment in which no file is open for writing, as the kernel demands.
    pub fn read_only(&self) {
        let done = wait_for(Duration::from_secs(30), || self.remount("ro").then_some(()));
        assert!(done.is_some(), "the disk is always written to");
    }

    pub fn writable(&self) {
        assert!(self.remount("rw"), "a disk in memory can be made writable");
    }

    fn remount(&self, how: &str) -> bool {
        succeeds(Command::new("mount").args(["-o", &format!("remount,{how}")]).arg(&self.0))
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // The process that uses it was stopped; if not, the disk goes when that ends.
        succeeds(Command::new("umount").arg("--lazy").arg(&self.0));
    }
}

fn succeeds(command: &mut Command) -> bool {
    command.stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
}
