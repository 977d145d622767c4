//! Readable cases: files under tests/cases whose last part is what must come out. `UPDATE_EXPECT=1`
//! rewrites it.

use std::fs;
use std::path::{Path, PathBuf};
use tests::machine::{case, update_expected};

/// The content of a folder of tests/cases, by name.
pub fn entries(name: &str) -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> = fs::read_dir(case(name))
        .expect("a folder of cases")
        .map(|entry| entry.expect("a case").path())
        .collect();
    paths.sort();
    assert!(!paths.is_empty(), "there are no cases in {name}");
    paths
}

/// Every file of a folder holds question and answer; `check` returns what it should be.
pub fn for_each_file(name: &str, check: impl Fn(&str) -> String) {
    let mut comparison = Comparison::default();
    for path in entries(name) {
        let text = fs::read_to_string(&path).expect("a case");
        comparison.expect(&path, &check(&text));
    }
    comparison.finish();
}

/// Compares all cases before it fails.
#[derive(Default)]
pub struct Comparison(Vec<String>);

impl Comparison {
    pub fn expect(&mut self, path: &Path, actual: &str) {
        let expected = fs::read_to_string(path).unwrap_or_default();
        if expected == actual {
            return;
        }
        if update_expected() {
            fs::write(path, actual).expect("a case can be written");
        } else {
            self.0.push(format!("{} should be:\n{actual}\nbut is:\n{expected}", path.display()));
        }
    }

    pub fn finish(self) {
        assert!(self.0.is_empty(), "{}\nUPDATE_EXPECT=1 accepts what came out", self.0.join("\n"));
    }
}
