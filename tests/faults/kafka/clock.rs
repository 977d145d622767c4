//! The wall clock of one process, moved while it runs, without touching the machine's.

use crate::campaign::Trial;
use std::fs;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use tests::atcost::utf8;

const DAY: i64 = 24 * 3_600;
const SOURCE: &str = include_str!("clock.c");

pub struct Clock {
    library: PathBuf,
    moved: PathBuf,
}

impl Clock {
    /// None, and a word in the report, where there is no C compiler.
    pub fn new(trial: &mut Trial) -> Option<Self> {
        let (source, library, moved) =
            (trial.folder().join("clock.c"), trial.folder().join("clock.so"), trial.folder().join("moved"));
        fs::write(&source, SOURCE).expect("the trial's folder can be written");
        let compiled = Command::new("cc")
            .args(["-shared", "-fPIC", "-o"])
            .args([&library, &source])
            .arg("-ldl")
            .stderr(Stdio::null())
            .status();
        if !compiled.is_ok_and(|status| status.success()) {
            trial.tally("not run: there is no C compiler");
            return None;
        }
        let clock = Self { library, moved };
        clock.set(0);
        let before = clock.shown();
        clock.set(DAY);
        assert!(clock.shown() >= before + DAY, "a clock that does not move would prove nothing");
        clock.set(0);
        Some(clock)
    }

    /// The seconds since 1970 as a process with this clock sees them.
    fn shown(&self) -> i64 {
        let output =
            Command::new("date").arg("+%s").envs(self.environment()).output().expect("date is a command");
        String::from_utf8_lossy(&output.stdout).trim().parse().expect("date prints a number")
    }

    pub fn environment(&self) -> [(&str, &str); 2] {
        [("LD_PRELOAD", utf8(&self.library)), ("ATCOST_TEST_CLOCK", utf8(&self.moved))]
    }

    /// From the next time on that it is asked, the clock shows so many seconds more than it should.
    pub fn set(&self, seconds: i64) {
        // In place and always of one length, so that a reader finds the old or the new, never half
        // of one.
        let mut file = fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .open(&self.moved)
            .expect("the trial's folder can be written");
        file.write_all(format!("{seconds:+020}").as_bytes()).expect("the trial's folder can be written");
    }
}
