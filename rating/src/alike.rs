//! Names that are taken for one another: in another case, with letters that look alike, misspelt.
//!
//! For hints to people only: wherever something is billed, names compare byte for byte.
//!
//! Invariant: a hint is a name that is there, and the same for the same names in any order.

use std::collections::BTreeMap;

/// A name without the differences that nobody means: case, outer spaces, and which of `-`, `_` and
/// a space stands between words.
pub(crate) fn folded(name: &str) -> String {
    let same = |character: char| if matches!(character, '_' | ' ') { '-' } else { character };
    name.trim().chars().flat_map(char::to_lowercase).map(same).collect()
}

/// A name as it looks: beside what [`folded`] forgets, `0` is `o`, and `1`, `I` and `|` are `l`.
pub(crate) fn look(name: &str) -> String {
    let same = |character: char| match character {
        '0' => 'o',
        '1' | 'I' | '|' => 'l',
        other => other,
    };
    folded(&name.chars().map(same).collect::<String>())
}

/// Names that one of them may have been meant by.
pub(crate) struct Names<'n> {
    by_fold: BTreeMap<String, &'n str>,
    by_look: BTreeMap<String, &'n str>,
}

impl<'n> Names<'n> {
    pub fn new(names: impl IntoIterator<Item = &'n str>) -> Self {
        let (mut by_fold, mut by_look) = (BTreeMap::new(), BTreeMap::new());
        for name in names {
            for (forms, form) in [(&mut by_fold, folded(name)), (&mut by_look, look(name))] {
                let first = forms.entry(form).or_insert(name);
                *first = (*first).min(name);
            }
        }
        Self { by_fold, by_look }
    }

    /// The name that was most likely meant; none where nothing is near.
    pub fn nearest(&self, name: &str) -> Option<&'n str> {
        let fold = folded(name);
        let same = self.by_fold.get(&fold).or_else(|| self.by_look.get(&look(name)));
        same.copied().or_else(|| self.with_another_beginning(&fold)).or_else(|| self.misspelt(&fold))
    }

    /// The only name that has more or fewer parts at its beginning, such as `a1` for `projects/a1`.
    fn with_another_beginning(&self, fold: &str) -> Option<&'n str> {
        let fold = fold.trim_matches('/');
        let ends = |long: &str, short: &str| {
            !short.is_empty()
                && long.strip_suffix(short).is_some_and(|rest| rest.is_empty() || rest.ends_with('/'))
        };
        let is_it = |name: &str| {
            let name = name.trim_matches('/');
            ends(name, fold) || ends(fold, name)
        };
        let mut found = self.by_fold.iter().filter(|(form, _)| is_it(form)).map(|(_, name)| *name);
        let only = found.next()?;
        found.next().is_none().then_some(only)
    }

    /// The name with the fewest letters to change, in parts between slashes that are long enough to
    /// be recognised.
    fn misspelt(&self, fold: &str) -> Option<&'n str> {
        let mut nearest: Option<(usize, &str)> = None;
        for (form, name) in &self.by_fold {
            let (own, other) = differing_parts(fold, form);
            let (own, other): (Vec<char>, Vec<char>) = (own.chars().collect(), other.chars().collect());
            let most = (own.len().min(other.len()) / 4).min(MOST_EDITS);
            let most = nearest.map_or(most, |(best, _)| most.min(best.saturating_sub(1)));
            if let Some(edits) = edits(&own, &other, most)
                && edits > 0
            {
                nearest = Some((edits, *name));
            }
        }
        nearest.map(|(_, name)| name)
    }
}

/// More changes make another name.
const MOST_EDITS: usize = 2;

/// Two names without the parts between slashes that both begin with, and that both end with.
fn differing_parts<'n>(mut one: &'n str, mut other: &'n str) -> (&'n str, &'n str) {
    while let (Some((first, rest)), Some((second, others))) = (one.split_once('/'), other.split_once('/'))
        && first == second
    {
        (one, other) = (rest, others);
    }
    while let (Some((rest, last)), Some((others, second))) = (one.rsplit_once('/'), other.rsplit_once('/'))
        && last == second
    {
        (one, other) = (rest, others);
    }
    (one, other)
}

/// How many letters must be changed, added, left out or swapped; `None` beyond `most`. A digit is
/// never changed: another number is another thing.
fn edits(one: &[char], other: &[char], most: usize) -> Option<usize> {
    if one.len().abs_diff(other.len()) > most {
        return None;
    }
    let far = most + 1;
    let cost = |character: char| if character.is_ascii_digit() { far } else { 1 };
    // The row before the last one, the last one, and the next; beyond the band everything is far.
    let mut before = vec![far; other.len() + 1];
    let mut last: Vec<usize> = Vec::with_capacity(other.len() + 1);
    last.push(0);
    for character in other {
        last.push(last[last.len() - 1].saturating_add(cost(*character)).min(far));
    }
    for row in 1..=one.len() {
        let mut next = vec![far; other.len() + 1];
        next[0] = (last[0] + cost(one[row - 1])).min(far);
        for column in row.saturating_sub(most).max(1)..=(row + most).min(other.len()) {
            let (own, its) = (one[row - 1], other[column - 1]);
            let changed = if own == its { 0 } else { cost(own).max(cost(its)) };
            let mut best = last[column - 1] + changed;
            best = best.min(last[column] + cost(own)).min(next[column - 1] + cost(its));
            if row > 1 && column > 1 && own == other[column - 2] && one[row - 2] == its && own != its {
                best = best.min(before[column - 2] + cost(own).max(cost(its)));
            }
            next[column] = best.min(far);
        }
        if next.iter().all(|edits| *edits > most) {
            return None;
        }
        (before, last) = (last, next);
    }
    last.last().copied().filter(|edits| *edits <= most)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_found() {
        let names =
            ["projects/a1", "projects/a2", "projects/acme-prod", "projects/O1", "sites/oslo", "teams/x/web"];
        let nearest = |name: &str| Names::new(names).nearest(name);
        for (name, meant) in [
            ("Projects/A1", "projects/a1"),
            (" projects/a1", "projects/a1"),
            ("projects/acme_prod", "projects/acme-prod"),
            ("projects/acmeprod", "projects/acme-prod"),
            ("projects/amce-prod", "projects/acme-prod"),
            ("projects/acme-prdo", "projects/acme-prod"),
            ("project/a1", "projects/a1"),
            ("projects/al", "projects/a1"),
            ("projects/01", "projects/O1"),
            ("a2", "projects/a2"),
            ("//cloud/sites/oslo", "sites/oslo"),
            ("sites/oslo/", "sites/oslo"),
            ("sites/olso", "sites/oslo"),
        ] {
            assert_eq!(nearest(name), Some(meant), "{name}");
        }
        for name in ["projects/a3", "projects/b1", "projects/acme-prod-2", "sites/bonn", "web/y", "", "/"] {
            assert_eq!(nearest(name), None, "{name}");
        }
    }

    #[test]
    fn the_order_of_names_does_not_matter() {
        for names in [["A-1", "a_1", "B"], ["B", "a_1", "A-1"]] {
            assert_eq!(Names::new(names).nearest("a 1"), Some("A-1"));
        }
    }
}
