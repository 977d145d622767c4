//! Where the paths of a crate lead: from a name like `crate::row::Column` to the file that declares
//! it.
//!
//! A module that hands on what its children declare (`pub use child::Thing`) is looked through.
//! Items that a macro makes cannot be seen: such a name belongs to the module that its path names
//! last. Method calls name no file and are no arrows.
//!
//! Invariant: an arrow leads from one file of the crate to another.

use super::tokens::{Token, tokens};
use std::collections::{BTreeMap, BTreeSet};

/// Texts by path, with `/` between names.
pub type Sources = BTreeMap<String, String>;
/// The names that one file takes from another.
pub type Arrows = BTreeMap<(String, String), BTreeSet<String>>;

/// A module of a crate: a file, or a part of one.
#[derive(Default)]
struct Module {
    file: String,
    parent: Option<usize>,
    /// By declaration, in order.
    children: Vec<(String, usize)>,
    items: BTreeSet<String>,
    uses: Vec<Use>,
    /// Paths in its code, `use` aside.
    paths: Vec<Vec<String>>,
    /// Names that its code begins a path with, or uses alone.
    named: BTreeSet<String>,
}

/// One name that a `use` brings in; `*` for all of them.
struct Use {
    alias: String,
    path: Vec<String>,
    public: bool,
}

/// The modules of one target, from its root file.
pub struct Crate {
    modules: Vec<Module>,
}

/// Where a path leads.
#[derive(Clone)]
enum Target {
    Module(usize),
    /// A name, and the module that declares it.
    Item(usize, String),
}

impl Crate {
    /// Reads the file `root` and all that its `mod` lines lead to.
    pub fn read(root: &str, sources: &Sources) -> Self {
        let mut this = Self { modules: vec![Module { file: root.to_owned(), ..Module::default() }] };
        let folder = root.rsplit_once('/').map_or(String::new(), |(folder, _)| format!("{folder}/"));
        let words = tokens(text(sources, root));
        this.read_module(0, &folder, &words, sources);
        this
    }

    /// The modules that the root declares, in order.
    pub fn rooms(&self) -> Vec<&str> {
        self.modules[0].children.iter().map(|(name, _)| name.as_str()).collect()
    }

    /// The module of the root in which a file lies; `None` for the root itself.
    pub fn room(&self, file: &str) -> Option<&str> {
        let mut at = self.modules.iter().position(|module| module.file == file)?;
        while let Some(parent) = self.modules[at].parent {
            if parent == 0 {
                return self.modules[0]
                    .children
                    .iter()
                    .find(|(_, child)| *child == at)
                    .map(|(name, _)| name.as_str());
            }
            at = parent;
        }
        None
    }

    /// Which file takes which names from which other.
    pub fn arrows(&self) -> Arrows {
        let mut arrows = Arrows::new();
        for (at, module) in self.modules.iter().enumerate() {
            let used = module.uses.iter().filter(|used| !self.only_hands_on(at, used));
            for path in used.map(|used| &used.path).chain(&module.paths) {
                let Some((to, name)) = self.names(at, path) else { continue };
                let (from, to) = (&module.file, &self.modules[to].file);
                if from != to {
                    arrows.entry((from.clone(), to.clone())).or_default().insert(name);
                }
            }
        }
        arrows
    }

    /// The module that declares what a path of module `at` names, and the name. A path that names a
    /// module takes nothing from it yet.
    fn names(&self, at: usize, path: &[String]) -> Option<(usize, String)> {
        if let Some((all, path)) = path.split_last()
            && all == "*"
        {
            return match self.resolve(at, path, &mut Vec::new())? {
                Target::Module(module) | Target::Item(module, _) => Some((module, "*".to_owned())),
            };
        }
        match self.resolve(at, path, &mut Vec::new())? {
            Target::Module(_) => None,
            Target::Item(module, name) => Some((module, name)),
        }
    }

    /// Whether a module gives others what its child declares, and does not use it itself.
    fn only_hands_on(&self, at: usize, used: &Use) -> bool {
        used.public && !self.modules[at].named.contains(&used.alias) && self.is_of_a_child(at, &used.path)
    }

    fn is_of_a_child(&self, at: usize, path: &[String]) -> bool {
        let path = path.strip_suffix(&["*".to_owned()]).unwrap_or(path);
        let target = self.resolve(at, path, &mut Vec::new());
        let Some(Target::Module(target) | Target::Item(target, _)) = target else { return false };
        let mut module = self.modules[target].parent;
        while let Some(parent) = module {
            if parent == at {
                return true;
            }
            module = self.modules[parent].parent;
        }
        false
    }

    /// `None` for what is of another crate. `seen` are the names that are being looked up, so that
    /// two that stand for each other end.
    fn resolve(&self, at: usize, path: &[String], seen: &mut Vec<(usize, String)>) -> Option<Target> {
        let (first, mut rest) = path.split_first()?;
        let mut target = match first.as_str() {
            "crate" => Target::Module(0),
            "self" => Target::Module(at),
            "super" => Target::Module(self.modules[at].parent?),
            name => self.look_up(at, name, seen)?,
        };
        while let (Target::Module(module), Some((name, after))) = (&target, rest.split_first()) {
            target = match name.as_str() {
                "self" => Target::Module(*module),
                "super" => Target::Module(self.modules[*module].parent?),
                name => self
                    .look_up(*module, name, seen)
                    .unwrap_or_else(|| Target::Item(*module, name.to_owned())),
            };
            rest = after;
        }
        Some(target)
    }

    /// The meaning of a name in a module.
    fn look_up(&self, at: usize, name: &str, seen: &mut Vec<(usize, String)>) -> Option<Target> {
        let child = self.modules[at].children.iter().find(|(child, _)| child == name);
        if let Some((_, child)) = child {
            return Some(Target::Module(*child));
        }
        let key = (at, name.to_owned());
        if seen.contains(&key) {
            return None;
        }
        seen.push(key);
        // Methods are among the items, so that what a `use` brings in goes first.
        let found = self.look_up_used(at, name, seen);
        let declared = || self.modules[at].items.contains(name).then(|| Target::Item(at, name.to_owned()));
        let found = found.or_else(declared).or_else(|| self.look_up_in_globs(at, name, seen));
        seen.pop();
        found
    }

    fn look_up_used(&self, at: usize, name: &str, seen: &mut Vec<(usize, String)>) -> Option<Target> {
        let used = self.modules[at].uses.iter().find(|used| used.alias == name)?;
        self.resolve(at, &used.path, seen)
    }

    fn look_up_in_globs(&self, at: usize, name: &str, seen: &mut Vec<(usize, String)>) -> Option<Target> {
        let globs = self.modules[at].uses.iter().filter(|used| used.alias == "*");
        let mut found =
            globs.filter_map(|used| match self.resolve(at, &used.path[..used.path.len() - 1], seen)? {
                Target::Module(module) => self.look_up(module, name, seen),
                Target::Item(..) => None,
            });
        found.next()
    }

    // Reading.

    /// Reads the words of a module whose child files lie in `folder`.
    fn read_module(&mut self, at: usize, folder: &str, words: &[Token<'_>], sources: &Sources) {
        let mut next = 0;
        while next < words.len() {
            next += match &words[next..] {
                [Token::Name("mod"), Token::Name(name), Token::Mark(';'), ..] => {
                    self.read_file(at, folder, name, sources);
                    3
                }
                [Token::Name("mod"), Token::Name(name), Token::Mark('{'), ..] => {
                    let inside = &words[next + 3..];
                    let length = braces(inside);
                    let child = self.child(at, name, self.modules[at].file.clone());
                    self.read_module(child, &format!("{folder}{name}/"), &inside[..length], sources);
                    length + 4
                }
                // `impl Trait + use<'a>` brings in nothing.
                [Token::Name("use"), Token::Mark('<'), ..] => 2,
                [Token::Name("use"), rest @ ..] => {
                    let length = rest.iter().position(|word| *word == Token::Mark(';')).unwrap_or(rest.len());
                    let public = is_public(&words[..next]);
                    self.read_use(at, public, &[], &rest[..length]);
                    length + 2
                }
                [
                    Token::Name("fn" | "struct" | "enum" | "union" | "trait" | "type" | "const" | "static"),
                    Token::Name(name),
                    ..,
                ] => {
                    self.modules[at].items.insert((*name).to_owned());
                    2
                }
                [Token::Path, Token::Name(_), ..] => path_length(&words[next + 1..]) + 1,
                [Token::Name(_), Token::Path, Token::Name(_), ..] => {
                    let length = path_length(&words[next..]);
                    let path = names(&words[next..next + length]);
                    self.modules[at].named.extend(path.first().cloned());
                    self.modules[at].paths.push(path);
                    length
                }
                [Token::Mark('.'), Token::Name(_), ..] => 2,
                [Token::Name(name), ..] => {
                    self.modules[at].named.insert((*name).to_owned());
                    1
                }
                _ => 1,
            };
        }
    }

    fn child(&mut self, parent: usize, name: &str, file: String) -> usize {
        let child = self.modules.len();
        self.modules.push(Module { file, parent: Some(parent), ..Module::default() });
        self.modules[parent].children.push((name.to_owned(), child));
        child
    }

    fn read_file(&mut self, parent: usize, folder: &str, name: &str, sources: &Sources) {
        let places = [format!("{folder}{name}.rs"), format!("{folder}{name}/mod.rs")];
        let file = places
            .iter()
            .find(|place| sources.contains_key(*place))
            .unwrap_or_else(|| panic!("neither {} nor {} is there", places[0], places[1]));
        let child = self.child(parent, name, file.clone());
        let words = tokens(text(sources, file));
        self.read_module(child, &format!("{folder}{name}/"), &words, sources);
    }

    /// Reads a tree of `use` below `prefix`.
    fn read_use(&mut self, at: usize, public: bool, prefix: &[String], words: &[Token<'_>]) {
        // A path that begins with `::` is of another crate.
        if let [Token::Path, Token::Name(_), ..] = words
            && prefix.is_empty()
        {
            return;
        }
        let end = words
            .iter()
            .position(|word| matches!(word, Token::Mark('{' | '*') | Token::Name("as")))
            .unwrap_or(words.len());
        let mut path = [prefix, &names(&words[..end])].concat();
        let alias = match &words[end..] {
            [Token::Mark('{'), inside @ ..] => {
                for branch in branches(&inside[..braces(inside)]) {
                    self.read_use(at, public, &path, branch);
                }
                return;
            }
            [Token::Mark('*'), ..] => {
                path.push("*".to_owned());
                "*".to_owned()
            }
            [Token::Name("as"), Token::Name(alias), ..] => (*alias).to_owned(),
            _ => {
                if path.len() > 1 && path.last().is_some_and(|last| last == "self") {
                    path.pop();
                }
                path.last().cloned().unwrap_or_default()
            }
        };
        if !path.is_empty() {
            self.modules[at].uses.push(Use { alias, path, public });
        }
    }
}

fn text<'s>(sources: &'s Sources, file: &str) -> &'s str {
    sources.get(file).unwrap_or_else(|| panic!("{file} is not there"))
}

/// Whether what follows `before` is `pub`, or `pub(…)`.
fn is_public(before: &[Token<'_>]) -> bool {
    match before {
        [.., Token::Name("pub")] => true,
        [.., Token::Mark(')')] => {
            let open = before.iter().rposition(|word| *word == Token::Mark('(')).unwrap_or_default();
            before[..open].last() == Some(&Token::Name("pub"))
        }
        _ => false,
    }
}

/// How many words there are before the brace closes that was open before `words`.
fn braces(words: &[Token<'_>]) -> usize {
    let mut depth = 1usize;
    let end = words.iter().position(|word| {
        match word {
            Token::Mark('{') => depth += 1,
            Token::Mark('}') => depth -= 1,
            _ => {}
        }
        depth == 0
    });
    end.unwrap_or(words.len())
}

/// The parts between the commas that stand in no braces.
fn branches<'w, 't>(words: &'w [Token<'t>]) -> Vec<&'w [Token<'t>]> {
    let mut depth = 0usize;
    let parts = words.split(|word| {
        match word {
            Token::Mark('{') => depth += 1,
            Token::Mark('}') => depth -= 1,
            _ => {}
        }
        depth == 0 && *word == Token::Mark(',')
    });
    parts.filter(|part| !part.is_empty()).collect()
}

fn names(words: &[Token<'_>]) -> Vec<String> {
    let names = words.iter().filter_map(|word| match word {
        Token::Name(name) => Some((*name).to_owned()),
        Token::Path | Token::Mark(_) => None,
    });
    names.collect()
}

/// How many words the path has that `words` begin with.
fn path_length(words: &[Token<'_>]) -> usize {
    let mut length = 1;
    while let [Token::Path, Token::Name(_), ..] = &words[length..] {
        length += 2;
    }
    length
}
