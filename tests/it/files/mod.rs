//! Which file may use which within a crate: none in a loop, and a room only those that stand before
//! it in the list of its `lib.rs`. The sources are read as text, their tests aside.
//!
//! It deliberately does not look at which crate uses which; `edges` does.
//!
//! Invariant: what the compiler accepts and this refuses can be mended by moving something.

// In reading order.
mod tokens; // the words of a source, without comments, literals and tests
mod paths; // from a path to the file that declares what it names

use paths::{Arrows, Crate, Sources};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fs;
use std::path::Path;
use tests::machine::{cargo_metadata, workspace};

/// The room that stands below all others wherever it is listed: each of them may fail in the
/// crate's words, and a reader meets them last.
const BELOW_ALL: &str = "error";

#[test]
fn no_file_uses_another_in_a_loop() {
    let loops: Vec<String> = targets().iter().flat_map(|target| loops(&target.arrows())).collect();
    assert!(
        loops.is_empty(),
        "files that use each other in a loop; move what both need below both\n{}",
        loops.join("\n")
    );
}

#[test]
fn a_room_uses_only_rooms_before_it() {
    let libraries = targets().into_iter().filter(|target| target.is_library);
    let upward: Vec<String> = libraries.flat_map(|target| upward(&target.root, &target.sources)).collect();
    assert!(
        upward.is_empty(),
        "arrows against the order of the modules in lib.rs: move what is used down, or mend the list\n{}",
        upward.join("\n")
    );
}

/// A library or a program of the workspace, and the sources beside its root.
struct CrateTarget {
    root: String,
    is_library: bool,
    sources: Sources,
}

impl CrateTarget {
    fn arrows(&self) -> Arrows {
        Crate::read(&self.root, &self.sources).arrows()
    }
}

/// The libraries and programs of all members, as Cargo knows them.
fn targets() -> Vec<CrateTarget> {
    let metadata = cargo_metadata();
    let packages = metadata["packages"].as_array().expect("a workspace has packages");
    let all =
        packages.iter().flat_map(|package| package["targets"].as_array().expect("a package has targets"));
    let targets: Vec<_> = all.filter_map(target).collect();
    assert!(targets.iter().filter(|target| target.is_library).count() >= 6, "every crate has a library");
    targets
}

fn target(target: &Value) -> Option<CrateTarget> {
    let kinds = target["kind"].as_array().expect("a target has kinds");
    let is_library = kinds.iter().any(|kind| kind == "lib");
    if !is_library && !kinds.iter().any(|kind| kind == "bin") {
        return None;
    }
    let root = Path::new(target["src_path"].as_str().expect("a target has a root file"));
    let mut sources = Sources::new();
    read_folder(root.parent().expect("a root file is in a folder"), &mut sources);
    Some(CrateTarget { root: relative(root), is_library, sources })
}

fn read_folder(folder: &Path, sources: &mut Sources) {
    for entry in fs::read_dir(folder).expect("a crate has sources") {
        let path = entry.expect("a folder can be listed").path();
        if path.is_dir() {
            read_folder(&path, sources);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            sources.insert(relative(&path), fs::read_to_string(&path).expect("a source is text"));
        }
    }
}

fn relative(path: &Path) -> String {
    let path = path.strip_prefix(workspace()).expect("a member lies in the workspace");
    path.to_str().expect("a source's path is UTF-8").replace('\\', "/")
}

// Rooms.

/// The arrows from a room to one that is listed after it.
fn upward(root: &str, sources: &Sources) -> Vec<String> {
    let read = Crate::read(root, sources);
    let rooms = read.rooms();
    let place = |file: &str| {
        let room = read.room(file)?;
        let place = rooms.iter().position(|listed| *listed == room).map(|place| place + 1);
        if room == BELOW_ALL { Some(0) } else { place }
    };
    let arrows = read.arrows();
    let upward = arrows.iter().filter(|((from, to), _)| match (place(from), place(to)) {
        (Some(from), Some(to)) => to > from,
        // The root holds no room's things; what it takes itself, it stands above.
        _ => false,
    });
    upward.map(|((from, to), names)| arrow(from, to, names)).collect()
}

fn arrow(from: &str, to: &str, names: &BTreeSet<String>) -> String {
    format!("  {from} -> {to} ({})", names.iter().map(String::as_str).collect::<Vec<_>>().join(", "))
}

// Loops.

/// For each arrow that lies in a loop the shortest loop that it lies in, each loop once, short ones
/// first.
fn loops(arrows: &Arrows) -> Vec<String> {
    let mut next: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (from, to) in arrows.keys() {
        next.entry(from).or_default().insert(to);
    }
    let mut found: BTreeSet<(usize, Vec<&str>)> = BTreeSet::new();
    for (from, to) in arrows.keys() {
        let Some(mut back) = way(&next, to, from) else { continue };
        // The same loop from another of its files is the same loop.
        let first = (0..back.len()).min_by_key(|at| back[*at]).unwrap_or_default();
        back.rotate_left(first);
        found.insert((back.len(), back));
    }
    found.iter().map(|(_, files)| shown(files, arrows)).collect()
}

/// The files on a shortest way, both ends included.
fn way<'a>(next: &BTreeMap<&'a str, BTreeSet<&'a str>>, from: &'a str, to: &'a str) -> Option<Vec<&'a str>> {
    let mut before: BTreeMap<&str, &str> = BTreeMap::new();
    let mut queue = VecDeque::from([from]);
    while let Some(file) = queue.pop_front() {
        if file == to {
            let mut files = vec![to];
            while files.last() != Some(&from) {
                files.extend(files.last().and_then(|last| before.get(last)));
            }
            files.reverse();
            return Some(files);
        }
        for other in next.get(file).into_iter().flatten() {
            if *other != from && !before.contains_key(other) {
                before.insert(other, file);
                queue.push_back(other);
            }
        }
    }
    None
}

fn shown(files: &[&str], arrows: &Arrows) -> String {
    let steps = files.iter().zip(files.iter().cycle().skip(1));
    let lines: Vec<String> =
        steps.map(|(from, to)| arrow(from, to, &arrows[&((*from).to_owned(), (*to).to_owned())])).collect();
    format!("{} files:\n{}", files.len(), lines.join("\n"))
}

// The reader itself.

fn sources(files: &[(&str, &str)]) -> Sources {
    files.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect()
}

#[track_caller]
fn expect_arrows(files: &[(&str, &str)], expected: &[&str]) {
    let arrows = Crate::read(files[0].0, &sources(files)).arrows();
    let found: Vec<String> =
        arrows.iter().map(|((from, to), names)| arrow(from, to, names).trim().to_owned()).collect();
    assert_eq!(found, expected);
}

#[test]
fn a_path_leads_to_the_file_that_declares_what_it_names() {
    let files = [
        ("lib.rs", "mod a; mod b;\npub use b::deep::Deep;\npub const HERE: u8 = 1;"),
        (
            "a.rs",
            "use crate::b::{self, deep, Plain as Other, made};\nuse std::fmt;\nuse ::c::Far;
             fn f() { deep::inner(b::function(crate::Deep::new(super::HERE))); self::f(); fmt::x(); }
             fn g() { <u8 as crate::b::Kind>::x() }",
        ),
        (
            "b/mod.rs",
            "pub mod deep;\npub struct Plain; pub fn function() {} pub trait Kind {}\nmake! { made }",
        ),
        (
            "b/deep.rs",
            "pub struct Deep; pub fn inner() {}
             use super::Plain; mod inline { use super::Deep; use super::super::Kind; }",
        ),
    ];
    expect_arrows(
        &files,
        &[
            "a.rs -> b/deep.rs (Deep, inner)",
            "a.rs -> b/mod.rs (Kind, Plain, function, made)",
            "a.rs -> lib.rs (HERE)",
            "b/deep.rs -> b/mod.rs (Kind, Plain)",
        ],
    );
}

#[test]
fn a_module_that_only_hands_on_is_looked_through() {
    let child = ("row/column.rs", "pub struct Column;\npub struct Kind;");
    let user = ("user.rs", "use crate::row::Column; fn f() { crate::row::Kind::all() }");
    let hands_on = ("row/mod.rs", "mod column;\npub use column::{Column, Kind};\npub use column::*;");
    let arrow = "user.rs -> row/column.rs (Column, Kind)";
    expect_arrows(&[("lib.rs", "mod row; mod user;"), hands_on, child, user], &[arrow]);
    // A parent that uses what it hands on needs its child as anybody does.
    let uses = (
        "row/mod.rs",
        "mod column;\npub use column::*; pub use column::{Column, Kind};\nstruct Row(Column);",
    );
    let own = "row/mod.rs -> row/column.rs (Column)";
    expect_arrows(&[("lib.rs", "mod row; mod user;"), uses, child, user], &[own, arrow]);
    let private = ("row/mod.rs", "mod column; use column::{Column, Kind};");
    let own = "row/mod.rs -> row/column.rs (Column, Kind)";
    expect_arrows(&[("lib.rs", "mod row; mod user;"), private, child, user], &[own, arrow]);
    // It imports what is not its child's, though it hands it on.
    let other = ("row/mod.rs", "mod column; pub(crate) use super::user::User;");
    expect_arrows(
        &[("lib.rs", "mod row; mod user;"), other, child, ("user.rs", "pub struct User;")],
        &["row/mod.rs -> user.rs (User)"],
    );
}

#[test]
fn comments_literals_and_tests_name_nothing() {
    let text = r##"
        //! use crate::b::A;
        /* crate::b::B /* nested */ crate::b::C */
        const TEXT: &str = "crate::b::D \" crate::b::E";
        const RAW: &str = r#"crate::b::F " crate::b::G"#;
        const CHARACTERS: [char; 3] = ['"', '\'', 'a'];
        fn f<'a>(x: &'a str) -> &'static str { x }
        #[cfg(test)] use crate::b::{H, I};
        #[cfg(all(test, unix))] #[allow(dead)] fn g() -> [u8; 3] { crate::b::J() }
        #[cfg(test)] mod tests { use crate::b::K; }
        #[cfg(not(test))] use crate::b::Seen;
        #[doc = "x"] fn h() { crate::b::seen_too() }
        #[cfg(test)] mod more;
    "##;
    expect_arrows(
        &[("lib.rs", "mod a; mod b;"), ("a.rs", text), ("b.rs", "")],
        &["a.rs -> b.rs (Seen, seen_too)"],
    );
}

#[test]
fn a_loop_is_found_once_and_shown_with_its_names() {
    let files = [
        ("lib.rs", "mod a; mod b; mod c; mod d;"),
        ("a.rs", "use crate::b::B; pub struct A;"),
        ("b.rs", "use crate::c::{C, c}; pub struct B;"),
        ("c.rs", "pub struct C; pub fn c() { crate::a::A::new(); super::b::B }"),
        ("d.rs", "use crate::a::A;"),
    ];
    let arrows = Crate::read("lib.rs", &sources(&files)).arrows();
    let expected = [
        "2 files:\n  b.rs -> c.rs (C, c)\n  c.rs -> b.rs (B)",
        "3 files:\n  a.rs -> b.rs (B)\n  b.rs -> c.rs (C, c)\n  c.rs -> a.rs (A)",
    ];
    assert_eq!(loops(&arrows), expected);
    // Without the arrows back there is none, and a test may go the other way.
    let mut files = files;
    files[3].1 = "pub struct C; #[cfg(test)] mod tests { use crate::a::A; }";
    assert!(loops(&Crate::read("lib.rs", &sources(&files)).arrows()).is_empty());
}

#[test]
fn an_upward_arrow_is_found() {
    let check = |list: &str, expected: &[&str]| {
        let files = [
            ("lib.rs", list),
            ("low/mod.rs", "pub mod inner;"),
            (
                "low/inner.rs",
                "use crate::high::High; use crate::error::Error; use crate::ROOT; pub struct Low;",
            ),
            ("high.rs", "use crate::low::inner::Low; pub struct High;"),
            ("error.rs", "use crate::high::High; pub struct Error;"),
        ];
        assert_eq!(upward("lib.rs", &sources(&files)), expected);
    };
    let of_error = "  error.rs -> high.rs (High)";
    check(
        "mod low; mod high; mod error; pub const ROOT: u8 = 1; use high::High;",
        &[of_error, "  low/inner.rs -> high.rs (High)"],
    );
    check("mod high; mod low; mod error;", &[of_error, "  high.rs -> low/inner.rs (Low)"]);
}
